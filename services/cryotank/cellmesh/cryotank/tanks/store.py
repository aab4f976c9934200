"""The store of tanks over one slab. Plain blocking code: the API calls it from worker threads.

Each method takes, as `may`, what refuses a caller: asked with the tank that the method finds, in its transaction.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Final

from cellmesh.common.changelog import ChangeWriter
from cellmesh.common.errors import BadArg, CellError
from cellmesh.common.failpoints import failpoint
from cellmesh.common.storage import Slab, WriteTxn
from cellmesh.common.telemetry.logs import get_logger
from cellmesh.cryotank import schema
from cellmesh.cryotank.tanks import changes, steps
from cellmesh.cryotank.tanks.arrivals import Arrivals
from cellmesh.cryotank.tanks.batches import Batch
from cellmesh.cryotank.tanks.gates import Gates, Writes
from cellmesh.cryotank.tanks.names import NAME, check_name
from cellmesh.cryotank.tanks.reading import blocks_from, read_runs
from cellmesh.cryotank.tanks.rows import find_row, metrics_of, no_such_tank, tank_of
from cellmesh.cryotank.tanks.trimming import Trimmer
from cellmesh.cryotank.tanks.values import (
    NO_LIMITS,
    Appended,
    May,
    Run,
    StoredRecord,
    Tank,
    TankLimits,
    TankMetrics,
    anybody,
)

REMOVE_COUNT: Final = 256
"""Blocks of a deleted tank that are removed in one transaction."""

PAGE_SIZE_DEFAULT: Final = 100
PAGE_SIZE_MAX: Final = 1000
LIST_BLOCKS: Final = 1024

_log = get_logger(__name__)


def _no_check() -> None:
    pass


class TankStore:
    """Tanks of one slab.

    Args:
        slab: Open, with the databases of `schema`.
        change_writer: Writes the change log.
        now_us: The time, in microseconds since 1970.
        gates: The gates of tanks; left out, there are none.
        arrivals: Who waits for records; left out, nobody does.
        compress_log: Whether records are compressed in the change log.
    """

    def __init__(
        self,
        slab: Slab,
        change_writer: ChangeWriter,
        now_us: Callable[[], int],
        *,
        gates: Gates | None = None,
        arrivals: Arrivals | None = None,
        compress_log: bool = False,
    ) -> None:
        self._slab = slab
        self._changes = change_writer
        self._now_us = now_us
        self._gates = gates or _NoGates()
        self._arrivals = arrivals or Arrivals()
        self._compress_log = compress_log
        self._trimmer = Trimmer(slab, change_writer, now_us)

    def create(self, name: str, limits: TankLimits = NO_LIMITS) -> tuple[Tank, bool]:
        """Make a tank, or return the one that has the name, and whether it is new.

        Raises:
            BadName: the name is malformed.
        """
        key = check_name(name).encode()
        with self._gates.alone():
            with self._slab.view() as txn:
                found = txn.get(schema.TANKS, key)
            if found is not None:
                return tank_of(name, schema.TankRow.decode(found)), False
            fresh = Tank(name, uuid.uuid4().hex, self._now_us(), limits)
            append_change = self._changes.begin()
            with self._gates.creating(fresh.tank_id) as writes:

                def op(txn: WriteTxn) -> None:
                    for write in writes:
                        write(txn)
                    steps.create(txn, fresh)
                    append_change(txn, changes.tank_created(fresh))

                self._slab.write(op)
        return fresh, True

    def update(self, name: str, limits: TankLimits, may: May = anybody) -> Tank:
        """Give a tank other limits.

        Raises:
            NoSuchTank: there is none of this name.
        """
        append_change = self._changes.begin()

        def op(txn: WriteTxn) -> Tank:
            row = find_row(txn, name, may)
            tank = replace(tank_of(name, row), limits=limits)
            if tank_of(name, row) != tank:
                steps.set_limits(txn, name, row, limits)
                append_change(txn, changes.tank_updated(tank))
            return tank

        return self._slab.write(op)

    def list_tanks(
        self, page_size: int = 0, page_token: str = "", shows: Callable[[str], bool] = lambda tank_id: True
    ) -> tuple[list[tuple[Tank, TankMetrics]], str]:
        """One page of tanks by name with their totals, and the token of the next page, empty on the last one.

        Args:
            page_size: At most this many; 0 means PAGE_SIZE_DEFAULT, more than PAGE_SIZE_MAX counts as that.
            page_token: What the page before returned, or empty.
            shows: Whether the tank of an identifier is among them.

        Raises:
            BadArg: the token is not one of ours, or the size is negative.
        """
        if page_size < 0:
            raise BadArg("a page has at least one tank", name="page_size", valu=page_size)
        if page_token and not NAME.fullmatch(page_token):
            raise BadArg("this is no page token of ours", name="page_token", valu=page_token[:128])
        count = min(page_size or PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)
        # The byte after a name sorts before every longer name.
        low = page_token.encode() + b"\x00" if page_token else b""
        found: list[tuple[Tank, TankMetrics]] = []
        while True:
            with self._slab.view() as txn:
                items = txn.scan(schema.TANKS, low, None, count_max=PAGE_SIZE_MAX).items
            for key, value in items:
                row = schema.TankRow.decode(value)
                if shows(row.tank_id.hex()):
                    if len(found) == count:
                        return found, found[-1][0].name
                    found.append((tank_of(key.decode(), row), metrics_of(row)))
            if len(items) < PAGE_SIZE_MAX:
                return found, ""
            low = items[-1][0] + b"\x00"

    def get(self, name: str, may: May = anybody) -> Tank:
        """A tank by name.

        Raises:
            NoSuchTank: there is none.
        """
        with self._slab.view() as txn:
            return tank_of(name, find_row(txn, name, may))

    def metrics(self, name: str, may: May = anybody) -> TankMetrics:
        """A tank's totals.

        Raises:
            NoSuchTank: there is none of this name.
        """
        with self._slab.view() as txn:
            return metrics_of(find_row(txn, name, may))

    def info(self, name: str, may: May = anybody) -> tuple[Tank, TankMetrics]:
        """A tank with its totals, of one moment.

        Raises:
            NoSuchTank: there is none of this name.
        """
        with self._slab.view() as txn:
            row = find_row(txn, name, may)
        return tank_of(name, row), metrics_of(row)

    def delete(self, name: str, may: May = anybody) -> None:
        """Remove a tank. It is gone at once and durably; its records are removed some at a time.

        Raises:
            NoSuchTank: there is none.
        """
        with self._gates.alone():
            # Nobody else makes or removes tanks meanwhile.
            with self._slab.view() as txn:
                tank_id = find_row(txn, name, may).tank_id.hex()
            append_change = self._changes.begin()
            with self._gates.deleting(tank_id) as writes:

                def op(txn: WriteTxn) -> int:
                    row = find_row(txn, name)
                    for write in writes:
                        write(txn)
                    steps.drop(txn, name, row)
                    append_change(txn, changes.tank_deleted(tank_of(name, row)))
                    return row.number

                number = self._slab.write(op)
        self._arrivals.tell(number)
        try:
            self._remove_records(number)
        except CellError as error:
            # The tank is gone, as was asked; who looks after dropped tanks removes the rest.
            _log.warning("records_not_removed", tank=name, error=str(error))

    def remove_dropped(self, check: Callable[[], None] = _no_check) -> int:
        """Go on with deletions that were not ended; how many there were.

        Args:
            check: Called between transactions; what it raises ends it.
        """
        count = 0
        while True:
            check()
            with self._slab.view() as txn:
                found = txn.first(schema.DROPPED)
            if found is None:
                return count
            self._remove_records(schema.number_of(found[0]), check)
            count += 1

    def _remove_records(self, number: int, check: Callable[[], None] = _no_check) -> None:
        append_change = self._changes.begin()

        def op(txn: WriteTxn) -> bool:
            # Somebody else may have removed the last of them.
            if not txn.has(schema.DROPPED, schema.number_key(number)):
                return True
            is_done = steps.remove_records(txn, number, REMOVE_COUNT)
            append_change(txn, changes.records_removed(number, REMOVE_COUNT))
            return is_done

        while not self._slab.write(op):
            failpoint("cryotank_records_removed")
            check()

    def append(self, name: str, batch: Batch, may: May = anybody) -> Appended:
        """Add records at the end of a tank, all or none; durable when this returns.

        Raises:
            NoSuchTank: there is none of this name.
        """
        return self.append_all(name, (batch,), may)

    def append_all(self, name: str, batches: Sequence[Batch], may: May = anybody) -> Appended:
        """Add several batches in one transaction, one behind the other, each as by an append of its own."""
        append_change = self._changes.begin()
        time_us = self._now_us()
        ready = [
            (batch, changes.pack_batch(batch, compress=self._compress_log), batch.blocks(time_us))
            for batch in batches
            if batch.count
        ]

        def op(txn: WriteTxn) -> tuple[int, Appended]:
            row = find_row(txn, name, may)
            tank, first = tank_of(name, row), row.next_offset
            for batch, packed, blocks in ready:
                append_change(txn, changes.records_appended(tank, row.next_offset, batch, packed, time_us))
                row = steps.append(txn, name, row, blocks)
            return row.number, Appended(first, row.next_offset - first)

        number, appended = self._slab.write(op)
        self._arrivals.tell(number)
        return appended

    def locate(self, name: str, may: May = anybody) -> int:
        """The number of a tank, which readers pin.

        Raises:
            NoSuchTank: there is none of this name.
        """
        with self._slab.view() as txn:
            return find_row(txn, name, may).number

    def read_some(
        self, name: str, number: int, offset: int, count: int | None, may: May = anybody
    ) -> list[Run]:
        """The next records of a slice, as many as one read transaction should take; none at the end.

        Args:
            name: The tank.
            number: What `locate` said.
            offset: Of the first record; what was trimmed is left out.
            count: At most this many; None means to the end.
            may: See above.

        Raises:
            NoSuchTank: there is none of this name, or it was deleted and made anew.
        """
        with self._slab.view() as txn:
            row = find_row(txn, name, may)
            if row.number != number:
                raise no_such_tank(name)
            low = max(offset, row.first_offset)
            return read_runs(txn, row, low, row.next_offset if count is None else low + count)

    def read(
        self, name: str, offset: int = 0, count: int | None = None, may: May = anybody
    ) -> Iterator[list[Run]]:
        """A slice of a tank in chunks, in order of offset, with what is added meanwhile.

        No read transaction is held between two chunks of it.

        Args:
            name: The tank.
            offset: Of the first record; past the end nothing comes. What was trimmed is left out.
            count: At most this many; None means to the end.
            may: See above.

        Raises:
            NoSuchTank: there is none of this name, or it was deleted while it was read.
        """
        number = self.locate(name, may)
        while count is None or count > 0:
            found = self.read_some(name, number, offset, count, may)
            if not found:
                return
            if count is not None:
                count -= sum(run.block.count for run in found)
            yield found
            offset = found[-1].end

    def appends(
        self, name: str, offset: int = 0, count: int | None = None, may: May = anybody
    ) -> Iterator[list[Run]]:
        """How records came: the blocks that have records from an offset on, in chunks, whole.

        Raises:
            NoSuchTank: there is none of this name, or it was deleted meanwhile.
        """
        number = self.locate(name, may)
        while count is None or count > 0:
            wanted = LIST_BLOCKS if count is None else min(count, LIST_BLOCKS)
            found: list[Run] = []
            with self._slab.view() as txn:
                row = find_row(txn, name, may)
                if row.number != number:
                    raise no_such_tank(name)
                low = max(offset, row.first_offset)
                for start, block in blocks_from(txn, number, low, row.next_offset):
                    found.append(Run(start, replace(block, data=b"")))
                    if len(found) >= wanted:
                        break
            if not found:
                return
            yield found
            offset = found[-1].end
            if count is not None:
                count -= len(found)

    def last(self, name: str, may: May = anybody) -> StoredRecord | None:
        """The newest record, or None when the tank is empty.

        Raises:
            NoSuchTank: there is none of this name.
        """
        with self._slab.view() as txn:
            row = find_row(txn, name, may)
            runs = read_runs(txn, row, row.next_offset - 1, row.next_offset) if row.record_count else []
        if not runs:
            return None
        return StoredRecord(runs[0].offset, runs[0].block.records()[0], runs[0].block.form)

    def trim(self, name: str, offset: int, may: May = anybody) -> tuple[int, int]:
        """See Trimmer."""
        return self._trimmer.trim(name, offset, may)

    def apply_limits(self, check: Callable[[], None] = _no_check) -> int:
        """See Trimmer."""
        return self._trimmer.apply_limits(check)


class _NoGates:
    """Gates of a store without users."""

    def alone(self) -> AbstractContextManager[object]:
        return nullcontext()

    def creating(self, tank_id: str) -> AbstractContextManager[Writes]:
        return nullcontext(())

    def deleting(self, tank_id: str) -> AbstractContextManager[Writes]:
        return nullcontext(())
