"""Mirror: what an instance is for its service, and how that changes.

    decide ─> LEADER ──deposed, handed over──> FOLLOWER ──promoted──> LEADER
          └─> FOLLOWER ──diverged, log trimmed──> the cell starts again and is seeded

All of it runs in the event loop but for what touches storage. One lock orders the changes of role.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

import grpc.aio
from cellmesh.api.common.v1 import mirror_pb2
from cellmesh.common.changelog import Applier, ChangeLog, LogKeeper, Replay
from cellmesh.common.errors import (
    CellError,
    NoSuchName,
    NotLeader,
    Retry,
)
from cellmesh.common.failpoints import failpoint
from cellmesh.common.mirror.arbiter import Leadership
from cellmesh.common.mirror.checkpoints import Checkpoints
from cellmesh.common.mirror.duties import Duties
from cellmesh.common.mirror.following import FollowerCalls, FollowStream, Position
from cellmesh.common.mirror.gate import MirrorGate
from cellmesh.common.mirror.instance import Instance, Mesh, MirrorEvents, MirrorSettings, Place, Role
from cellmesh.common.mirror.leading import Leading, hold_name
from cellmesh.common.mirror.records import LEADERSHIP_TYPE, MirrorRecords
from cellmesh.common.mirror.schema import (
    FIRST_TERM,
    Facts,
    put_term,
    read_facts,
    term_at,
    terms_backwards,
    write_facts,
)
from cellmesh.common.mirror.source import LeaderSource
from cellmesh.common.rpc.channel import open_aio_channel
from cellmesh.common.rpc.workers import Workers
from cellmesh.common.storage import Slab, SubDb, WriteTxn
from cellmesh.common.telemetry.logs import get_logger
from cellmesh.common.time.clock import boottime_s

UNHEARD_WAIT_S: Final = 1.0
"""How long somebody waits for changes on an instance that hears nothing of a leader."""

_log = get_logger(__name__)


class Mirror:
    """The role of one instance. Made with the slab open, before anything writes; `decide` comes next.

    Args:
        instance: Who it is.
        mesh: What it asks AHA.
        slab: Its storage. Gets the gate.
        workers: Threads for blocking work.
        databases: All of its storage, for the hash of its state.
        settings: See MirrorSettings.
        events: See MirrorEvents.
        keeper: Keeps for followers what they need of the log.

    Attributes:
        role: What it is now.
        term: The highest term it knows of.
        leader: Who leads, and where, as far as it knows.
        trouble: Why it neither leads nor follows, when something is wrong.
    """

    def __init__(
        self,
        instance: Instance,
        mesh: Mesh,
        slab: Slab,
        workers: Workers,
        databases: Sequence[SubDb],
        settings: MirrorSettings,
        events: MirrorEvents,
        keeper: LogKeeper,
    ) -> None:
        self.instance = instance
        self.mesh = mesh
        self.slab = slab
        self.workers = workers
        self.settings = settings
        self.role = Role.UNKNOWN
        self.trouble = ""
        self.gate = MirrorGate(slab)
        self.gate.close(self._undecided)
        slab.gate = self.gate
        self.log = ChangeLog(slab)
        self.checkpoints = Checkpoints(slab, databases)
        self.leading = Leading(slab, self.gate, workers, keeper, lease_s=settings.lease_s)
        self._keeper = keeper
        self._began_s = boottime_s()
        with slab.view() as txn:
            self.facts = read_facts(txn)
            self._applied = self.log.next_offset(txn)
        self.term = self.facts.term
        self.leader = Place(self.facts.leader, "")
        self.granted_until_s = boottime_s() + settings.lease_s
        """Until when it promised the leader to let nobody make it leader. As if it had just done so: who
        restarts forgets what it granted."""
        self.grants = True
        """Whether it still grants: not while it is being promoted by force."""
        self.confirmed = False
        """Whether AHA has said in this process that it leads."""
        self.lock = asyncio.Lock()
        self.stream: FollowStream | None = None
        self.events = events
        self._replay: Replay | None = None
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._channels: dict[tuple[Place, tuple[int, int] | None], grpc.aio.Channel] = {}
        self._storing: asyncio.Task[None] | None = None
        self._told_role = True
        self._telling = asyncio.Lock()
        self._duties = Duties(self)

    # What others ask.

    @property
    def is_leader(self) -> bool:
        """Whether it takes the writes."""
        return self.role is Role.LEADER

    @property
    def is_follower(self) -> bool:
        """Whether it follows."""
        return self.role is Role.FOLLOWER

    @property
    def has_followers(self) -> bool:
        """Whether somebody follows it, connected or not."""
        return bool(self.leading.followers)

    def peers_silence_s(self) -> float | None:
        """Of a leader: for how long no follower has been heard, in seconds; infinity without a lease, None without followers."""
        if not self.is_leader or not self.has_followers:
            return None
        if not self.gate.has_lease:
            return float("inf")
        heard_s = max(found.heard_s for found in self.leading.followers.values())
        return boottime_s() - max(heard_s, self._began_s)

    @property
    def name(self) -> str:
        """The instance's name in the mesh."""
        return self.instance.name

    @property
    def cell_id(self) -> str:
        """The cell's identifier."""
        return self.instance.cell_id

    @property
    def stopping(self) -> bool:
        """Whether the cell stops."""
        return self.events.is_stopping()

    @property
    def applied_offset(self) -> int:
        """Of a follower: after the last record applied."""
        return self._applied

    def next_offset(self) -> int:
        """After the last record of the log."""
        with self.slab.view() as txn:
            return self.log.next_offset(txn)

    def not_leader(self) -> NotLeader:
        """The error that names who leads."""
        if not self.leader.name or self.leader.name == self.instance.name:
            return NotLeader(
                f"{self.instance.name} does not lead now, and does not know yet who does",
                name=self.instance.name,
                term=self.term,
            )
        return NotLeader(
            f"{self.instance.name} follows {self.leader.name}, which takes the writes",
            name=self.instance.name,
            leader=self.leader.address,
            instance=self.leader.name,
            term=self.term,
        )

    def leader_channel(self) -> grpc.aio.Channel:
        """A channel to the leader. Raises NotLeader when it is not known."""
        if not self.is_follower or not self.leader.address:
            raise self.not_leader()
        return self.channel_to(self.leader)

    def channel_to(self, place: Place) -> grpc.aio.Channel:
        """A channel to an instance of the service, kept until its certificate has been renewed."""
        key = place, self.instance.folder.stamp()
        found = self._channels.get(key)
        if found is None:
            # The one before goes on for those who use it, and is closed at the end.
            found = self._channels[key] = open_aio_channel(
                place.address, identity=self.instance.folder, server_name=place.name
            )
        return found

    async def applied(self, offset: int, timeout_s: float) -> None:
        """Return when everything before an offset has been applied here.

        Raises:
            Retry: it is not in time, or hears nothing of a leader, so that another instance is the better one to ask;
                `wait_s` tells what to wait.
        """
        if self._applied >= offset or not self.is_follower:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (offset, future)
        self._waiters.append(entry)
        end_s = time.monotonic() + timeout_s
        try:
            while not future.done():
                left_s = end_s - time.monotonic()
                if left_s <= 0:
                    raise self._not_applied(offset, f"in {timeout_s:g} s")
                await asyncio.wait((future,), timeout=min(left_s, UNHEARD_WAIT_S))
                if not (future.done() or self._hears_leader()):
                    raise self._not_applied(offset, "and hears nothing of a leader")
        finally:
            if entry in self._waiters:
                self._waiters.remove(entry)

    def _hears_leader(self) -> bool:
        if not self.is_follower:
            return True
        stream = self.stream.stream if self.stream is not None else None
        # Half a lease is three heartbeats.
        silence_max_s = max(UNHEARD_WAIT_S, self.settings.lease_s / 2)
        return stream is not None and stream.connected and stream.silence_s < silence_max_s

    def _not_applied(self, offset: int, why: str) -> Retry:
        return Retry(
            f"{self.instance.name} is at offset {self._applied}, and did not come to {offset} {why}",
            wait_s=1.0,
        )

    # The life of it.

    async def decide(self) -> None:
        """Find out whether it leads or follows, before anything of the cell writes."""
        facts, me = self.facts, self.instance.name
        if facts.promoting:
            # It may lead already, but must take in first what others have, which needs the parts of the cell.
            self._follow_in_memory()
            return
        try:
            leadership = await self.mesh.claim(facts.term, lease_s=self.settings.lease_s)
        except NotLeader:
            await self._decide_to_follow()
            return
        except CellError as error:
            if facts.leader and facts.leader != me:
                _log.warning("mirror_undecided", error=str(error), leader=facts.leader)
                self._follow_in_memory()
                return
            _log.warning("leadership_unconfirmed", error=str(error))
            await self.lead(facts.term or FIRST_TERM, None)
            return
        self.confirmed = True
        await self.lead(leadership.term, leadership)

    def bind(self, appliers: Sequence[Applier]) -> None:
        """Tell who applies records; once the cell's parts are made."""
        self._replay = Replay(self.slab, (MirrorRecords(self._term_began), *appliers))

    async def start(self) -> None:
        """Begin to lead or follow."""
        self._duties.start()

    async def stop(self) -> None:
        """End the streams; a leader with followers gives its lease back, so that a promotion need not wait."""
        await self._duties.stop()
        if self.is_leader and self.has_followers and self.confirmed:
            self.gate.close(self._undecided)
            try:
                await self.mesh.transfer(self.term, "")
            except CellError as error:
                _log.debug("lease_not_given_back", error=str(error))
        for channel in self._channels.values():
            await channel.close(None)
        self._channels.clear()
        await self.mesh.close()

    # Changes of role. The caller holds the lock, or nothing runs yet.

    async def become_leader(self, leadership: Leadership) -> None:
        """Lead in a new term, which AHA has given. Hold the lock; nothing may be following any more."""
        old = self.leader.name
        followers = {*self.facts.followers, *([old] if old else [])} - {self.instance.name}
        self.facts = replace(self.facts, followers=tuple(sorted(followers)), removed=(), promoting=False)
        self.confirmed, self.grants = True, True
        await self.lead(leadership.term, leadership)
        _log.warning("promoted", term=self.term, offset=self._applied, followers=sorted(followers))
        self._duties.start()

    async def become_follower(self, leader: str, term: int) -> None:
        """Follow another instance, which leads in that term. Hold the lock."""
        self.gate.close(self.not_leader)
        self.role, self.confirmed = Role.FOLLOWER, False
        self.leader, self.term = Place(leader, ""), max(self.term, term)
        # Privileged, so it is committed behind all that was being written when the gate was closed.
        await self.workers.run(self.store_facts, replace(self.facts, leader=leader, term=self.term))
        self._applied = await self.workers.run(self.next_offset)
        self.leading.expect(())
        _log.warning("following", leader=leader, term=self.term, offset=self._applied)
        await self.tell_role(False)
        self._duties.start()

    async def tell_role(self, leads: bool) -> None:
        """Tell the cell's parts what it is, if they do not know."""
        async with self._telling:
            if leads is not self._told_role:
                self._told_role = leads
                await self.events.on_role(leads)

    def store_facts(self, facts: Facts) -> None:
        """Keep what it knows, durably. Blocks."""
        self.slab.write(lambda txn: write_facts(txn, facts), privileged=True)
        self.facts = facts

    async def count(self, name: str) -> None:
        """Count an instance among the followers, durably, from now on."""
        async with self.lock:
            if not self.is_leader:
                raise self.not_leader()
            if name not in self.facts.followers:
                # From here on it might be promoted, so a lease is needed from here on. It comes first, so that
                # no write meets a moment without one; who cannot get one takes no follower.
                leadership = await self.mesh.renew(self.term, lease_s=self.settings.lease_s)
                self.gate.lease_of_arbiter(leadership.valid_until_s)
                await self._wait_for_grants()
                await self.workers.run(self.store_facts, self.facts.with_follower(name))
                self._expect()
                _log.info("follower_counted", follower=name)

    async def _wait_for_grants(self) -> None:
        """Where the next follower makes the first majority: see that those there are grant enough for it."""
        members = len(self.facts.followers) + 2
        if not self.mesh.votes or members < 3:
            return
        end_s = boottime_s() + self.settings.lease_s
        while True:
            now_s = boottime_s()
            granting = sum(one.granted_until_s > now_s for one in self.leading.followers.values())
            if granting >= members // 2:
                return
            if now_s >= end_s:
                raise Retry(f"{granting} followers grant {self.instance.name} a lease", wait_s=0.5)
            await asyncio.sleep(0.02)

    async def forget(self, name: str) -> None:
        """Count an instance no more. Raises NotLeader, NoSuchName."""
        async with self.lock:
            if not self.is_leader:
                raise self.not_leader()
            if name not in self.facts.followers:
                raise NoSuchName(f"{name} is no follower of {self.instance.name}", name=name)
            await self.workers.run(self.store_facts, self.facts.without_follower(name))
            await self.workers.run(self._release, name)
            self._expect()
            _log.warning("follower_forgotten", follower=name)

    def _release(self, name: str) -> None:
        with suppress(NoSuchName):
            self._keeper.release(hold_name(name))

    def reopen_when_renewed(self) -> None:
        """Take writes again once AHA has said that it still leads."""
        self._duties.reopen_when_renewed()

    def heard_of_term(self, term: int) -> None:
        """Somebody knows of this term: if it is higher than its own, ask AHA at once."""
        if term > self.term and self.is_leader:
            self._duties.look_at_once()

    def _expect(self) -> None:
        self.leading.grants_count = not self.facts.removed
        majority = self.leading.grants_needed = self.mesh.grants_needed()
        self.leading.expect(self.facts.followers)
        if self.facts.followers or self.facts.removed:
            self.gate.need_lease()
        wanted = min(max(self.settings.synchronous_followers, majority or 0), len(self.facts.followers))
        self.gate.synchronous(wanted, self.settings.synchronous_timeout_s)
        self._duties.look_at_once()

    async def lead(self, term: int, leadership: Leadership | None) -> None:
        """Lead in a term, from now on. Hold the lock, or nothing runs yet."""
        failpoint("mirror_before_lead")
        self.term, self.leader = term, Place(self.instance.name, "")
        await self.workers.run(self._begin_term, term)
        if leadership is not None and (self.facts.followers or self.facts.removed):
            self.gate.lease_of_arbiter(leadership.valid_until_s)
        self._expect()
        self.role = Role.LEADER
        self.gate.open()

    def _begin_term(self, term: int) -> None:
        """Note the term, and begin it in the log, if it is a new one."""
        facts = replace(self.facts, term=term, leader=self.instance.name)
        payload = mirror_pb2.LeadershipChanged(term=term, leader=self.instance.name).SerializeToString()
        time_us = time.time_ns() // 1000

        def op(txn: WriteTxn) -> None:
            known = max((found for found, _ in terms_backwards(txn, 1)), default=FIRST_TERM)
            write_facts(txn, facts)
            if term > known:
                offset = self.log.append(
                    txn, time_us=time_us, actor="", type_name=LEADERSHIP_TYPE, payload=payload
                )
                put_term(txn, term, offset)

        if facts != self.facts or term > FIRST_TERM:
            self.slab.write(op, privileged=True)
            self.facts = facts

    def _follow_in_memory(self) -> None:
        self.role = Role.FOLLOWER
        # The cell asks for the role before it starts its parts.
        self._told_role = False
        self.gate.close(self.not_leader)

    async def _decide_to_follow(self) -> None:
        leadership = await self.mesh.get(self.instance.service)
        self.leader, self.term = Place(leadership.leader, ""), max(self.term, leadership.term)
        self._follow_in_memory()

    async def stop_following(self) -> None:
        """End the stream from the leader; the role stays. Hold the lock."""
        await self._duties.stop()

    def go_on_following(self) -> None:
        """Follow again after `stop_following`. Hold the lock."""
        self._duties.start()

    # Following.

    async def addresses(self) -> dict[str, str]:
        """Where the live instances of the service serve, by name. Raises CellError when AHA does not answer."""
        try:
            return await self.mesh.addresses(self.instance.service)
        except NoSuchName:
            return {}

    async def follow(self, place: Place, *, observer: bool = False) -> None:
        """Follow an instance until the stream ends; an observer takes what there is. See FollowStream.follow."""
        assert self._replay is not None, "bind() comes before start()"
        stream = FollowStream(
            self._replay,
            self.workers,
            FollowerCalls(self.position, self._on_message, self._on_applied, self.checkpoints.reached),
            cell_id=self.instance.cell_id,
            version=self.instance.version,
            lease_s=self.settings.lease_s,
        )
        source = LeaderSource(place.name, place.address, self.instance.folder)
        self.stream = stream
        try:
            await stream.follow(self.channel_to(place), source, observer=observer)
        finally:
            source.close()

    # What the stream tells. In the event loop, but for `position`.

    def position(self) -> Position:
        """Where its log ends. Blocks."""
        with self.slab.view() as txn:
            offset = self.log.next_offset(txn)
            return Position(offset, term_at(txn, offset), self.term)

    def _on_message(self, response: mirror_pb2.FollowResponse) -> bool:
        if response.term < self.term or not self.grants:
            return False
        self.term = response.term
        self.trouble = ""
        if response.sent_ms:
            self.granted_until_s = boottime_s() + response.grant_ms / 1000
            told = tuple(response.followers)
            if told != self.facts.followers or response.synchronous_count != self.facts.synchronous_count:
                facts = replace(
                    self.facts,
                    term=self.term,
                    leader=self.leader.name,
                    followers=told,
                    synchronous_count=response.synchronous_count,
                    promoting=False,
                )
                self.facts = facts
                self._storing = asyncio.create_task(self.workers.run(self.store_facts, facts))
        return True

    def _on_applied(self, offset: int) -> None:
        self._applied = offset
        for entry in [found for found in self._waiters if found[0] <= offset]:
            self._waiters.remove(entry)
            if not entry[1].done():
                entry[1].set_result(None)

    def _term_began(self, term: int, leader: str) -> None:
        """A record of a new term was applied; in a worker thread."""
        _log.info("term_began", term=term, leader=leader)

    def _undecided(self) -> Retry:
        return Retry(f"{self.instance.name} does not know yet whether it leads", wait_s=0.2)


__all__ = ["Mirror"]
