"""What sessions see of each other, who pays for a failure, and how callers share a sync."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import lmdb
import pytest
from cellmesh.common.errors import LowSpace, StorageAborted, StorageFull
from cellmesh.common.failpoints import failing
from cellmesh.common.storage import ReadTxn, Slab, SubDb, WriteTxn

DB = SubDb("items", "for tests")
WAIT_S = 10.0


@pytest.fixture
def slab(tmp_path: Path) -> Iterator[Slab]:
    with Slab.open(tmp_path / "slab", [DB]) as slab:
        yield slab


def put(key: bytes, value: bytes = b"v") -> Callable[[WriteTxn], bool]:
    return lambda txn: txn.put(DB, key, value)


def get(key: bytes) -> Callable[[ReadTxn], bytes | None]:
    return lambda txn: txn.get(DB, key)


def committed(slab: Slab, key: bytes) -> bytes | None:
    with slab.view() as txn:
        return txn.get(DB, key)


class Worker:
    """A thread that runs steps when told to, so that a test decides the order of things."""

    def __init__(self) -> None:
        self._step: Callable[[], object] | None = None
        self._ready, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self.result: object = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            self._ready.acquire()
            if self._step is None:
                return
            try:
                self.result = self._step()
            except BaseException as error:  # noqa: BLE001 - handed to the test
                self.error = error
            self._done.release()

    def start(self, step: Callable[[], object]) -> None:
        self.result = self.error = None
        self._step = step
        self._ready.release()

    def finish(self) -> object:
        assert self._done.acquire(timeout=WAIT_S), "the step does not end"
        if self.error is not None:
            raise self.error
        return self.result

    def do(self, step: Callable[[], object]) -> object:
        self.start(step)
        return self.finish()

    def stop(self) -> None:
        self._step = None
        self._ready.release()
        self._thread.join(WAIT_S)


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.stop()


def until(condition: Callable[[], object], step: Callable[[], object] = lambda: time.sleep(0.001)) -> None:
    end_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end_s, "it does not come to pass"
        step()


def test_own_writes_are_visible_at_once_and_to_others_after_commit(slab: Slab) -> None:
    with slab.session() as one, slab.session() as other:
        one.write(put(b"k"))
        assert one.read(get(b"k")) == b"v"
        assert other.read(get(b"k")) is None
        assert committed(slab, b"k") is None
        one.sync()
        assert other.read(get(b"k")) == b"v"
        assert one.read(get(b"k")) == b"v"


@pytest.mark.parametrize("end", ["pause", "close", "sync"])
def test_every_way_to_let_go_commits(slab: Slab, end: str) -> None:
    session = slab.session()
    session.write(put(b"k"))
    getattr(session, end)()
    assert committed(slab, b"k") == b"v"
    slab.write(put(b"other"))
    session.close()


def test_forgotten_session_lets_go(slab: Slab) -> None:
    session = slab.session()
    session.write(put(b"k"))
    del session
    assert committed(slab, b"k") == b"v"


def test_many_writes_of_one_session_share_a_commit(slab: Slab) -> None:
    before = slab.stats().commits
    with slab.session() as session:
        for number in range(200):
            session.write(put(b"%d" % number))
        session.sync()
    assert slab.stats().commits - before <= 3
    assert slab.stats().entries["items"] == 200


def test_op_of_another_thread_runs_in_the_holders_transaction(tmp_path: Path, worker: Worker) -> None:
    """In a burst that doesn't end by itself: the guest sees both writes before any commit."""
    with Slab.open(tmp_path, [DB], burst_shared_s=60, burst_alone_s=60) as slab:
        holder, guest = slab.session(), slab.session()
        before = slab.stats().commits
        holder.write(put(b"holder"))
        for step in (
            lambda: guest.write(lambda txn: txn.put(DB, b"guest", txn.get(DB, b"holder") or b"?")),
            lambda: guest.read(get(b"guest")) == b"v" or 1 / 0,
        ):
            worker.start(step)
            until(lambda: worker._done.acquire(blocking=False), holder.breathe)
            assert (worker.error, worker.result) == (None, True)
        assert committed(slab, b"guest") is None
        assert slab.stats().commits == before
        worker.start(guest.sync)
        holder.sync()
        worker.finish()
        assert committed(slab, b"guest") == committed(slab, b"holder") == b"v"
        assert slab.stats().commits == before + 1


def test_waiting_write_gets_the_turn_when_the_holder_pauses(slab: Slab, worker: Worker) -> None:
    holder = slab.session()
    holder.write(put(b"holder"))
    worker.start(lambda: slab.write(put(b"other")))
    time.sleep(0.02)
    assert committed(slab, b"other") is None
    holder.pause()
    worker.finish()
    assert committed(slab, b"other") == b"v"


def test_interrupted_waiter_leaves_no_gap_in_the_queue(slab: Slab, worker: Worker) -> None:
    holder = slab.session()
    worker.do(lambda: holder.write(put(b"holder")))
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(KeyboardInterrupt):
            slab.write(put(b"interrupted"))
    finally:
        signal.signal(signal.SIGALRM, previous)
    worker.do(holder.close)
    slab.write(put(b"next"))
    assert [committed(slab, key) for key in (b"holder", b"interrupted", b"next")] == [b"v", None, b"v"]


def test_second_session_of_the_holders_thread_does_not_wait_for_itself(slab: Slab) -> None:
    with slab.session() as outer, slab.session() as inner:
        outer.write(put(b"outer"))
        inner.write(put(b"inner"))
        assert inner.read(get(b"outer")) == b"v"
        slab.write(put(b"third"))
        assert [committed(slab, key) for key in (b"outer", b"inner", b"third")] == [b"v"] * 3
        inner.sync()
        outer.sync()


def test_failure_before_any_put_leaves_others_alone(slab: Slab, worker: Worker) -> None:
    def refuse(txn: WriteTxn) -> None:
        assert txn.get(DB, b"k") == b"v"
        raise LookupError("refused")

    holder, guest = slab.session(), slab.session()
    holder.write(put(b"k"))
    worker.start(lambda: guest.write(refuse))
    until(lambda: worker._done.acquire(blocking=False), holder.breathe)
    assert isinstance(worker.error, LookupError)
    with pytest.raises(LookupError):
        holder.write(refuse)
    worker.do(lambda: None)
    holder.write(put(b"more"))
    holder.sync()
    assert committed(slab, b"k") == committed(slab, b"more") == b"v"
    worker.do(lambda: guest.close())


def test_failure_of_the_first_op_does_not_keep_the_turn(slab: Slab, worker: Worker) -> None:
    def refuse(txn: WriteTxn) -> None:
        raise LookupError("refused")

    session = slab.session()
    with pytest.raises(LookupError):
        session.write(refuse)
    worker.do(lambda: slab.write(put(b"other")))
    session.write(put(b"k"))
    session.sync()


def test_failure_after_a_put_rolls_back_all_and_tells_all(slab: Slab, worker: Worker) -> None:
    def fail(txn: WriteTxn) -> None:
        txn.put(DB, b"half", b"done")
        raise LookupError("failed")

    slab.write(put(b"before"))
    holder, guest, bystander = slab.session(), slab.session(), slab.session()
    holder.write(put(b"holder"))
    worker.start(lambda: guest.write(fail))
    until(lambda: worker._done.acquire(blocking=False), holder.breathe)
    assert isinstance(worker.error, LookupError)
    for use in (lambda: holder.read(get(b"k")), lambda: holder.write(put(b"k")), holder.sync):
        with pytest.raises(StorageAborted):
            use()
    bystander.write(put(b"bystander"))
    bystander.sync()
    assert [committed(slab, key) for key in (b"before", b"holder", b"half", b"bystander")] == [
        b"v",
        None,
        None,
        b"v",
    ]
    assert slab.stats().aborts == 1


def test_own_failure_after_a_put_is_remembered(slab: Slab) -> None:
    def fail(txn: WriteTxn) -> None:
        txn.put(DB, b"half", b"done")
        raise LookupError("failed")

    session = slab.session()
    session.write(put(b"first"))
    with pytest.raises(LookupError):
        session.write(fail)
    with pytest.raises(StorageAborted):
        session.sync()
    assert committed(slab, b"first") is None


def test_failed_commit_tells_all_and_the_next_one_works(slab: Slab, worker: Worker) -> None:
    with failing("slab_before_commit", "no-space*1"), pytest.raises(StorageFull):
        slab.write(put(b"k"))
    with failing("slab_before_commit", "error*1"), pytest.raises(StorageAborted):
        slab.write(put(b"k"))
    assert committed(slab, b"k") is None
    worker.do(lambda: slab.write(put(b"k")))
    assert committed(slab, b"k") == b"v"


def test_key_of_a_wrong_size_harms_nobody(slab: Slab) -> None:
    with slab.session() as session:
        session.write(put(b"k"))
        with pytest.raises(lmdb.BadValsizeError):
            session.read(lambda txn: txn.raw.get(b"", None, txn.handle(DB)) or txn.get(DB, b"x" * 1000))
        session.sync()
    assert committed(slab, b"k") == b"v"


def test_full_disk_refuses_writes_and_they_go_on_when_there_is_room(slab: Slab) -> None:
    slab.write(put(b"k"))
    needed = slab._space_min_bytes
    slab._space_min_bytes, slab._space_checked_s = 1 << 60, float("-inf")
    session = slab.session()
    with pytest.raises(LowSpace):
        slab.write(put(b"more"))
    with pytest.raises(LowSpace):
        session.write(put(b"more"))
    assert session.read(get(b"k")) == b"v"
    slab._space_min_bytes = needed
    session.write(put(b"more"))
    session.sync()
    assert committed(slab, b"more") == b"v"


def test_op_that_starts_another_op_is_a_bug(slab: Slab) -> None:
    with slab.session() as session, pytest.raises(AssertionError, match="runs another one"):
        session.write(lambda txn: session.write(put(b"k")))
    with pytest.raises(AssertionError, match="runs another one"):
        slab.write(lambda txn: slab.write(put(b"k")))
    slab.write(put(b"k"))


def test_threads_share_syncs_and_lose_nothing(slab: Slab) -> None:
    thread_count, op_count = 32, 20
    before = slab.stats().commits
    counts: list[int] = []

    def run(thread: int) -> None:
        for number in range(op_count):
            slab.write(put(b"%d/%d" % (thread, number)))
        counts.append(op_count)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(thread_count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    stats = slab.stats()
    assert len(counts) == thread_count
    assert stats.entries["items"] == thread_count * op_count
    assert stats.commits - before < thread_count * op_count / 3
    assert stats.shared_ops > 0


def test_mixed_sessions_of_many_threads_see_their_own_writes(slab: Slab) -> None:
    """Random bursts, reads, pauses and failures; each thread checks each of its own writes at once."""
    import random

    failures: list[object] = []

    def run(seed: int) -> None:
        random_ = random.Random(seed)
        for round_number in range(10):
            session, mine = slab.session(), []
            try:
                for number in range(random_.randrange(1, 30)):
                    key = b"%d/%d/%d" % (seed, round_number, number)
                    session.write(put(key))
                    mine.append(key)
                    if random_.random() < 0.5 and session.read(get(random_.choice(mine))) is None:
                        failures.append(("unseen", key))
                    if random_.random() < 0.02:
                        session.pause()
                    if random_.random() < 0.002:
                        session.write(lambda txn: (txn.put(DB, b"x", b""), 1 / 0))
                    session.breathe()
                session.sync()
                failures.extend(("lost", key) for key in mine if committed(slab, key) is None)
            except (StorageAborted, ZeroDivisionError):
                pass
            finally:
                session.close()

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive()
    assert not failures
    assert not slab._writer._turn_taken


def test_writer_is_served_soon_beside_a_busy_one(slab: Slab) -> None:
    stop = threading.Event()

    def be_busy() -> None:
        with slab.session() as session:
            number = 0
            while not stop.is_set():
                number += 1
                session.write(put(b"%d" % (number % 1000)))
                session.breathe()

    busy = threading.Thread(target=be_busy)
    busy.start()
    try:
        waits_s = []
        with slab.session() as session:
            for number in range(40):
                start_s = time.perf_counter()
                session.write(put(b"mine%d" % number))
                waits_s.append(time.perf_counter() - start_s)
                session.pause()
                time.sleep(0.003)
    finally:
        stop.set()
        busy.join(WAIT_S)
    # The bound is 10 ms and a sync; the median has room for a busy machine.
    assert sorted(waits_s)[len(waits_s) // 2] < 0.05


def test_reader_does_not_wait_for_a_writer(slab: Slab, worker: Worker) -> None:
    session = slab.session()
    session.write(put(b"k"))
    assert worker.do(lambda: committed(slab, b"k")) is None
    session.close()


def test_wait_for_commit_wakes(slab: Slab, worker: Worker) -> None:
    seen = slab.commit_count
    assert slab.wait_for_commit(seen, 0.01) == seen
    worker.start(lambda: slab.wait_for_commit(seen, WAIT_S))
    time.sleep(0.01)
    slab.write(put(b"k"))
    assert worker.finish() == seen + 1
