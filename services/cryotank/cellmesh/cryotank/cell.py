"""Builds the Cryotank's parts and services."""

from __future__ import annotations

from collections.abc import Sequence

from cellmesh.common.cell import Cell, Part
from cellmesh.common.changelog import Applier, ChangeWriter
from cellmesh.common.changelog.writer import system_now_us
from cellmesh.common.rpc import Service
from cellmesh.cryotank import schema
from cellmesh.cryotank.api.permissions import PERMISSIONS, TANK_SERVICE
from cellmesh.cryotank.api.tanks import TankServicer
from cellmesh.cryotank.config import CryotankConfig
from cellmesh.cryotank.tanks import CryotankApplier, TankStore
from cellmesh.cryotank.tanks.changes import TYPE_NAME
from cellmesh.cryotank.tanks.sweeper import TankSweeper


class CryotankCell(Cell[CryotankConfig]):
    """Tanks of records as a process of its own."""

    kind = "cryotank"
    databases = schema.DATABASES

    def parts(self) -> Sequence[Part]:
        """The store, and what looks after the records of deleted tanks."""
        self.store = TankStore(self.slab, ChangeWriter(self.changes, TYPE_NAME), system_now_us)
        return (TankSweeper(self.store, self.workers),)

    def appliers(self) -> Sequence[Applier]:
        """What applies the changes of tanks."""
        return (CryotankApplier(),)

    def services(self) -> Sequence[Service]:
        """TankService."""
        servicer = TankServicer(self.store, self.workers)
        return (Service(TANK_SERVICE, servicer, PERMISSIONS, raw_responses=("ReadRecords",)),)
