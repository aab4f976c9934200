"""The Cryotank's log replayed into an empty cell ends in the same state, byte for byte."""

from __future__ import annotations

import random
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
from cellmesh.common.storage import Slab
from cellmesh.common.values import to_value
from cellmesh.cryotank import schema
from cellmesh.cryotank.cell import CryotankCell
from cellmesh.cryotank.config import CryotankConfig
from cellmesh.cryotank.tanks import CryotankApplier, TankStore, changes, store
from cellmesh.testing.replicas import Replica, differences
from hypothesis import given, settings
from hypothesis import strategies as st

NAMES = ("a", "b", "c:d")


def make_appliers(slab: Slab) -> list[Applier]:
    return [CryotankApplier()]


def make_store(slab: Slab, now_us: Callable[[], int] = lambda: 1_700_000_000_123_456) -> TankStore:
    return TankStore(slab, ChangeWriter(ChangeLog(slab), changes.TYPE_NAME, now_us), now_us)


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
        ),
        st.tuples(st.just("sweep")),
    ),
    max_size=25,
)


@settings(max_examples=25, deadline=None)
@given(OPS, st.integers(0, 2**32))
def test_any_log_ends_in_the_same_state(ops: list[Any], seed: int) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "REMOVE_COUNT", 7)
        leader = Slab.open(Path(folder) / "leader", schema.DATABASES, sync=False)
        replica = replica_of(Path(folder) / "replica", seed)
        tanks = make_store(leader)
        try:
            for op in ops:
                run_op(tanks, op)
                if seed % 3 == 0:
                    # A follower that keeps up is equal at every offset, not only at the end.
                    replica.follow(ChangeLog(leader), interrupt=False)
                    assert differences(leader, replica.slab, schema.DATABASES) == []
            replica.follow(ChangeLog(leader))
            assert differences(leader, replica.slab, schema.DATABASES) == []
            assert leader.state_hash(schema.DATABASES) == replica.slab.state_hash(schema.DATABASES)
            assert read_all(tanks) == read_all(make_store(replica.slab))
        finally:
            leader.close()
            replica.close()


def run_op(tanks: TankStore, op: tuple[Any, ...]) -> None:
    present = {tank.name for tank in tanks.list_tanks()[0]}
    match op:
        case ("create", name):
            tanks.create(name)
        case ("delete", name, steps) if name in present:
            # Cut short after some steps: the rest is left for the sweeper.
            set_failpoint("cryotank_records_removed", f"{steps}>error")
            try:
                tanks.delete(name)
            except FailpointHit:
                return
            finally:
                clear_failpoint("cryotank_records_removed")
        case ("append", name, records, times) if name in present:
            tanks.append(name, records * times)
        case ("sweep",):
            tanks.remove_dropped()


def read_all(tanks: TankStore) -> dict[str, Any]:
    return {
        tank.name: (
            tank,
            tanks.metrics(tank.name),
            [item for chunk in tanks.read(tank.name) for item in chunk],
        )
        for tank in tanks.list_tanks()[0]
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
        cell.store.append("a", [b"x"] * 5000)
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
    tanks.append("a", [b"x"] * 2000)
    tanks.delete("a")
    records = ChangeLog(leader).read(0).records
    replica = replica_of(tmp_path / "replica")
    for index in range(1, len(records)):
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


@given(st.lists(st.binary(max_size=2000), max_size=20))
def test_records_of_a_change_read_back(records: list[bytes]) -> None:
    batch, compressed = changes.pack_records(records)
    appended = change_pb2.RecordsAppended(
        count=len(records), size_bytes=sum(map(len, records)), batch=batch, compressed=compressed
    )
    assert changes.unpack_records(appended) == records
    appended.count += 1
    with pytest.raises(StorageCorrupt):
        changes.unpack_records(appended)
