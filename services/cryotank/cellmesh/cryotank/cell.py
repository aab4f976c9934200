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
from cellmesh.cryotank.tanks import Arrivals, ConsumerStore, CryotankApplier, TankGates, TankStore
from cellmesh.cryotank.tanks.changes import TYPE_NAME
from cellmesh.cryotank.tanks.sweeper import TankSweeper


class CryotankCell(Cell[CryotankConfig]):
    """Tanks of records as a process of its own."""

    kind = "cryotank"
    databases = schema.DATABASES
    layout = schema.LAYOUT

    def __init__(self, config: CryotankConfig) -> None:
        super().__init__(config)
        self.arrivals = Arrivals()

    def parts(self) -> Sequence[Part]:
        """The store, and what is done in the background."""
        changes = ChangeWriter(self.changes, TYPE_NAME)
        self.gates = TankGates(self.auth)
        self.store = TankStore(
            self.slab,
            changes,
            system_now_us,
            gates=self.gates,
            arrivals=self.arrivals,
            compress_log=self.config.log_compression,
        )
        self.consumers = ConsumerStore(self.slab, changes, system_now_us)
        return (TankSweeper(self.store, self.workers),)

    def appliers(self) -> Sequence[Applier]:
        """What applies the changes of tanks."""
        return (CryotankApplier(self.arrivals),)

    def services(self) -> Sequence[Service]:
        """TankService."""
        servicer = TankServicer(self.store, self.consumers, self.gates, self.arrivals, self.workers)
        return (
            Service(
                TANK_SERVICE,
                servicer,
                PERMISSIONS,
                raw_responses=("ReadRecords", "ReadRows"),
                raw_requests=("AppendRecords", "AppendStream"),
            ),
        )

    async def stop(self) -> None:
        """See Cell. Readers that wait are sent home first."""
        self.arrivals.close()
        await super().stop()
