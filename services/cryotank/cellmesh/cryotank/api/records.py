"""Records in and out: the streams of TankService."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, suppress
from typing import Any, Final, Protocol

from cellmesh.api.common.v1 import value_pb2
from cellmesh.api.cryotank.v1 import tank_pb2
from cellmesh.common import msgpack
from cellmesh.common.auth.context import current_caller
from cellmesh.common.errors import BadArg
from cellmesh.common.rpc.streams import CancelToken
from cellmesh.common.rpc.workers import Workers
from cellmesh.common.values import to_value
from cellmesh.cryotank.tanks import Appended, Arrivals, Batch, ConsumerStore, Run, TankGates, TankStore, wire
from cellmesh.cryotank.tanks.batches import MSGPACK, read_request
from cellmesh.cryotank.tanks.changes import time_to_proto
from cellmesh.cryotank.tanks.values import May
from google.protobuf.duration_pb2 import Duration

PIECE_COUNT: Final = 64
"""Records put together before they are handed to the stream: each hand-over has its price."""

AHEAD_COUNT: Final = 16
AHEAD_SIZE: Final = 4 * 1024 * 1024
"""What a stream of appends is read ahead, and what it puts into one transaction at most: requests, and bytes."""

Context = Any
Encode = Callable[[Run], list[bytes]]


class ReadRequest(Protocol):
    """What ReadRecordsRequest and ReadRowsRequest have in common."""

    name: str
    offset: int
    count: int
    wait: bool

    @property
    def timeout(self) -> Duration:
        """How long to wait."""

    def HasField(self, name: Any) -> bool:
        """Whether it was set."""


class RecordServicer:
    """The part of TankServicer that is about records; see there."""

    def __init__(
        self,
        store: TankStore,
        consumers: ConsumerStore,
        gates: TankGates,
        arrivals: Arrivals,
        workers: Workers,
    ) -> None:
        self._store = store
        self._consumers = consumers
        self._gates = gates
        self._arrivals = arrivals
        self._workers = workers

    def _may(self, operation: str) -> May:
        return self._gates.may(current_caller(), operation)

    async def AppendRecords(self, request: bytes, context: Context) -> tank_pb2.AppendRecordsResponse:
        """See the proto. Takes the message as it came."""
        may = self._may("append")

        def append() -> Appended:
            name, batch = read_request(request)
            return self._store.append(name, batch, may)

        appended = await self._workers.run(append)
        return tank_pb2.AppendRecordsResponse(offset=appended.offset, count=appended.count)

    async def AppendStream(
        self, requests: AsyncIterator[bytes], context: Context
    ) -> AsyncIterator[tank_pb2.AppendStreamResponse]:
        """See the proto. While one transaction is made durable, what comes is read for the next."""
        may = self._may("append")
        # Who may append nowhere is told before anything is read.
        ahead: asyncio.Queue[bytes | None] = asyncio.Queue(AHEAD_COUNT)
        failure: list[BaseException] = []

        async def read() -> None:
            try:
                async for data in requests:
                    await ahead.put(data)
            except Exception as error:  # noqa: BLE001  raised again below
                failure.append(error)
            await ahead.put(None)

        name = ""
        reader = asyncio.create_task(read())
        try:
            while (first := await ahead.get()) is not None:
                some, is_last = _take(first, ahead)

                def append(some: Sequence[bytes] = some, name: str = name) -> tuple[str, Appended]:
                    name, batches = _read_some(some, name)
                    return name, self._store.append_all(name, batches, may)

                name, appended = await self._workers.run(append)
                yield tank_pb2.AppendStreamResponse(
                    offset=appended.offset, count=appended.count, request_count=len(some)
                )
                if is_last:
                    break
        finally:
            reader.cancel()
            with suppress(asyncio.CancelledError):
                await reader
        if failure:
            raise failure[0]

    async def ReadRecords(
        self, request: tank_pb2.ReadRecordsRequest, context: Context
    ) -> AsyncIterator[bytes]:
        """See the proto. Answers with serialized messages, made of stored bytes."""

        def encode(run: Run) -> list[bytes]:
            records = wire.records_of(run)
            return [
                b"".join(map(wire.encode_record, records[start : start + PIECE_COUNT]))
                for start in range(0, len(records), PIECE_COUNT)
            ]

        async with aclosing(self._read(request, request.offset, encode)) as messages:
            async for message in messages:
                yield message

    async def ReadRows(self, request: tank_pb2.ReadRowsRequest, context: Context) -> AsyncIterator[bytes]:
        """See the proto. Answers with serialized messages, made of stored bytes."""
        offset = request.offset
        if request.consumer:
            offset = await self._workers.run(
                self._consumers.offset, request.name, request.consumer, self._may("read")
            )
        async with aclosing(self._read(request, offset, lambda run: [wire.encode_run(run)])) as messages:
            async for message in messages:
                yield message

    async def ListAppends(
        self, request: tank_pb2.ListAppendsRequest, context: Context
    ) -> AsyncIterator[tank_pb2.ListAppendsResponse]:
        """See the proto."""
        may = self._may("list")
        count = request.count if request.HasField("count") else None

        def produce(token: CancelToken) -> Iterator[tank_pb2.Append]:
            for runs in self._store.appends(request.name, request.offset, count, may):
                token.check()
                yield from map(_append_of, runs)

        async for message in self._workers.stream(produce, pack=_pack_appends):
            yield message

    async def GetLastRecord(
        self, request: tank_pb2.GetLastRecordRequest, context: Context
    ) -> tank_pb2.GetLastRecordResponse:
        """See the proto."""
        found = await self._workers.run(self._store.last, request.name, self._may("read"))
        if found is None:
            return tank_pb2.GetLastRecordResponse()
        if found.form == MSGPACK:
            value = to_value(msgpack.decode(found.data))
        else:
            value = value_pb2.Value.FromString(found.data)
        return tank_pb2.GetLastRecordResponse(record=tank_pb2.Record(offset=found.offset, value=value))

    async def _read(self, request: ReadRequest, offset: int, encode: Encode) -> AsyncGenerator[bytes, None]:
        """The messages of a slice."""
        may = self._may("read")
        count = request.count if request.HasField("count") else None
        timeout_s = request.timeout.ToMicroseconds() / 1e6 if request.HasField("timeout") else None
        if timeout_s is not None and timeout_s < 0:
            raise BadArg("a timeout is not negative", name="timeout", valu=timeout_s)
        if request.wait:
            async with aclosing(
                self._follow(request.name, offset, count, timeout_s, encode, may)
            ) as messages:
                async for message in messages:
                    yield message
            return

        def produce(token: CancelToken) -> Iterator[bytes]:
            for runs in self._store.read(request.name, offset, count, may):
                token.check()
                for run in runs:
                    yield from encode(run)

        async for message in self._workers.stream(produce, pack=_join, size_of=len):
            yield message

    async def _follow(
        self, name: str, offset: int, count: int | None, timeout_s: float | None, encode: Encode, may: May
    ) -> AsyncGenerator[bytes, None]:
        """A slice that waits at the end: a task in the event loop, which takes a thread only to read."""
        number = await self._workers.run(self._store.locate, name, may)

        def read() -> tuple[list[bytes], int, int]:
            runs = self._store.read_some(name, number, offset, count, may)
            pieces = [piece for run in runs for piece in encode(run)]
            taken = sum(run.block.count for run in runs)
            return pieces, taken, runs[-1].end if runs else offset

        with self._arrivals.waiter(number) as waiter:
            while count is None or count > 0:
                waiter.clear()
                pieces, taken, offset = await self._workers.run(read)
                if pieces:
                    yield b"".join(pieces)
                    if count is not None:
                        count -= taken
                elif not await waiter.wait(timeout_s):
                    return


def _take(first: bytes, ahead: asyncio.Queue[bytes | None]) -> tuple[list[bytes], bool]:
    """The first request with those that have come meanwhile, as many as one transaction takes; whether they are all."""
    some, size = [first], len(first)
    while size < AHEAD_SIZE and not ahead.empty():
        following = ahead.get_nowait()
        if following is None:
            return some, True
        some.append(following)
        size += len(following)
    return some, False


def _read_some(some: Sequence[bytes], name: str) -> tuple[str, list[Batch]]:
    """The tank and the records of some requests; only the first of a stream must name the tank."""
    batches = []
    for data in some:
        told, batch = read_request(data)
        if name and told not in ("", name):
            raise BadArg("a stream of appends is for one tank", name="name", valu=told[:128])
        name = name or told
        batches.append(batch)
    return name, batches


def _append_of(run: Run) -> tank_pb2.Append:
    made = tank_pb2.Append(
        offset=run.offset,
        count=run.block.count,
        size_bytes=run.block.size,
        append_time=time_to_proto(run.block.time_us),
    )
    if run.block.form == MSGPACK:
        made.form = tank_pb2.RECORD_FORM_MSGPACK
    return made


def _pack_appends(items: list[tank_pb2.Append]) -> tank_pb2.ListAppendsResponse:
    return tank_pb2.ListAppendsResponse(appends=items)


def _join(pieces: list[bytes]) -> bytes:
    return b"".join(pieces)
