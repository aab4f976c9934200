"""Walks give every item once, chunk by chunk, and may be written behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cellmesh.common.storage import Slab, SubDb, WriteTxn
from cellmesh.common.storage.walking import walk, walk_apart, walk_keys

PLAIN = SubDb("plain", "key -> value")
DUPS = SubDb("dups", "key -> values", dupsort=True)
ITEMS = [(bytes([number]), b"v") for number in range(10)]
VALUES = [(key, value) for key in (b"a", b"b", b"c") for value in (b"1", b"2", b"3", b"4")]


@pytest.fixture(params=[1, 3, 4, 12, 1000], ids="chunks of {}".format)
def count(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def slab(tmp_path: Path) -> Iterator[Slab]:
    with Slab.open(tmp_path / "slab", [PLAIN, DUPS], sync=False) as made:

        def fill(txn: WriteTxn) -> None:
            txn.put_many(PLAIN, ITEMS)
            txn.put_many(DUPS, VALUES)

        made.write(fill)
        yield made


def test_every_item_comes_once_whatever_the_size_of_a_chunk(slab: Slab, count: int) -> None:
    with slab.view() as txn:
        assert list(walk(txn, PLAIN, count=count)) == ITEMS
        assert list(walk(txn, DUPS, count=count)) == VALUES
        assert list(walk_keys(txn, PLAIN, count=count)) == [key for key, _ in ITEMS]
        assert list(walk_keys(txn, DUPS, count=count)) == [key for key, _ in VALUES]
    assert list(walk_apart(slab, PLAIN, count=count)) == ITEMS
    assert list(walk_apart(slab, DUPS, count=count)) == VALUES


def test_a_range_ends_below_its_bound(slab: Slab, count: int) -> None:
    with slab.view() as txn:
        assert list(walk(txn, PLAIN, b"\x02", b"\x07", count=count)) == ITEMS[2:7]
        assert list(walk(txn, DUPS, b"b", b"c", count=count)) == VALUES[4:8]
        assert list(walk_keys(txn, PLAIN, b"\x08", count=count)) == [b"\x08", b"\x09"]
        assert list(walk(txn, PLAIN, b"\x0b", count=count)) == []


def test_what_is_walked_may_be_rewritten_and_deleted(slab: Slab, count: int) -> None:
    def rewrite(txn: WriteTxn) -> list[bytes]:
        seen = []
        for key, _ in walk(txn, PLAIN, count=count):
            seen.append(key)
            if key[0] % 2:
                txn.delete(PLAIN, key)
            else:
                txn.put(PLAIN, key, b"new")
        return seen

    assert slab.write(rewrite) == [key for key, _ in ITEMS]
    assert list(walk_apart(slab, PLAIN)) == [(key, b"new") for key, _ in ITEMS[::2]]


def test_no_transaction_is_open_between_chunks(slab: Slab) -> None:
    steps = walk_apart(slab, PLAIN, count=5)
    first = [next(steps) for _ in range(5)]
    slab.write(lambda txn: txn.put(PLAIN, b"\x07", b"later"))
    assert [*first, *steps] == [*ITEMS[:7], (b"\x07", b"later"), *ITEMS[8:]]
