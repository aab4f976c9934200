"""The follower's side: one stream from the leader, records applied in order, acknowledgements back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import grpc
from cellmesh.api.common.v1 import mirror_pb2, mirror_service_pb2_grpc
from cellmesh.common.changelog import ChangeRecord, Replay
from cellmesh.common.errors import LinkErr, NotLeader, TimeOut, from_rpc_error
from cellmesh.common.failpoints import failpoint
from cellmesh.common.mirror.records import CHECKPOINT_TYPE
from cellmesh.common.mirror.source import LeaderSource
from cellmesh.common.rpc.streams import CancelToken
from cellmesh.common.rpc.workers import Workers
from cellmesh.common.telemetry.logs import get_logger

CATCH_UP_COUNT_MAX: Final = 8
"""Messages that wait to be applied where there are no acknowledgements to hold the sender back."""

RUN_SIZE_MAX: Final = 8 << 20
RUN_COUNT_MAX: Final = 4000
"""How much is applied in one transaction, in bytes and records."""

SILENCE_LEASES: Final = 2.0
"""A leader that has said nothing for so many leases is looked for anew."""

CONNECT_TIMEOUT_S: Final = 3.0

_Outgoing = asyncio.Queue[mirror_pb2.FollowRequest | None]
"""What the follower sends; None ends it."""

_log = get_logger(__name__)


@dataclass(slots=True)
class Position:
    """Where the follower stands.

    Attributes:
        next_offset: After the last record applied.
        last_term: The term of that record.
        term: The highest term it knows of.
    """

    next_offset: int
    last_term: int
    term: int


@dataclass(slots=True)
class Stream:
    """What is known of the stream that is open, for status.

    Attributes:
        connected: Whether the leader answers.
        leader_offset: Where its log ends, as told last.
        heard_s: When it was heard of, on the monotonic clock; 0 for never.
        trouble: Why there is no stream, or none that gets on.
    """

    connected: bool = False
    leader_offset: int = 0
    heard_s: float = 0.0
    trouble: str = ""

    @property
    def silence_s(self) -> float:
        """For how long the leader has said nothing, in seconds."""
        return time.monotonic() - self.heard_s if self.heard_s else 0.0


@dataclass(slots=True)
class FollowerCalls:
    """What a stream tells the mirror.

    Attributes:
        position: Where the follower stands, read from storage; called in a thread.
        on_message: Called with each message before it is acknowledged: takes the grant, and what is told of
            followers. Returns False when the sender has been deposed.
        on_applied: Called with the offset after what was applied.
        on_checkpoint: Called in the thread that applies, with the offset of a checkpoint that was the last
            record applied.
    """

    position: Callable[[], Position]
    on_message: Callable[[mirror_pb2.FollowResponse], bool]
    on_applied: Callable[[int], None]
    on_checkpoint: Callable[[int], None]


@dataclass(slots=True)
class FollowStream:
    """One stream at a time from a leader, or from an instance to catch up with.

    Args:
        replay: Applies records.
        workers: Threads for it.
        calls: What the mirror wants to hear.
        cell_id: The follower's.
        version: The follower's.
        lease_s: How long a grant holds.
    """

    replay: Replay
    workers: Workers
    calls: FollowerCalls
    cell_id: str
    version: str
    lease_s: float
    stream: Stream = field(default_factory=Stream)

    async def follow(
        self, channel: grpc.aio.Channel, source: LeaderSource, *, observer: bool = False
    ) -> None:
        """Follow until the stream ends.

        An observer takes all there is and returns. Else it returns when the leader ends the stream in good order.

        Raises:
            NotLeader: the instance does not lead, or has been deposed.
            LogTrimmed, MirrorDiverged: the follower must be seeded anew.
            TimeOut: the leader is silent.
            CellError: the link failed, or a record cannot be applied.
        """
        position = await self.workers.run(self.calls.position)
        outgoing: _Outgoing = asyncio.Queue()
        outgoing.put_nowait(
            mirror_pb2.FollowRequest(
                hello=mirror_pb2.FollowerHello(
                    cell_id=self.cell_id,
                    next_offset=position.next_offset,
                    last_term=position.last_term,
                    term=position.term,
                    version=self.version,
                    observer=observer,
                )
            )
        )
        # Not bounded here: the leader sends no more than its window, and heartbeats must not wait behind records.
        received: asyncio.Queue[mirror_pb2.FollowResponse | None] = asyncio.Queue(
            CATCH_UP_COUNT_MAX if observer else 0
        )
        applied = _Progress(position.next_offset, position.term)
        call = mirror_service_pb2_grpc.MirrorServiceStub(channel).Follow(_requests(outgoing))
        applying = asyncio.create_task(
            self._apply_all(received, outgoing, applied, source, observer), name="mirror-apply"
        )
        reading = asyncio.create_task(
            self._read_all(call, received, outgoing, applied, observer), name="mirror-read"
        )
        try:
            done, _ = await asyncio.wait((applying, reading), return_when=asyncio.FIRST_COMPLETED)
            if any(task.cancelled() for task in done):
                raise LinkErr(
                    "the stream from the leader was broken off", name=source.name, address=source.address
                )
            if reading in done and reading.exception() is None:
                # All that was sent is applied before the end counts.
                await received.put(None)
                await applying
            for task in done:
                task.result()
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error, cell="leader", address=source.url) from None
        finally:
            self.stream.connected = False
            outgoing.put_nowait(None)
            call.cancel()
            for task in (reading, applying):
                task.cancel()
            await asyncio.wait((reading, applying))

    async def _read_all(
        self,
        call: grpc.aio.StreamStreamCall[mirror_pb2.FollowRequest, mirror_pb2.FollowResponse],
        received: asyncio.Queue[mirror_pb2.FollowResponse | None],
        outgoing: _Outgoing,
        applied: _Progress,
        observer: bool,
    ) -> None:
        wait_s = max(CONNECT_TIMEOUT_S, self.lease_s * SILENCE_LEASES)
        while True:
            try:
                response = await asyncio.wait_for(call.read(), wait_s)
            except TimeoutError:
                raise TimeOut(f"the leader has said nothing for {wait_s:g} s") from None
            if not isinstance(response, mirror_pb2.FollowResponse):
                code = await call.code()
                if code is not grpc.StatusCode.OK:
                    # Raises what the call ended with.
                    await call.read()
                return
            self.stream.connected, self.stream.trouble = True, ""
            self.stream.heard_s = time.monotonic()
            self.stream.leader_offset = response.end_offset
            if not observer and not self.calls.on_message(response):
                raise NotLeader("the leader was deposed")
            if response.sent_ms and not observer:
                outgoing.put_nowait(_ack(applied, granted_ms=response.sent_ms))
            if response.records:
                await received.put(response)

    async def _apply_all(
        self,
        received: asyncio.Queue[mirror_pb2.FollowResponse | None],
        outgoing: _Outgoing,
        applied: _Progress,
        source: LeaderSource,
        observer: bool,
    ) -> None:
        ended = False
        while not ended:
            run: list[ChangeRecord] = []
            size = 0
            response = await received.get()
            while True:
                if response is None:
                    ended = True
                    break
                run += map(ChangeRecord.from_proto, response.records)
                size += response.ByteSize()
                if received.empty() or size >= RUN_SIZE_MAX or len(run) >= RUN_COUNT_MAX:
                    break
                response = received.get_nowait()
            for part in _at_checkpoints(run):
                offset = await self.workers.run_long(partial(self._apply, part, source))
                applied.next_offset = offset
                self.calls.on_applied(offset)
                if not observer:
                    outgoing.put_nowait(_ack(applied))

    def _apply(self, records: list[ChangeRecord], source: LeaderSource, token: CancelToken) -> int:
        failpoint("mirror_before_apply")
        offset = self.replay.apply(records, source)
        failpoint("mirror_after_apply")
        if records[-1].type_name == CHECKPOINT_TYPE:
            self.calls.on_checkpoint(records[-1].offset)
        return offset


@dataclass(slots=True)
class _Progress:
    next_offset: int
    term: int


def _ack(applied: _Progress, granted_ms: int = 0) -> mirror_pb2.FollowRequest:
    return mirror_pb2.FollowRequest(
        ack=mirror_pb2.FollowerAck(next_offset=applied.next_offset, granted_ms=granted_ms, term=applied.term)
    )


async def _requests(
    outgoing: _Outgoing,
) -> AsyncIterator[mirror_pb2.FollowRequest]:
    while (request := await outgoing.get()) is not None:
        yield request


def _at_checkpoints(records: list[ChangeRecord]) -> list[list[ChangeRecord]]:
    """The records in parts that end with a checkpoint, but for the last."""
    parts: list[list[ChangeRecord]] = [[]]
    for record in records:
        parts[-1].append(record)
        if record.type_name == CHECKPOINT_TYPE:
            parts.append([])
    return [part for part in parts if part]


__all__ = ["FollowStream", "FollowerCalls", "Position", "Stream"]
