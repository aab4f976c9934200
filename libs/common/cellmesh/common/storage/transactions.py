"""What one may do inside a transaction: reads, scans in chunks, writes.

The objects here are thin: each hot method is one call into LMDB. They belong to the slab, which binds them
to a fresh LMDB transaction for each use, so nobody keeps one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from struct import iter_unpack
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    import lmdb
    from cellmesh.common.storage.subdb import SubDb

T = TypeVar("T")

FETCH_COUNT_FIRST = 16
"""Items the first step of a scan reads; each further step reads eight times more, so that a short range
in a big database does not read a whole chunk past its end."""

BULK_COUNT_MIN = 16
"""Values of one key from which on one bulk read is cheaper than steps from value to value."""


@dataclass(frozen=True, slots=True)
class Position:
    """The last item a chunk returned. Callers only hand it back as `after=`."""

    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Chunk(Generic[T]):
    """A bounded part of a scan.

    Attributes:
        items: In scan order.
        resume: None when the scan has reached its end; else pass it as `after=` to go on, in this or a
            later transaction. Items written or deleted in between show or not by their key alone.
    """

    items: list[T]
    resume: Position | None


class ReadTxn:
    """One consistent state of the slab, for one chunk of work."""

    __slots__ = ("_get", "_handles", "raw")

    raw: lmdb.Transaction[bytes]

    def __init__(self, handles: dict[str, lmdb._Database]) -> None:
        self._handles = handles

    def bind(self, raw: lmdb.Transaction[bytes]) -> None:
        """Use this LMDB transaction from now on. For the slab alone."""
        self.raw = raw
        self._get = raw.get

    def handle(self, db: SubDb) -> lmdb._Database:
        """The LMDB handle of a database, for use with `raw`."""
        return self._handles[db.name]

    def has_database(self, db: SubDb) -> bool:
        """Whether the slab was opened with this database."""
        return db.name in self._handles

    def get(self, db: SubDb, key: bytes) -> bytes | None:
        """The value of a key (the first one if it has many), or None."""
        return self._get(key, None, self._handles[db.name])

    def get_many(self, db: SubDb, keys: Sequence[bytes]) -> list[bytes | None]:
        """The value of each key or None, in the order of the keys."""
        # Single gets are faster than one getmulti: that builds a tuple for each key and leaves out misses.
        get, handle = self._get, self._handles[db.name]
        return [get(key, None, handle) for key in keys]

    def has(self, db: SubDb, key: bytes, value: bytes | None = None) -> bool:
        """Whether there is this key, or this value under this key."""
        if value is None or not db.dupsort:
            found = self._get(key, None, self._handles[db.name])
            return found is not None and (value is None or value == found)
        with self.raw.cursor(self._handles[db.name]) as cursor:
            return cursor.set_key_dup(key, value)

    def values(self, db: SubDb, key: bytes) -> list[bytes]:
        """All values of a key, in order; none if there is no such key."""
        if not db.dupsort:
            found = self.get(db, key)
            return [] if found is None else [found]
        with self.raw.cursor(self._handles[db.name]) as cursor:
            if not cursor.set_key(key):
                return []
            if db.dupfixed and cursor.count() >= BULK_COUNT_MIN:
                return _all_values(cursor, key, db.dupfixed)
            return list(cursor.iternext_dup(False, True))

    def count(self, db: SubDb, key: bytes) -> int:
        """The number of values a key has; cheap, however many."""
        if not db.dupsort:
            return int(self.get(db, key) is not None)
        with self.raw.cursor(self._handles[db.name]) as cursor:
            return cursor.count() if cursor.set_key(key) else 0

    def entries(self, db: SubDb) -> int:
        """The number of items in the whole database; cheap."""
        return self.raw.stat(self._handles[db.name])["entries"]

    def size_bytes(self, db: SubDb) -> int:
        """What the pages of a database take in the file; cheap."""
        stat = self.raw.stat(self._handles[db.name])
        return stat["psize"] * (stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"])

    def first(self, db: SubDb, low: bytes = b"", high: bytes | None = None) -> tuple[bytes, bytes] | None:
        """The first item with low <= key < high."""
        items = self.scan(db, low, high, count_max=1).items
        return items[0] if items else None

    def last(self, db: SubDb, low: bytes = b"", high: bytes | None = None) -> tuple[bytes, bytes] | None:
        """The last item with low <= key < high."""
        if not low and high is None:
            # What each record of a change log asks for.
            with self.raw.cursor(self._handles[db.name]) as cursor:
                return cursor.item() if cursor.last() else None
        items = self.scan(db, low, high, count_max=1, reverse=True).items
        return items[0] if items else None

    def scan(
        self,
        db: SubDb,
        low: bytes = b"",
        high: bytes | None = None,
        *,
        count_max: int,
        reverse: bool = False,
        after: Position | None = None,
    ) -> Chunk[tuple[bytes, bytes]]:
        """The next items of a range, by key and then by value.

        Args:
            db: Where to look.
            low: Least key, included; empty for the start of the database.
            high: Bound above, excluded; None for the end of the database.
            count_max: Most items, at least 1. A key with many values counts each.
            reverse: From the greatest item down.
            after: The `resume` of the chunk before, of a scan with the same arguments.

        Returns:
            (key, value) pairs and where to go on.
        """
        with self.raw.cursor(self._handles[db.name]) as cursor:
            if not _start(cursor, db.dupsort, low, high, reverse, after):
                return Chunk([], None)
            step = cursor.iterprev(True, True) if reverse else cursor.iternext(True, True)
            items: list[tuple[bytes, bytes]] = []
            fetch_count = FETCH_COUNT_FIRST
            while len(items) < count_max:
                wanted = min(fetch_count, count_max - len(items))
                fresh = list(islice(step, wanted))
                items += fresh
                if fresh:
                    if reverse:
                        if fresh[-1][0] < low:
                            return Chunk(items[: bisect_left(items, True, key=lambda i: i[0] < low)], None)
                    elif high is not None and fresh[-1][0] >= high:
                        # (high,) sorts before every (high, value)
                        return Chunk(items[: bisect_left(items, (high,))], None)
                if len(fresh) < wanted:
                    return Chunk(items, None)
                fetch_count *= 8
            return Chunk(items, _resume(step_cursor=cursor, low=low, high=high, reverse=reverse))

    def scan_keys(
        self,
        db: SubDb,
        low: bytes = b"",
        high: bytes | None = None,
        *,
        count_max: int,
        reverse: bool = False,
        after: Position | None = None,
    ) -> Chunk[bytes]:
        """As `scan`, but only the keys (one for each value a key has): twice as fast."""
        with self.raw.cursor(self._handles[db.name]) as cursor:
            if not _start(cursor, db.dupsort, low, high, reverse, after):
                return Chunk([], None)
            step: Iterator[Any] = cursor.iterprev(True, False) if reverse else cursor.iternext(True, False)
            keys: list[bytes] = []
            fetch_count = FETCH_COUNT_FIRST
            while len(keys) < count_max:
                wanted = min(fetch_count, count_max - len(keys))
                fresh: list[bytes] = list(islice(step, wanted))
                keys += fresh
                if fresh:
                    if reverse:
                        if fresh[-1] < low:
                            return Chunk(keys[: bisect_left(keys, True, key=lambda key: key < low)], None)
                    elif high is not None and fresh[-1] >= high:
                        return Chunk(keys[: bisect_left(keys, high)], None)
                if len(fresh) < wanted:
                    return Chunk(keys, None)
                fetch_count *= 8
            return Chunk(keys, _resume(step_cursor=cursor, low=low, high=high, reverse=reverse))

    def scan_values(
        self,
        db: SubDb,
        low: bytes = b"",
        high: bytes | None = None,
        *,
        count_max: int,
        reverse: bool = False,
        after: Position | None = None,
    ) -> Chunk[bytes]:
        """As `scan`, but only the values; fastest for whole keys of a database of fixed size values."""
        if db.dupfixed and after is None and not reverse:
            return self._scan_values_in_bulk(db, low, high, count_max)
        chunk = self.scan(db, low, high, count_max=count_max, reverse=reverse, after=after)
        return Chunk([value for _, value in chunk.items], chunk.resume)

    def _scan_values_in_bulk(self, db: SubDb, low: bytes, high: bytes | None, count_max: int) -> Chunk[bytes]:
        """Take keys whole, as long as they have many values and fit; leave the rest to `scan`."""
        values: list[bytes] = []
        position: Position | None = None
        with self.raw.cursor(self._handles[db.name]) as cursor:
            found = _start(cursor, True, low, high, False, None)
            while found:
                key = cursor.key()
                if high is not None and key >= high:
                    return Chunk(values, None)
                if not BULK_COUNT_MIN <= cursor.count() <= count_max - len(values):
                    break
                values += _all_values(cursor, key, db.dupfixed)
                position = Position(key, values[-1])
                found = cursor.next_nodup()
        if not found or len(values) == count_max:
            return Chunk(values, position if found else None)
        rest = self.scan(db, low, high, count_max=count_max - len(values), after=position)
        values += [value for _, value in rest.items]
        return Chunk(values, rest.resume)


class WriteTxn(ReadTxn):
    """The open write transaction: reads in it see what it has written.

    An op that writes through `raw` sets `touched` to True before its first write, so that a failure later
    in the op is known to need an abort.
    """

    __slots__ = ("_delete", "_put", "touched")

    touched: bool

    def bind(self, raw: lmdb.Transaction[bytes]) -> None:
        """Use this LMDB transaction from now on. For the slab alone."""
        self.raw = raw
        self._get = raw.get
        self._put = raw.put
        self._delete = raw.delete

    def put(self, db: SubDb, key: bytes, value: bytes, *, overwrite: bool = True) -> bool:
        """Write one item.

        Args:
            db: Where to.
            key: 1 to 511 bytes.
            value: 1 to 511 bytes in a dupsort database, which adds it to the values of the key.
            overwrite: False: change nothing if the key is there already.

        Returns:
            Whether something was written: False for a key kept (`overwrite`), or for a value that the key
            of a dupsort database has already.
        """
        self.touched = True
        return self._put(key, value, not db.dupsort, overwrite, False, self._handles[db.name])

    def put_many(self, db: SubDb, items: Sequence[tuple[bytes, bytes]]) -> int:
        """Write many items in one call, fastest if sorted; returns how many were new or changed.

        In a dupsort database, pairs that are there already are not counted.
        """
        self.touched = True
        with self.raw.cursor(self._handles[db.name]) as cursor:
            return cursor.putmulti(items, dupdata=not db.dupsort)[1]

    def delete(self, db: SubDb, key: bytes, value: bytes | None = None) -> bool:
        """Delete a key with all its values, or only one value of it; whether it was there."""
        if value is not None and not db.dupsort and self.get(db, key) != value:
            return False
        self.touched = True
        if value == b"" and db.dupsort:
            # LMDB would take an empty value for "all of them"; a dupsort database has no empty value.
            return False
        return self._delete(key, value or b"", self._handles[db.name])

    def delete_range(self, db: SubDb, low: bytes, high: bytes | None, *, count_max: int) -> int:
        """Delete the first items with low <= key < high.

        Returns:
            How many; less than `count_max` means that none is left.
        """
        with self.raw.cursor(self._handles[db.name]) as cursor:
            found = cursor.set_range(low) if low else cursor.first()
            count = 0
            while found and count < count_max:
                key = cursor.key()
                if not key or (high is not None and key >= high):
                    break
                self.touched = True
                cursor.delete()
                count += 1
                found = bool(cursor.key())
            return count


def _all_values(cursor: lmdb.Cursor[bytes], key: bytes, size: int) -> list[bytes]:
    """All values of a key, each of so many bytes, in one call; the cursor stays on the key."""
    data = cursor.getmulti([key], True, size, True)
    return [value for (value,) in iter_unpack(f"{len(key)}x{size}s", data)]


def _start(
    cursor: lmdb.Cursor[bytes],
    dupsort: bool,
    low: bytes,
    high: bytes | None,
    reverse: bool,
    after: Position | None,
) -> bool:
    """Put the cursor on the first item to return; False if there is none at all."""
    if reverse:
        if after is None:
            if high is None:
                return cursor.last()
            return cursor.prev() if cursor.set_range(high) else cursor.last()
        return _seek_before(cursor, dupsort, after)
    if after is None:
        return cursor.set_range(low) if low else cursor.first()
    return _seek_behind(cursor, dupsort, after)


def _seek_behind(cursor: lmdb.Cursor[bytes], dupsort: bool, after: Position) -> bool:
    if dupsort and cursor.set_range_dup(after.key, after.value):
        return cursor.next() if cursor.value() == after.value else True
    # The key is gone, or has only lesser values left.
    if not cursor.set_range(after.key):
        return False
    return cursor.next_nodup() if cursor.key() == after.key else True


def _seek_before(cursor: lmdb.Cursor[bytes], dupsort: bool, after: Position) -> bool:
    if dupsort and cursor.set_range_dup(after.key, after.value):
        return cursor.prev()
    if not cursor.set_range(after.key):
        return cursor.last()
    if dupsort and cursor.key() == after.key:
        return cursor.last_dup()
    return cursor.prev()


def _resume(
    *, step_cursor: lmdb.Cursor[bytes], low: bytes, high: bytes | None, reverse: bool
) -> Position | None:
    """The position of the item the cursor stands on, or None if no item of the range follows it."""
    position = Position(*step_cursor.item())
    if reverse:
        return position if step_cursor.prev() and step_cursor.key() >= low else None
    return position if step_cursor.next() and (high is None or step_cursor.key() < high) else None
