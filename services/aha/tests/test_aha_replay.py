"""AHA's log replayed: equal storage, and a follower whose memory and watches tell what its leader's do."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from cellmesh.aha import schema
from cellmesh.aha.ca import Authority, Journal
from cellmesh.aha.ca.revocations import RevocationStore
from cellmesh.aha.cell import AhaCell
from cellmesh.aha.changes import TYPE_NAME, change_writer
from cellmesh.aha.config import AhaConfig
from cellmesh.aha.directory import Instance, Leaders, LeaderTable, Registry
from cellmesh.aha.directory.instances import to_proto
from cellmesh.aha.directory.leadership import Leader, leader_to_proto
from cellmesh.aha.directory.names import Names
from cellmesh.aha.directory.pools import PoolStore
from cellmesh.aha.directory.watch import Watch
from cellmesh.aha.provisioning import Enrollments
from cellmesh.aha.replay import AhaApplier, remember
from cellmesh.api.aha.v1 import change_pb2, registry_pb2, registry_service_pb2_grpc
from cellmesh.common.auth.replay import AuthApplier
from cellmesh.common.auth.schema import AUDIT
from cellmesh.common.auth.store import AuthStore
from cellmesh.common.cell import running
from cellmesh.common.changelog import Applier, ChangeLog, ChangeRecord, Replay
from cellmesh.common.config import load_config
from cellmesh.common.errors import CellError, DupName, StorageCorrupt
from cellmesh.common.rpc import Workers
from cellmesh.common.rpc.channel import open_aio_channel
from cellmesh.common.storage import Slab
from cellmesh.common.tls import certs
from cellmesh.common.tls.identity import CellIdentity, UserIdentity
from cellmesh.testing.clocks import HeldClock
from cellmesh.testing.replicas import Replica, differences
from hypothesis import given, settings
from hypothesis import strategies as st

KEY = certs.make_key()
NAMES = tuple(f"{number}.{service}.demo" for number in ("00", "01") for service in ("cortex", "axon"))


START_MS = 1_800_000_000_000


class World:
    """The parts of an AHA over a slab."""

    def __init__(self, slab: Slab, clock: HeldClock) -> None:
        self.slab = slab
        self.clock = clock
        self.log = ChangeLog(slab)
        self.workers = Workers(call_threads=2)
        writer = change_writer(self.log, clock)
        self.registry = Registry("demo", Names(slab, writer), self.workers, clock, restart_grace_s=30.0)
        self.leaders = Leaders(
            LeaderTable(slab, writer), self.workers, self.registry.set_leader, clock.monotonic
        )
        self.writer = writer


@asynccontextmanager
async def world_on(slab: Slab, clock: HeldClock, *, leads: bool = True) -> AsyncIterator[World]:
    world = World(slab, clock)
    await world.leaders.recover()
    await world.registry.role_changed(leads)
    try:
        yield world
    finally:
        await world.workers.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.open(
        tmp_path_factory.mktemp("ca"), "demo", HeldClock(START_MS), lifetime=datetime.timedelta(days=30)
    )


def instance(name: str, port: int = 4000, ready: bool = True) -> Instance:
    identity = CellIdentity.parse(name)
    return Instance(
        name, identity.service, "demo", identity.service, "0" * 32, f"127.0.0.1:{port}", "1", ready, False
    )


NAME = st.sampled_from(NAMES)
OPS = st.lists(
    st.one_of(
        st.tuples(st.just("register"), NAME, st.integers(4000, 4002), st.booleans()),
        st.tuples(st.just("renew"), NAME, st.booleans()),
        st.tuples(st.just("unregister"), NAME),
        st.tuples(st.just("wait"), st.integers(1, 20)),
        st.tuples(st.just("claim"), NAME, st.booleans(), st.sampled_from([0.0, 2.5, 10.0])),
        st.tuples(st.just("transfer"), NAME, NAME),
        st.tuples(st.just("provision")),
        st.tuples(st.just("enroll")),
        st.tuples(st.just("revoke"), st.sampled_from(["", "lost"])),
        st.tuples(st.just("delete_enrollments")),
        st.tuples(st.just("down"), NAME, st.booleans()),
        st.tuples(st.just("pool"), st.sampled_from(["one", "two"]), st.sampled_from(["axon", "01.cortex"])),
        st.tuples(st.just("unpool"), st.sampled_from(["one", "two"]), st.sampled_from(["", "axon"])),
        st.tuples(st.just("restart")),
    ),
    max_size=20,
)


async def run_op(world: World, enrollments: Enrollments, tokens: list[str], op: tuple[Any, ...]) -> None:
    match op:
        case ("register", name, port, ready):
            await world.registry.register(instance(name, port, ready), 10.0)
        case ("renew", name, ready):
            await world.registry.renew(name, ready=ready)
        case ("unregister", name):
            await world.registry.unregister(name)
        case ("wait", seconds):
            world.clock.go_on(seconds)
            await world.registry.expire()
        case ("claim", name, force, lease_s):
            await world.leaders.claim(CellIdentity.parse(name), 0, lease_s, force=force)
        case ("transfer", name, successor):
            caller = CellIdentity.parse(name)
            term = world.leaders.get(caller.service).leader.term
            await world.leaders.transfer(caller, term, successor)
        case ("provision",):
            tokens.append(enrollments.create(UserIdentity("alice", "demo"))[0])
        case ("enroll",) if tokens:
            # Used twice now and then, which is refused.
            token = tokens.pop() if len(tokens) > 1 else tokens[0]
            enrollments.use(token, certs.make_csr(KEY).decode())
        case ("revoke", reason):
            store = RevocationStore(world.slab, world.writer, world.clock)
            store.revoke_name(UserIdentity("alice", "demo"), reason)
        case ("delete_enrollments",):
            enrollments.delete((), every=True)
        case ("down", name, down):
            await world.registry.set_down(name, down=down)
        case ("pool", name, member):
            pools = PoolStore(world.slab, world.writer, world.clock, "demo")
            with suppress(DupName):
                pools.create(name, (), ())
            pools.add_member(name, member)
        case ("unpool", name, member):
            pools = PoolStore(world.slab, world.writer, world.clock, "demo")
            if member:
                pools.remove_member(name, member)
            else:
                pools.delete(name)
        case ("restart",):
            await world.leaders.recover()
            await world.registry.role_changed(True)


@settings(max_examples=30, deadline=None)
@given(ops=OPS, seed=st.integers(0, 2**32))
def test_any_log_ends_in_the_same_state_in_storage_memory_and_watches(
    authority: Authority, ops: list[Any], seed: int
) -> None:
    with TemporaryDirectory() as folder:
        asyncio.run(check_ops(Path(folder), authority, ops, seed))


async def check_ops(folder: Path, authority: Authority, ops: list[Any], seed: int) -> None:
    clock = HeldClock(START_MS)
    slab = Slab.open(folder / "leader", (*schema.DATABASES, AUDIT), sync=False)
    applied: list[change_pb2.AhaChange] = []
    replica = Replica(folder / "follower", schema.DATABASES, lambda slab: [AhaApplier(applied.extend)], seed)
    async with world_on(slab, clock) as leader, world_on(replica.slab, clock, leads=False) as follower:
        enrollments = Enrollments(slab, leader.writer, authority, Journal(slab, leader.writer), clock)
        tokens: list[str] = []
        watches = [world.registry.watch()[1] for world in (leader, follower)]
        for op in ops:
            with suppress(CellError):
                await run_op(leader, enrollments, tokens, op)
            # Not reopened: the follower's memory belongs to this slab.
            for record in leader.log.read(replica.next_offset).records:
                replica.apply([record])
            remember(applied, follower.registry, follower.leaders)
            applied.clear()
            assert differences(slab, replica.slab, schema.DATABASES) == []
            assert told(leader.registry.all()) == told(follower.registry.all())
        assert leaders_of(leader) == leaders_of(follower)
        assert [told_by(watch) for watch in watches[:1]] == [told_by(watch) for watch in watches[1:]]
        # A follower that is started anew, or promoted, knows the same.
        await follower.leaders.recover()
        await follower.registry.role_changed(True)
        assert told(leader.registry.all()) == told(follower.registry.all())
        clock.go_on(31)
        await follower.registry.expire()
        assert follower.registry.all() == []
    replica.close()

    fresh = Replica(folder / "fresh", schema.DATABASES, lambda slab: [AhaApplier()], seed)
    fresh.follow(ChangeLog(slab))
    assert differences(slab, fresh.slab, schema.DATABASES) == []
    fresh.close()
    slab.close()


def told(instances: Sequence[Instance]) -> list[Instance]:
    """Instances without times, which are each AHA's own."""
    return [replace(found, register_ms=0, expire_ms=0) for found in instances]


def told_by(watch: Watch) -> list[tuple[Any, Instance]]:
    return [(change.kind, told([change.instance])[0]) for change in watch._waiting]


def leaders_of(world: World) -> list[Any]:
    found = []
    for service in ("cortex", "axon"):
        with suppress(CellError):
            found.append(world.leaders.get(service).leader)
    return found


def test_a_follower_holds_everyone_until_it_hears_that_they_have_gone(tmp_path: Path) -> None:
    async def main() -> None:
        clock = HeldClock(START_MS)
        slab = Slab.open(tmp_path / "slab", schema.DATABASES, sync=False)
        async with world_on(slab, clock) as leader:
            await leader.registry.register(instance(NAMES[0]), 10.0)
        async with world_on(slab, clock, leads=False) as follower:
            clock.go_on(1000)
            offset = follower.log.read(0).next_offset
            await follower.registry.expire()
            assert [found.name for found in follower.registry.all()] == [NAMES[0]]
            assert follower.registry.all()[0].expire_ms == 0
            # Deposed and promoted again: a full lease from then on.
            await follower.registry.role_changed(True)
            clock.go_on(29)
            await follower.registry.expire()
            assert follower.registry.all()
            renewed = await follower.registry.renew(NAMES[0], ready=True)
            assert renewed.expire_ms - clock.now() == 15_000
            assert follower.log.read(0).next_offset == offset
        slab.close()

    asyncio.run(main())


def test_a_running_ahas_log_makes_equal_storage(tmp_path: Path) -> None:
    flags = {"network": "demo", "stop_grace_s": 2.0}
    config = load_config(AhaConfig, dir=tmp_path / "aha", flags=flags, environ={})
    with running(AhaCell(config)) as cell:
        token, _, _ = cell.enrollments.create(CellIdentity("00", "cortex", "demo"))
        cell.enrollments.use(token, certs.make_csr(KEY).decode())
        cell.enrollments.renew(CellIdentity("00", "cortex", "demo"), certs.make_csr(KEY).decode())

        def appliers(slab: Slab) -> list[Applier]:
            return [AuthApplier(AuthStore(slab)), AhaApplier()]

        replica = Replica(tmp_path / "replica", cell.all_databases(), appliers)
        replica.follow(cell.changes)
        assert differences(cell.slab, replica.slab, cell.all_databases()) == []
        # AHA's own, root's, the cortex's first and second.
        assert replica.slab.stats().entries[schema.CERTIFICATES.name] == 4
        replica.close()


def test_callers_and_watches_of_a_running_aha_hear_of_what_is_applied(tmp_path: Path) -> None:
    """It applies records as a follower would, though it leads."""

    async def main() -> None:
        flags = {"network": "demo", "stop_grace_s": 2.0}
        config = load_config(AhaConfig, dir=tmp_path / "aha", flags=flags, environ={})
        async with AhaCell(config) as cell, open_aio_channel(f"unix:{config.dir}/cell.sock") as channel:
            stub = registry_service_pb2_grpc.RegistryServiceStub(channel)
            watch = stub.WatchInstances(registry_pb2.WatchInstancesRequest(service="cortex"))
            await watch.read()
            replay = Replay(cell.slab, cell.appliers())
            changes = (
                change_pb2.AhaChange(
                    instance_registered=change_pb2.InstanceRegistered(instance=to_proto(instance(NAMES[0])))
                ),
                change_pb2.AhaChange(
                    leadership_changed=change_pb2.ServiceLeaderChanged(
                        leadership=leader_to_proto(Leader("cortex", NAMES[0], 7, 3.0))
                    )
                ),
            )
            offset = cell.change_offset()
            records = [
                ChangeRecord(offset + index, 1, "", TYPE_NAME, change.SerializeToString())
                for index, change in enumerate(changes)
            ]
            await asyncio.to_thread(replay.apply, records)
            found = await stub.GetService(registry_pb2.GetServiceRequest(name="cortex"))
            assert [(item.name, item.leader) for item in found.instances] == [(NAMES[0], True)]
            seen: list[Any] = []
            while len(seen) < 2:
                seen += [(change.kind, change.instance.leader) for change in (await watch.read()).changes]
            kinds = registry_pb2.InstanceChange
            assert seen == [(kinds.KIND_ADDED, False), (kinds.KIND_UPDATED, True)]
            assert cell.leaders.get("cortex").leader.term == 7

    asyncio.run(main())


@pytest.mark.parametrize(
    "change",
    [
        change_pb2.AhaChange(),
        change_pb2.AhaChange(instance_unregistered=change_pb2.InstanceUnregistered(name="00.gone.demo")),
        change_pb2.AhaChange(enrollment_used=change_pb2.EnrollmentUsed(token_sha256=bytes(32))),
    ],
)
def test_a_record_that_does_not_fit_is_refused(tmp_path: Path, change: change_pb2.AhaChange) -> None:
    heard: list[Any] = []
    replica = Replica(tmp_path, schema.DATABASES, lambda slab: [AhaApplier(heard.append)])
    with pytest.raises(StorageCorrupt):
        replica.apply([ChangeRecord(0, 1, "", TYPE_NAME, change.SerializeToString())])
    assert replica.next_offset == 0
    assert heard == []
    replica.close()
