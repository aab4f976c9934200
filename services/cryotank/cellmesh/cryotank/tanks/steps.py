"""The steps of changing tanks, each done inside a write transaction: by the leader, and by who applies its log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cellmesh.common.storage import WriteTxn
from cellmesh.cryotank import schema
from cellmesh.cryotank.tanks.values import Tank


def create(txn: WriteTxn, tank: Tank) -> None:
    """Make a tank; there is none of its name."""
    counter = txn.get(schema.COUNTERS, schema.NEXT_TANK_KEY)
    number = 0 if counter is None else schema.number_of(counter)
    txn.put(schema.COUNTERS, schema.NEXT_TANK_KEY, schema.number_key(number + 1))
    row = schema.TankRow(number, bytes.fromhex(tank.tank_id), tank.create_time_us)
    txn.put(schema.TANKS, tank.name.encode(), row.encode())


def append(txn: WriteTxn, name: str, row: schema.TankRow, records: Sequence[bytes], size: int) -> None:
    """Add records, together of so many bytes, to a tank that has this row."""
    key, number, first = schema.record_key, row.number, row.next_offset
    txn.put_many(schema.RECORDS, [(key(number, offset), data) for offset, data in enumerate(records, first)])
    updated = replace(
        row,
        next_offset=first + len(records),
        record_count=row.record_count + len(records),
        size=row.size + size,
    )
    txn.put(schema.TANKS, name.encode(), updated.encode())


def drop(txn: WriteTxn, name: str, row: schema.TankRow) -> None:
    """Delete a tank that has this row; its records are left to be removed."""
    txn.delete(schema.TANKS, name.encode())
    txn.put(schema.DROPPED, schema.number_key(row.number), b"")


def remove_records(txn: WriteTxn, number: int, count_max: int) -> bool:
    """Remove the first records left of a dropped tank, and its mark with the last; whether that was all."""
    low, high = schema.number_key(number), schema.number_key(number + 1)
    if txn.delete_range(schema.RECORDS, low, high, count_max=count_max) == count_max:
        return False
    txn.delete(schema.DROPPED, low)
    return True
