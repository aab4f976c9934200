"""The change log: no gaps, one transaction with the change, reads of durable records only."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cellmesh.common.changelog import DATABASES, ChangeLog, ChangeRecord
from cellmesh.common.errors import BadArg, LogTrimmed, StorageCorrupt
from cellmesh.common.storage import Slab, SubDb, WriteTxn

EFFECTS = SubDb("effects", "for tests")


@pytest.fixture
def slab(tmp_path: Path) -> Iterator[Slab]:
    with Slab.open(tmp_path / "slab", [EFFECTS, *DATABASES]) as slab:
        yield slab


@pytest.fixture
def log(slab: Slab) -> ChangeLog:
    return ChangeLog(slab)


def append(log: ChangeLog, txn: WriteTxn, payload: bytes = b"payload") -> int:
    return log.append(
        txn, time_us=1_700_000_000_000_000, actor="users/visi", type_name="a.B", payload=payload
    )


def record(offset: int, payload: bytes = b"payload") -> ChangeRecord:
    return ChangeRecord(offset, 1_700_000_000_000_000, "users/visi", "a.B", payload)


def fill(slab: Slab, log: ChangeLog, count: int) -> None:
    slab.write(lambda txn: [append(log, txn) for _ in range(count)])


def test_records_come_back_in_order_and_in_chunks(slab: Slab, log: ChangeLog) -> None:
    assert log.read(0).records == []
    fill(slab, log, 250)
    assert [found.offset for found in log.read(0).records] == list(range(250))
    offset, found = 0, []
    while chunk := log.read(offset, count_max=99).records:
        found += chunk
        offset = log.read(offset, count_max=99).next_offset
    assert found == [record(number) for number in range(250)]
    assert offset == 250


def test_chunk_is_bounded_in_size_but_has_a_record(slab: Slab, log: ChangeLog) -> None:
    slab.write(lambda txn: [append(log, txn, b"x" * 1000) for _ in range(9)])
    assert len(log.read(0, size_max_bytes=3000).records) == 3
    assert log.read(3, size_max_bytes=1).next_offset == 4


def test_change_and_record_are_one(slab: Slab, log: ChangeLog) -> None:
    def fail(txn: WriteTxn) -> None:
        txn.put(EFFECTS, b"k", b"v")
        append(log, txn)
        raise LookupError("failed")

    fill(slab, log, 1)
    with pytest.raises(LookupError):
        slab.write(fail)
    fill(slab, log, 1)
    assert [found.offset for found in log.read(0).records] == [0, 1]
    assert slab.stats().entries["effects"] == 0


def test_trimmed_log_goes_on_where_it_was(slab: Slab, log: ChangeLog) -> None:
    fill(slab, log, 10)
    assert slab.write(lambda txn: log.trim(txn, 4, count_max=3)) == 3
    assert slab.write(lambda txn: log.trim(txn, 4, count_max=3)) == 1
    with pytest.raises(LogTrimmed):
        log.read(3)
    assert [found.offset for found in log.read(4).records] == list(range(4, 10))
    assert slab.write(lambda txn: log.trim(txn, 10**9)) == 6
    with slab.view() as txn:
        assert log.first_offset(txn) == log.next_offset(txn) == 10
    assert log.read(10).records == []
    fill(slab, log, 1)
    assert log.read(10).records == [record(10)]
    with pytest.raises(BadArg):
        log.read(12)


def test_follower_takes_only_the_next_record(slab: Slab, log: ChangeLog) -> None:
    slab.write(lambda txn: log.start_at(txn, 7))
    for wrong in (0, 6, 8):
        with pytest.raises(BadArg):
            slab.write(lambda txn, wrong=wrong: log.append_record(txn, record(wrong)))
    slab.write(lambda txn: log.append_record(txn, record(7)))
    assert log.read(7).records == [record(7)]
    with pytest.raises(BadArg):
        slab.write(lambda txn: log.start_at(txn, 9))


def test_wait_returns_when_the_record_is_committed(slab: Slab, log: ChangeLog) -> None:
    results: list[bool] = []
    waiter = threading.Thread(target=lambda: results.append(log.wait(1, 10.0)))
    waiter.start()
    fill(slab, log, 1)
    assert not log.wait(1, 0.01)
    assert not results
    fill(slab, log, 1)
    waiter.join(10)
    assert results == [True]
    assert log.wait(0, 0.0)


def test_offsets_of_many_threads_have_no_gap(slab: Slab, log: ChangeLog) -> None:
    given: list[int] = []

    def run() -> None:
        for _ in range(20):
            given.append(slab.write(lambda txn: append(log, txn)))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(given) == list(range(160))
    assert len(log.read(0).records) == 160


def test_damaged_record_is_told() -> None:
    with pytest.raises(StorageCorrupt):
        ChangeRecord.from_bytes(b"\xff\xff\xff")
    assert ChangeRecord.from_bytes(record(5).to_bytes()) == record(5)
    assert ChangeRecord.from_proto(record(5).to_proto()) == record(5)


@pytest.mark.parametrize("size", [0, 16 * 1024 - 1, 16 * 1024, 3_000_000])
def test_a_record_is_stored_as_protobuf_writes_it(size: int) -> None:
    for one in (record(2**63, b"x" * size), ChangeRecord(0, -1, "", "", b"x" * size)):
        assert one.to_bytes() == one.to_proto().SerializeToString()
        assert ChangeRecord.from_bytes(one.to_bytes()) == one
