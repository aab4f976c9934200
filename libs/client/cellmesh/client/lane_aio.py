"""Lanes in an event loop; see `cellmesh.client.lane`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any, Final

import grpc
import grpc.aio
from cellmesh.api.common.v1 import pipeline_service_pb2 as pb
from cellmesh.client.lane import (
    LaneBook,
    LaneCall,
    LaneError,
    LaneHistory,
    deadline_of,
    describe,
    too_late,
)
from cellmesh.client.stream_aio import CallStream

_EOF: Final[Any] = grpc.aio.EOF  # type: ignore[attr-defined]  # the stubs lack it


class AioLanes:
    """The lanes of a connection: one, and while the cell ends that, another.

    Args:
        channel: The connection's.
        metadata: The login, which goes with the stream.
    """

    def __init__(self, channel: grpc.aio.Channel, metadata: tuple[tuple[str, str], ...]) -> None:
        self._channel = channel
        self._metadata = metadata
        self._history = LaneHistory()
        self._lane: AioLane | None = None

    def begin(self, method: Any, request: Any, timeout_s: float | None, metadata: Any) -> AioLaneCall | None:
        """Begin a call; None if it is to be made by itself.

        Args:
            method: Of a stub of ours.
            request: Its request.
            timeout_s: How long it may take; None for as long as it takes.
            metadata: What goes along, by `Attempts.metadata`.
        """
        lane = self._lane
        if lane is None or lane.book.closing:
            if not self._history.may_try:
                return None
            self._lane = lane = AioLane(self._channel, self._metadata, self._history)
        elif lane.book.is_full or not self._history.may_try:
            return None
        sent = describe(method, request, metadata)
        if sent is None:
            return None
        call = AioLaneCall(sent, deadline_of(timeout_s), lane, method.kwargs["response_deserializer"])
        lane.add(call)
        return call

    def close(self) -> None:
        """End the lane; calls on it are cancelled."""
        lane, self._lane = self._lane, None
        if lane is not None:
            lane.close()


class AioLane:
    """One stream and its calls."""

    def __init__(
        self, channel: grpc.aio.Channel, metadata: tuple[tuple[str, str], ...], history: LaneHistory
    ) -> None:
        self.book = LaneBook(history)
        self.loop = asyncio.get_running_loop()
        self._stream = CallStream(channel, metadata)
        self._waiter: asyncio.Future[None] | None = None
        self._writing = asyncio.ensure_future(self._write())
        self._reading = asyncio.ensure_future(self._read())

    def add(self, call: AioLaneCall) -> None:
        """Send a call."""
        if self.book.closing:
            self.book.refuse(call)
            return
        self.book.add(call)
        self.wake()

    def wake(self) -> None:
        """There is something to send."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def close(self) -> None:
        """End the stream. May be called from any thread, and when the loop is closed."""
        self.book.closing = True
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._stream.grpc_call.cancel)

    async def _write(self) -> None:
        """Send what waits, message by message. While one is sent, calls gather for the next."""
        book, write = self.book, self._stream.write
        try:
            while True:
                while not book.can_send:
                    self._waiter = self.loop.create_future()
                    await self._waiter
                await write(book.take())
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The stream is over; who reads it hears why.
            return

    async def _read(self) -> None:
        book, read = self.book, self._stream.grpc_call.read
        error: grpc.RpcError | None = LaneError(grpc.StatusCode.CANCELLED, "the client was closed")
        try:
            while (response := await read()) is not _EOF:
                book.read(response)
            error = None
        except grpc.aio.AioRpcError as failed:
            error = self._stream.reason(failed)
        finally:
            self._writing.cancel()
            self._stream.grpc_call.cancel()
            book.broken(error)


class AioLaneCall(LaneCall):
    """Looks like a call of grpc.aio: awaited, or read message by message."""

    __slots__ = ("_lane", "_read", "_waiter")

    def __init__(
        self, sent: pb.PipelineCall, deadline: float | None, lane: AioLane, read: Callable[[bytes], Any]
    ) -> None:
        super().__init__(sent, deadline, self._came)
        self._lane = lane
        self._read = read
        self._waiter: asyncio.Future[None] | None = None

    def _came(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def __aiter__(self) -> AioLaneCall:
        return self

    async def __anext__(self) -> Any:
        while not self.messages:
            if self.ended:
                if self.error is not None:
                    raise self.error
                raise StopAsyncIteration
            await self._wait()
        data = self.messages.popleft()
        if not self.ended and self._lane.book.took(self, len(data)):
            self._lane.wake()
        return self._read(data)

    def __await__(self) -> Generator[Any, None, Any]:
        return self._answer().__await__()

    async def _answer(self) -> Any:
        while not self.ended:
            await self._wait()
        if self.error is not None:
            raise self.error
        return self._read(self.messages[0] if self.messages else b"")

    async def _wait(self) -> None:
        """Wait until something has come. Cancelled meanwhile, the call is given up, as gRPC does."""
        loop = self._lane.loop
        self._waiter = loop.create_future()
        timer = None
        if self.deadline is not None:
            timer = loop.call_later(self.deadline - loop.time(), self._expire)
        try:
            await self._waiter
        except asyncio.CancelledError:
            self.cancel()
            raise
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _expire(self) -> None:
        if not self.ended:
            self._give_up()
            self.error = too_late()
            self._came()

    async def trailing_metadata(self) -> tuple[tuple[str, str], ...]:
        """What the cell told with the end."""
        return self.trailing

    def cancel(self) -> None:
        """End the call."""
        if self.ended:
            return
        loop = self._lane.loop
        try:
            is_here = asyncio.get_running_loop() is loop
        except RuntimeError:
            is_here = False
        if is_here:
            self._give_up()
            return
        # Dropped by the garbage collector of another thread, or after the loop.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(self._give_up)

    def _give_up(self) -> None:
        if self.ended:
            return
        if self.error is None:
            self.error = LaneError(grpc.StatusCode.CANCELLED, "the call was cancelled by its caller")
        if self._lane.book.cancel(self):
            self._lane.wake()
