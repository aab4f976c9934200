"""Builds the Cortex's parts and services and wires them together; no behaviour of its own."""

from __future__ import annotations

from collections.abc import Sequence

from cellmesh.common.cell import Cell, Part
from cellmesh.common.changelog import DATABASES as CHANGELOG_DATABASES
from cellmesh.common.changelog import Applier
from cellmesh.common.rpc import Service
from cellmesh.cortex.api.export import ExportServicer
from cellmesh.cortex.api.feed import FeedServicer
from cellmesh.cortex.api.http_api import HttpApiServicer
from cellmesh.cortex.api.layers import LayerServicer
from cellmesh.cortex.api.model import ModelServicer
from cellmesh.cortex.api.notifications import NotificationServicer
from cellmesh.cortex.api.permissions import (
    EXPORT_SERVICE,
    FEED_SERVICE,
    HTTP_API_SERVICE,
    LAYER_SERVICE,
    MODEL_SERVICE,
    NOTIFICATION_SERVICE,
    PERMISSIONS,
    STORM_SERVICE,
    TABLE_SERVICE,
)
from cellmesh.cortex.api.storm import StormServicer, changes_asked
from cellmesh.cortex.api.table import TableServicer, table_changes_asked
from cellmesh.cortex.automation import registry as automation
from cellmesh.cortex.automation.oauth_refresh import TokenRefresher
from cellmesh.cortex.automation.part import Automation
from cellmesh.cortex.automation.schema import DATABASES as AUTOMATION_DATABASES
from cellmesh.cortex.axon_link import AxonLink
from cellmesh.cortex.cell_facts import CellFacts
from cellmesh.cortex.config import CortexConfig
from cellmesh.cortex.identities import Identities
from cellmesh.cortex.layers.schema import DATABASES as GRAPH_DATABASES
from cellmesh.cortex.mesh_link import MeshLink
from cellmesh.cortex.migration.names import tell_names
from cellmesh.cortex.migration.part import Migration
from cellmesh.cortex.migration.runner import ModelSteps
from cellmesh.cortex.model import Model
from cellmesh.cortex.replay import appliers
from cellmesh.cortex.replay.fresh import FreshNodes
from cellmesh.cortex.stores.schema import DATABASES as STORE_DATABASES
from cellmesh.cortex.stores.stores import Stores
from cellmesh.cortex.storm.commands import COMMANDS
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.library import LIBRARIES
from cellmesh.cortex.storm.packages import connect_packages
from cellmesh.cortex.storm.primitives import TYPES
from cellmesh.cortex.storm.runtime.options import ROW_COUNT_MAX, QueryLimits
from cellmesh.cortex.storm_services.links import ServiceLinks
from cellmesh.cortex.storm_services.loader import PackageLoader
from cellmesh.cortex.syncing.part import Syncing
from cellmesh.cortex.views.graph import Graph


class CortexCell(Cell[CortexConfig]):
    """The typed hypergraph as a process of its own."""

    kind = "cortex"
    databases = (*GRAPH_DATABASES, *STORE_DATABASES, *AUTOMATION_DATABASES, *CHANGELOG_DATABASES)

    def parts(self) -> Sequence[Part]:
        """The graph is opened and the engine put together; what runs by itself is automation."""
        leads = self.mirror is None or not self.mirror.is_follower
        self.graph = Graph.open(self.slab, Model.load(), leads=leads)
        tell_names(self.graph)
        self.stores = Stores.open(self.graph)
        self.migration = Migration(ModelSteps(self.graph, self.stores.changes), is_active=leads)
        limits = QueryLimits(
            row_count_max=self.config.query_rows_max or ROW_COUNT_MAX,
            depth_max=self.config.query_depth_max,
            time_max_s=self.config.query_time_max_s or None,
            memory_max_bytes=self.config.query_memory_max_bytes or None,
        )
        self.graph.model.identities = Identities(self.auth)
        self.automation = Automation(self.graph, is_active=leads)
        self.axon = AxonLink(self.config.axon, self.folder.identity.path)
        identity = self.folder.identity.path
        self.mesh_link = MeshLink(identity)
        self.service_links = ServiceLinks(
            self.stores.services, self.stores.packages, identity, is_active=leads
        )
        self.tokens = TokenRefresher(self.stores.oauth, is_active=leads)
        self.syncing = Syncing(self.graph, identity, is_active=leads)
        self.packages = PackageLoader(self.stores.packages, self.stores.user_values, is_active=leads)
        self.engine = Engine(
            self.graph,
            commands=(*COMMANDS, *automation.COMMANDS),
            libraries=(*LIBRARIES, *automation.LIBRARIES),
            types=(*TYPES, *automation.TYPES),
            capabilities={
                "auth": self.auth,
                "passwords": self.passwords,
                **self.stores.capabilities(),
                **self.automation.capabilities,
                "axon": self.axon,
                "cell": CellFacts(self),
                "mesh": self.mesh_link,
                "service.links": self.service_links,
                "syncing": self.syncing,
            },
            limits=limits,
        )
        connect_packages(self.engine, self.stores.packages)
        self.automation.load(self.engine)
        self.service_links.load(self.engine)
        self.packages.load(self.engine)
        self.tokens.load(self.engine)
        return (
            self.migration,
            self.axon,
            self.mesh_link,
            self.packages,
            self.service_links,
            self.automation,
            self.tokens,
            self.syncing,
        )

    def appliers(self) -> Sequence[Applier]:
        """Node edits, layers and views, stores, automation."""
        return appliers(self.graph, self.stores, self.automation)

    def services(self) -> Sequence[Service]:
        """Storm, feeds, exports, the model and the extended HTTP API."""
        return (
            Service(
                STORM_SERVICE,
                StormServicer(self.engine, self.workers, self.auth),
                PERMISSIONS,
                raw_responses=("Storm",),
                last_returned=("Storm",),
                changes_asked=changes_asked(self.engine),
            ),
            Service(
                TABLE_SERVICE,
                TableServicer(self.engine, self.workers, self.auth),
                PERMISSIONS,
                raw_responses=("QueryColumns",),
                changes_asked=table_changes_asked(self.engine),
            ),
            Service(
                FEED_SERVICE,
                FeedServicer(self.graph, self.workers),
                PERMISSIONS,
                raw_requests=("AddNodes",),
            ),
            Service(EXPORT_SERVICE, ExportServicer(self.engine, self.workers, self.auth), PERMISSIONS),
            Service(MODEL_SERVICE, ModelServicer(self.graph.model), PERMISSIONS),
            Service(
                LAYER_SERVICE,
                LayerServicer(
                    self.graph,
                    self.workers,
                    self.auth,
                    lambda: self.is_stopping,
                    extensions=self.stores.extensions,
                    make_writer=FreshNodes,
                    cell_id=self.cell_id,
                ),
                PERMISSIONS,
            ),
            Service(
                NOTIFICATION_SERVICE,
                NotificationServicer(self.graph, self.workers, lambda: self.is_stopping),
                PERMISSIONS,
            ),
            Service(
                HTTP_API_SERVICE,
                HttpApiServicer(self.engine, self.workers, self.auth, self.stores.http_apis),
                PERMISSIONS,
            ),
        )
