"""The store of tanks on a real slab."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cellmesh.api.cryotank.v1 import change_pb2, tank_pb2
from cellmesh.common.changelog import ChangeLog, ChangeWriter
from cellmesh.common.errors import BadArg, BadName, NoSuchTank
from cellmesh.common.failpoints import FailpointHit, failing
from cellmesh.common.storage import Slab
from cellmesh.common.values import from_value, to_value
from cellmesh.cryotank import schema
from cellmesh.cryotank.tanks import (
    Appended,
    Batch,
    StoredRecord,
    TankLimits,
    TankMetrics,
    TankStore,
    changes,
    trimming,
    wire,
)
from cellmesh.cryotank.tanks import store as store_module
from cellmesh.cryotank.tanks.changes import TYPE_NAME
from hypothesis import given
from hypothesis import strategies as st


def now_us() -> int:
    return 1_700_000_000_000_000


class Store:
    """A store, its slab and the change payloads it wrote."""

    def __init__(self, path: Path) -> None:
        self.slab = Slab.open(path, schema.DATABASES, sync=False)
        self.log = ChangeLog(self.slab)
        self.tanks = TankStore(self.slab, ChangeWriter(self.log, TYPE_NAME, now_us), now_us)

    @property
    def changes(self) -> list[change_pb2.CryotankChange]:
        return [change_pb2.CryotankChange.FromString(record.payload) for record in self.log.read(0).records]

    def read(self, name: str, offset: int = 0, count: int | None = None) -> list[StoredRecord]:
        return [
            record
            for chunk in self.tanks.read(name, offset, count)
            for run in chunk
            for record in wire.records_of(run)
        ]

    def append(self, name: str, records: list[bytes]) -> Appended:
        return self.tanks.append(name, Batch.of(records))

    def entries(self) -> dict[str, int]:
        return self.slab.stats().entries


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "slab")
    yield made
    made.slab.close()


def packed(*values: Any) -> list[bytes]:
    return [to_value(value).SerializeToString() for value in values]


def test_a_tank_is_made_once(store: Store) -> None:
    first, created = store.tanks.create("cti:raw")
    again, created_again = store.tanks.create("cti:raw")
    assert created
    assert not created_again
    assert first == again == store.tanks.get("cti:raw")
    assert len(store.changes) == 1


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a" * 129, "é", "a\n"])
def test_a_malformed_name_is_refused(store: Store, name: str) -> None:
    with pytest.raises(BadName):
        store.tanks.create(name)
    with pytest.raises(NoSuchTank):
        store.tanks.get(name)


def test_records_come_back_in_order_with_their_offsets(store: Store) -> None:
    store.tanks.create("a")
    assert store.append("a", packed(*range(1500))) == Appended(0, 1500)
    assert store.append("a", packed({"x": [None, 2**70]}, "é")) == Appended(1500, 2)
    assert store.append("a", []) == Appended(1502, 0)
    found = list(store.read("a"))
    assert [offset for offset, _, _ in found] == list(range(1502))
    assert [data for _, data, _ in found] == packed(*range(1500), {"x": [None, 2**70]}, "é")
    assert store.tanks.last("a") == StoredRecord(1501, packed("é")[0])


def test_slices_are_those_of_the_sequence(store: Store) -> None:
    store.tanks.create("before")
    store.tanks.create("a")
    store.tanks.create("after")
    store.append("before", packed("no"))
    store.append("a", packed(*range(3000)))
    store.append("after", packed("no"))
    for offset in (0, 1, 1023, 1024, 1025, 2999, 3000, 2**40):
        for count in (0, 1, 1024, 1025, 5000, None):
            found = [at for at, _, _ in store.read("a", offset, count)]
            assert found == list(range(3000))[offset : None if count is None else offset + count], (
                offset,
                count,
            )


def test_a_slice_of_large_records_is_read_in_bounded_chunks(store: Store) -> None:
    store.tanks.create("a")
    records = packed(*(bytes([number]) * 700_000 for number in range(4)))
    store.append("a", records)
    assert len(next(store.tanks.read("a"))) == 2
    assert [data for _, data, _ in store.read("a")] == records


def test_counts_are_exact(store: Store) -> None:
    store.tanks.create("a")
    assert store.tanks.metrics("a") == TankMetrics(0, 0, 0)
    assert store.tanks.last("a") is None
    records = packed(*range(100), "text" * 100)
    store.append("a", records[:50])
    store.append("a", records[50:])
    assert store.tanks.metrics("a") == TankMetrics(101, sum(map(len, records)), 101)


def test_a_deleted_tank_is_gone_with_its_records_and_only_it(store: Store) -> None:
    for name in ("a", "b"):
        store.tanks.create(name)
        store.append(name, packed(*range(5000)))
    first_id = store.tanks.get("a").tank_id
    store.tanks.delete("a")
    assert store.entries()[schema.RECORDS.name] == 1
    assert store.entries()[schema.DROPPED.name] == 0
    for call in (store.tanks.get, store.tanks.metrics, store.tanks.last, store.tanks.delete):
        with pytest.raises(NoSuchTank):
            call("a")
    with pytest.raises(NoSuchTank):
        store.append("a", packed(1))
    assert store.tanks.create("a")[0].tank_id != first_id
    assert list(store.read("a")) == []
    assert len(list(store.read("b"))) == 5000


def test_a_tank_deleted_while_it_is_read_ends_the_read(store: Store) -> None:
    store.tanks.create("a")
    store.append("a", packed(*range(5000)))
    reading = store.tanks.read("a")
    next(reading)
    store.tanks.delete("a")
    store.tanks.create("a")
    store.append("a", packed(*range(9000)))
    with pytest.raises(NoSuchTank):
        list(reading)


def test_a_deletion_that_broke_off_goes_on_at_the_next_start(tmp_path: Path) -> None:
    store = Store(tmp_path / "slab")
    store.tanks.create("a")
    store.append("a", packed(*range(5000)))
    for number in range(999):
        store.append("a", packed(number))
    with failing("cryotank_records_removed", "error"), pytest.raises(FailpointHit):
        store.tanks.delete("a")
    store.slab.close()
    store = Store(tmp_path / "slab")
    with pytest.raises(NoSuchTank):
        store.tanks.get("a")
    assert store.entries()[schema.RECORDS.name] == 1000 - store_module.REMOVE_COUNT
    assert store.tanks.remove_dropped() == 1
    assert store.tanks.remove_dropped() == 0
    assert store.entries()[schema.RECORDS.name] == 0
    store.slab.close()


def test_a_trim_that_broke_off_counts_what_it_did(store: Store) -> None:
    store.tanks.create("a", TankLimits(count_max=10))
    for number in range(1000):
        store.append("a", packed(number))
    with failing("cryotank_records_trimmed", "error"), pytest.raises(FailpointHit):
        store.tanks.trim("a", 900)
    done = trimming.TRIM_COUNT
    records = packed(*range(done, 1000))
    assert store.tanks.metrics("a") == TankMetrics(1000 - done, sum(map(len, records)), 1000, done)
    assert [record.data for record in store.read("a")] == records
    with failing("cryotank_records_trimmed", "error"), pytest.raises(FailpointHit):
        store.tanks.apply_limits()
    assert store.tanks.metrics("a").first_offset == 2 * done
    assert store.tanks.apply_limits() == 990 - 2 * done
    assert store.entries()[schema.RECORDS.name] == 10
    assert store.tanks.trim("a", 5000) == (10, 1000)
    assert store.tanks.metrics("a") == TankMetrics(0, 0, 1000, 1000)
    assert store.tanks.last("a") is None
    assert store.append("a", packed("on")) == Appended(1000, 1)


def test_tanks_are_listed_by_name_in_pages(store: Store) -> None:
    names = sorted(["a", "a.b", "a-b", "ab", "b", "B:c"])
    for name in reversed(names):
        store.tanks.create(name)
    listed: list[str] = []
    token = ""
    while True:
        tanks, token = store.tanks.list_tanks(2, token)
        assert len(tanks) <= 2
        listed += [tank.name for tank, _ in tanks]
        if not token:
            break
    assert listed == names
    assert [tank.name for tank, _ in store.tanks.list_tanks()[0]] == names
    with pytest.raises(BadArg):
        store.tanks.list_tanks(2, "no token!")
    with pytest.raises(BadArg):
        store.tanks.list_tanks(-1)


def test_too_much_at_a_time_is_refused(store: Store) -> None:
    store.tanks.create("a")
    with pytest.raises(BadArg, match="fewer"):
        store.append("a", [bytes(4 * 1024 * 1024)])
    assert store.tanks.metrics("a").record_count == 0


def test_the_change_log_tells_what_happened(store: Store) -> None:
    tank, _ = store.tanks.create("a")
    store.append("a", packed(1, 2))
    store.tanks.delete("a")
    created, appended, deleted, removed = store.changes
    assert created.tank_created.tank.tank_id == tank.tank_id
    assert created.tank_created.tank.create_time.ToMicroseconds() == 1_700_000_000_000_000
    assert (appended.records_appended.tank_id, appended.records_appended.count) == (tank.tank_id, 2)
    assert changes.unpack_batch(appended.records_appended) == Batch.of(packed(1, 2))
    assert deleted.tank_deleted.tank_id == tank.tank_id
    assert removed.records_removed.count >= 2


@given(
    st.lists(
        st.tuples(st.integers(0, 2**64 - 1), st.binary(max_size=300) | st.text() | st.lists(st.integers()))
    )
)
def test_records_on_the_wire_are_what_protobuf_reads(items: list[tuple[int, Any]]) -> None:
    encoded = b"".join(
        wire.encode_record(StoredRecord(offset, to_value(value).SerializeToString()))
        for offset, value in items
    )
    message = tank_pb2.ReadRecordsResponse.FromString(encoded)
    assert [(record.offset, from_value(record.value)) for record in message.records] == items
