"""The steps of changing tanks, each done inside a write transaction: by the leader, and by who applies its log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cellmesh.common.storage import WriteTxn
from cellmesh.cryotank import schema
from cellmesh.cryotank.schema import Block
from cellmesh.cryotank.tanks.reading import blocks_from
from cellmesh.cryotank.tanks.values import Consumer, Tank, TankLimits


def create(txn: WriteTxn, tank: Tank) -> schema.TankRow:
    """Make a tank; there is none of its name."""
    counter = txn.get(schema.COUNTERS, schema.NEXT_TANK_KEY)
    number = 0 if counter is None else schema.number_of(counter)
    txn.put(schema.COUNTERS, schema.NEXT_TANK_KEY, schema.number_key(number + 1))
    row = schema.TankRow(number, bytes.fromhex(tank.tank_id), tank.create_time_us)
    return set_limits(txn, tank.name, row, tank.limits)


def set_limits(txn: WriteTxn, name: str, row: schema.TankRow, limits: TankLimits) -> schema.TankRow:
    """Say how long the records of a tank that has this row stay."""
    updated = replace(row, count_max=limits.count_max, size_max=limits.size_max, age_max_us=limits.age_max_us)
    if updated.is_bounded:
        txn.put(schema.BOUNDED, name.encode(), b"")
    else:
        txn.delete(schema.BOUNDED, name.encode())
    txn.put(schema.TANKS, name.encode(), updated.encode())
    return updated


def append(txn: WriteTxn, name: str, row: schema.TankRow, blocks: Sequence[Block]) -> schema.TankRow:
    """Add records to a tank that has this row."""
    offset, size = row.next_offset, row.size
    for block in blocks:
        txn.put(schema.RECORDS, schema.record_key(row.number, offset), block.encode())
        offset += block.count
        size += block.size
    updated = replace(row, next_offset=offset, size=size)
    txn.put(schema.TANKS, name.encode(), updated.encode())
    return updated


def trim(txn: WriteTxn, name: str, row: schema.TankRow, offset: int) -> schema.TankRow:
    """Remove the records before an offset, at most `next_offset`. A block goes with the last of its records."""
    if offset <= row.first_offset:
        return row
    size = row.size
    gone: list[bytes] = []
    for start, block in blocks_from(txn, row.number, row.first_offset, offset):
        end = start + block.count
        size -= block.part(row.first_offset - start, offset - start).size
        if end <= offset:
            gone.append(schema.record_key(row.number, start))
    for key in gone:
        txn.delete(schema.RECORDS, key)
    updated = replace(row, first_offset=offset, size=size)
    txn.put(schema.TANKS, name.encode(), updated.encode())
    return updated


def drop(txn: WriteTxn, name: str, row: schema.TankRow) -> None:
    """Delete a tank that has this row, with its consumers; its records are left to be removed."""
    txn.delete(schema.TANKS, name.encode())
    txn.delete(schema.BOUNDED, name.encode())
    low, high = schema.number_key(row.number), schema.number_key(row.number + 1)
    while txn.delete_range(schema.CONSUMERS, low, high, count_max=1000):
        pass
    txn.put(schema.DROPPED, low, b"")


def remove_records(txn: WriteTxn, number: int, count_max: int) -> bool:
    """Remove the first blocks left of a dropped tank, and its mark with the last; whether that was all."""
    low, high = schema.number_key(number), schema.number_key(number + 1)
    if txn.delete_range(schema.RECORDS, low, high, count_max=count_max) == count_max:
        return False
    txn.delete(schema.DROPPED, low)
    return True


def set_consumer(txn: WriteTxn, number: int, consumer: Consumer) -> None:
    """Keep how far a reader is."""
    data = schema.encode_consumer(consumer.offset, consumer.time_us)
    txn.put(schema.CONSUMERS, schema.consumer_key(number, consumer.name), data)


def delete_consumer(txn: WriteTxn, number: int, name: str) -> bool:
    """Forget a reader; whether it was there."""
    return txn.delete(schema.CONSUMERS, schema.consumer_key(number, name))
