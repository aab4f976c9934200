"""Hashes of what is stored, and the snapshots they are taken of."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cellmesh.common.errors import BadState, Retry, TimeOut
from cellmesh.common.storage import Slab, SubDb, WriteTxn, hash_state

PLAIN = SubDb("plain", "name -> text")
MANY = SubDb("many", "name -> texts", dupsort=True)
FIXED = SubDb("fixed", "name -> 8 bytes each", dupsort=True, dupfixed=8)
OWN = SubDb("own", "name -> text", local=True)
DATABASES = (PLAIN, MANY, FIXED, OWN)


@pytest.fixture
def slab(tmp_path: Path) -> Iterator[Slab]:
    with Slab.open(tmp_path / "slab", DATABASES, map_size_bytes=32 << 20, sync=False) as found:
        yield found


def put(key: bytes, value: bytes) -> Callable[[WriteTxn], bool]:
    return lambda txn: txn.put(PLAIN, key, value)


def fill(slab: Slab, items: list[tuple[SubDb, bytes, bytes]], step: int) -> None:
    for start in range(0, len(items), step):

        def op(txn: WriteTxn, part: list[tuple[SubDb, bytes, bytes]] = items[start : start + step]) -> None:
            for db, key, value in part:
                txn.put(db, key, value)

        slab.write(op)


def some_items(seed: int, count: int) -> list[tuple[SubDb, bytes, bytes]]:
    chance = random.Random(seed)
    found = []
    for _ in range(count):
        key = chance.randbytes(chance.randrange(1, 20))
        found.append((PLAIN, key, chance.randbytes(chance.choice((0, 5, 100, 9000)))))
        found.append((MANY, key[:1], chance.randbytes(chance.randrange(1, 40))))
        found.append((FIXED, key[:1], chance.randbytes(8)))
    return found


def test_equal_content_has_equal_hashes_however_it_came(slab: Slab, tmp_path: Path) -> None:
    items = some_items(1, 3000)
    fill(slab, items, 1000)
    unlike = list(
        {(db.name, key, value if db.dupsort else b""): (db, key, value) for db, key, value in items}.values()
    )
    last = {(db.name, key): value for db, key, value in items if not db.dupsort}
    unlike = [(db, key, value if db.dupsort else last[db.name, key]) for db, key, value in unlike]
    random.Random(2).shuffle(unlike)
    with Slab.open(tmp_path / "other", DATABASES, map_size_bytes=1 << 20, sync=False) as other:
        fill(other, [(PLAIN, b"passing", b"x" * 5000), (MANY, b"passing", b"y")], 1)
        fill(other, unlike, 77)
        other.write(lambda txn: txn.delete(PLAIN, b"passing"))
        other.write(lambda txn: txn.delete(MANY, b"passing"))
        other.write(lambda txn: txn.put(OWN, b"mine", b"only"))
        found, expected = other.state_hash(), slab.state_hash()
    assert found == expected
    assert set(found.databases) == {"plain", "many", "fixed"}, "local ones are left out"
    assert found.item_count == sum(slab.stats().entries[name] for name in found.databases)


@pytest.mark.parametrize(
    "change",
    [
        lambda txn: txn.put(PLAIN, b"k1", b"other"),
        lambda txn: txn.put(PLAIN, b"k10", b""),
        lambda txn: txn.delete(PLAIN, b"k2"),
        lambda txn: txn.put(MANY, b"k1", b"more"),
        # The same bytes, cut elsewhere.
        lambda txn: (txn.delete(PLAIN, b"k1"), txn.put(PLAIN, b"k", b"1v1")),
        lambda txn: (txn.delete(MANY, b"k1"), txn.put(PLAIN, b"k1a", b"v1")),
    ],
)
def test_any_difference_shows(slab: Slab, change) -> None:  # type: ignore[no-untyped-def]
    fill(slab, [(db, b"k%d" % n, b"v%d" % n) for n in range(1, 4) for db in (PLAIN, MANY)], 10)
    before = slab.state_hash()
    slab.write(change)
    after = slab.state_hash()
    assert before.sha256 != after.sha256
    assert before.databases != after.databases


def test_an_open_transaction_hashes_like_a_snapshot(slab: Slab) -> None:
    fill(slab, some_items(3, 200), 1000)
    with slab.view() as txn:
        assert hash_state(txn, DATABASES) == slab.state_hash()
        assert set(hash_state(txn, [FIXED]).databases) == {"fixed"}


def test_hash_is_of_one_state_while_writes_go_on(slab: Slab) -> None:
    fill(slab, some_items(4, 3000), 1000)
    before = slab.state_hash()
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            slab.write(put(b"new %d" % number, b"x" * 50))
            number += 1

    with slab.snapshot("check") as snapshot:
        thread = threading.Thread(target=write)
        thread.start()
        try:
            found = hash_state(snapshot, DATABASES)
        finally:
            stop.set()
            thread.join()
    assert found == before
    assert slab.state_hash() != before


def test_one_snapshot_a_purpose(slab: Slab) -> None:
    with slab.snapshot("check"):
        with pytest.raises(BadState):
            slab.snapshot("check")
        slab.snapshot("other").stop()
    slab.snapshot("check").stop()


def test_snapshot_that_nobody_reads_is_ended(slab: Slab) -> None:
    with slab.snapshot("check", stall_max_s=0.05) as snapshot:
        deadline = threading.Event()
        for _ in range(100):
            if not snapshot.is_open:
                break
            deadline.wait(0.02)
        with pytest.raises(TimeOut):
            snapshot.read(lambda txn: txn.entries(PLAIN))


def test_writes_that_need_room_end_a_snapshot(tmp_path: Path) -> None:
    with Slab.open(tmp_path / "small", DATABASES, map_size_bytes=1 << 20, sync=False) as slab:
        with slab.snapshot("check") as snapshot:
            for number in range(3000):
                try:
                    slab.write(put(b"%d" % number, bytes(1000)))
                except Exception:  # noqa: BLE001, S110  the write that finds the map full; it may be run again
                    pass
            with pytest.raises(Retry):
                snapshot.read(lambda txn: txn.entries(PLAIN))
        assert slab.stats().growths


def marked(slab: Slab, mark: bytes) -> tuple[int, int]:
    """Items when a mark was written, and in a snapshot begun behind it."""
    seen: list[int] = []

    def op(txn: WriteTxn) -> int:
        txn.put(MANY, b"mark", mark)
        return txn.entries(PLAIN)

    def then() -> None:
        slab.snapshot("check", lambda txn: seen.append(txn.entries(PLAIN))).stop()

    written = slab.write_then(op, then)
    return written, seen[0]


def test_snapshot_after_a_write_has_that_write_and_none_behind_it(slab: Slab) -> None:
    """Many write at the same time: the state is the one that the op left."""
    stop = threading.Event()

    def write(number: int) -> None:
        step = 0
        while not stop.is_set():
            with slab.session() as session:
                for _ in range(5):
                    session.write(put(b"%d.%d" % (number, step), b""))
                    step += 1

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        for mark in range(30):
            written, found = marked(slab, b"%d" % mark)
            assert found == written
    finally:
        stop.set()
        for thread in threads:
            thread.join()
