"""Trimming the change log: what the rules let go, in small steps, and never past a hold."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cellmesh.common.changelog import DATABASES, ChangeLog, LogKeeper, LogRules
from cellmesh.common.errors import BadName, BadState, LogTrimmed, NoSuchName
from cellmesh.common.failpoints import FailpointHit, failing
from cellmesh.common.storage import Slab, SubDb, WriteTxn

EFFECTS = SubDb("effects", "for tests")
HOUR_US = 3600 * 1_000_000
NOTHING_KEPT = LogRules(keep_count=0, keep_s=0, share_max=100)


class Clock:
    now_us = 1_700_000_000_000_000

    def __call__(self) -> int:
        return self.now_us


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def slab(tmp_path: Path) -> Iterator[Slab]:
    with Slab.open(tmp_path / "slab", [EFFECTS, *DATABASES], map_size_bytes=64 << 20, sync=False) as slab:
        yield slab


def fill(slab: Slab, clock: Clock, count: int, payload: bytes = b"payload") -> None:
    log = ChangeLog(slab)

    def op(txn: WriteTxn) -> None:
        for _ in range(count):
            log.append(txn, time_us=clock.now_us, actor="", type_name="a.B", payload=payload)

    slab.write(op)


def first(slab: Slab) -> int:
    with slab.view() as txn:
        return ChangeLog(slab).first_offset(txn)


def test_trims_to_an_offset(slab: Slab, clock: Clock) -> None:
    fill(slab, clock, 1000)
    done = LogKeeper(slab).trim(700)
    assert (done.count, done.first_offset, done.held_by, first(slab)) == (700, 700, "", 700)
    done = LogKeeper(slab).trim(5000)
    assert (done.count, done.first_offset) == (300, 1000)
    fill(slab, clock, 1)
    assert first(slab) == 1000, "offsets go on"


def test_never_past_a_hold(slab: Slab, clock: Clock) -> None:
    fill(slab, clock, 1000)
    keeper = LogKeeper(slab, NOTHING_KEPT, clock)
    keeper.hold("follower/01", 300)
    keeper.hold("follower/02", 500)
    done = keeper.trim()
    assert (done.first_offset, done.held_by) == (300, "follower/01")
    keeper.advance("follower/01", 900)
    keeper.advance("follower/01", 100)
    assert keeper.trim(800).held_by == "follower/02"
    assert first(slab) == 500
    keeper.release("follower/02")
    assert keeper.trim().first_offset == 900
    with pytest.raises(NoSuchName):
        keeper.release("follower/02")


def test_what_is_trimmed_cannot_be_held(slab: Slab, clock: Clock) -> None:
    fill(slab, clock, 100)
    keeper = LogKeeper(slab, NOTHING_KEPT, clock)
    keeper.hold("a", 50)
    keeper.trim()
    with pytest.raises(LogTrimmed):
        keeper.hold("b", 49)
    with pytest.raises(LogTrimmed):
        keeper.hold("a", 49)
    assert [(hold.name, hold.offset) for hold in keeper.holds()] == [("a", 50)]
    with pytest.raises(BadName):
        keeper.hold("", 60)
    with pytest.raises(BadName):
        keeper.hold("x" * 300, 60)


def test_holds_survive_a_restart_and_are_never_younger(tmp_path: Path, clock: Clock) -> None:
    folder = tmp_path / "slab"
    with Slab.open(folder, DATABASES, sync=False) as slab:
        fill(slab, clock, 1000)
        keeper = LogKeeper(slab, NOTHING_KEPT, clock)
        keeper.hold("a", 100)
        keeper.hold("passing", 50, durable=False)
        keeper.hold("gone", 10)
        keeper.release("gone")
        keeper.advance("a", 200)
    with Slab.open(folder, DATABASES, sync=False) as slab:
        keeper = LogKeeper(slab, NOTHING_KEPT, clock)
        assert [(hold.name, hold.offset) for hold in keeper.holds()] == [("a", 100)]
        keeper.advance("a", 300)
        keeper.trim()
        assert first(slab) == 300
    with Slab.open(folder, DATABASES, sync=False) as slab:
        assert [(hold.name, hold.offset) for hold in LogKeeper(slab).holds()] == [("a", 300)]


def test_a_hold_ends_with_its_time(slab: Slab, clock: Clock) -> None:
    fill(slab, clock, 100)
    keeper = LogKeeper(slab, NOTHING_KEPT, clock)
    keeper.hold("seed", 20, lifetime_s=3600)
    assert keeper.trim().held_by == "seed"
    clock.now_us += HOUR_US
    assert keeper.find("seed") is None
    assert keeper.trim().first_offset == 100
    assert LogKeeper(slab, NOTHING_KEPT, clock).holds() == []


def test_newest_are_kept_by_count(slab: Slab, clock: Clock) -> None:
    fill(slab, clock, 1000)
    clock.now_us += HOUR_US
    assert LogKeeper(slab, LogRules(400, 0, 100), clock).trim().first_offset == 600
    assert LogKeeper(slab, LogRules(4000, 0, 1), clock).trim().count == 0


def test_young_ones_are_kept(slab: Slab, clock: Clock) -> None:
    for _ in range(10):
        fill(slab, clock, 100)
        clock.now_us += HOUR_US
    # The last hundred is one hour old now.
    assert LogKeeper(slab, LogRules(0, 3.5 * 3600, 100), clock).trim().first_offset == 700


def test_share_bounds_a_young_log(slab: Slab, clock: Clock) -> None:
    slab.write(lambda txn: txn.put(EFFECTS, b"data", bytes(1_000_000)))
    fill(slab, clock, 4000, bytes(1000))
    keeper = LogKeeper(slab, LogRules(10, 1e9, 50), clock)
    before = keeper.status()
    assert before.size_bytes > 4_000_000
    keeper.trim()
    after = keeper.status()
    assert after.size_bytes <= 0.55 * after.storage_bytes
    assert 500 < after.next_offset - after.first_offset < 1500
    keeper.rules = LogRules(1200, 1e9, 1)
    keeper.trim()
    assert after.next_offset - keeper.status().first_offset >= min(
        1200, after.next_offset - after.first_offset
    )


def test_writes_wait_little_while_a_trim_runs(tmp_path: Path, clock: Clock) -> None:
    with Slab.open(tmp_path / "synced", [EFFECTS, *DATABASES]) as slab:
        for _ in range(10):
            fill(slab, clock, 5000, bytes(200))
        waits: list[float] = []
        is_done = threading.Event()

        def write() -> None:
            while not is_done.is_set():
                start_s = time.perf_counter()
                slab.write(lambda txn: txn.put(EFFECTS, b"k", b"v"))
                waits.append(time.perf_counter() - start_s)

        thread = threading.Thread(target=write)
        thread.start()
        try:
            assert LogKeeper(slab, NOTHING_KEPT, clock).trim().count == 50_000
        finally:
            is_done.set()
            thread.join()
    assert len(waits) > 5
    # A step is 4 ms; the bound leaves room for a busy machine.
    assert sorted(waits)[len(waits) // 2] < 0.05


def test_a_trim_that_fails_leaves_a_whole_log(slab: Slab, clock: Clock) -> None:
    fill(slab, clock, 20000)
    keeper = LogKeeper(slab, NOTHING_KEPT, clock)
    with failing("changelog_trim", "1>error"), pytest.raises(FailpointHit):
        keeper.trim()
    found = first(slab)
    assert 0 <= found < 20000
    log = ChangeLog(slab)
    if found:
        with pytest.raises(LogTrimmed):
            log.read(found - 1)
    assert log.read(found).records[0].offset == found
    assert keeper.trim().first_offset == 20000


def test_a_trim_can_be_stopped(slab: Slab, clock: Clock) -> None:
    fill(slab, clock, 1000)

    def stop() -> None:
        raise BadState("stop")

    with pytest.raises(BadState):
        LogKeeper(slab, NOTHING_KEPT, clock).trim(check=stop)
    assert first(slab) == 0


@pytest.mark.parametrize("seed", range(3))
def test_who_holds_reads_all_whatever_is_trimmed(slab: Slab, clock: Clock, seed: int) -> None:
    """Readers that hold, read and move on beside a writer and trims without pause: no one misses a record."""
    keeper = LogKeeper(slab, NOTHING_KEPT, clock)
    log = ChangeLog(slab)
    total = 3000
    errors: list[BaseException] = []
    is_done = threading.Event()

    def follow(name: str) -> None:
        chance = random.Random(f"{seed}.{name}")
        try:
            offset = keeper.hold(name, 0).offset
            started.wait(10)
            while offset < total:
                chunk = log.read(offset, count_max=chance.randrange(1, 200))
                assert [record.offset for record in chunk.records] == list(range(offset, chunk.next_offset))
                offset = chunk.next_offset
                if chance.random() < 0.3:
                    keeper.hold(name, offset)
                else:
                    keeper.advance(name, offset)
                if not chunk.records:
                    log.wait(offset, 0.5)
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    def trim() -> None:
        while not is_done.is_set():
            keeper.trim()

    started = threading.Barrier(4)
    followers = [threading.Thread(target=follow, args=(f"follower/{number}",)) for number in range(3)]
    for thread in followers:
        thread.start()
    started.wait(10)
    trimmer = threading.Thread(target=trim)
    trimmer.start()
    for _ in range(total // 50):
        fill(slab, clock, 50)
    for thread in followers:
        thread.join(30)
    is_done.set()
    trimmer.join(30)
    assert errors == []
    keeper.trim()
    assert first(slab) == total
