"""LMDB's environment as a slab uses it, over sorted lists in memory.

Written from LMDB's documentation, as the plainest thing that does the same: a database is one sorted list of (key, value)
pairs, a transaction that writes works on copies, and a commit puts them in place. A cursor holds the pair it is at, not
a place in the list, and looks for it anew with each step.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Final, Self

import lmdb

PAGE_SIZE: Final = 4096
KEY_SIZE_MAX: Final = 511
MAP_SIZE_BYTES: Final = 1 << 40

Pair = tuple[bytes, bytes]


class Handle:
    """A database: its name, and whether keys have many values, and values of one size."""

    def __init__(self, name: str, dupsort: bool, dupfixed: bool) -> None:
        self.name = name
        self.dupsort = dupsort
        self.dupfixed = dupfixed


class MemoryEnvironment:
    """All databases, as last committed."""

    def __init__(self) -> None:
        self.handles: dict[bytes, Handle] = {}
        self.tables: dict[str, list[Pair]] = {}
        self.txn_id = 0
        self.write_lock = threading.Lock()

    def open_db(
        self,
        key: bytes,
        txn: Transaction | None = None,
        dupsort: bool = False,
        dupfixed: bool = False,
        create: bool = True,
    ) -> Handle:
        """Return a database, made if it is not there."""
        found = self.handles.get(key)
        if found is None:
            if not create:
                raise lmdb.NotFoundError(key.decode())
            found = self.handles[key] = Handle(key.decode(), dupsort, dupfixed)
            self.tables[found.name] = []
            if txn is not None:
                txn.tables[found.name] = []
        return found

    def begin(self, write: bool = False) -> Transaction:
        """Begin a transaction; one that writes waits for the one before."""
        if write:
            self.write_lock.acquire()
        return Transaction(self, write)

    def dbs(self) -> list[bytes]:
        """Return the names of all databases."""
        return sorted(self.handles)

    def stat(self) -> dict[str, int]:
        """Return figures; no more than the size of a page is meant."""
        return {"psize": PAGE_SIZE}

    def info(self) -> dict[str, int]:
        """Return figures of a file that never is half full."""
        return {"map_size": MAP_SIZE_BYTES, "last_pgno": 1, "last_txnid": self.txn_id}

    def flags(self) -> dict[str, bool]:
        """Return how it was opened."""
        return {"sync": False}

    def close(self) -> None:
        """Forget everything."""
        self.tables = {}


class Transaction:
    """A transaction: all tables as they were when it began, those written to as copies."""

    def __init__(self, environment: MemoryEnvironment, write: bool) -> None:
        self.environment = environment
        self.tables = dict(environment.tables)
        self.number = environment.txn_id + write
        self.is_writing = write
        self.is_open = True
        self._copied: set[str] = set()

    def table(self, db: Handle) -> list[Pair]:
        """Return a table to be read."""
        assert self.is_open, "the transaction has ended"
        return self.tables[db.name]

    def own_table(self, db: Handle) -> list[Pair]:
        """Return a table to be changed."""
        assert self.is_open, "the transaction has ended"
        if not self.is_writing:
            raise lmdb.ReadonlyError("mdb_put")
        if db.name not in self._copied:
            self._copied.add(db.name)
            self.tables[db.name] = list(self.tables[db.name])
        return self.tables[db.name]

    def id(self) -> int:
        """Return the number of the state that it sees, or makes."""
        return self.number

    def stat(self, db: Handle) -> dict[str, int]:
        """Return figures of a database."""
        return {
            "psize": PAGE_SIZE,
            "entries": len(self.table(db)),
            "branch_pages": 0,
            "leaf_pages": 1,
            "overflow_pages": 0,
        }

    def get(self, key: bytes, default: Any = None, db: Any = None) -> Any:
        """Return the value of a key, the least if it has many."""
        _check_key(key)
        table = self.table(db)
        at = bisect_left(table, (key,))
        return table[at][1] if at < len(table) and table[at][0] == key else default

    def put(
        self,
        key: bytes,
        value: bytes,
        dupdata: bool = True,
        overwrite: bool = True,
        append: bool = False,
        db: Any = None,
    ) -> bool:
        """Write an item; returns False where LMDB says that there is one."""
        _check_key(key)
        table = self.own_table(db)
        if db.dupsort:
            return self._put_duplicate(table, key, value, dupdata, overwrite, append, db)
        if append and table and table[-1][0] >= key:
            return False
        at = bisect_left(table, (key,))
        if at < len(table) and table[at][0] == key:
            if not overwrite:
                return False
            table[at] = (key, value)
        else:
            table.insert(at, (key, value))
        return True

    def _put_duplicate(
        self,
        table: list[Pair],
        key: bytes,
        value: bytes,
        dupdata: bool,
        overwrite: bool,
        append: bool,
        db: Handle,
    ) -> bool:
        if not 0 < len(value) <= KEY_SIZE_MAX:
            raise lmdb.BadValsizeError("mdb_put")
        first = bisect_left(table, (key,))
        has_key = first < len(table) and table[first][0] == key
        if has_key and db.dupfixed and len(table[first][1]) != len(value):
            raise lmdb.BadValsizeError("mdb_put")
        if has_key and not overwrite:
            return False
        at = bisect_left(table, (key, value), lo=first)
        is_there = at < len(table) and table[at] == (key, value)
        if append and (is_there or (at < len(table) and table[at][0] == key)):
            return False
        if is_there:
            return dupdata
        table.insert(at, (key, value))
        return True

    def delete(self, key: bytes, value: bytes = b"", db: Any = None) -> bool:
        """Delete a key, or one of its values; returns whether it was there."""
        _check_key(key)
        table = self.own_table(db)
        if value and db.dupsort:
            at = bisect_left(table, (key, value))
            if at == len(table) or table[at] != (key, value):
                return False
            del table[at]
            return True
        first, end = _span(table, key)
        del table[first:end]
        return end > first

    def cursor(self, db: Any = None) -> Cursor:
        """Return a cursor that is nowhere yet."""
        return Cursor(self, db)

    def commit(self) -> None:
        """Put what was written in place."""
        assert self.is_open, "the transaction has ended"
        self.is_open = False
        if self.is_writing:
            self.environment.tables = self.tables
            self.environment.txn_id = self.number
            self.environment.write_lock.release()

    def abort(self) -> None:
        """Forget what was written."""
        if self.is_open:
            self.is_open = False
            if self.is_writing:
                self.environment.write_lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.commit()
        else:
            self.abort()


class Cursor:
    """A place in a database, told by the pair that is there; empty bytes are nowhere."""

    def __init__(self, txn: Transaction, db: Handle) -> None:
        self._txn = txn
        self._db = db
        self._at: Pair | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._at = None

    def __iter__(self) -> Iterator[Pair]:
        return self.iternext(True, True)

    # Where it is.

    def key(self) -> bytes:
        """Return the key it is at."""
        return b"" if self._at is None else self._at[0]

    def value(self) -> bytes:
        """Return the value it is at."""
        return b"" if self._at is None else self._at[1]

    def item(self) -> Pair:
        """Return both."""
        return (b"", b"") if self._at is None else self._at

    def count(self) -> int:
        """Return how many values the key has that it is at."""
        first, end = _span(self._table, self.key())
        return end - first

    @property
    def _table(self) -> list[Pair]:
        return self._txn.table(self._db)

    def _go(self, at: int) -> bool:
        table = self._table
        self._at = table[at] if 0 <= at < len(table) else None
        return self._at is not None

    # Going elsewhere.

    def first(self) -> bool:
        """Go to the first item."""
        return self._go(0)

    def last(self) -> bool:
        """Go to the last item."""
        return self._go(len(self._table) - 1)

    def next(self) -> bool:
        """Go to the next item; from nowhere, to the first."""
        return self._go(0 if self._at is None else bisect_right(self._table, self._at))

    def prev(self) -> bool:
        """Go to the item before; from nowhere, to the last."""
        return self.last() if self._at is None else self._go(bisect_left(self._table, self._at) - 1)

    def next_nodup(self) -> bool:
        """Go to the first value of the next key."""
        return self.first() if self._at is None else self._go(_span(self._table, self._at[0])[1])

    def first_dup(self) -> bool:
        """Go to the first value of the key."""
        return self._go(_span(self._table, self.key())[0])

    def last_dup(self) -> bool:
        """Go to the last value of the key."""
        return self._go(_span(self._table, self.key())[1] - 1)

    def set_key(self, key: bytes) -> bool:
        """Go to the first value of a key."""
        _check_key(key)
        self.set_range(key)
        if self.key() != key:
            self._at = None
        return self._at is not None

    def set_key_dup(self, key: bytes, value: bytes) -> bool:
        """Go to one value of a key."""
        table = self._table
        at = bisect_left(table, (key, value))
        return self._go(at if at < len(table) and table[at] == (key, value) else -1)

    def set_range(self, key: bytes) -> bool:
        """Go to the first item whose key is not less."""
        return self._go(bisect_left(self._table, (key,)))

    def set_range_dup(self, key: bytes, value: bytes) -> bool:
        """Go to the first value of a key that is not less."""
        table = self._table
        at = bisect_left(table, (key, value))
        return self._go(at if at < len(table) and table[at][0] == key else -1)

    # Many.

    def iternext(self, keys: bool = True, values: bool = True) -> Iterator[Any]:
        """Go through the items from where it is, or from the first."""
        here = self._at is not None or self.first()
        while here:
            yield _part(self.item(), keys, values)
            here = self.next()

    def iterprev(self, keys: bool = True, values: bool = True) -> Iterator[Any]:
        """Go back through the items from where it is, or from the last."""
        here = self._at is not None or self.last()
        while here:
            yield _part(self.item(), keys, values)
            here = self.prev()

    def iternext_dup(self, keys: bool = False, values: bool = True) -> Iterator[Any]:
        """Go through the values of the key from where it is."""
        key = self.key()
        here = self._at is not None
        while here and self.key() == key:
            yield _part(self.item(), keys, values)
            here = self.next()
        # Not at the next key: behind the last value there is nothing of this one.
        self._at = None

    def getmulti(
        self, keys: Iterable[bytes], dupdata: bool = False, dupfixed_bytes: int = 0, keyfixed: bool = False
    ) -> bytes:
        """Return keys and their values, all laid end to end."""
        assert dupdata, "only used for all values of keys"
        assert dupfixed_bytes, "only used with values of one size"
        assert keyfixed, "only used with keys of one size"
        table = self._table
        found: list[bytes] = []
        for key in keys:
            first, end = _span(table, key)
            found += [part for pair in table[first:end] for part in pair]
            # Where LMDB's cursor is afterwards.
            self._go(end - 1)
        return b"".join(found)

    # Writing.

    def put(
        self,
        key: bytes,
        value: bytes,
        dupdata: bool = True,
        overwrite: bool = True,
        append: bool = False,
    ) -> bool:
        """Write an item."""
        is_new = self._txn.put(key, value, dupdata, overwrite, append, self._db)
        self._at = (key, value)
        return is_new

    def putmulti(
        self,
        items: Iterable[Pair],
        dupdata: bool = True,
        overwrite: bool = True,
        append: bool = False,
    ) -> tuple[int, int]:
        """Write items; returns how many there were, and how many LMDB would not say were there."""
        consumed = added = 0
        for key, value in items:
            consumed += 1
            added += self._txn.put(key, value, dupdata, overwrite, append, self._db)
        return consumed, added

    def delete(self, dupdata: bool = False) -> bool:
        """Delete the item it is at, or all values of its key, and go to the one behind."""
        if self._at is None:
            return False
        table = self._txn.own_table(self._db)
        first, end = _span(table, self._at[0])
        if not dupdata:
            first = bisect_left(table, self._at)
            end = first + 1
        del table[first:end]
        self._go(first)
        return True


def _check_key(key: bytes) -> None:
    if not 0 < len(key) <= KEY_SIZE_MAX:
        raise lmdb.BadValsizeError("mdb_put")


def _span(table: list[Pair], key: bytes) -> tuple[int, int]:
    """Return where the items of a key are."""
    first = bisect_left(table, (key,))
    end = bisect_left(table, (key + b"\0",), lo=first)
    return first, end


def _part(pair: Pair, keys: bool, values: bool) -> Any:
    return pair if keys and values else pair[0] if keys else pair[1]
