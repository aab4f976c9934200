"""Who leads each service: leader and term on disk before anybody is told, leases in memory.

A lease begins here when the request is answered and at the leader's before it was sent, so it ends there first. After a
restart of AHA nobody knows how long leases were still to run: each leader has a full one from then on.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from cellmesh.aha import schema
from cellmesh.api.aha.v1 import change_pb2, leadership_pb2
from cellmesh.common.changelog import ChangeWriter
from cellmesh.common.errors import BadArg, BadName, NoSuchName, NotLeader, Retry, StorageCorrupt
from cellmesh.common.rpc.workers import Workers
from cellmesh.common.storage import Slab, WriteTxn
from cellmesh.common.storage.walking import walk_apart
from cellmesh.common.telemetry.logs import get_logger
from cellmesh.common.time.clock import boottime_s
from cellmesh.common.tls.identity import CellIdentity
from google.protobuf.message import DecodeError

_log = get_logger(__name__)

LEASE_S_DEFAULT: Final = 3.0
LEASE_S_MAX: Final = 60.0
CONTEST_S: Final = 2.0
"""How long after the end of a lease its leader must leave room for who claims with force."""

TERM_MAX: Final = 2**62

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Leader:
    """Who leads a service, as it is on disk.

    Attributes:
        service: The service, such as "cortex".
        name: The instance, such as "00.cortex.demo".
        term: The term it leads in, from 1.
        lease_s: The longest lease it has asked for in this term.
    """

    service: str
    name: str
    term: int
    lease_s: float


@dataclass(frozen=True, slots=True)
class Lease:
    """A leader and how long its lease runs.

    Attributes:
        leader: Who leads.
        until_s: When the lease ends, on the clock of `Leaders`.
        given_back: Whether the leader has given it back, and has not claimed anew.
        contested_until_s: Until then it is not prolonged, as another instance claims the leadership with force.
    """

    leader: Leader
    until_s: float
    given_back: bool = False
    contested_until_s: float = 0.0


class LeaderTable:
    """Leaders on disk. Blocking: called from worker threads.

    Args:
        slab: Open, with the databases of `schema`.
        changes: Writes the change log.
    """

    def __init__(self, slab: Slab, changes: ChangeWriter) -> None:
        self._slab = slab
        self._changes = changes

    def put(self, leader: Leader) -> None:
        """Store a leader; durable when this returns."""
        message = leader_to_proto(leader)
        append_change = self._changes.begin()
        change = change_pb2.AhaChange(leadership_changed=change_pb2.ServiceLeaderChanged(leadership=message))

        def op(txn: WriteTxn) -> None:
            txn.put(schema.LEADERS, leader.service.encode(), message.SerializeToString(deterministic=True))
            append_change(txn, change)

        self._slab.write(op)

    def load(self) -> list[Leader]:
        """All leaders stored, by service. Raises StorageCorrupt."""
        return [_read_leader(value) for _, value in walk_apart(self._slab, schema.LEADERS)]

    def get(self, service: str) -> Leader | None:
        """The leader stored of a service. Raises StorageCorrupt."""
        with self._slab.view() as txn:
            value = txn.get(schema.LEADERS, service.encode())
        return None if value is None else _read_leader(value)


class Leaders:
    """Gives each service at most one leader at a time. Its methods run in the event loop.

    Args:
        table: What is on disk.
        workers: Threads for blocking work.
        on_change: Told of service and leader when a service has got another one.
        clock: In seconds; goes on while the machine is suspended.
    """

    def __init__(
        self,
        table: LeaderTable,
        workers: Workers,
        on_change: Callable[[str, str], None],
        clock: Callable[[], float] = boottime_s,
    ) -> None:
        self._table = table
        self._workers = workers
        self._on_change = on_change
        self._clock = clock
        self._leases: dict[str, Lease] = {}
        # Of services whose last write failed, nobody knows what is on disk.
        self._doubtful: set[str] = set()
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._tasks: set[asyncio.Task[Any]] = set()

    async def recover(self) -> int:
        """Begin with the leaders that are stored, each with a full lease from now on; how many that are.

        After the start, and after this instance of AHA itself has become leader of AHA.
        """
        found = await self._workers.run(self._table.load)
        self._leases = {leader.service: self._full(leader) for leader in found}
        for leader in found:
            self._on_change(leader.service, leader.name)
        return len(found)

    def stored(self, leader: Leader) -> None:
        """The AHA that leads has stored a leader, and this one, which follows it, too. Its lease is not known here."""
        before = self._leases.get(leader.service)
        self._keep(self._full(leader))
        if before is None or before.leader.name != leader.name:
            self._on_change(leader.service, leader.name)

    def get(self, service: str) -> Lease:
        """Who leads a service. Raises NoSuchName when nobody ever claimed it."""
        lease = self._leases.get(service)
        if lease is None:
            raise NoSuchName(f"nobody has claimed to lead {service}", name=service)
        return lease

    def left_s(self, lease: Lease) -> float:
        """How long a lease runs from now on; 0 when it has run out."""
        return max(lease.until_s - self._clock(), 0.0)

    async def claim(self, caller: CellIdentity, term: int, lease_s: float, *, force: bool) -> Lease:
        """Make a cell leader of its service, or confirm that it is.

        Args:
            caller: The cell.
            term: The highest term it knows of.
            lease_s: 0 means LEASE_S_DEFAULT, more than LEASE_S_MAX counts as that.
            force: Whether to depose another one whose lease has run out.

        Raises:
            NotLeader: another leads, and there is no force.
            Retry: the lease of the other one runs.
            BadArg: no term is so high.
        """
        if term >= TERM_MAX:
            raise BadArg("no term is so high", name="term", valu=term)
        return await self._alone(caller.service, self._claim(caller, term, _length_s(lease_s), force))

    async def renew(self, caller: CellIdentity, term: int, lease_s: float) -> Lease:
        """Begin the lease of a leader anew. Raises NotLeader."""
        return await self._alone(caller.service, self._renew(caller, term, _length_s(lease_s)))

    async def transfer(self, caller: CellIdentity, term: int, successor: str) -> Lease:
        """Make another instance leader at once, in the next term; an empty name gives the lease back.

        Raises:
            NotLeader: the caller does not lead in this term.
            BadName: the successor is no instance of the same service.
        """
        if successor:
            to = CellIdentity.parse(successor)
            if to.service_name != caller.service_name:
                raise BadName(f"{successor} is no instance of {caller.service_name}", name=successor)
        return await self._alone(caller.service, self._transfer(caller, term, successor))

    async def _claim(self, caller: CellIdentity, term: int, lease_s: float, force: bool) -> Lease:
        lease = await self._current(caller.service)
        if lease is not None and lease.leader.name == caller.name and lease.leader.term == term:
            return await self._prolong(lease, lease_s)
        if lease is not None and lease.leader.name != caller.name:
            if not force:
                raise _another(caller, lease.leader)
            left_s = self.left_s(lease)
            if left_s > 0:
                # A leader that renews and does nothing else must not keep the others out for ever.
                self._keep(replace(lease, contested_until_s=self._clock() + left_s + CONTEST_S))
                raise Retry(
                    f"{lease.leader.name} leads {caller.service} for {left_s:.3f} s more",
                    leader=lease.leader.name,
                    term=lease.leader.term,
                    wait_s=left_s,
                )
        stored = lease.leader.term if lease is not None else 0
        return await self._appoint(Leader(caller.service, caller.name, max(stored, term) + 1, lease_s))

    async def _renew(self, caller: CellIdentity, term: int, lease_s: float) -> Lease:
        lease = await self._led_by(caller, term)
        if lease.given_back:
            raise NotLeader(
                f"{caller.name} has given its lease back: it claims before it leads again",
                name=caller.name,
                service=caller.service,
                leader=caller.name,
                term=term,
            )
        return await self._prolong(lease, lease_s)

    async def _transfer(self, caller: CellIdentity, term: int, successor: str) -> Lease:
        lease = await self._led_by(caller, term)
        if successor:
            return await self._appoint(Leader(caller.service, successor, term + 1, LEASE_S_DEFAULT))
        _log.info("leadership_given_back", service=caller.service, leader=caller.name, term=term)
        return self._keep(replace(lease, until_s=self._clock(), given_back=True))

    async def _led_by(self, caller: CellIdentity, term: int) -> Lease:
        lease = await self._current(caller.service)
        if lease is None:
            raise NotLeader(
                f"{caller.name} has never claimed to lead", name=caller.name, service=caller.service
            )
        if lease.leader.name != caller.name or lease.leader.term != term:
            raise _another(caller, lease.leader)
        return lease

    async def _prolong(self, lease: Lease, lease_s: float) -> Lease:
        """Begin a lease anew, longer than before if asked; as it is while somebody claims the leadership."""
        leader = lease.leader
        if self._clock() < lease.contested_until_s:
            return lease
        if lease_s > leader.lease_s:
            # First on disk: a restart must not cut short what is promised now.
            leader = replace(leader, lease_s=lease_s)
            await self._store(leader)
        # What was promised before holds on, unless it was given back.
        return self._keep(Lease(leader, max(lease.until_s, self._clock() + lease_s)))

    async def _appoint(self, leader: Leader) -> Lease:
        await self._store(leader)
        lease = self._keep(Lease(leader, self._clock() + leader.lease_s))
        _log.info("leader_changed", service=leader.service, leader=leader.name, term=leader.term)
        self._on_change(leader.service, leader.name)
        return lease

    async def _store(self, leader: Leader) -> None:
        self._doubtful.add(leader.service)
        await self._workers.run(self._table.put, leader)
        self._doubtful.discard(leader.service)

    async def _current(self, service: str) -> Lease | None:
        if service in self._doubtful:
            leader = await self._workers.run(self._table.get, service)
            if leader is not None:
                self._keep(self._full(leader))
                self._on_change(service, leader.name)
            self._doubtful.discard(service)
        return self._leases.get(service)

    def _keep(self, lease: Lease) -> Lease:
        self._leases[lease.leader.service] = lease
        return lease

    def _full(self, leader: Leader) -> Lease:
        return Lease(leader, self._clock() + leader.lease_s)

    async def _alone(self, service: str, change: Coroutine[Any, Any, T]) -> T:
        """Make one change of a service after the other, each to its end even when its caller has gone."""

        async def run() -> T:
            async with self._locks[service]:
                return await change

        task = asyncio.create_task(run(), name=f"leadership-of-{service}")
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        # Looked at, so that the error of a call that has gone is not reported as lost.
        with suppress(asyncio.CancelledError):
            task.exception()


def leader_to_proto(leader: Leader) -> leadership_pb2.Leadership:
    """A leader as it is stored and logged."""
    message = leadership_pb2.Leadership(service=leader.service, leader=leader.name, term=leader.term)
    message.lease_left.FromMilliseconds(math.ceil(leader.lease_s * 1000))
    return message


def _read_leader(data: bytes) -> Leader:
    try:
        message = leadership_pb2.Leadership.FromString(data)
    except DecodeError as error:
        raise StorageCorrupt("what is stored of a service's leader does not read back") from error
    return leader_from_proto(message)


def leader_from_proto(message: leadership_pb2.Leadership) -> Leader:
    """What `leader_to_proto` made."""
    return Leader(message.service, message.leader, message.term, message.lease_left.ToMilliseconds() / 1000)


def _length_s(lease_s: float) -> float:
    return min(lease_s or LEASE_S_DEFAULT, LEASE_S_MAX)


def _another(caller: CellIdentity, leader: Leader) -> NotLeader:
    return NotLeader(
        f"{leader.name} leads {caller.service} in term {leader.term}",
        name=caller.name,
        service=caller.service,
        leader=leader.name,
        term=leader.term,
    )
