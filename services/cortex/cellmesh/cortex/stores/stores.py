"""All stores of a Cortex together."""

from __future__ import annotations

from cellmesh.cortex.stores.changes import Changes
from cellmesh.cortex.stores.globals import Globals
from cellmesh.cortex.stores.graphs import GraphProjections
from cellmesh.cortex.stores.http_apis import HttpApis
from cellmesh.cortex.stores.json_store import JsonStore
from cellmesh.cortex.stores.macros import Macros
from cellmesh.cortex.stores.model_facts import EdgeVerbs, Locks, ModelExtensions
from cellmesh.cortex.stores.oauth import OAuthStore
from cellmesh.cortex.stores.packages import Packages
from cellmesh.cortex.stores.queues import Queues
from cellmesh.cortex.stores.services import StormServices
from cellmesh.cortex.stores.tag_model import TagModel
from cellmesh.cortex.stores.user_values import UserValues
from cellmesh.cortex.stores.vaults import Vaults
from cellmesh.cortex.views.graph import Graph


class Stores:
    """What a Cortex keeps beside the graph. Made by `open`.

    Attributes:
        changes: How all of them write.
        macros, globals, queues, projections, tag_model, locks, verbs, extensions, user_values, json_values,
            vaults, packages, services, http_apis, oauth: The stores.
    """

    def __init__(self, graph: Graph) -> None:
        self.changes = Changes(graph.log)
        self.macros = Macros(self.changes)
        self.globals = Globals(self.changes)
        self.queues = Queues(self.changes)
        self.projections = GraphProjections(self.changes)
        self.tag_model = TagModel(self.changes)
        self.locks = Locks(self.changes, graph.model)
        self.verbs = EdgeVerbs(self.changes)
        self.extensions = ModelExtensions(self.changes, graph)
        self.user_values = UserValues(self.changes)
        self.json_values = JsonStore(self.changes)
        self.vaults = Vaults(self.changes)
        self.packages = Packages(self.changes)
        self.services = StormServices(self.changes)
        self.http_apis = HttpApis(self.changes)
        self.oauth = OAuthStore(self.changes)

    @classmethod
    def open(cls, graph: Graph) -> Stores:
        """Open the stores in the slab of a graph: its model gets what users added, and its edits their rules."""
        stores = cls(graph)
        with graph.slab.view() as txn:
            stores.extensions.follow(txn)
            stores.tag_model.follow(lambda load: load(txn))
            stores.locks.follow(lambda load: load(txn))
            stores.packages.follow(lambda load: load(txn))
            stores.services.follow(lambda load: load(txn))
        graph.rules.tags = stores.tag_model
        graph.rules.locks = stores.locks
        return stores

    def capabilities(self) -> dict[str, object]:
        """Return what the engine offers to commands and libraries, by name."""
        return {
            "macros": self.macros,
            "globals": self.globals,
            "queues": self.queues,
            "graph.projections": self.projections,
            "model.tags": self.tag_model,
            "model.locks": self.locks,
            "model.verbs": self.verbs,
            "model.extensions": self.extensions,
            "user.values": self.user_values,
            "jsonstor": self.json_values,
            "vaults": self.vaults,
            "packages": self.packages,
            "services": self.services,
            "http.apis": self.http_apis,
            "oauth": self.oauth,
        }
