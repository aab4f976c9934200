"""Tanks and their records.

store    TankStore: create, list, delete, append, read slices, counts
steps    the steps of changing tanks, each inside a write transaction
sweeper  TankSweeper: ends deletions that were cut short
replay   CryotankApplier: change records applied again
wire     records as they travel, put together from what is stored without decoding it
changes  the change records of the Cryotank
values   what is known about a tank
"""

from __future__ import annotations

from cellmesh.cryotank.tanks.replay import CryotankApplier
from cellmesh.cryotank.tanks.store import TankStore
from cellmesh.cryotank.tanks.values import Appended, StoredRecord, Tank, TankMetrics

__all__ = ["Appended", "CryotankApplier", "StoredRecord", "Tank", "TankMetrics", "TankStore"]
