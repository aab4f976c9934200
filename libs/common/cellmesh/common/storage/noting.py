"""A write transaction that notes which items it touches, for the time of a compaction.

Notes name items, not values: whoever works them off looks up what is stored by then. An item that was touched and
rolled back is noted as well, which does no harm. All ways to write are covered, the raw transaction and its cursors
too, so nobody else needs to know.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import lmdb
from cellmesh.common.storage.subdb import SubDb
from cellmesh.common.storage.transactions import WriteTxn


class Notes:
    """Items touched since the notes were taken last.

    Attributes:
        keys: By database: keys of which all values are to be looked up.
        pairs: By database that sorts duplicates: single values of keys.
        is_lost: Whether something happened that notes cannot tell, or there were more than may be.

    Args:
        count_max: Beyond so many, all are dropped.
    """

    def __init__(self, count_max: int) -> None:
        self.keys: dict[str, set[bytes]] = {}
        self.pairs: dict[str, set[tuple[bytes, bytes]]] = {}
        self.is_lost = False
        self._count_max = count_max
        self._lock = threading.Lock()

    @property
    def count(self) -> int:
        """How many items are noted."""
        with self._lock:
            return sum(map(len, self.keys.values())) + sum(map(len, self.pairs.values()))

    def add(self, db: SubDb, items: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Note items: keys with the value touched, None meaning all of them."""
        if self.is_lost:
            return
        with self._lock:
            keys = self.keys.setdefault(db.name, set())
            if db.dupsort:
                pairs = self.pairs.setdefault(db.name, set())
                for key, value in items:
                    if value is None:
                        keys.add(key)
                    else:
                        pairs.add((key, value))
                too_many = len(pairs) + len(keys) > self._count_max
            else:
                keys.update(key for key, _ in items)
                too_many = len(keys) > self._count_max
        if too_many:
            self.lose()

    def lose(self) -> None:
        """Give up: what was noted is not all, or too much."""
        self.is_lost = True
        with self._lock:
            self.keys, self.pairs = {}, {}

    def take(self) -> Notes:
        """What is noted now; notes begin anew. No write transaction may be open, or some of it is not to be seen."""
        taken = Notes(self._count_max)
        with self._lock:
            taken.keys, self.keys = self.keys, {}
            taken.pairs, self.pairs = self.pairs, {}
        taken.is_lost = self.is_lost
        return taken


class NotingTxn(WriteTxn):
    """The open write transaction while notes are taken."""

    __slots__ = ("_names", "_notes")

    def __init__(self, handles: dict[str, lmdb._Database], databases: Sequence[SubDb], notes: Notes) -> None:
        super().__init__(handles)
        self._names = {id(handles[db.name]): db for db in databases}
        self._notes = notes

    def bind(self, raw: lmdb.Transaction[bytes]) -> None:
        """Use this LMDB transaction from now on. For the slab alone."""
        noting: Any = _Raw(raw, self._names, self._notes)
        super().bind(noting)
        self._get = raw.get


class _Raw:
    """An LMDB transaction whose writes are noted."""

    __slots__ = ("_names", "_notes", "_raw")

    def __init__(self, raw: lmdb.Transaction[bytes], names: Mapping[int, SubDb], notes: Notes) -> None:
        self._raw = raw
        self._names = names
        self._notes = notes

    def put(
        self,
        key: bytes,
        value: bytes,
        dupdata: bool = True,
        overwrite: bool = True,
        append: bool = False,
        db: Any = None,
    ) -> bool:
        self._notes.add(self._names[id(db)], ((key, value),))
        return self._raw.put(key, value, dupdata, overwrite, append, db)

    def delete(self, key: bytes, value: bytes = b"", db: Any = None) -> bool:
        self._notes.add(self._names[id(db)], ((key, value or None),))
        return self._raw.delete(key, value, db)

    def cursor(self, db: Any = None) -> _Cursor:
        return _Cursor(self._raw.cursor(db), self._names[id(db)], self._notes)

    def drop(self, db: Any, delete: bool = True) -> None:
        self._notes.lose()
        self._raw.drop(db, delete)

    def replace(self, key: bytes, value: bytes, db: Any = None) -> bytes | None:
        self._notes.add(self._names[id(db)], ((key, None),))
        return self._raw.replace(key, value, db)

    def pop(self, key: bytes, db: Any = None) -> bytes | None:
        self._notes.add(self._names[id(db)], ((key, None),))
        return self._raw.pop(key, db)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)


class _Cursor:
    """A cursor whose writes are noted."""

    __slots__ = ("_cursor", "_db", "_notes")

    def __init__(self, cursor: Any, db: SubDb, notes: Notes) -> None:
        self._cursor = cursor
        self._db = db
        self._notes = notes

    def put(
        self,
        key: bytes,
        value: bytes,
        dupdata: bool = True,
        overwrite: bool = True,
        append: bool = False,
    ) -> bool:
        self._notes.add(self._db, ((key, value),))
        return bool(self._cursor.put(key, value, dupdata, overwrite, append))

    def putmulti(
        self,
        items: Iterable[tuple[bytes, bytes]],
        dupdata: bool = True,
        overwrite: bool = True,
        append: bool = False,
    ) -> Any:
        found = list(items)
        self._notes.add(self._db, found)
        return self._cursor.putmulti(found, dupdata, overwrite, append)

    def delete(self, dupdata: bool = False) -> bool:
        key, value = self._cursor.item()
        self._notes.add(self._db, ((key, None if dupdata else value),))
        return bool(self._cursor.delete(dupdata))

    def replace(self, key: bytes, value: bytes) -> Any:
        self._notes.add(self._db, ((key, None),))
        return self._cursor.replace(key, value)

    def pop(self, key: bytes) -> Any:
        self._notes.add(self._db, ((key, None),))
        return self._cursor.pop(key)

    def __enter__(self) -> Self:
        self._cursor.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cursor.__exit__(kind, error, trace)

    def __iter__(self) -> Any:
        return iter(self._cursor)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)
