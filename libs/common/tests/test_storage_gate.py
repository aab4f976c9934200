"""The acknowledge gate: nothing is acknowledged past it, and what it refuses is not written."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cellmesh.common.errors import BadState, TimeOut
from cellmesh.common.failpoints import failing
from cellmesh.common.storage import Slab, SubDb, WriteTxn

ITEMS = SubDb("items", "name -> text")


class Gate:
    """Notes what it is asked, by thread; refuses what it is told to."""

    def __init__(self) -> None:
        self.is_open = True
        self.agrees = True
        self.checks = 0
        self.acknowledged: list[tuple[int, int]] = []

    def check_write(self) -> None:
        self.checks += 1
        if not self.is_open:
            raise BadState("not the leader")

    def acknowledge(self, txn_id: int) -> None:
        self.acknowledged.append((threading.get_ident(), txn_id))
        if not self.agrees:
            raise TimeOut("no follower has it")


@pytest.fixture
def slab(tmp_path: Path) -> Iterator[Slab]:
    with Slab.open(tmp_path / "slab", [ITEMS], map_size_bytes=16 << 20) as found:
        yield found


@pytest.fixture
def gate(slab: Slab) -> Gate:
    found = Gate()
    slab.gate = found
    return found


def put(key: bytes, value: bytes = b"v"):  # type: ignore[no-untyped-def]
    return lambda txn: txn.put(ITEMS, key, value)


def stored(slab: Slab, key: bytes) -> bytes | None:
    with slab.view() as txn:
        return txn.get(ITEMS, key)


def test_write_asks_once_and_with_the_state_that_has_it(slab: Slab, gate: Gate) -> None:
    slab.write(put(b"a"))
    ((_, txn_id),) = gate.acknowledged
    with slab.view() as txn:
        assert txn.raw.id() == txn_id
    assert gate.checks >= 1


def test_sync_asks_once_for_many_writes(slab: Slab, gate: Gate) -> None:
    with slab.session() as session:
        for number in range(10):
            session.write(put(b"%d" % number))
        session.breathe()
        assert gate.acknowledged == []
        session.sync()
        assert len(gate.acknowledged) == 1
        session.sync()
    assert len(gate.acknowledged) == 1, "nothing was written since"


def test_reads_ask_nothing(slab: Slab, gate: Gate) -> None:
    gate.is_open = gate.agrees = False
    with slab.session() as session:
        assert session.read(lambda txn: txn.get(ITEMS, b"a")) is None
        session.sync()
    assert (gate.checks, gate.acknowledged) == (0, [])


def test_refused_write_is_not_made(slab: Slab, gate: Gate) -> None:
    gate.is_open = False
    with pytest.raises(BadState):
        slab.write(put(b"a"))
    with slab.session() as session, pytest.raises(BadState):
        session.write(put(b"a"))
    assert stored(slab, b"a") is None
    gate.is_open = True
    slab.write(put(b"a"))


def test_unacknowledged_write_is_there_and_its_caller_gets_the_error(slab: Slab, gate: Gate) -> None:
    gate.agrees = False
    with pytest.raises(TimeOut):
        slab.write(put(b"a"))
    assert stored(slab, b"a") == b"v"
    with slab.session() as session:
        session.write(put(b"b"))
        for _ in range(2):
            with pytest.raises(TimeOut):
                session.sync()
        gate.agrees = True
        session.sync()
    assert stored(slab, b"b") == b"v"


def test_finding_it_there_already_is_acknowledged_too(slab: Slab, gate: Gate) -> None:
    """Another's write that no follower has yet: whoever is told that it is there relies on it."""
    gate.agrees = False
    with pytest.raises(TimeOut):
        slab.write(put(b"a"))
    with pytest.raises(TimeOut):
        slab.write(lambda txn: txn.has(ITEMS, b"a"))
    with slab.session() as session:
        assert session.write(lambda txn: txn.has(ITEMS, b"a"))
        with pytest.raises(TimeOut):
            session.sync()


def test_what_is_found_in_an_open_transaction_is_on_disk_before_it_is_acknowledged(slab: Slab) -> None:
    """Else a kill would take back what a second caller was told is there."""
    told: list[bytes | None] = []
    with slab.session() as holder:
        holder.write(put(b"a"))

        def ask() -> None:
            assert slab.write(lambda txn: txn.has(ITEMS, b"a"))
            told.append(stored(slab, b"a"))

        asker = threading.Thread(target=ask)
        asker.start()
        while not told and asker.is_alive():
            holder.breathe()
        asker.join()
    assert told == [b"v"]


def test_failed_commit_reaches_who_only_looked(slab: Slab) -> None:
    failed: list[BaseException] = []
    with slab.session() as holder:
        holder.write(put(b"a"))

        def ask() -> None:
            try:
                slab.write(lambda txn: txn.has(ITEMS, b"a"))
            except Exception as error:  # noqa: BLE001
                failed.append(error)

        asker = threading.Thread(target=ask)
        with failing("slab_before_commit", "error"):
            asker.start()
            while asker.is_alive():
                holder.breathe()
            asker.join()
    assert len(failed) == 1
    assert stored(slab, b"a") is None


def test_privileged_passes(slab: Slab, gate: Gate) -> None:
    gate.is_open = gate.agrees = False
    slab.write(put(b"a"), privileged=True)
    with slab.session(privileged=True) as session:
        session.write(put(b"b"))
        session.sync()
    slab.probe()
    assert stored(slab, b"b") == b"v"
    assert (gate.checks, gate.acknowledged) == (0, [])


def test_no_plain_write_comes_behind_a_privileged_one_once_the_gate_is_closed(slab: Slab, gate: Gate) -> None:
    """What a deposed leader needs: a holder in the middle of its burst is not let on."""
    ended = threading.Event()
    late: list[int] = []

    def privileged() -> None:
        slab.write(put(b"end"), privileged=True)
        ended.set()

    with slab.session() as holder:
        holder.write(put(b"0"))
        gate.is_open = False
        thread = threading.Thread(target=privileged)
        thread.start()
        number = 1
        is_refused = False
        while not is_refused:
            was_ended = ended.is_set()
            try:
                holder.write(put(b"%d" % number))
            except BadState:
                is_refused = True
            else:
                late += [number] * was_ended
            number += 1
        thread.join()
    assert late == []
    assert stored(slab, b"end") == b"v"


def test_privileged_on_the_thread_of_a_plain_holder(slab: Slab, gate: Gate) -> None:
    with slab.session() as holder:
        holder.write(put(b"a"))
        slab.write(put(b"b"), privileged=True)
        assert stored(slab, b"a") == b"v", "the plain batch ended before"
        holder.sync()
    assert len(gate.acknowledged) == 1


@pytest.mark.parametrize("seed", range(4))
def test_every_acknowledgement_has_passed_the_gate(slab: Slab, gate: Gate, seed: int) -> None:
    """Many threads, single writes and bursts, failing and empty ops: one question each acknowledgement."""
    expected: dict[int, int] = {}
    # All threads live at the same time, or two could have the same number.
    together = threading.Barrier(8)

    def fail(txn: WriteTxn) -> None:
        raise ValueError("no")

    def work(number: int) -> None:
        chance = random.Random(f"{seed}.{number}")
        count = 0
        for step in range(40):
            kind = chance.randrange(5)
            key = b"%d.%d" % (number, step)
            if kind == 0:
                slab.write(put(key))
                count += 1
            elif kind == 1:
                slab.write(lambda txn: txn.has(ITEMS, b"x"))
                count += 1
            elif kind == 2:
                with pytest.raises(ValueError):
                    slab.write(fail)
            else:
                with slab.session() as session:
                    for part in range(chance.randrange(1, 6)):
                        session.write(put(key + b".%d" % part))
                    if kind == 3:
                        session.read(lambda txn: txn.get(ITEMS, b"x"))
                        session.sync()
                        count += 1
        together.wait(30)
        expected[threading.get_ident()] = count

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = dict.fromkeys(expected, 0)
    for ident, _ in gate.acknowledged:
        found[ident] += 1
    assert len(expected) == 8
    assert found == expected
