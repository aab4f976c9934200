"""The twin in memory against LMDB itself: the same steps, the same answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lmdb
import pytest
from cellmesh.testing.memory.environment import MemoryEnvironment
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

KEY = st.sampled_from([b"a", b"b", b"bb", b"c", b"d"])
VALUE = st.sampled_from([b"1", b"2", b"3", b"4"])
FLAG = st.booleans()

STEP = st.one_of(
    st.tuples(st.just("put"), KEY, VALUE, FLAG, FLAG, FLAG),
    st.tuples(st.just("delete"), KEY, st.just(b"") | VALUE),
    st.tuples(st.just("get"), KEY),
    st.tuples(st.sampled_from(["first", "last", "next", "prev", "next_nodup", "count"])),
    st.tuples(st.sampled_from(["set_key", "set_range"]), KEY),
    st.tuples(st.sampled_from(["set_key_dup", "set_range_dup"]), KEY, VALUE),
    st.tuples(st.just("putmulti"), st.lists(st.tuples(KEY, VALUE), max_size=3), FLAG, FLAG, FLAG),
    st.tuples(st.just("cursor delete"), FLAG),
    st.tuples(st.sampled_from(["iternext", "iterprev", "iternext_dup"])),
    st.tuples(st.sampled_from(["commit", "abort"])),
)


class Side:
    """One of the two, with a transaction and a cursor."""

    def __init__(self, environment: Any, dupsort: bool) -> None:
        self.environment = environment
        self.dupsort = dupsort
        self.db = environment.open_db(b"db", dupsort=dupsort)
        self.begin()

    def begin(self) -> None:
        self.txn = self.environment.begin(write=True)
        self.cursor = self.txn.cursor(self.db)

    def do(self, step: tuple[Any, ...]) -> Any:
        name, *args = step
        cursor = self.cursor
        if name in ("commit", "abort"):
            cursor.__exit__(None, None, None)
            getattr(self.txn, name)()
            self.begin()
            return None
        if name == "get":
            return self.txn.get(args[0], None, self.db)
        if name == "put":
            return self.txn.put(*args, self.db)
        if name == "delete":
            return self.txn.delete(*args, self.db)
        if name == "putmulti":
            return cursor.putmulti(*args)
        if name.startswith("iter"):
            if name == "iternext_dup" and (not cursor.key() or not self.dupsort):
                return None
            found = list(getattr(cursor, name)(True, True))
            if name == "iternext_dup":
                # Where a cursor is behind the last value of a key depends, in LMDB's binding, on what was written before.
                cursor.first()
            return found
        if name == "cursor delete":
            if not cursor.key():
                return None
            return (cursor.delete(*args), cursor.item())
        if name == "count" and not cursor.key():
            return None
        if name in ("count", "next_nodup", "set_key_dup", "set_range_dup") and not self.dupsort:
            return None
        if name in ("next", "prev", "next_nodup") and not cursor.key():
            return None
        return (getattr(cursor, name)(*args), cursor.item())

    def content(self) -> Any:
        with self.txn.cursor(self.db) as cursor:
            return list(cursor), self.txn.stat(self.db)["entries"]


@pytest.mark.parametrize("dupsort", [False, True])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEP, max_size=30))
def test_the_twin_does_what_lmdb_does(tmp_path: Path, dupsort: bool, steps: list[tuple[Any, ...]]) -> None:
    with lmdb.open(str(tmp_path), max_dbs=2, sync=False) as environment:
        with environment.begin(write=True) as txn:
            txn.drop(environment.open_db(b"db", txn=txn, dupsort=dupsort))
        both = (Side(environment, dupsort), Side(MemoryEnvironment(), dupsort))
        try:
            for step in steps:
                found, wanted = (side.do(step) for side in both)
                assert found == wanted, step
                assert both[0].content() == both[1].content(), step
                if step[0] in ("put", "delete", "putmulti"):
                    # Where a cursor is after others have written is nobody's business.
                    for side in both:
                        side.cursor = side.txn.cursor(side.db)
        finally:
            both[0].txn.abort()
