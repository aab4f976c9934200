"""Who leads a service: terms, leases on a clock we hold, and what survives a restart or a failed write."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cellmesh.aha import schema
from cellmesh.aha.changes import change_writer
from cellmesh.aha.directory.leadership import LEASE_S_MAX, Leader, Leaders, LeaderTable
from cellmesh.api.aha.v1 import change_pb2
from cellmesh.common.changelog import ChangeLog
from cellmesh.common.errors import BadArg, BadName, NoSuchName, NotLeader, Retry, StorageCorrupt
from cellmesh.common.rpc import Workers
from cellmesh.common.storage import Slab
from cellmesh.common.time.clock import SYSTEM_CLOCK
from cellmesh.common.tls.identity import CellIdentity

ONE, TWO, OTHER = (CellIdentity.parse(f"{name}.demo") for name in ("00.cortex", "01.cortex", "00.axon"))


class SlowTable(LeaderTable):
    """A table whose writes can be held up, or fail before or after they are on disk."""

    before: Callable[[], None] | None = None
    after: Callable[[], None] | None = None

    def put(self, leader: Leader) -> None:
        if self.before:
            self.before()
        super().put(leader)
        if self.after:
            self.after()


class World:
    """Leaders, their clock, and what they told of."""

    def __init__(self, path: Path) -> None:
        self.seconds = 1000.0
        self.slab = Slab.open(path, schema.DATABASES, sync=False)
        self.log = ChangeLog(self.slab)
        self.workers = Workers()
        self.table = SlowTable(self.slab, change_writer(self.log, SYSTEM_CLOCK))
        self.told: list[tuple[str, str]] = []
        self.leaders = Leaders(
            self.table,
            self.workers,
            lambda service, name: self.told.append((service, name)),
            lambda: self.seconds,
        )

    def logged(self) -> list[tuple[str, str, int, int]]:
        """Service, leader, term and length of the lease in ms, of each record."""
        found = []
        for record in self.log.read(0).records:
            told = change_pb2.AhaChange.FromString(record.payload).leadership_changed.leadership
            found.append((told.service, told.leader, told.term, told.lease_left.ToMilliseconds()))
        return found


@asynccontextmanager
async def world_at(path: Path) -> AsyncIterator[World]:
    world = World(path)
    try:
        await world.leaders.recover()
        yield world
    finally:
        await world.workers.close()
        world.slab.close()


def run(path: Path, body: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        async with world_at(path / "slab") as world:
            await body(world)

    asyncio.run(main())


def test_the_first_leads_and_goes_on_in_its_term(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        with pytest.raises(NoSuchName):
            world.leaders.get("cortex")
        lease = await world.leaders.claim(ONE, 0, 0, force=False)
        assert (lease.leader.name, lease.leader.term, world.leaders.left_s(lease)) == (ONE.name, 1, 3.0)
        world.seconds += 2
        lease = await world.leaders.claim(ONE, 1, 0, force=False)
        assert (lease.leader.term, world.leaders.left_s(lease)) == (1, 3.0)
        world.seconds += 100
        lease = await world.leaders.renew(ONE, 1, 2)
        assert (lease.leader.term, world.leaders.left_s(lease)) == (1, 2.0)
        assert (await world.leaders.claim(OTHER, 0, 0, force=False)).leader.name == OTHER.name
        assert world.told == [("cortex", ONE.name), ("axon", OTHER.name)]
        assert world.logged() == [("cortex", ONE.name, 1, 3000), ("axon", OTHER.name, 1, 3000)]

    run(tmp_path, body)


def test_a_second_one_leads_by_force_once_the_lease_has_run_out(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.leaders.claim(ONE, 0, 4, force=False)
        with pytest.raises(NotLeader) as refused:
            await world.leaders.claim(TWO, 1, 0, force=False)
        assert (refused.value.get("leader"), refused.value.get("term")) == (ONE.name, 1)
        world.seconds += 3
        with pytest.raises(Retry) as early:
            await world.leaders.claim(TWO, 1, 0, force=True)
        assert not isinstance(early.value, NotLeader)
        assert early.value.get("wait_s") == pytest.approx(1.0)
        world.seconds += 1
        # Without force not even then.
        with pytest.raises(NotLeader):
            await world.leaders.claim(TWO, 1, 0, force=False)
        lease = await world.leaders.claim(TWO, 1, 0, force=True)
        assert (lease.leader.name, lease.leader.term) == (TWO.name, 2)
        with pytest.raises(NotLeader) as deposed:
            await world.leaders.renew(ONE, 1, 0)
        assert (deposed.value.get("leader"), deposed.value.get("term")) == (TWO.name, 2)
        with pytest.raises(NotLeader):
            await world.leaders.transfer(ONE, 1, ONE.name)

    run(tmp_path, body)


def test_a_lease_that_was_promised_holds_although_a_shorter_one_is_asked_for(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.leaders.claim(ONE, 0, 50, force=False)
        await world.leaders.renew(ONE, 1, 1)
        world.seconds += 49
        with pytest.raises(Retry):
            await world.leaders.claim(TWO, 1, 0, force=True)
        world.seconds += 1
        await world.leaders.claim(TWO, 1, 0, force=True)

    run(tmp_path, body)


def test_the_term_is_above_all_that_anybody_knows(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        assert (await world.leaders.claim(ONE, 7, 0, force=False)).leader.term == 8
        # It knows of less than is stored: it has lost something, and what it writes is another history.
        assert (await world.leaders.claim(ONE, 3, 0, force=False)).leader.term == 9
        assert (await world.leaders.claim(ONE, 20, 0, force=False)).leader.term == 21
        with pytest.raises(BadArg):
            await world.leaders.claim(ONE, 2**63, 0, force=False)

    run(tmp_path, body)


def test_a_leader_hands_over_and_gives_back(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.leaders.claim(ONE, 0, 30, force=False)
        for name in ("cortex", "00.axon.demo", "00.cortex.other", "0.cortex.demo"):
            with pytest.raises(BadName):
                await world.leaders.transfer(ONE, 1, name)
        with pytest.raises(NotLeader):
            await world.leaders.transfer(TWO, 1, TWO.name)
        lease = await world.leaders.transfer(ONE, 1, TWO.name)
        assert (lease.leader.name, lease.leader.term, world.leaders.left_s(lease)) == (TWO.name, 2, 3.0)
        assert world.told[-1] == ("cortex", TWO.name)
        lease = await world.leaders.renew(TWO, 2, 30)
        lease = await world.leaders.transfer(TWO, 2, "")
        assert world.leaders.left_s(lease) == 0
        # A renewal that was still under way does not take it back; a claim does.
        with pytest.raises(NotLeader, match="claim"):
            await world.leaders.renew(TWO, 2, 30)
        assert (await world.leaders.claim(TWO, 2, 30, force=False)).leader.term == 2
        await world.leaders.transfer(TWO, 2, "")
        assert (await world.leaders.claim(ONE, 2, 0, force=True)).leader.term == 3

    run(tmp_path, body)


def test_after_a_restart_everyone_has_a_full_lease(tmp_path: Path) -> None:
    async def before(world: World) -> None:
        await world.leaders.claim(ONE, 0, 3, force=False)
        await world.leaders.renew(ONE, 1, 1000)
        await world.leaders.renew(ONE, 1, 2)
        await world.leaders.claim(OTHER, 4, 2, force=False)
        world.seconds += 100
        # A longer lease is on disk before it is promised; a shorter one costs no write.
        assert [record[3] for record in world.logged()] == [3000, 60_000, 2000]

    async def after(world: World) -> None:
        assert world.told == [("axon", OTHER.name), ("cortex", ONE.name)]
        lease = world.leaders.get("cortex")
        assert (lease.leader.name, lease.leader.term) == (ONE.name, 1)
        assert world.leaders.left_s(lease) == LEASE_S_MAX
        world.seconds += 59
        with pytest.raises(Retry):
            await world.leaders.claim(TWO, 1, 0, force=True)
        world.seconds += 1
        assert (await world.leaders.claim(TWO, 1, 0, force=True)).leader.term == 2
        assert (await world.leaders.renew(OTHER, 5, 2)).leader.term == 5

    run(tmp_path, before)
    run(tmp_path, after)


@pytest.mark.parametrize("stored", [False, True])
def test_a_write_that_fails_leaves_one_leader(tmp_path: Path, stored: bool) -> None:
    """Nobody knows what is on disk then: it is read again, and a term that may be there is given to nobody else."""

    async def body(world: World) -> None:
        await world.leaders.claim(ONE, 0, 3, force=False)
        world.seconds += 3

        def fail() -> None:
            raise StorageCorrupt("broken on purpose")

        world.table.before, world.table.after = (None, fail) if stored else (fail, None)
        with pytest.raises(StorageCorrupt):
            await world.leaders.claim(TWO, 1, 3, force=True)
        world.table.before = world.table.after = None
        if stored:
            with pytest.raises(NotLeader):
                await world.leaders.renew(ONE, 1, 3)
            lease = await world.leaders.claim(TWO, 2, 3, force=False)
            assert (lease.leader.name, lease.leader.term) == (TWO.name, 2)
        else:
            assert (await world.leaders.renew(ONE, 1, 3)).leader.term == 1

    run(tmp_path, body)


def test_a_renewal_waits_for_the_claim_before_it_even_when_the_claimant_has_gone(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.leaders.claim(ONE, 0, 3, force=False)
        world.seconds += 3
        begun, let_go = threading.Event(), threading.Event()

        def hold() -> None:
            begun.set()
            assert let_go.wait(10)

        world.table.before = hold
        claim = asyncio.create_task(world.leaders.claim(TWO, 1, 3, force=True))
        await asyncio.to_thread(begun.wait)
        claim.cancel()
        renewal = asyncio.create_task(world.leaders.renew(ONE, 1, 3))
        await asyncio.sleep(0.05)
        assert claim.cancelled()
        assert not renewal.done()
        let_go.set()
        with pytest.raises(NotLeader):
            await renewal
        assert world.leaders.get("cortex").leader == Leader("cortex", TWO.name, 2, 3.0)

    run(tmp_path, body)


def test_many_who_claim_at_once_get_one_leader(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        cells = [CellIdentity(f"{number:02}", "cortex", "demo") for number in range(20)]
        answers = await asyncio.gather(
            *(world.leaders.claim(cell, 0, 3, force=cell.number < "10") for cell in cells),
            return_exceptions=True,
        )
        given = [answer for answer in answers if not isinstance(answer, BaseException)]
        assert len(given) == 1
        assert all(isinstance(answer, Retry) for answer in answers if isinstance(answer, BaseException))
        assert len(world.logged()) == 1

    run(tmp_path, body)
