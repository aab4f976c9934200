"""Compaction of a slab in use: nothing is lost, whoever writes and reads, and wherever it is killed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cellmesh.common.errors import BadState, LowSpace, Retry
from cellmesh.common.failpoints import FailpointHit, failing
from cellmesh.common.storage import (
    Compacted,
    ReadTxn,
    Slab,
    StateHash,
    SubDb,
    WriteTxn,
    compact,
    compact_online,
    hash_state,
)
from cellmesh.common.storage import online as online_module

PLAIN = SubDb("plain", "name -> text")
MANY = SubDb("many", "name -> texts", dupsort=True)
FIXED = SubDb("fixed", "name -> 8 bytes each", dupsort=True, dupfixed=8)
EMPTY = SubDb("empty", "nothing")
DATABASES = (PLAIN, MANY, FIXED, EMPTY)


@pytest.fixture
def slab(tmp_path: Path) -> Iterator[Slab]:
    with Slab.open(tmp_path / "slab", DATABASES, map_size_bytes=256 << 20) as found:
        yield found


def fill(slab: Slab, count: int = 3000, size: int = 500) -> None:
    """Items, of which two of three are deleted again."""

    def put(txn: WriteTxn) -> None:
        for number in range(count):
            txn.put(PLAIN, b"%06d" % number, bytes(size))
            txn.put(MANY, b"%04d" % (number // 50), b"%06d" % number)
            txn.put(FIXED, b"%04d" % (number // 500), number.to_bytes(8, "big"))

    def delete(txn: WriteTxn) -> None:
        for number in range(count):
            if number % 3:
                txn.delete(PLAIN, b"%06d" % number)

    slab.write(put)
    slab.write(delete)


def run(slab: Slab) -> Compacted:
    done = list(compact_online(slab))[-1]
    assert isinstance(done, Compacted)
    return done


def content(slab: Slab) -> StateHash:
    return slab.state_hash(DATABASES)


def test_gives_disk_back_and_keeps_all(slab: Slab) -> None:
    fill(slab)
    before, size = content(slab), (slab.path / "data.mdb").stat().st_size
    done = run(slab)
    assert content(slab) == before
    assert done.before_bytes == size
    assert done.after_bytes == (slab.path / "data.mdb").stat().st_size < size * 0.7
    assert sorted(path.name for path in slab.path.iterdir()) == ["data.mdb", "lock"]


def test_goes_on_in_the_new_file_and_after_a_restart(tmp_path: Path) -> None:
    slab = Slab.open(tmp_path / "slab", DATABASES)
    fill(slab)
    with slab.view() as txn:
        id_before = txn.raw.id()
    run(slab)
    with slab.view() as txn:
        assert txn.raw.id() == id_before, "the numbers of transactions go on"
        slab.wait_durable(txn.raw.id())
    for number in range(50):
        slab.write(lambda txn, n=number: txn.put(PLAIN, b"new %d" % n, b"x" * 3000))  # type: ignore[misc]
        slab.write(lambda txn, n=number: txn.delete(PLAIN, b"%06d" % (3 * n)))  # type: ignore[misc]
    run(slab)
    expected = content(slab)
    slab.close()
    with Slab.open(slab.path, DATABASES) as again:
        assert content(again) == expected
        with again.view() as txn:
            assert txn.get(PLAIN, b"new 49") == b"x" * 3000
            assert txn.raw.id() >= id_before + 100
        again.write(lambda txn: txn.put(PLAIN, b"more", b""))


def every_way(txn: WriteTxn, chance: random.Random, model: dict[str, dict[bytes, set[bytes]]]) -> None:
    """One write of any kind, in the storage and in a model."""
    key = b"%04d" % chance.randrange(300)
    value = chance.randbytes(8)
    plain, many, fixed = model["plain"], model["many"], model["fixed"]
    kind = chance.randrange(11)
    if kind == 0:
        txn.put(PLAIN, key, value)
        plain[key] = {value}
    elif kind == 1:
        txn.delete(PLAIN, key)
        plain.pop(key, None)
    elif kind == 2:
        db, side = chance.choice(((MANY, many), (FIXED, fixed)))
        txn.put(db, key, value)
        side.setdefault(key, set()).add(value)
    elif kind == 3:
        db, side = chance.choice(((MANY, many), (FIXED, fixed)))
        some = chance.choice(sorted(side[key])) if side.get(key) else value
        txn.delete(db, key, some)
        side.get(key, set()).discard(some)
    elif kind == 4:
        db, side = chance.choice(((MANY, many), (FIXED, fixed)))
        txn.delete(db, key)
        side.pop(key, None)
    elif kind == 5:
        db, side = chance.choice(((MANY, many), (FIXED, fixed)))
        values = sorted(chance.randbytes(8) for _ in range(20))
        txn.put_many(db, [(key, one) for one in values])
        side.setdefault(key, set()).update(values)
    elif kind == 6:
        txn.put_many(PLAIN, [(key, value)])
        plain[key] = {value}
    elif kind == 7:
        txn.touched = True
        txn.raw.put(key, value, db=txn.handle(PLAIN))
        plain[key] = {value}
    elif kind == 8:
        txn.touched = True
        with txn.raw.cursor(txn.handle(FIXED)) as cursor:
            cursor.putmulti([(key, value)])
        fixed.setdefault(key, set()).add(value)
    elif kind == 9:
        high = b"%04d" % (int(key) + 3)
        txn.delete_range(PLAIN, key, high, count_max=100)
        for gone in [found for found in plain if key <= found < high]:
            del plain[gone]
    else:
        txn.touched = True
        with txn.raw.cursor(txn.handle(MANY)) as cursor:
            if cursor.set_key(key):
                cursor.delete(dupdata=True)
        many.pop(key, None)


def stored(slab: Slab) -> dict[str, dict[bytes, set[bytes]]]:
    found: dict[str, dict[bytes, set[bytes]]] = {"plain": {}, "many": {}, "fixed": {}}
    with slab.view() as txn:
        for db in (PLAIN, MANY, FIXED):
            for key, value in txn.scan(db, count_max=1_000_000).items:
                found[db.name].setdefault(key, set()).add(value)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_all_ways_to_write_meanwhile_are_in_the_new_file(slab: Slab, seed: int) -> None:
    """Random writes of each kind, some rolled back, before, in and after compactions, against a model."""
    chance = random.Random(seed)
    model: dict[str, dict[bytes, set[bytes]]] = {"plain": {}, "many": {}, "fixed": {}}
    is_done = threading.Event()
    results: list[Compacted | BaseException] = []

    def compact() -> None:
        try:
            results.extend(run(slab) for _ in range(2))
        except BaseException as error:  # noqa: BLE001
            results.append(error)
        finally:
            is_done.set()

    for _ in range(300):
        slab.write(lambda txn: every_way(txn, chance, model))
    thread = threading.Thread(target=compact)
    thread.start()
    count = 0
    while not is_done.is_set():
        with slab.session() as session:
            for _ in range(chance.randrange(1, 5)):
                session.write(lambda txn: every_way(txn, chance, model))
            session.sync()
        if chance.random() < 0.1:
            with pytest.raises(ZeroDivisionError):
                slab.write(lambda txn: (txn.put(PLAIN, b"%04d" % chance.randrange(300), b"undone"), 1 // 0))
        count += 1
    thread.join()
    assert all(isinstance(result, Compacted) for result in results), results
    assert len(results) == 2
    assert count > 20
    clean = {name: {key: values for key, values in side.items() if values} for name, side in model.items()}
    assert stored(slab) == clean
    for _ in range(50):
        slab.write(lambda txn: every_way(txn, chance, model))
    clean = {name: {key: values for key, values in side.items() if values} for name, side in model.items()}
    assert stored(slab) == clean


def test_reads_and_writes_wait_little(slab: Slab) -> None:
    fill(slab, 30_000, 300)
    waits: dict[str, list[float]] = {"read": [], "write": []}
    is_done = threading.Event()

    def loop(name: str, op: Callable[[], object]) -> None:
        while not is_done.is_set():
            start_s = time.perf_counter()
            op()
            waits[name].append(time.perf_counter() - start_s)
            time.sleep(0.0005)

    def read() -> object:
        with slab.view() as txn:
            return txn.scan(PLAIN, b"%06d" % 3000, count_max=50)

    def write() -> object:
        return slab.write(lambda txn: txn.put(PLAIN, b"busy", b"x"))

    threads = [
        threading.Thread(target=loop, args=(name, op)) for name, op in (("read", read), ("write", write))
    ]
    for thread in threads:
        thread.start()
    try:
        done = run(slab)
    finally:
        is_done.set()
        for thread in threads:
            thread.join()
    for found in waits.values():
        assert len(found) > 10
        assert sorted(found)[int(len(found) * 0.99)] < 0.5
    assert done.pause_us < 1_000_000


def test_one_at_a_time_and_it_waits_for_a_copy(slab: Slab) -> None:
    fill(slab)
    steps = compact_online(slab)
    next(steps)
    with pytest.raises(BadState):
        next(compact_online(slab))
    snapshot = slab.snapshot("check")
    threading.Timer(0.3, snapshot.stop).start()
    start_s = time.monotonic()
    assert isinstance(list(steps)[-1], Compacted)
    assert time.monotonic() - start_s > 0.2


@pytest.mark.parametrize("name", ["compact_copied", "compact_round", "slab_before_compact_swap"])
def test_a_failure_leaves_the_old_file(slab: Slab, name: str) -> None:
    fill(slab)
    before, number = content(slab), (slab.path / "data.mdb").stat().st_ino
    with failing(name, "error"), pytest.raises(FailpointHit):
        run(slab)
    assert (slab.path / "data.mdb").stat().st_ino == number
    assert not (slab.path / "compact.new").exists()
    assert content(slab) == before
    slab.write(lambda txn: txn.put(PLAIN, b"more", b""))
    run(slab)


def test_who_goes_away_ends_it(slab: Slab) -> None:
    fill(slab)
    steps = compact_online(slab)
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert not (slab.path / "compact.new").exists()
    run(slab)


def test_too_many_writes_end_it(slab: Slab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(online_module, "NOTES_MAX", 100)
    fill(slab)
    before = content(slab)
    steps = compact_online(slab)
    next(steps)
    slab.write(lambda txn: [txn.put(EMPTY, b"%d" % n, b"") for n in range(500)])
    with pytest.raises(Retry):
        list(steps)
    assert content(slab).databases["plain"] == before.databases["plain"]


def test_no_room_is_told_before_it_begins(tmp_path: Path) -> None:
    with Slab.open(tmp_path / "slab", DATABASES) as slab:
        fill(slab)
        slab._space_min_bytes = 1 << 60
        with pytest.raises(LowSpace):
            run(slab)


CHILD = """
    import sys, threading
    from pathlib import Path
    from cellmesh.common.storage import Slab, SubDb, compact_online
    PLAIN = SubDb("plain", "name -> text")
    slab = Slab.open(Path(sys.argv[1]), [PLAIN], map_size_bytes=64 << 20)
    start = slab.write(lambda txn: txn.entries(PLAIN))
    def write():
        number = start
        while True:
            slab.write(lambda txn: txn.put(PLAIN, b"%08d" % number, bytes(200)))
            print(number, flush=True)
            number += 1
    threading.Thread(target=write, daemon=True).start()
    while True:
        for step in compact_online(slab):
            pass
"""


def test_killed_anywhere_it_has_all_that_was_acknowledged(tmp_path: Path) -> None:
    folder = tmp_path / "slab"
    acknowledged = -1
    for name in (
        "compact_round=3>kill",
        "slab_before_compact_swap=1>kill",
        "slab_after_compact_swap=kill",
    ):
        environ = {**os.environ, "CELLMESH_FAILPOINTS": name}
        child = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(CHILD), str(folder)],
            env=environ,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert child.returncode == -9, child.stderr.decode()
        lines = child.stdout.decode().split("\n")[:-1]
        acknowledged = max(acknowledged, *(int(line) for line in lines)) if lines else acknowledged
        with Slab.open(folder, [PLAIN]) as slab, slab.view() as txn:
            assert txn.entries(PLAIN) in (acknowledged + 1, acknowledged + 2), name
            items = txn.scan(PLAIN, count_max=10_000_000).items
            assert [int(key) for key, _ in items] == list(range(len(items)))
            assert not (folder / "compact.new").exists()
    assert acknowledged > 0


def test_hash_of_view_is_the_hash_of_the_slab(slab: Slab) -> None:
    fill(slab, 100)

    def look(txn: ReadTxn) -> StateHash:
        return hash_state(txn, DATABASES)

    with slab.session() as session:
        assert session.read(look) == content(slab)


def test_a_closed_slab_with_full_pages_of_fixed_values_is_compacted(tmp_path: Path) -> None:
    """LMDB's own copy without free pages crashes on such a file."""
    with Slab.open(tmp_path / "slab", DATABASES) as slab:
        fill(slab, 5000)
        before = content(slab)
    done = compact(tmp_path / "slab")
    assert done is not None
    assert done.after_bytes < done.before_bytes * 0.7
    with Slab.open(tmp_path / "slab", DATABASES) as slab:
        assert content(slab) == before


def test_copies_and_hashes_beside_compactions_are_right(slab: Slab, tmp_path: Path) -> None:
    """Backups and state hashes begun at any moment, before or behind the change of files."""
    fill(slab, 500)
    is_done = threading.Event()
    errors: list[BaseException] = []

    def write() -> None:
        number = 0

        def op(txn: WriteTxn) -> None:
            txn.put(PLAIN, b"n", b"%d" % number)
            txn.put(MANY, b"n", b"%d" % number)

        while not is_done.is_set():
            slab.write(op)
            number += 1

    def compact_often() -> None:
        try:
            while not is_done.is_set():
                run(slab)
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=target) for target in (write, compact_often)]
    for thread in threads:
        thread.start()
    try:
        for number in range(15):
            slab.backup(tmp_path / f"copy-{number}")
            slab.state_hash()
            with Slab.open(tmp_path / f"copy-{number}", DATABASES, sync=False) as copy, copy.view() as txn:
                newest = txn.get(PLAIN, b"n")
                assert newest is None or max(map(int, txn.values(MANY, b"n"))) == int(newest)
                assert txn.entries(FIXED) == 500
            time.sleep(0.02)
    finally:
        is_done.set()
        for thread in threads:
            thread.join()
    assert errors == []
