"""The gate of an instance with mirrors: leases, synchronous followers, hand-over, with a clock that is set by hand."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cellmesh.common.changelog import DATABASES, ChangeLog
from cellmesh.common.errors import CellError, NotLeader, Retry, TimeOut
from cellmesh.common.mirror import gate as gate_module
from cellmesh.common.mirror.gate import MirrorGate
from cellmesh.common.mirror.schema import DATABASES as MIRROR_DATABASES
from cellmesh.common.mirror.schema import Facts, put_term, read_facts, term_at, write_facts
from cellmesh.common.storage import Slab, SubDb, WriteTxn

ITEMS = SubDb("items", "name -> text")
FOREVER_S = float("inf")


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def slab(tmp_path: Path) -> Iterator[Slab]:
    with Slab.open(tmp_path / "slab", [ITEMS, *DATABASES, *MIRROR_DATABASES]) as found:
        yield found


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gate(slab: Slab, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> MirrorGate:
    monkeypatch.setattr(gate_module, "LEASE_WAIT_S", 0.2)
    slab.gate = made = MirrorGate(slab, clock)
    return made


def put(slab: Slab, key: bytes = b"a") -> None:
    log = ChangeLog(slab)

    def op(txn: WriteTxn) -> None:
        txn.put(ITEMS, key, b"1")
        log.append(txn, time_us=1, actor="", type_name="t", payload=b"")

    slab.write(op)


def not_leader() -> CellError:
    return NotLeader("another leads")


def test_who_needs_no_lease_answers_for_its_own_disk(slab: Slab, gate: MirrorGate, clock: Clock) -> None:
    put(slab)
    clock.now_s += 1e9
    put(slab)
    assert gate.is_open


def test_a_lease_lets_writes_begin_and_be_acknowledged_until_it_ends(
    slab: Slab, gate: MirrorGate, clock: Clock
) -> None:
    gate.need_lease()
    with pytest.raises(Retry, match="no write can begin"):
        put(slab)
    gate.lease_of_arbiter(105.0)
    put(slab)
    clock.now_s = 105.0
    assert not gate.has_lease
    with pytest.raises(Retry):
        put(slab)
    # Either is enough.
    gate.lease_of_followers(106.0)
    put(slab)
    clock.now_s = 106.5
    with pytest.raises(Retry):
        put(slab)


def test_a_lease_that_ends_between_commit_and_acknowledgement_is_waited_for(
    slab: Slab, gate: MirrorGate, clock: Clock
) -> None:
    gate.need_lease()
    gate.lease_of_arbiter(105.0)
    with slab.session() as session:
        session.write(lambda txn: txn.put(ITEMS, b"late", b"1"))
        clock.now_s = 106.0
        renewal = threading.Timer(0.1, gate.lease_of_arbiter, (110.0,))
        renewal.start()
        session.sync()
        renewal.join()
        session.write(lambda txn: txn.put(ITEMS, b"later", b"1"))
        clock.now_s = 111.0
        threading.Timer(0.05, setattr, (clock, "now_s", 112.0)).start()
        with pytest.raises(Retry, match="cannot be acknowledged"):
            session.sync()


def test_a_closed_gate_acknowledges_nothing_that_was_begun_before(slab: Slab, gate: MirrorGate) -> None:
    with slab.session() as session:
        session.write(lambda txn: txn.put(ITEMS, b"a", b"1"))
        gate.close(not_leader)
        with pytest.raises(NotLeader) as told:
            session.sync()
        assert told.value.get("outcome") == "unknown"
    with pytest.raises(NotLeader) as told:
        put(slab, b"b")
    assert told.value.get("outcome") is None
    gate.open()
    put(slab, b"b")


def test_a_session_that_has_written_tells_that_its_outcome_is_unknown(slab: Slab, gate: MirrorGate) -> None:
    with slab.session() as session:
        session.write(lambda txn: txn.put(ITEMS, b"a", b"1"))
        session.sync()
        gate.close(not_leader)
        with pytest.raises(NotLeader) as told:
            session.write(lambda txn: txn.put(ITEMS, b"b", b"1"))
        assert told.value.get("outcome") == "unknown"


def test_while_handing_over_what_is_written_is_acknowledged_and_nothing_begins(
    slab: Slab, gate: MirrorGate
) -> None:
    with slab.session() as session:
        session.write(lambda txn: txn.put(ITEMS, b"a", b"1"))
        gate.close(not_leader, draining=True)
        session.sync()
    with pytest.raises(NotLeader):
        put(slab, b"b")


def test_a_write_is_acknowledged_when_enough_followers_have_it(slab: Slab, gate: MirrorGate) -> None:
    put(slab)
    gate.synchronous(2, 5.0)
    gate.covered((1, 1, 1))
    done = threading.Event()

    def write() -> None:
        put(slab, b"b")
        done.set()

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    time.sleep(0.1)
    gate.covered((2, 1, 1))
    assert not done.wait(0.1)
    gate.covered((1, 2, 2))
    assert done.wait(5.0)
    writer.join()


def test_followers_that_do_not_answer_in_time_are_told(slab: Slab, gate: MirrorGate) -> None:
    # On the machine's own clock, as the wait is.
    slab.gate = gate = MirrorGate(slab)
    gate.synchronous(1, 0.2)
    gate.covered(())
    with pytest.raises(TimeOut, match=r"0 of 1 synchronous followers have the write after 0\.2 s"):
        put(slab)
    with slab.view() as txn:
        assert txn.get(ITEMS, b"a") == b"1"
    gate.synchronous(0, 0.2)
    put(slab)


def test_the_term_of_a_record_is_the_newest_that_began_before_it(slab: Slab) -> None:
    def op(txn: WriteTxn) -> None:
        put_term(txn, 3, 10)
        put_term(txn, 7, 20)

    slab.write(op)
    with slab.view() as txn:
        assert [term_at(txn, offset) for offset in (0, 1, 10, 11, 20, 21, 99)] == [0, 1, 1, 3, 3, 7, 7]


def test_facts_come_back_as_they_were_stored(slab: Slab) -> None:
    facts = Facts(5, "00.cortex.demo", ("01.cortex.demo",), ("02.cortex.demo",), 1, promoting=True)
    slab.write(lambda txn: write_facts(txn, facts))
    with slab.view() as txn:
        assert read_facts(txn) == facts
    joined = facts.with_follower("02.cortex.demo")
    assert (joined.followers, joined.removed) == (("01.cortex.demo", "02.cortex.demo"), ())
    left = joined.without_follower("01.cortex.demo")
    assert (left.followers, left.removed) == (("02.cortex.demo",), ("01.cortex.demo",))
