"""Builds the Cryotank's parts and services."""

from __future__ import annotations

import time
from collections.abc import Sequence

from cellmesh.common.cell import Cell, Part
from cellmesh.common.changelog import ChangeLog
from cellmesh.common.rpc import Service
from cellmesh.common.telemetry.logs import get_logger
from cellmesh.cryotank import schema
from cellmesh.cryotank.api.permissions import PERMISSIONS, TANK_SERVICE
from cellmesh.cryotank.api.tanks import TankServicer
from cellmesh.cryotank.config import CryotankConfig
from cellmesh.cryotank.tanks import TankStore
from cellmesh.cryotank.tanks.changes import ChangeWriter

_log = get_logger(__name__)


def _now_us() -> int:
    return time.time_ns() // 1000


class CryotankCell(Cell[CryotankConfig]):
    """Tanks of records as a process of its own."""

    kind = "cryotank"
    databases = schema.DATABASES

    def parts(self) -> Sequence[Part]:
        """Nothing runs by itself; the store is opened and tidied."""
        self._changes = ChangeLog(self.slab)
        self.store = TankStore(self.slab, ChangeWriter(self._changes, _now_us), _now_us)
        removed = self.store.remove_dropped()
        if removed:
            _log.info("deleted_tanks_removed", count=removed)
        return ()

    def services(self) -> Sequence[Service]:
        """TankService."""
        servicer = TankServicer(self.store, self.workers)
        return (Service(TANK_SERVICE, servicer, PERMISSIONS, raw_responses=("ReadRecords",)),)

    def change_offset(self) -> int:
        """The offset that the next change record gets."""
        with self.slab.view() as txn:
            return self._changes.next_offset(txn)
