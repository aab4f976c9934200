"""The Cryotank's log replayed into an empty cell ends in the same state, byte for byte."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc
import pytest
from cellmesh.api.common.v1 import auth_service_pb2, auth_service_pb2_grpc
from cellmesh.api.cryotank.v1 import change_pb2, tank_pb2, tank_service_pb2_grpc
from cellmesh.common.auth.replay import AuthApplier
from cellmesh.common.auth.store import AuthStore
from cellmesh.common.cell import running
from cellmesh.common.changelog import Applier, ChangeLog, ChangeRecord, ChangeWriter
from cellmesh.common.config import load_config
from cellmesh.common.errors import StorageCorrupt
from cellmesh.common.failpoints import FailpointHit, clear_failpoint, failing, set_failpoint
from cellmesh.common.storage import Slab, WriteTxn
from cellmesh.common.values import to_value
from cellmesh.cryotank import schema
from cellmesh.cryotank.cell import CryotankCell
from cellmesh.cryotank.config import CryotankConfig
from cellmesh.cryotank.tanks import (
    Arrivals,
    Batch,
    ConsumerStore,
    CryotankApplier,
    Tank,
    TankLimits,
    TankMetrics,
    TankStore,
    batches,
    changes,
    store,
    trimming,
    wire,
)
from cellmesh.testing.replicas import Replica, differences
from hypothesis import given, settings
from hypothesis import strategies as st

NAMES = ("a", "b", "c:d")


def make_appliers(slab: Slab) -> list[Applier]:
    return [CryotankApplier()]


class Clock:
    """Time as the test has it, in microseconds since 1970."""

    def __init__(self) -> None:
        self.now_us = 1_700_000_000_123_456

    def __call__(self) -> int:
        return self.now_us


def make_store(slab: Slab, clock: Callable[[], int] | None = None, *, compress: bool = False) -> TankStore:
    clock = clock or Clock()
    writer = ChangeWriter(ChangeLog(slab), changes.TYPE_NAME, clock)
    return TankStore(slab, writer, clock, compress_log=compress)


def make_consumers(slab: Slab) -> ConsumerStore:
    clock = Clock()
    return ConsumerStore(slab, ChangeWriter(ChangeLog(slab), changes.TYPE_NAME, clock), clock)


@pytest.fixture
def leader(tmp_path: Path) -> Iterator[Slab]:
    slab = Slab.open(tmp_path / "leader", schema.DATABASES, sync=False)
    yield slab
    slab.close()


def replica_of(path: Path, seed: int = 0) -> Replica:
    return Replica(path, schema.DATABASES, make_appliers, seed)


OPS = st.lists(
    st.one_of(
        st.tuples(st.just("create"), st.sampled_from(NAMES)),
        st.tuples(st.just("delete"), st.sampled_from(NAMES), st.integers(0, 3)),
        st.tuples(
            st.just("append"),
            st.sampled_from(NAMES),
            st.lists(st.binary(max_size=40), max_size=30),
            st.integers(1, 60),
            st.integers(0, 1),
        ),
        st.tuples(st.just("sweep")),
        st.tuples(st.just("wait"), st.integers(0, 1000)),
        st.tuples(
            st.just("limits"),
            st.sampled_from(NAMES),
            st.sampled_from((0, 1, 5, 40)),
            st.sampled_from((0, 1, 50, 500)),
            st.sampled_from((0, 100, 800)),
        ),
        st.tuples(st.just("trim"), st.sampled_from(NAMES), st.integers(0, 200)),
        st.tuples(st.just("consumer"), st.sampled_from(NAMES), st.sampled_from("xy"), st.floats(0, 1)),
        st.tuples(st.just("forget"), st.sampled_from(NAMES), st.sampled_from("xy")),
    ),
    max_size=25,
)


@settings(max_examples=25, deadline=None)
@given(OPS, st.integers(0, 2**32))
def test_any_log_ends_in_the_same_state(ops: list[Any], seed: int) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "REMOVE_COUNT", 2)
        patch.setattr(trimming, "TRIM_COUNT", 2)
        patch.setattr(batches, "BLOCK_SIZE", 200)
        leader = Slab.open(Path(folder) / "leader", schema.DATABASES, sync=False)
        replica = replica_of(Path(folder) / "replica", seed)
        clock = Clock()
        tanks, readers = make_store(leader, clock, compress=seed % 2 == 0), make_consumers(leader)
        model = Model(clock)
        try:
            for op in ops:
                run_op(tanks, readers, model, op)
                assert model.matches(tanks)
                if seed % 3 == 0:
                    # A follower that keeps up is equal at every offset, not only at the end.
                    replica.follow(ChangeLog(leader), interrupt=False)
                    assert differences(leader, replica.slab, schema.DATABASES) == []
            replica.follow(ChangeLog(leader))
            assert differences(leader, replica.slab, schema.DATABASES) == []
            assert leader.state_hash(schema.DATABASES) == replica.slab.state_hash(schema.DATABASES)
            assert read_all(tanks) == read_all(make_store(replica.slab))
            assert model.matches(make_store(replica.slab))
        finally:
            leader.close()
            replica.close()


class Model:
    """Tanks as plain lists."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.tanks: dict[str, list[tuple[int, bytes, int, int]]] = {}
        self.ends: dict[str, int] = {}
        self.limits: dict[str, TankLimits] = {}

    def append(self, name: str, records: list[bytes], form: int) -> None:
        for record in records:
            self.tanks[name].append((self.ends[name], record, form, self.clock()))
            self.ends[name] += 1

    def trim(self, name: str, offset: int) -> None:
        self.tanks[name] = [item for item in self.tanks[name] if item[0] >= offset]

    def apply_limits(self) -> None:
        for name, limits in self.limits.items():
            items = self.tanks[name]
            while items and (
                (limits.count_max and len(items) > limits.count_max)
                or (limits.size_max and sum(len(item[1]) for item in items) > limits.size_max)
                or (limits.age_max_us and items[0][3] < self.clock() - limits.age_max_us)
            ):
                del items[0]

    def matches(self, tanks: TankStore) -> bool:
        listed = {tank.name: metrics for tank, metrics in tanks.list_tanks()[0]}
        assert set(listed) == set(self.tanks)
        for name, items in self.tanks.items():
            found = [record for chunk in tanks.read(name) for run in chunk for record in wire.records_of(run)]
            assert [tuple(record) for record in found] == [item[:3] for item in items]
            first = items[0][0] if items else self.ends[name]
            size = sum(len(item[1]) for item in items)
            assert listed[name] == TankMetrics(len(items), size, self.ends[name], first)
            last = tanks.last(name)
            assert (None if last is None else tuple(last)) == (items[-1][:3] if items else None)
        return True


def run_op(tanks: TankStore, readers: ConsumerStore, model: Model, op: tuple[Any, ...]) -> None:
    present = set(model.tanks)
    match op:
        case ("create", name):
            tanks.create(name)
            model.tanks.setdefault(name, [])
            model.ends.setdefault(name, 0)
        case ("delete", name, steps) if name in present:
            for kept in (model.tanks, model.ends, model.limits):
                kept.pop(name, None)
            # Cut short after some steps: the rest is left for the sweeper.
            set_failpoint("cryotank_records_removed", f"{steps}>error")
            try:
                tanks.delete(name)
            except FailpointHit:
                return
            finally:
                clear_failpoint("cryotank_records_removed")
        case ("append", name, records, times, form) if name in present:
            tanks.append(name, Batch.of(records * times, form))
            model.append(name, records * times, form)
        case ("sweep",):
            tanks.remove_dropped()
            tanks.apply_limits()
            model.apply_limits()
        case ("wait", time_us):
            model.clock.now_us += time_us
        case ("limits", name, count_max, size_max, age_max_us) if name in present:
            model.limits[name] = TankLimits(count_max, size_max, age_max_us)
            assert tanks.update(name, model.limits[name]).limits == model.limits[name]
        case ("trim", name, offset) if name in present:
            tanks.trim(name, offset)
            model.trim(name, offset)
        case ("consumer", name, reader, part) if name in present:
            offset = int(model.ends[name] * part)
            readers.set(name, reader, offset)
            assert readers.offset(name, reader) == offset
        case ("forget", name, reader) if name in present:
            readers.delete(name, reader)
            assert readers.offset(name, reader) == 0


def read_all(tanks: TankStore) -> dict[str, Any]:
    return {
        tank.name: (
            tank,
            metrics,
            [item for chunk in tanks.read(tank.name) for item in chunk],
            [item for chunk in tanks.appends(tank.name) for item in chunk],
        )
        for tank, metrics in tanks.list_tanks()[0]
    }


def test_a_running_cells_log_makes_an_equal_cell(tmp_path: Path) -> None:
    flags = {"insecure": True, "listen": "127.0.0.1:0"}
    config = load_config(CryotankConfig, dir=tmp_path / "cryotank", flags=flags, environ={})
    chosen = random.Random(7)
    with running(CryotankCell(config)) as cell, grpc.insecure_channel(cell.tcp_address) as channel:
        stub = tank_service_pb2_grpc.TankServiceStub(channel)
        users = auth_service_pb2_grpc.AuthServiceStub(channel)
        users.CreateUser(auth_service_pb2.CreateUserRequest(name="alice"))
        for index in range(60):
            name = chosen.choice(NAMES)
            stub.CreateTank(tank_pb2.CreateTankRequest(name=name))
            values = [
                to_value([index, number, chosen.choice(["x" * 100, b"y", None])]) for number in range(200)
            ]
            stub.AppendRecords(
                tank_pb2.AppendRecordsRequest(name=name, values=values[: chosen.randrange(200)])
            )
            if chosen.random() < 0.2:
                stub.DeleteTank(tank_pb2.DeleteTankRequest(name=name))

        def appliers(slab: Slab) -> list[Applier]:
            return [AuthApplier(AuthStore(slab)), *cell.appliers()]

        replica = Replica(tmp_path / "replica", cell.all_databases(), appliers, seed=7)
        replica.follow(cell.changes)
        assert differences(cell.slab, replica.slab, cell.all_databases()) == []
        assert read_all(cell.store) == read_all(make_store(replica.slab))
        replica.close()


def test_what_is_left_of_deleted_tanks_is_removed_at_the_start(tmp_path: Path) -> None:
    config = load_config(CryotankConfig, dir=tmp_path / "cryotank", environ={})
    with running(CryotankCell(config)) as cell:
        cell.store.create("a")
        for _ in range(600):
            cell.store.append("a", Batch.of([b"x"]))
        with failing("cryotank_records_removed", "error"), pytest.raises(FailpointHit):
            cell.store.delete("a")
        assert cell.slab.stats().entries[schema.DROPPED.name] == 1
    with running(CryotankCell(config)) as cell:
        wait_for(lambda: cell.slab.stats().entries[schema.DROPPED.name] == 0)
        assert cell.slab.stats().entries[schema.RECORDS.name] == 0


def wait_for(is_true: Callable[[], bool]) -> None:
    import time

    end_s = time.monotonic() + 5
    while not is_true():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def test_a_record_that_does_not_fit_is_refused_and_changes_nothing(leader: Slab, tmp_path: Path) -> None:
    tanks = make_store(leader)
    tanks.create("a")
    tanks.append("a", Batch.of([b"x"] * 2000))
    tanks.trim("a", 10)
    make_consumers(leader).set("a", "x", 5)
    tanks.delete("a")
    records = ChangeLog(leader).read(0).records
    replica = replica_of(tmp_path / "replica")
    for index in range(1, len(records) - 1):
        # The tank, or the records before, are not there.
        wrong = ChangeRecord(0, 1, "", records[index].type_name, records[index].payload)
        with pytest.raises(StorageCorrupt):
            replica.apply([wrong])
    garbage = ChangeRecord(0, 1, "", changes.TYPE_NAME, b"\xff")
    with pytest.raises(StorageCorrupt):
        replica.apply([garbage])
    assert replica.next_offset == 0
    replica.apply(records)
    assert differences(leader, replica.slab, schema.DATABASES) == []
    replica.close()


@given(st.lists(st.binary(max_size=2000), max_size=20), st.integers(0, 1), st.booleans())
def test_records_of_a_change_read_back(records: list[bytes], form: int, compress: bool) -> None:
    made = Batch.of(records, form)
    batch, compressed = changes.pack_batch(made, compress=compress)
    appended = change_pb2.RecordsAppended(
        count=len(records), size_bytes=sum(map(len, records)), batch=batch, compressed=compressed
    )
    appended.form = tank_pb2.RECORD_FORM_MSGPACK if form else tank_pb2.RECORD_FORM_UNSPECIFIED
    assert changes.unpack_batch(appended) == made
    appended.count += 1
    with pytest.raises(StorageCorrupt):
        changes.unpack_batch(appended)


@given(
    st.lists(st.binary(max_size=300), min_size=1, max_size=5),
    st.integers(0, 1),
    st.booleans(),
    st.sampled_from([0, 1, 127, 128, 2**40]),
)
def test_the_record_of_an_append_is_what_protobuf_writes(
    records: list[bytes], form: int, compress: bool, offset: int
) -> None:
    tank = Tank("some:name", "0123" * 8, 5)
    batch = Batch.of(records * 50, form)
    packed = changes.pack_batch(batch, compress=compress)
    data = changes.records_appended(tank, offset, batch, packed, offset * 3)
    message = change_pb2.CryotankChange.FromString(data)
    found = message.records_appended
    assert (found.tank_id, found.name, found.offset, found.time_us) == (
        tank.tank_id,
        tank.name,
        offset,
        offset * 3,
    )
    assert changes.unpack_batch(found) == batch
    assert message.SerializeToString() == data


def test_a_store_of_the_first_layout_is_brought_up_and_so_is_its_log(tmp_path: Path) -> None:
    """What a follower makes of the log of that time is what the migration makes of what its leader stored."""
    old = tuple(db for db in schema.DATABASES if db not in (schema.CONSUMERS, schema.BOUNDED))
    tank_id, created_us = "ab" * 16, 1_700_000_000_000_000
    records = [b"x", b"", b"yy" * 300]
    slab = Slab.open(tmp_path / "old", old, sync=False)

    def op(txn: WriteTxn) -> None:
        log = ChangeLog(slab)
        tank = tank_pb2.Tank(name="a", tank_id=tank_id)
        tank.create_time.FromMicroseconds(created_us)
        batch = change_pb2.RecordBatch(records=records).SerializeToString()
        for payload in (
            change_pb2.CryotankChange(tank_created=change_pb2.TankCreated(tank=tank)),
            change_pb2.CryotankChange(
                records_appended=change_pb2.RecordsAppended(
                    tank_id=tank_id, name="a", count=3, size_bytes=601, batch=batch
                )
            ),
        ):
            log.append(
                txn, time_us=1, actor="", type_name=changes.TYPE_NAME, payload=payload.SerializeToString()
            )
        row = struct.pack(">Q16sQQQQ", 4, bytes.fromhex(tank_id), created_us, 3, 3, 601)
        txn.put(schema.TANKS, b"a", row)
        txn.put(schema.COUNTERS, b"tank", struct.pack(">Q", 5))
        for offset, record in enumerate(records):
            txn.put(schema.RECORDS, struct.pack(">QQ", 4, offset), record)
        txn.put(schema.RECORDS, struct.pack(">QQ", 3, 0), b"of a deleted tank")
        txn.put(schema.DROPPED, struct.pack(">Q", 3), b"")

    slab.write(op)
    slab.close()
    slab = Slab.open(tmp_path / "old", schema.DATABASES, sync=False, layout=schema.LAYOUT)
    tanks = make_store(slab)
    found = [record for chunk in tanks.read("a") for run in chunk for record in wire.records_of(run)]
    assert [record.data for record in found] == records
    assert tanks.metrics("a") == TankMetrics(3, 601, 3, 0)
    assert slab.stats().entries[schema.RECORDS.name] == 3
    assert slab.stats().entries[schema.DROPPED.name] == 0
    replica = replica_of(tmp_path / "replica")
    # Its number is one that only a replica of the whole log has.
    replica.slab.write(lambda txn: txn.put(schema.COUNTERS, b"tank", struct.pack(">Q", 4)))
    replica.follow(ChangeLog(slab), interrupt=False)
    assert differences(slab, replica.slab, schema.DATABASES) == []
    replica.close()
    slab.close()


def test_who_waits_on_a_follower_is_told_once_it_has_the_records(leader: Slab, tmp_path: Path) -> None:
    tanks = make_store(leader)
    tanks.create("a")
    tanks.append("a", Batch.of([b"x"]))
    arrivals = Arrivals()
    replica = Replica(tmp_path / "replica", schema.DATABASES, lambda slab: [CryotankApplier(arrivals)])

    async def run() -> None:
        with arrivals.waiter(0) as waiter:
            waiter.clear()
            assert not await waiter.wait(0.01)
            await asyncio.to_thread(replica.follow, ChangeLog(leader), interrupt=False)
            assert await waiter.wait(5)
            assert make_store(replica.slab).metrics("a").record_count == 1
            waiter.clear()
            tanks.delete("a")
            await asyncio.to_thread(replica.follow, ChangeLog(leader), interrupt=False)
            assert await waiter.wait(5)
        assert arrivals.count == 0

    asyncio.run(run())
    replica.close()
