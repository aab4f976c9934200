"""Tanks by their rows: found by name inside a transaction, and as values."""

from __future__ import annotations

from cellmesh.common.errors import NoSuchTank
from cellmesh.common.storage import ReadTxn
from cellmesh.cryotank import schema
from cellmesh.cryotank.tanks.names import NAME
from cellmesh.cryotank.tanks.values import May, Tank, TankLimits, TankMetrics, anybody


def find_row(txn: ReadTxn, name: str, may: May = anybody) -> schema.TankRow:
    """The row of a tank. Raises NoSuchTank, and what `may` raises: first, so that nobody learns what is not for it."""
    found = txn.get(schema.TANKS, name.encode()) if NAME.fullmatch(name) else None
    if found is None:
        may("")
        raise no_such_tank(name)
    row = schema.TankRow.decode(found)
    may(row.tank_id.hex())
    return row


def no_such_tank(name: str) -> NoSuchTank:
    """The error."""
    return NoSuchTank(f"there is no tank {name[:128]!r}", name=name[:128])


def tank_of(name: str, row: schema.TankRow) -> Tank:
    """A tank by its row."""
    limits = TankLimits(row.count_max, row.size_max, row.age_max_us)
    return Tank(name, row.tank_id.hex(), row.create_time_us, limits)


def metrics_of(row: schema.TankRow) -> TankMetrics:
    """The totals by a row."""
    return TankMetrics(row.record_count, row.size, row.next_offset, row.first_offset)
