"""Blocks of a tank, found and read inside a transaction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cellmesh.common.storage import ReadTxn
from cellmesh.cryotank import schema
from cellmesh.cryotank.schema import Block, TankRow
from cellmesh.cryotank.tanks.values import Run

READ_BLOCKS: Final = 1024
READ_SIZE: Final = 1024 * 1024
"""What a slice takes out of one read transaction: this many blocks, or at least this many bytes of records."""


def blocks_from(txn: ReadTxn, number: int, offset: int, end: int) -> Iterator[tuple[int, Block]]:
    """The blocks that have records of [offset, end), each with the offset of its first record, whole."""
    decode, offset_of = Block.decode, schema.offset_of
    low, high = schema.record_key(number, offset), schema.record_key(number, end)
    if low >= high:
        return
    with txn.raw.cursor(txn.handle(schema.RECORDS)) as cursor:
        found = cursor.set_range(low)
        if not found or cursor.key() != low:
            # The block before may reach so far.
            found_before = cursor.prev() if found else cursor.last()
            if found_before and cursor.key()[:8] == low[:8]:
                key, stored = cursor.item()
                start, block = offset_of(key), decode(stored)
                if start + block.count > offset:
                    yield start, block
            if not (cursor.next() if found_before else cursor.first()):
                return
        for key, stored in cursor.iternext(True, True):
            if key >= high:
                return
            yield offset_of(key), decode(stored)


def read_runs(txn: ReadTxn, row: TankRow, offset: int, end: int) -> list[Run]:
    """The next records of [offset, end) that are there, bounded in blocks and in bytes; cut where they begin and end."""
    offset, end = max(offset, row.first_offset), min(end, row.next_offset)
    found: list[Run] = []
    size = 0
    for start, block in blocks_from(txn, row.number, offset, end):
        part = block
        if start < offset or start + block.count > end:
            part = block.part(offset - start, end - start)
        found.append(Run(max(start, offset), part))
        size += part.size
        if size >= READ_SIZE or len(found) >= READ_BLOCKS:
            break
    return found


def plan_trim(txn: ReadTxn, row: TankRow, now_us: int, blocks_max: int) -> int:
    """Up to where the oldest records of a tank go by its limits, looking at so many blocks at most.

    Returns:
        The offset of the first record that stays; the first one there is when none goes.
    """
    low = row.next_offset - row.count_max if row.count_max else 0
    oldest_us = now_us - row.age_max_us if row.age_max_us else 0
    offset, size = row.first_offset, row.size
    blocks = blocks_from(txn, row.number, row.first_offset, row.next_offset)
    for seen, (start, block) in enumerate(blocks, 1):
        end = start + block.count
        if start < row.first_offset:
            block = block.part(row.first_offset - start, block.count)
        too_much = size - row.size_max if row.size_max else 0
        if end <= low or block.time_us < oldest_us or 0 < too_much >= block.size:
            offset, size = end, size - block.size
        else:
            keep = max(offset, low)
            if too_much > 0:
                at = offset
                for record in block.records():
                    if too_much <= 0:
                        break
                    too_much -= len(record)
                    at += 1
                keep = max(keep, at)
            return keep
        if seen == blocks_max:
            break
    return offset
