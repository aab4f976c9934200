"""The leader's side: whom it counts as followers, how far they are, what they have granted, and their streams."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from cellmesh.api.common.v1 import mirror_pb2
from cellmesh.common.changelog import ChangeLog, LogKeeper
from cellmesh.common.errors import BadArg, CellError, LogTrimmed, MirrorDiverged, NotLeader
from cellmesh.common.mirror.arbiter import MARGIN_PART
from cellmesh.common.mirror.gate import MirrorGate
from cellmesh.common.mirror.schema import term_at
from cellmesh.common.rpc.streams import CancelToken
from cellmesh.common.rpc.workers import Workers
from cellmesh.common.storage import Slab
from cellmesh.common.telemetry.logs import get_logger
from cellmesh.common.time.clock import boottime_s

BEATS_PER_LEASE: Final = 6
CATCH_UP_CHECK_S: Final = 0.02

WINDOW_BYTES: Final = 32 << 20
"""So much may be on its way to a follower and not yet applied. Beyond that it gets heartbeats alone, so that one that
takes long over something large still grants and answers."""

_log = get_logger(__name__)


class Leader(Protocol):
    """What a follower's stream needs to know of the instance that serves it."""

    @property
    def name(self) -> str: ...
    @property
    def cell_id(self) -> str: ...
    @property
    def is_leader(self) -> bool: ...
    @property
    def term(self) -> int: ...
    @property
    def stopping(self) -> bool: ...

    def not_leader(self) -> NotLeader:
        """The error that names who leads."""
        ...

    def heard_of_term(self, term: int) -> None:
        """Somebody knows of this term: if it is higher than its own, the instance has been deposed."""
        ...

    async def count(self, name: str) -> None:
        """Count an instance among the followers, durably, from now on."""
        ...


@dataclass(slots=True)
class Follower:
    """How far a follower is, as its leader sees it.

    Attributes:
        name: Its name in the mesh.
        next_offset: After the last record that it has on disk; 0 before it told.
        granted_until_s: Until when it lets nobody make it leader, on the leader's clock.
        heard_s: When it was heard of last, on the same clock; 0 for never.
        streams: How many streams it has open: two for a moment, when it connects anew.
    """

    name: str
    next_offset: int = 0
    granted_until_s: float = 0.0
    heard_s: float = 0.0
    streams: int = 0

    @property
    def connected(self) -> bool:
        """Whether it has a stream open."""
        return self.streams > 0


class Leading:
    """The followers of an instance.

    Args:
        slab: Its storage.
        gate: Told what followers have and grant.
        workers: Threads for reading the log.
        keeper: Keeps what followers need of the log.
        lease_s: How long a grant holds.
        clock: As `boottime_s`.
    """

    def __init__(
        self,
        slab: Slab,
        gate: MirrorGate,
        workers: Workers,
        keeper: LogKeeper,
        *,
        lease_s: float,
        clock: Callable[[], float] = boottime_s,
    ) -> None:
        self._slab = slab
        self._log = ChangeLog(slab)
        self._gate = gate
        self._workers = workers
        self._keeper = keeper
        self._lease_s = lease_s
        self._clock = clock
        self._waiting: set[asyncio.Event] = set()
        self.followers: dict[str, Follower] = {}
        self.grants_count = True
        """Whether the grants of all followers make a lease: not while one was forgotten that may not know it."""

        self.grants_needed: int | None = None
        """How many followers' grants make a lease; None: those of all."""

    def expect(self, names: tuple[str, ...]) -> None:
        """Count these as followers, and nobody else."""
        for name in set(self.followers) - set(names):
            del self.followers[name]
        for name in names:
            self.followers.setdefault(name, Follower(name))
        self._tell_gate()

    def forget_grants(self) -> None:
        """What was granted was granted to another term."""
        for follower in self.followers.values():
            follower.granted_until_s = 0.0
        self._tell_gate()

    async def wait_until_at(self, name: str, offset: int, timeout_s: float) -> bool:
        """Whether a follower has everything before an offset in time."""
        end_s = self._clock() + timeout_s
        while True:
            found = self.followers.get(name)
            if found is not None and found.next_offset >= offset:
                return True
            left_s = end_s - self._clock()
            if left_s <= 0:
                return False
            await self._moved(left_s)

    async def serve(
        self,
        leader: Leader,
        name: str,
        requests: AsyncIterator[mirror_pb2.FollowRequest],
    ) -> AsyncIterator[mirror_pb2.FollowResponse]:
        """Serve one stream. See the proto of MirrorService.Follow.

        Args:
            leader: The instance that serves.
            name: Who follows.
            requests: What it sends.

        Raises:
            NotLeader, LogTrimmed, MirrorDiverged, BadArg: see the proto.
        """
        hello = (await _first(requests)).hello
        leader.heard_of_term(hello.term)
        if not leader.is_leader and not hello.observer:
            raise leader.not_leader()
        await self._workers.run(self._check_match, name, hello.next_offset, hello.last_term)
        if hello.observer:
            async for response in self._catch_up(leader, hello.next_offset):
                yield response
            return
        await leader.count(name)
        # Checked again with the hold in place: from now on nothing it needs is trimmed.
        await self._workers.run(self._hold, name, hello.next_offset)
        follower = self.followers.setdefault(name, Follower(name))
        follower.streams += 1
        follower.next_offset = hello.next_offset
        _log.info("follower_connected", follower=name, offset=hello.next_offset, version=hello.version)
        reading = asyncio.create_task(self._read_acks(leader, follower, requests), name=f"acks-{name}")
        try:
            async for response in self._records(leader, follower, hello.next_offset, reading):
                yield response
        finally:
            follower.streams -= 1
            self._tell_gate()
            reading.cancel()
            await asyncio.wait((reading,))
            _log.info("follower_gone", follower=name, offset=follower.next_offset)

    async def _records(
        self, leader: Leader, follower: Follower, offset: int, reading: asyncio.Task[None]
    ) -> AsyncIterator[mirror_pb2.FollowResponse]:
        beat_s = self._lease_s / BEATS_PER_LEASE
        beaten_s = float("-inf")
        term = leader.term
        window = _Window()
        end = offset
        while True:
            if window.is_full(follower.next_offset):
                await self._moved(beat_s)
                response = mirror_pb2.FollowResponse(end_offset=end)
            else:
                response, offset = await self._workers.run_long(partial(self._read, offset, beat_s))
                end = response.end_offset
                if response.records:
                    window.add(offset, response.ByteSize())
            if not leader.is_leader or leader.term != term:
                raise leader.not_leader()
            if reading.done():
                # The follower has ended its side.
                reading.result()
                return
            if leader.stopping:
                return
            response.term = term
            response.cell_id = leader.cell_id
            now_s = self._clock()
            if now_s - beaten_s >= beat_s * 0.9:
                beaten_s = now_s
                response.sent_ms = max(int(now_s * 1000), 1)
                response.grant_ms = int(self._lease_s * 1000)
                response.synchronous_count = self._gate.synchronous_count
                response.followers.extend(sorted(self.followers))
            elif not response.records:
                continue
            yield response

    async def _catch_up(self, leader: Leader, offset: int) -> AsyncIterator[mirror_pb2.FollowResponse]:
        """All there is now, for an instance that is about to lead."""
        while True:
            response, offset = await self._workers.run_long(partial(self._read, offset, CATCH_UP_CHECK_S))
            response.cell_id = leader.cell_id
            response.term = leader.term if leader.is_leader else 0
            yield response
            if offset >= response.end_offset:
                return

    def _read(self, offset: int, wait_s: float, token: CancelToken) -> tuple[mirror_pb2.FollowResponse, int]:
        """The records from an offset on, or none when there are none in time; and the offset after them."""
        chunk = self._log.read(offset)
        if not chunk.records and not token.cancelled and self._log.wait(offset, wait_s):
            chunk = self._log.read(offset)
        with self._slab.view() as txn:
            end = self._log.next_offset(txn)
        records = [record.to_proto() for record in chunk.records]
        return mirror_pb2.FollowResponse(records=records, end_offset=end), chunk.next_offset

    def _check_match(self, name: str, next_offset: int, last_term: int) -> None:
        """Whether a log that is so long, with a last record of that term, is a beginning of this one."""
        with self._slab.view() as txn:
            first, end = self._log.first_offset(txn), self._log.next_offset(txn)
            own_term = term_at(txn, min(next_offset, end))
        if next_offset > end or own_term != last_term:
            raise MirrorDiverged(
                f"{name or 'the follower'} is at offset {next_offset} with a change of term {last_term} there; the "
                f"log of the leader ends at {end}, and has one of term {own_term}",
                name=name,
                offset=next_offset,
                term=last_term,
            )
        if next_offset < first:
            raise LogTrimmed(
                f"the log begins at offset {first}, {next_offset} was trimmed",
                offset=next_offset,
                first=first,
            )

    def _hold(self, name: str, offset: int) -> None:
        self._keeper.hold(hold_name(name), offset)

    async def _read_acks(
        self, leader: Leader, follower: Follower, requests: AsyncIterator[mirror_pb2.FollowRequest]
    ) -> None:
        try:
            async for request in requests:
                ack = request.ack
                leader.heard_of_term(ack.term)
                if not leader.is_leader:
                    return
                follower.heard_s = self._clock()
                if ack.next_offset > follower.next_offset:
                    follower.next_offset = ack.next_offset
                    self._keeper.advance(hold_name(follower.name), ack.next_offset)
                if ack.granted_ms:
                    follower.granted_until_s = ack.granted_ms / 1000 + self._lease_s * (1 - MARGIN_PART)
                self._tell_gate()
        except CellError as error:
            _log.debug("follower_stream_ended", follower=follower.name, reason=str(error))

    async def _moved(self, timeout_s: float) -> None:
        """Return when a follower has moved, or the time is over."""
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), timeout_s)
        finally:
            self._waiting.discard(event)

    def _tell_gate(self) -> None:
        found = self.followers.values()
        self._gate.covered(follower.next_offset for follower in found if follower.connected)
        grants = sorted((follower.granted_until_s for follower in found), reverse=True)
        needed = len(grants) if self.grants_needed is None else self.grants_needed
        granted = grants[needed - 1] if 0 < needed <= len(grants) else 0.0
        self._gate.lease_of_followers(granted if self.grants_count else 0.0)
        for event in self._waiting:
            event.set()


class _Window:
    """What is on its way to one follower."""

    def __init__(self) -> None:
        self._sent: deque[tuple[int, int]] = deque()
        self._size = 0

    def add(self, offset: int, size: int) -> None:
        """Something was sent that ends at an offset."""
        self._sent.append((offset, size))
        self._size += size

    def is_full(self, applied: int) -> bool:
        """Whether nothing more should be sent to a follower that is at an offset."""
        while self._sent and self._sent[0][0] <= applied:
            self._size -= self._sent.popleft()[1]
        return self._size >= WINDOW_BYTES


def hold_name(follower: str) -> str:
    """What a follower's claim on the log is called."""
    return f"follower/{follower}"


async def _first(requests: AsyncIterator[mirror_pb2.FollowRequest]) -> mirror_pb2.FollowRequest:
    async for request in requests:
        if request.WhichOneof("kind") != "hello":
            break
        return request
    raise BadArg("a follower begins with a hello", name="hello")


__all__ = ["BEATS_PER_LEASE", "Follower", "Leader", "Leading", "hold_name"]
