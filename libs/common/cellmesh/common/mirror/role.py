"""Mirror: what an instance is for its service, and how that changes.

    decide ─> LEADER ──deposed, handed over──> FOLLOWER ──promoted──> LEADER
          └─> FOLLOWER ──diverged, log trimmed──> the cell starts again and is seeded

All of it runs in the event loop but for what touches storage. One lock orders the changes of role.
"""

from __future__ import annotations

import asyncio
import contextvars
import enum
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, Protocol

import grpc.aio
from cellmesh.api.common.v1 import mirror_pb2
from cellmesh.common.changelog import Applier, ChangeLog, LogKeeper, Replay
from cellmesh.common.errors import (
    CellError,
    LogTrimmed,
    MirrorDiverged,
    NoSuchName,
    NotLeader,
    Retry,
)
from cellmesh.common.failpoints import failpoint
from cellmesh.common.mirror import promotion
from cellmesh.common.mirror.arbiter import Leadership
from cellmesh.common.mirror.checkpoints import Checkpoints
from cellmesh.common.mirror.following import FollowerCalls, FollowStream, Position
from cellmesh.common.mirror.gate import MirrorGate
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
from cellmesh.common.tls.folder import IdentityFolder
from cellmesh.common.tls.identity import CellIdentity

ANNOUNCE_CHECK_S: Final = 0.02
RENEWALS_PER_LEASE: Final = 5
BACK_OFF_MIN_S: Final = 0.1
BACK_OFF_MAX_S: Final = 0.5
QUIET_CHECK_S: Final = 30.0
"""How often a leader that needs no lease asks AHA whether it still leads."""

_log = get_logger(__name__)


class Role(enum.Enum):
    """What an instance is for its service."""

    UNKNOWN = "unknown"
    LEADER = "leader"
    FOLLOWER = "follower"


@dataclass(frozen=True, slots=True)
class Place:
    """An instance and where it serves."""

    name: str
    address: str


class Mesh(Protocol):
    """What a mirror asks AHA: `arbiter.Arbiter`."""

    @property
    def votes(self) -> bool:
        """Whether instances settle by votes who leads, so that who is given a term has all that was acknowledged."""
        ...

    async def claim(
        self, term: int, *, lease_s: float, force: bool = False, accept_loss: bool = False
    ) -> Leadership:
        """Ask to lead. Raises NotLeader, Retry, CellError."""
        ...

    async def renew(self, term: int, *, lease_s: float) -> Leadership:
        """Prolong the lease. Raises NotLeader, CellError."""
        ...

    async def transfer(self, term: int, successor: str) -> Leadership:
        """Pass the leadership on, or give the lease back. Raises NotLeader, BadName, CellError."""
        ...

    async def get(self, service: str) -> Leadership:
        """Who leads. Raises NoSuchName, CellError."""
        ...

    async def addresses(self, service: str) -> dict[str, str]:
        """Where the instances of a service serve, by name. Raises NoSuchName when there is none, CellError."""
        ...

    def grants_needed(self) -> int | None:
        """How many followers' grants make a lease; None: those of all."""
        ...

    async def close(self) -> None:
        """Close the channel."""
        ...


@dataclass(frozen=True, slots=True)
class MirrorSettings:
    """How an instance leads and follows.

    Attributes:
        lease_s: How long a lease of the leader holds without renewal.
        synchronous_followers: How many followers must have a change before it is acknowledged, of those there
            are.
        synchronous_timeout_s: How long that may take.
    """

    lease_s: float = 3.0
    synchronous_followers: int = 0
    synchronous_timeout_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Instance:
    """Who the mirror is.

    Attributes:
        identity: Its name in the mesh.
        folder: Its certificate.
        cell_id: The cell's identifier.
        version: The version of Cellmesh.
    """

    identity: CellIdentity
    folder: IdentityFolder
    cell_id: str
    version: str

    @property
    def name(self) -> str:
        """Such as "01.cortex.demo"."""
        return self.identity.name

    @property
    def service(self) -> str:
        """Such as "cortex"."""
        return self.identity.service


@dataclass(frozen=True, slots=True)
class MirrorEvents:
    """What the cell wants to hear.

    Attributes:
        on_role: Awaited when the role has changed, with whether it leads now.
        on_reseed: Called when the storage cannot follow any more, with the reason: the cell starts again.
        is_stopping: Whether the cell stops.
    """

    on_role: Callable[[bool], Awaitable[None]]
    on_reseed: Callable[[str], None]
    is_stopping: Callable[[], bool]


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
        self._events = events
        self._replay: Replay | None = None
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._channels: dict[Place, grpc.aio.Channel] = {}
        self._away = False
        self._storing: asyncio.Task[None] | None = None
        self._reopen = False
        self._told_role = True
        self._telling = asyncio.Lock()
        self._announcing: asyncio.Task[None] | None = None

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
        return self._events.is_stopping()

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
        """A channel to an instance of the service, kept."""
        found = self._channels.get(place)
        if found is None:
            found = self._channels[place] = open_aio_channel(
                place.address, identity=self.instance.folder, server_name=place.name
            )
        return found

    async def applied(self, offset: int, timeout_s: float) -> None:
        """Return when everything before an offset has been applied here.

        Raises:
            Retry: it is not in time; `wait_s` tells what to wait.
        """
        if self._applied >= offset or not self.is_follower:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (offset, future)
        self._waiters.append(entry)
        try:
            await asyncio.wait_for(future, timeout_s)
        except TimeoutError:
            raise Retry(
                f"{self.instance.name} is at offset {self._applied}, and did not come to {offset} in "
                f"{timeout_s:g} s",
                wait_s=1.0,
            ) from None
        finally:
            if entry in self._waiters:
                self._waiters.remove(entry)

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
            await self._lead(facts.term or FIRST_TERM, None)
            return
        self.confirmed = True
        await self._lead(leadership.term, leadership)

    def bind(self, appliers: Sequence[Applier]) -> None:
        """Tell who applies records; once the cell's parts are made."""
        self._replay = Replay(self.slab, (MirrorRecords(self._term_began), *appliers))

    async def start(self) -> None:
        """Begin to lead or follow."""
        self._start_task()

    async def stop(self) -> None:
        """End the streams; a leader with followers gives its lease back, so that a promotion need not wait."""
        await self._stop_task()
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
        await self._lead(leadership.term, leadership)
        _log.warning("promoted", term=self.term, offset=self._applied, followers=sorted(followers))
        self._start_task()

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
        self._start_task()

    async def tell_role(self, leads: bool) -> None:
        """Tell the cell's parts what it is, if they do not know."""
        async with self._telling:
            if leads is not self._told_role:
                self._told_role = leads
                await self._events.on_role(leads)

    async def _announce(self) -> None:
        """Tell the parts that it leads, once what they write then can be acknowledged. Without the lock: a follower
        that they wait for is counted under it."""
        while not self.gate.has_lease:
            await asyncio.sleep(ANNOUNCE_CHECK_S)
        if self.is_leader:
            await self.tell_role(True)

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
                await self.workers.run(self.store_facts, self.facts.with_follower(name))
                self._expect()
                _log.info("follower_counted", follower=name)

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

    async def vote(self, request: mirror_pb2.VoteRequest) -> mirror_pb2.VoteResponse:
        """Vote for another instance, or not. Each votes once in a term, durably."""
        async with self.lock:
            facts = self.facts
            known = max(self.term, facts.term)
            if request.term <= known:
                again = request.term == facts.term and facts.leader == request.candidate
                return mirror_pb2.VoteResponse(granted=again, term=known)
            if not request.released:
                if self.is_leader and self.gate.is_open:
                    return mirror_pb2.VoteResponse(term=known)
                left_s = self.granted_until_s - boottime_s() if self.is_follower else 0.0
                if left_s > 0:
                    return mirror_pb2.VoteResponse(term=known, wait_ms=int(left_s * 1000) + 1)
            position = await self.workers.run(self._position)
            if (request.last_term, request.next_offset) < (position.last_term, position.next_offset):
                return mirror_pb2.VoteResponse(term=known)
            if self.is_leader:
                await self.become_follower(request.candidate, request.term)
            else:
                facts = replace(facts, term=request.term, leader=request.candidate)
                await self.workers.run(self.store_facts, facts)
                # Streams of lower terms end with their next message.
                self.term = request.term
            return mirror_pb2.VoteResponse(granted=True, term=request.term)

    async def candidacy(self, term: int, *, released: bool) -> mirror_pb2.VoteRequest | None:
        """Vote for itself, durably; what is to be asked of the others. None: it has voted for another one.

        Called while the lock is held.
        """
        facts = self.facts
        if term <= max(self.term, facts.term) and facts.leader != self.instance.name:
            return None
        # Who led before is a member still, and so is everybody it counted.
        members = {*facts.followers, *([facts.leader] if facts.leader else [])} - {self.instance.name}
        await self.workers.run(
            self.store_facts,
            replace(facts, term=term, leader=self.instance.name, followers=tuple(sorted(members))),
        )
        self.term = term
        position = await self.workers.run(self._position)
        return mirror_pb2.VoteRequest(
            term=term,
            candidate=self.instance.name,
            last_term=position.last_term,
            next_offset=position.next_offset,
            released=released,
        )

    def _release(self, name: str) -> None:
        with suppress(NoSuchName):
            self._keeper.release(hold_name(name))

    def reopen_when_renewed(self) -> None:
        """Take writes again once AHA has said that it still leads."""
        self._reopen = True
        self._wake.set()

    def heard_of_term(self, term: int) -> None:
        """Somebody knows of this term: if it is higher than its own, ask AHA at once."""
        if term > self.term and self.is_leader:
            self._wake.set()

    def _expect(self) -> None:
        self.leading.grants_count = not self.facts.removed
        majority = self.leading.grants_needed = self.mesh.grants_needed()
        self.leading.expect(self.facts.followers)
        if self.facts.followers or self.facts.removed:
            self.gate.need_lease()
        wanted = min(max(self.settings.synchronous_followers, majority or 0), len(self.facts.followers))
        self.gate.synchronous(wanted, self.settings.synchronous_timeout_s)
        self._wake.set()

    async def _lead(self, term: int, leadership: Leadership | None) -> None:
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

    # The task: what a leader or a follower does all the time.

    def _start_task(self) -> None:
        # In a context of its own: it outlives the call that may have brought about the change.
        self._task = asyncio.create_task(
            self._keep_role(), name=f"mirror-{self.role.value}", context=contextvars.Context()
        )

    async def _stop_task(self) -> None:
        announcing, self._announcing = self._announcing, None
        if announcing is not None:
            announcing.cancel()
        task, self._task = self._task, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()
            await asyncio.wait((task,))

    async def stop_following(self) -> None:
        """End the stream from the leader; the role stays. Hold the lock."""
        await self._stop_task()

    def go_on_following(self) -> None:
        """Follow again after `stop_following`. Hold the lock."""
        self._start_task()

    async def _keep_role(self) -> None:
        """Lead or follow, whatever happens: an instance that does neither would never come back by itself."""
        work = self._keep_leading if self.is_leader else self._keep_following
        while True:
            try:
                await work()
                return
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                # A call that was ended on our side, not this task.
                _log.warning("mirror_call_ended", role=self.role.value)
            except Exception as error:  # noqa: BLE001  see above
                _log.error("mirror_failed", exc_info=error, role=self.role.value)
            await asyncio.sleep(BACK_OFF_MAX_S)

    async def _keep_leading(self) -> None:
        lease_s = self.settings.lease_s
        self._announcing = asyncio.create_task(self._announce(), name="mirror-announce")
        while self.is_leader:
            needed = bool(self.facts.followers or self.facts.removed)
            self._wake.clear()
            try:
                if self.confirmed:
                    leadership = await self.mesh.renew(self.term, lease_s=lease_s)
                else:
                    leadership = await self.mesh.claim(self.term, lease_s=lease_s)
                    await self._confirm(leadership)
                self._note_back()
                if needed:
                    self.gate.lease_of_arbiter(leadership.valid_until_s)
                if self._reopen:
                    self._reopen = False
                    self.gate.open()
                    await self.tell_role(True)
            except NotLeader:
                await self._deposed()
                return
            except CellError as error:
                self._note_away(error)
            pause_s = lease_s / RENEWALS_PER_LEASE if needed or not self.confirmed else QUIET_CHECK_S
            try:
                await asyncio.wait_for(self._wake.wait(), pause_s)
            except TimeoutError:
                continue

    async def _confirm(self, leadership: Leadership) -> None:
        if leadership.term != self.term:
            async with self.lock:
                await self._lead(leadership.term, leadership)
        self.confirmed = True

    async def _deposed(self) -> None:
        """AHA says that another one leads."""
        self.gate.close(self.not_leader)
        try:
            leadership = await self.mesh.get(self.instance.service)
            leader, term = leadership.leader, leadership.term
        except CellError:
            leader, term = "", self.term
        async with self.lock:
            if self.is_leader:
                _log.error("deposed", leader=leader, term=term, own_term=self.term)
                await self.become_follower(leader, term)

    async def _keep_following(self) -> None:
        back_off_s = BACK_OFF_MIN_S
        while self.is_follower:
            started_s = time.monotonic()
            try:
                place = await self._find_leader()
                if place is None:
                    return
                await self.follow(place)
            except (LogTrimmed, MirrorDiverged) as error:
                self.trouble = str(error)
                _log.warning("seed_needed", reason=str(error))
                self._events.on_reseed(str(error))
                return
            except CellError as error:
                self._note_trouble(error)
            if time.monotonic() - started_s > BACK_OFF_MAX_S:
                back_off_s = BACK_OFF_MIN_S
            await asyncio.sleep(back_off_s)
            back_off_s = min(back_off_s * 2, BACK_OFF_MAX_S)

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
            FollowerCalls(self._position, self._on_message, self._on_applied, self.checkpoints.reached),
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

    async def _find_leader(self) -> Place | None:
        """Who leads and where, of AHA; as it was known last when AHA does not answer. None: it leads itself."""
        try:
            leadership = await self.mesh.get(self.instance.service)
            if leadership.leader == self.instance.name:
                return await self._lead_as_told(leadership)
            self.term = max(self.term, leadership.term)
            addresses = await self.addresses()
            address = addresses.get(leadership.leader, "")
            if leadership.leader != self.leader.name or address:
                self.leader = Place(leadership.leader, address)
            self._note_back()
        except CellError as error:
            self._note_away(error)
        if not self.leader.address:
            raise NotLeader(
                f"the leader {self.leader.name or 'of the service'} is not registered now",
                name=self.instance.name,
            )
        return self.leader

    async def _lead_as_told(self, leadership: Leadership) -> Place | None:
        """AHA has it as leader: the leadership was passed on to it, and the end of that was not heard."""
        async with self.lock:
            if not self.is_follower:
                return None
            given = await self.mesh.claim(leadership.term, lease_s=self.settings.lease_s)
            if self.facts.promoting:
                await promotion.catch_up(self, accept_loss=False)
                given = await self.mesh.claim(leadership.term, lease_s=self.settings.lease_s)
            await self.become_leader(given)
        return None

    # What the stream tells. In the event loop, but for `_position`.

    def _position(self) -> Position:
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

    def _note_trouble(self, error: CellError) -> None:
        if self.trouble != str(error):
            self.trouble = str(error)
            _log.warning("not_following", leader=self.leader.name, error=str(error))

    def _note_away(self, error: CellError) -> None:
        if not self._away:
            self._away = True
            _log.warning("arbiter_away", error=str(error))

    def _note_back(self) -> None:
        if self._away:
            self._away = False
            _log.info("arbiter_back")


__all__ = ["Instance", "Mesh", "Mirror", "MirrorEvents", "MirrorSettings", "Place", "Role"]
