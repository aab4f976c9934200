"""The store of tanks over one slab. Plain blocking code: the API calls it from worker threads."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from cellmesh.common.changelog import ChangeWriter
from cellmesh.common.errors import BadArg, BadName, CellError, NoSuchTank, StorageCorrupt
from cellmesh.common.failpoints import failpoint
from cellmesh.common.storage import ReadTxn, Slab, WriteTxn
from cellmesh.common.telemetry.logs import get_logger
from cellmesh.cryotank import schema
from cellmesh.cryotank.tanks import changes, steps
from cellmesh.cryotank.tanks.values import Appended, StoredRecord, Tank, TankMetrics

APPEND_SIZE_MAX: Final = 3 * 1024 * 1024
"""Records of one append, together: what fits in one write transaction and in one gRPC message."""

READ_COUNT: Final = 1024
READ_SIZE: Final = 1024 * 1024
"""What a slice takes out of one read transaction: this many records, or at least this many bytes."""

REMOVE_COUNT: Final = 2048
"""Records of a deleted tank that are removed in one transaction."""

PAGE_SIZE_DEFAULT: Final = 100
PAGE_SIZE_MAX: Final = 1000

_log = get_logger(__name__)

_NAME = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)


class TankStore:
    """Tanks of one slab.

    Args:
        slab: Open, with the databases of `schema`.
        change_writer: Writes the change log.
        now_us: The time, in microseconds since 1970.
    """

    def __init__(self, slab: Slab, change_writer: ChangeWriter, now_us: Callable[[], int]) -> None:
        self._slab = slab
        self._changes = change_writer
        self._now_us = now_us

    def create(self, name: str) -> tuple[Tank, bool]:
        """Make a tank, or return the one that has the name, and whether it is new.

        Raises:
            BadName: the name is malformed.
        """
        key = _name_key(name)
        fresh = Tank(name, uuid.uuid4().hex, self._now_us())

        append_change = self._changes.begin()

        def op(txn: WriteTxn) -> tuple[Tank, bool]:
            found = txn.get(schema.TANKS, key)
            if found is not None:
                return _tank_of(name, schema.TankRow.decode(found)), False
            steps.create(txn, fresh)
            append_change(txn, changes.tank_created(fresh))
            return fresh, True

        return self._slab.write(op)

    def list_tanks(self, page_size: int = 0, page_token: str = "") -> tuple[list[Tank], str]:
        """One page of tanks by name, and the token of the next page, empty on the last one.

        Args:
            page_size: At most this many; 0 means PAGE_SIZE_DEFAULT, more than PAGE_SIZE_MAX counts as that.
            page_token: What the page before returned, or empty.

        Raises:
            BadArg: the token is not one of ours, or the size is negative.
        """
        if page_size < 0:
            raise BadArg("a page has at least one tank", name="page_size", valu=page_size)
        if page_token and not _NAME.fullmatch(page_token):
            raise BadArg("this is no page token of ours", name="page_token", valu=page_token[:128])
        count = min(page_size or PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)
        # The byte after a name sorts before every longer name.
        low = page_token.encode() + b"\x00" if page_token else b""
        with self._slab.view() as txn:
            items = txn.scan(schema.TANKS, low, None, count_max=count + 1).items
        tanks = [_tank_of(key.decode(), schema.TankRow.decode(value)) for key, value in items[:count]]
        return tanks, tanks[-1].name if len(items) > count else ""

    def get(self, name: str) -> Tank:
        """A tank by name.

        Raises:
            NoSuchTank: there is none.
        """
        with self._slab.view() as txn:
            return _tank_of(name, _row(txn, name))

    def delete(self, name: str) -> None:
        """Remove a tank. It is gone at once and durably; its records are removed some at a time.

        Raises:
            NoSuchTank: there is none.
        """

        append_change = self._changes.begin()

        def op(txn: WriteTxn) -> int:
            row = _row(txn, name)
            steps.drop(txn, name, row)
            append_change(txn, changes.tank_deleted(_tank_of(name, row)))
            return row.number

        number = self._slab.write(op)
        try:
            self._remove_records(number)
        except CellError as error:
            # The tank is gone, as was asked; who looks after dropped tanks removes the rest.
            _log.warning("records_not_removed", tank=name, error=str(error))

    def remove_dropped(self, check: Callable[[], None] = lambda: None) -> int:
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

    def _remove_records(self, number: int, check: Callable[[], None] = lambda: None) -> None:
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

    def append(self, name: str, records: Sequence[bytes]) -> Appended:
        """Add records at the end of a tank, all or none; durable when this returns.

        Args:
            name: The tank.
            records: Serialized Values, in order.

        Raises:
            NoSuchTank: there is none of this name.
            BadArg: they are more than APPEND_SIZE_MAX bytes together.
        """
        size = sum(map(len, records))
        if size > APPEND_SIZE_MAX:
            raise BadArg(
                "the records are too large for one call",
                name="values",
                size=size,
                size_max=APPEND_SIZE_MAX,
                hint="send fewer at a time",
            )

        append_change = self._changes.begin()
        packed = changes.pack_records(records)

        def op(txn: WriteTxn) -> Appended:
            row = _row(txn, name)
            first, count = row.next_offset, len(records)
            if not count:
                return Appended(first, 0)
            steps.append(txn, name, row, records, size)
            append_change(txn, changes.records_appended(_tank_of(name, row), first, count, size, packed))
            return Appended(first, count)

        return self._slab.write(op)

    def read(self, name: str, offset: int = 0, count: int | None = None) -> Iterator[list[StoredRecord]]:
        """A slice of a tank in chunks, in order of offset, with what is added meanwhile.

        No read transaction is held between two chunks of it.

        Args:
            name: The tank.
            offset: Of the first record; past the end nothing comes.
            count: At most this many; None means to the end.

        Raises:
            NoSuchTank: there is none of this name, or it was deleted while it was read.
        """
        number: int | None = None
        while count is None or count > 0:
            with self._slab.view() as txn:
                row = _row(txn, name)
                if number is None:
                    number = row.number
                elif number != row.number:
                    raise _no_such_tank(name)
                end = row.next_offset if count is None else min(row.next_offset, offset + count)
                found = _read_chunk(txn, number, offset, end)
            if not found:
                return
            yield found
            offset = found[-1].offset + 1
            if count is not None:
                count -= len(found)

    def last(self, name: str) -> StoredRecord | None:
        """The newest record, or None when the tank is empty.

        Raises:
            NoSuchTank: there is none of this name.
        """
        with self._slab.view() as txn:
            row = _row(txn, name)
            if not row.record_count:
                return None
            offset = row.next_offset - 1
            key = schema.record_key(row.number, offset)
            data = txn.get(schema.RECORDS, key)
        if data is None:
            raise StorageCorrupt("the newest record of a tank is missing", name=name, key=key.hex())
        return StoredRecord(offset, data)

    def metrics(self, name: str) -> TankMetrics:
        """A tank's totals.

        Raises:
            NoSuchTank: there is none of this name.
        """
        with self._slab.view() as txn:
            row = _row(txn, name)
        return TankMetrics(row.record_count, row.size, row.next_offset)


def _read_chunk(txn: ReadTxn, number: int, offset: int, end: int) -> list[StoredRecord]:
    """The next records of [offset, end), bounded in count and in bytes."""
    found: list[StoredRecord] = []
    wanted = min(end - offset, READ_COUNT)
    if wanted <= 0:
        return found
    size = 0
    high = schema.record_key(number, end)
    offset_of = schema.offset_of
    with txn.raw.cursor(txn.handle(schema.RECORDS)) as cursor:
        if not cursor.set_range(schema.record_key(number, offset)):
            return found
        for key, data in cursor.iternext(True, True):
            if key >= high:
                break
            found.append(StoredRecord(offset_of(key), data))
            size += len(data)
            if len(found) >= wanted or size >= READ_SIZE:
                break
    return found


def _row(txn: ReadTxn, name: str) -> schema.TankRow:
    found = txn.get(schema.TANKS, name.encode()) if _NAME.fullmatch(name) else None
    if found is None:
        raise _no_such_tank(name)
    return schema.TankRow.decode(found)


def _no_such_tank(name: str) -> NoSuchTank:
    return NoSuchTank(f"there is no tank {name[:128]!r}", name=name[:128])


def _tank_of(name: str, row: schema.TankRow) -> Tank:
    return Tank(name, row.tank_id.hex(), row.create_time_us)


def _name_key(name: str) -> bytes:
    if not _NAME.fullmatch(name):
        raise BadName(
            "a tank's name has 1 to 128 letters, digits, dots, dashes, underscores and colons",
            name=name[:129],
        )
    return name.encode()
