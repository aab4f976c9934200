"""The registry: leases on a clock we hold, look-ups, watches, and what survives a restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cellmesh.aha import schema
from cellmesh.aha.changes import change_writer
from cellmesh.aha.directory import Instance, Registry
from cellmesh.aha.directory.instances import check_address, parse_wanted
from cellmesh.aha.directory.names import Names
from cellmesh.aha.directory.watch import WAITING_COUNT_MAX, Change, ChangeKind, Watch
from cellmesh.api.aha.v1 import change_pb2
from cellmesh.common.changelog import ChangeLog
from cellmesh.common.errors import BadArg, BadName, LimitExceeded, NoSuchCell
from cellmesh.common.rpc import Workers
from cellmesh.common.storage import Slab
from cellmesh.common.tls.identity import CellIdentity
from cellmesh.testing.clocks import HeldClock


class World:
    """A registry, its clock and its log."""

    def __init__(self, path: Path) -> None:
        self.clock = HeldClock()
        self.slab = Slab.open(path, schema.DATABASES, sync=False)
        self.log = ChangeLog(self.slab)
        self.workers = Workers()
        names = Names(self.slab, change_writer(self.log, self.clock))
        self.peers_silence_s: float | None = None
        self.registry = Registry(
            "demo",
            names,
            self.workers,
            self.clock,
            restart_grace_s=30.0,
            peers_silence_s=lambda: self.peers_silence_s,
        )

    def changes(self) -> list[str]:
        records = self.log.read(0).records
        return [
            str(change_pb2.AhaChange.FromString(record.payload).WhichOneof("change")) for record in records
        ]


@asynccontextmanager
async def world_at(path: Path) -> AsyncIterator[World]:
    world = World(path)
    try:
        yield world
    finally:
        await world.workers.close()
        world.slab.close()


def run(tmp_path: Path, body: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        async with world_at(tmp_path / "slab") as world:
            await body(world)

    asyncio.run(main())


def instance(name: str = "00.cortex.demo", **changed: object) -> Instance:
    identity = CellIdentity.parse(name)
    facts: dict[str, object] = {
        "kind": identity.service,
        "cell_id": "0" * 32,
        "address": "127.0.0.1:4000",
        "version": "1",
        "ready": True,
        "leader": False,
    }
    return Instance(name, identity.service, identity.network, **{**facts, **changed})  # type: ignore[arg-type]


def test_an_instance_is_found_until_its_lease_ends(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        stored = await world.registry.register(instance(), 10.0)
        assert stored.expire_ms - stored.register_ms == 10_000
        for name in ("cortex", "cortex.demo", "00.cortex", "00.cortex.demo"):
            assert world.registry.find(name) == [stored]
        world.clock.go_on(9.9)
        await world.registry.expire()
        assert world.registry.find("cortex")
        world.clock.go_on(0.1)
        await world.registry.expire()
        with pytest.raises(NoSuchCell):
            world.registry.find("cortex")
        with pytest.raises(NoSuchCell, match="lease"):
            await world.registry.renew("00.cortex.demo", ready=True)
        assert world.changes() == ["instance_registered", "instance_unregistered"]

    run(tmp_path, body)


def test_who_is_cut_off_from_all_lets_no_lease_run_out_and_gives_full_ones_afterwards(
    tmp_path: Path,
) -> None:
    async def body(world: World) -> None:
        await world.registry.register(instance(), 15.0)
        await world.registry.register(instance("00.axon.demo"), 15.0)
        for silence_s in (5.0, 10.0, 15.0, 20.0):
            world.clock.go_on(5.0)
            world.peers_silence_s = silence_s
            # Its own registration tells nothing.
            await world.registry.register(instance("00.aha.demo"), 15.0)
            await world.registry.expire()
            assert len(world.registry.all()) == 3
        # The other AHA is heard again: whoever lives has this long to renew.
        world.peers_silence_s = 0.0
        await world.registry.expire()
        world.clock.go_on(14.0)
        await world.registry.renew("00.axon.demo", ready=True)
        await world.registry.expire()
        assert len(world.registry.all()) == 3
        world.clock.go_on(1.0)
        await world.registry.expire()
        assert [found.name for found in world.registry.all()] == ["00.axon.demo"]

    run(tmp_path, body)


def test_a_silent_other_aha_keeps_no_lease_from_running_out_while_cells_are_heard(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.registry.register(instance(), 15.0)
        await world.registry.register(instance("00.axon.demo"), 15.0)
        for silence_s in (5.0, 10.0, 15.0):
            world.clock.go_on(5.0)
            world.peers_silence_s = silence_s
            await world.registry.renew("00.axon.demo", ready=True)
            await world.registry.expire()
        assert [found.name for found in world.registry.all()] == ["00.axon.demo"]

    run(tmp_path, body)


def test_a_leader_without_its_lease_lets_none_run_out(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.registry.register(instance(), 1.0)
        world.peers_silence_s = float("inf")
        for _ in range(4):
            world.clock.go_on(1.0)
            await world.registry.renew("00.cortex.demo", ready=True)
            await world.registry.expire()
        world.clock.go_on(1.0)
        await world.registry.expire()
        assert world.registry.all()
        world.peers_silence_s = 0.1
        await world.registry.expire()
        world.clock.go_on(1.0)
        await world.registry.expire()
        assert not world.registry.all()

    run(tmp_path, body)


def test_renewals_keep_a_lease_and_write_nothing(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.registry.register(instance(), 10.0)
        for _ in range(5):
            world.clock.go_on(9)
            await world.registry.renew("00.cortex.demo", ready=True)
            await world.registry.expire()
        await world.registry.register(instance(), 10.0)
        assert world.registry.find("cortex")
        assert world.changes() == ["instance_registered"]

    run(tmp_path, body)


def test_leases_have_bounds(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        usual = await world.registry.register(instance(), 0.0)
        longest = await world.registry.register(instance("01.cortex.demo"), 1e9)
        assert usual.expire_ms - usual.register_ms == 15_000
        assert longest.expire_ms - longest.register_ms == 300_000

    run(tmp_path, body)


def test_the_leader_comes_first_then_names(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        for number, leader in (("02", False), ("01", True), ("00", False)):
            await world.registry.register(instance(f"{number}.cortex.demo", leader=leader), 10.0)
        await world.registry.register(instance("00.axon.demo"), 10.0)
        names = [found.name for found in world.registry.find("cortex")]
        assert names == ["01.cortex.demo", "00.cortex.demo", "02.cortex.demo"]
        assert world.registry.all()[0].name == "00.axon.demo"
        assert len(world.registry.all("cortex")) == 3

    run(tmp_path, body)


def test_a_restarted_registry_waits_for_those_it_knew(tmp_path: Path) -> None:
    async def main() -> None:
        async with world_at(tmp_path / "slab") as world:
            await world.registry.register(instance("00.cortex.demo"), 10.0)
            await world.registry.register(instance("00.axon.demo"), 10.0)
            await world.registry.register(instance("00.gone.demo"), 10.0)
            await world.registry.unregister("00.gone.demo")
        async with world_at(tmp_path / "slab") as world:
            assert await world.registry.recover() == 2
            assert world.registry.find("cortex")[0].address == "127.0.0.1:4000"
            world.clock.go_on(29)
            await world.registry.register(instance("00.axon.demo"), 10.0)
            world.clock.go_on(1)
            await world.registry.expire()
            assert [found.name for found in world.registry.all()] == ["00.axon.demo"]

    asyncio.run(main())


def test_after_a_restart_a_renewal_lasts_as_long_as_usual(tmp_path: Path) -> None:
    async def main() -> None:
        async with world_at(tmp_path / "slab") as world:
            await world.registry.register(instance(), 10.0)
        async with world_at(tmp_path / "slab") as world:
            await world.registry.recover()
            renewed = await world.registry.renew("00.cortex.demo", ready=True)
            assert renewed.expire_ms - world.clock.now() == 15_000

    asyncio.run(main())


def test_a_watch_begins_with_what_there_is_and_tells_every_change(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.registry.register(instance("00.axon.demo"), 10.0)
        present, watch = world.registry.watch()
        assert [found.name for found in present] == ["00.axon.demo"]
        await world.registry.register(instance(), 10.0)
        await world.registry.register(instance(address="127.0.0.1:5000"), 10.0)
        await world.registry.register(instance(address="127.0.0.1:5000"), 10.0)
        await world.registry.renew("00.cortex.demo", ready=True)
        await world.registry.renew("00.cortex.demo", ready=False)
        await world.registry.unregister("00.cortex.demo")
        changes = await watch.take()
        assert changes is not None
        assert [(change.kind, change.instance.address, change.instance.ready) for change in changes] == [
            (ChangeKind.ADDED, "127.0.0.1:4000", True),
            (ChangeKind.UPDATED, "127.0.0.1:5000", True),
            (ChangeKind.UPDATED, "127.0.0.1:5000", False),
            (ChangeKind.REMOVED, "127.0.0.1:5000", False),
        ]
        world.registry.close_watches()
        assert await watch.take() is None
        assert await world.registry.watch()[1].take() is None

    run(tmp_path, body)


def test_a_watch_of_one_service_hears_of_it_alone(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        _, watch = world.registry.watch("axon")
        await world.registry.register(instance(), 10.0)
        await world.registry.register(instance("00.axon.demo"), 10.0)
        changes = await watch.take()
        assert changes is not None
        assert [change.instance.name for change in changes] == ["00.axon.demo"]

    run(tmp_path, body)


def test_who_watches_too_slowly_is_cut_off() -> None:
    async def main() -> None:
        watch = Watch("")
        for _ in range(WAITING_COUNT_MAX + 1):
            watch.offer(Change(ChangeKind.ADDED, instance()))
        with pytest.raises(LimitExceeded, match="watch again"):
            await watch.take()

    asyncio.run(main())


def test_an_instance_of_another_network_is_refused(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        with pytest.raises(BadName):
            await world.registry.register(instance("00.cortex.other"), 10.0)
        with pytest.raises(NoSuchCell):
            world.registry.find("cortex.other")

    run(tmp_path, body)


@pytest.mark.parametrize("name", ["", ".", "a..b", "a.b.c.d", "00."])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(BadName):
        parse_wanted(name, "demo")


@pytest.mark.parametrize("address", ["", "host", "host:0", "host:99999", "unix:relative", ":80", "a b:80"])
def test_an_address_nobody_could_use_is_refused(address: str) -> None:
    with pytest.raises(BadArg):
        check_address(address)
    check_address("[::1]:80")
    check_address("unix:/run/a.sock")
