"""Builds the Cryotank's parts and services."""

from __future__ import annotations

from collections.abc import Sequence

from cellmesh.common.cell import Cell, Part
from cellmesh.common.changelog import ChangeWriter
from cellmesh.common.changelog.writer import system_now_us
from cellmesh.common.rpc import Service
from cellmesh.common.telemetry.logs import get_logger
from cellmesh.cryotank import schema
from cellmesh.cryotank.api.permissions import PERMISSIONS, TANK_SERVICE
from cellmesh.cryotank.api.tanks import TankServicer
from cellmesh.cryotank.config import CryotankConfig
from cellmesh.cryotank.tanks import TankStore
from cellmesh.cryotank.tanks.changes import TYPE_NAME

_log = get_logger(__name__)


class CryotankCell(Cell[CryotankConfig]):
    """Tanks of records as a process of its own."""

    kind = "cryotank"
    databases = schema.DATABASES

    def parts(self) -> Sequence[Part]:
        """Nothing runs by itself; the store is opened and tidied."""
        self.store = TankStore(self.slab, ChangeWriter(self.changes, TYPE_NAME), system_now_us)
        removed = self.store.remove_dropped()
        if removed:
            _log.info("deleted_tanks_removed", count=removed)
        return ()

    def services(self) -> Sequence[Service]:
        """TankService."""
        servicer = TankServicer(self.store, self.workers)
        return (Service(TANK_SERVICE, servicer, PERMISSIONS, raw_responses=("ReadRecords",)),)
