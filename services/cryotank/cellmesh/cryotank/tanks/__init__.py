"""Tanks and their records.

store      TankStore: create, list, update, delete, append, read slices, trim, counts
consumers  ConsumerStore: how far readers are
batches    records on their way in, put together without decoding them
reading    blocks found and read inside a transaction
rows       tanks found by name inside a transaction
trimming   Trimmer: the oldest records removed, by hand or by limits
steps      the steps of changing tanks, each inside a write transaction
arrivals   Arrivals: who waits for records
gates      TankGates: each tank a gate of the cell's rules
sweeper    TankSweeper: keeps tanks within their limits, ends deletions that were cut short
replay     CryotankApplier: change records applied again
wire       records as they travel, put together from what is stored without decoding it
changes    the change records of the Cryotank
names      names of tanks and consumers
values     what is known about a tank
"""

from __future__ import annotations

from cellmesh.cryotank.tanks.arrivals import Arrivals
from cellmesh.cryotank.tanks.batches import Batch
from cellmesh.cryotank.tanks.consumers import ConsumerStore
from cellmesh.cryotank.tanks.gates import TankGates
from cellmesh.cryotank.tanks.replay import CryotankApplier
from cellmesh.cryotank.tanks.store import TankStore
from cellmesh.cryotank.tanks.values import (
    Appended,
    Consumer,
    Run,
    StoredRecord,
    Tank,
    TankLimits,
    TankMetrics,
)

__all__ = [
    "Appended",
    "Arrivals",
    "Batch",
    "Consumer",
    "ConsumerStore",
    "CryotankApplier",
    "Run",
    "StoredRecord",
    "Tank",
    "TankGates",
    "TankLimits",
    "TankMetrics",
    "TankStore",
]
