"""Engines on empty graphs with all commands, libraries and types, and results as JSON has them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from cellmesh.common.auth.schema import DATABASES as AUTH_DATABASES
from cellmesh.common.auth.store import AuthStore
from cellmesh.common.changelog import DATABASES as LOG_DATABASES
from cellmesh.common.storage import Slab
from cellmesh.cortex.identities import Identities
from cellmesh.cortex.layers.schema import DATABASES
from cellmesh.cortex.model import Model
from cellmesh.cortex.stores.schema import DATABASES as STORE_DATABASES
from cellmesh.cortex.stores.stores import Stores
from cellmesh.cortex.storm.commands import COMMANDS
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.library import LIBRARIES
from cellmesh.cortex.storm.primitives import TYPES
from cellmesh.cortex.storm.runtime.messages import Error, NodeRow, Print, Warn
from cellmesh.cortex.storm.runtime.options import QueryOptions
from cellmesh.cortex.views.graph import Graph


@contextmanager
def open_engine(folder: Path) -> Iterator[Engine]:
    """Give an engine on a new, empty graph in a folder, with root as its only user."""
    databases = (*DATABASES, *STORE_DATABASES, *LOG_DATABASES, *AUTH_DATABASES)
    with Slab.open(folder, databases, sync=False) as slab:
        graph = Graph.open(slab, Model.load())
        auth = AuthStore(slab)
        graph.model.identities = Identities(auth)
        capabilities = {**Stores.open(graph).capabilities(), "auth": auth}
        yield Engine(graph, COMMANDS, LIBRARIES, TYPES, capabilities)


class Run:
    """What a query gave.

    Attributes:
        nodes: Values of the nodes.
        prints: Printed texts.
        warns: Texts of warnings.
        error: Name of the error it ended with, or None.
        message: The error's message.
    """

    def __init__(self, engine: Engine, text: str, *, readonly: bool = False, **variables: Any) -> None:
        self.nodes: list[Any] = []
        self.prints: list[str] = []
        self.warns: list[str] = []
        self.error: str | None = None
        self.message = ""
        for message in engine.storm(text, QueryOptions(vars=variables, readonly=readonly)):
            match message:
                case NodeRow():
                    self.nodes.append(plain(message.node.value))
                case Print():
                    self.prints.append(message.text)
                case Warn():
                    self.warns.append(message.text)
                case Error():
                    self.error, self.message = message.error.name, message.error.message
                case _:
                    pass


def plain(value: Any) -> Any:
    """Return a value as the goldens write it."""
    if isinstance(value, (float, Decimal)):
        return float(value)
    if isinstance(value, bytes):
        return {"$bytes": value.hex()}
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value
