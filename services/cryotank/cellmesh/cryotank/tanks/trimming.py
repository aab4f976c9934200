"""The oldest records removed: by hand, and where a tank is beyond its limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cellmesh.common.changelog import ChangeWriter
from cellmesh.common.errors import NoSuchTank
from cellmesh.common.failpoints import failpoint
from cellmesh.common.storage import ReadTxn, Slab, WriteTxn
from cellmesh.cryotank import schema
from cellmesh.cryotank.tanks import changes, steps
from cellmesh.cryotank.tanks.reading import blocks_from, plan_trim
from cellmesh.cryotank.tanks.rows import find_row, no_such_tank, tank_of
from cellmesh.cryotank.tanks.values import May, anybody

TRIM_COUNT: Final = 256
"""Blocks that are trimmed in one transaction."""


def _no_check() -> None:
    pass


class Trimmer:
    """Removes records of the tanks of one slab, some at a time, each time with an entry in the change log.

    Args:
        slab: Open, with the databases of `schema`.
        change_writer: Writes the change log.
        now_us: The time, in microseconds since 1970.
    """

    def __init__(self, slab: Slab, change_writer: ChangeWriter, now_us: Callable[[], int]) -> None:
        self._slab = slab
        self._changes = change_writer
        self._now_us = now_us

    def trim(self, name: str, offset: int, may: May = anybody) -> tuple[int, int]:
        """Remove the records before an offset, some at a time; how many, and the offset of the oldest one now.

        Raises:
            NoSuchTank: there is none of this name, or it was deleted meanwhile.
        """
        with self._slab.view() as txn:
            pinned = find_row(txn, name, may).number
        count = 0

        def target(txn: ReadTxn, row: schema.TankRow) -> int:
            if row.number != pinned:
                raise no_such_tank(name)
            end = min(offset, row.next_offset)
            blocks = blocks_from(txn, row.number, row.first_offset, end)
            for seen, (start, block) in enumerate(blocks, 1):
                if seen == TRIM_COUNT:
                    return min(end, start + block.count)
            return max(end, row.first_offset)

        while True:
            before, after = self._trim_some(name, target, may)
            count += after.first_offset - before.first_offset
            if after.first_offset >= min(offset, after.next_offset):
                return count, after.first_offset
            failpoint("cryotank_records_trimmed")

    def apply_limits(self, check: Callable[[], None] = _no_check) -> int:
        """Remove what is beyond the limits of tanks; how many records that were.

        Args:
            check: Called between transactions; what it raises ends it.
        """
        count = 0
        low = b""
        while True:
            check()
            with self._slab.view() as txn:
                found = txn.first(schema.BOUNDED, low)
            if found is None:
                return count
            low = found[0] + b"\x00"
            count += self._apply_limits(found[0].decode(), check)

    def _apply_limits(self, name: str, check: Callable[[], None]) -> int:
        count = 0

        def target(txn: ReadTxn, row: schema.TankRow) -> int:
            return plan_trim(txn, row, self._now_us(), TRIM_COUNT)

        while True:
            check()
            try:
                with self._slab.view() as txn:
                    row = find_row(txn, name)
                    if target(txn, row) <= row.first_offset:
                        return count
                before, after = self._trim_some(name, target)
            except NoSuchTank:
                return count
            count += after.first_offset - before.first_offset
            failpoint("cryotank_records_trimmed")

    def _trim_some(
        self, name: str, target: Callable[[ReadTxn, schema.TankRow], int], may: May = anybody
    ) -> tuple[schema.TankRow, schema.TankRow]:
        """Remove the records before an offset that is found in the transaction; the tank before and after."""
        append_change = self._changes.begin()

        def op(txn: WriteTxn) -> tuple[schema.TankRow, schema.TankRow]:
            row = find_row(txn, name, may)
            offset = target(txn, row)
            if offset <= row.first_offset:
                return row, row
            after = steps.trim(txn, name, row, offset)
            append_change(txn, changes.tank_trimmed(tank_of(name, row), offset))
            return row, after

        return self._slab.write(op)
