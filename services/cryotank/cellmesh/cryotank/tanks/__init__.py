"""Tanks and their records.

store    TankStore: create, list, delete, append, read slices, counts
wire     records as they travel, put together from what is stored without decoding it
changes  the change records of the Cryotank
values   what is known about a tank
"""

from __future__ import annotations

from cellmesh.cryotank.tanks.store import TankStore
from cellmesh.cryotank.tanks.values import Appended, StoredRecord, Tank, TankMetrics

__all__ = ["Appended", "StoredRecord", "Tank", "TankMetrics", "TankStore"]
