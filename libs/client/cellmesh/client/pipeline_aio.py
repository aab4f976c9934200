"""AioPipeline: many small calls on one stream, from an event loop."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import grpc
import grpc.aio
from cellmesh.client.core import Attempts
from cellmesh.client.failures import as_cell_error, never_began
from cellmesh.client.lane import NoLane
from cellmesh.client.pipelining import OPEN_CALLS_MAX, SWEEP_S, PipelineCalls
from cellmesh.client.stream_aio import CallStream, refusal
from cellmesh.common.errors import Cancelled, CellError, IsFini, LimitExceeded

if TYPE_CHECKING:
    from cellmesh.client.aio import AioCellClient


class AioPipeline:
    """Many small calls on one stream.

        async with cell.pipeline() as pipeline:
            futures = [pipeline.call(stub.GetBlobInfo, request) for request in requests]
        answers = [future.result() for future in futures]

    The block ends when every call has its answer. Left by an error, it ends at once and the calls are cancelled.
    Arguments are those of `Pipeline`.
    """

    def __init__(
        self,
        client: AioCellClient,
        *,
        in_order: bool = False,
        concurrency: int = 0,
        read_only: bool = False,
    ) -> None:
        self._client = client
        self._calls = PipelineCalls(
            client.core, in_order=in_order, concurrency=concurrency, read_only=read_only
        )
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def call(self, method: Any, request: Any, timeout: float | None = None) -> asyncio.Future[Any]:
        """Make a call. Arguments and answer are those of `Pipeline.call`, the answer being awaited.

        Raises:
            BadArg: no such method can be called so.
            LimitExceeded: very many calls have no answer yet; `await pipeline.room()` first.
            IsFini: the pipeline is closed.
        """
        if self._closing:
            raise IsFini("the pipeline is closed", name=str(self._client.url))
        if len(self._calls) >= OPEN_CALLS_MAX:
            raise LimitExceeded(
                f"{OPEN_CALLS_MAX} calls of the pipeline have no answer yet",
                name="calls",
                limit=OPEN_CALLS_MAX,
                hint="await pipeline.room() before each call",
            )
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._calls.add(self._calls.make(method, request, timeout, future))
        if self._task is None:
            self._task = asyncio.ensure_future(self._run())
        self._changed.set()
        return future

    async def room(self) -> None:
        """Wait until one more call may be made."""
        while len(self._calls) >= OPEN_CALLS_MAX:
            self._room.clear()
            await self._room.wait()

    async def close(self) -> None:
        """Wait until every call has its answer, and end the stream."""
        self._closing = True
        self._changed.set()
        if self._task is not None:
            await self._task

    async def cancel(self) -> None:
        """Give up every call that has no answer, and end the stream."""
        self._closing = True
        self._calls.fail_all(Cancelled("the pipeline was cancelled"))
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            await self.close()
        else:
            await self.cancel()

    async def _run(self) -> None:
        attempts = self._calls.attempts()
        try:
            while await self._wait_for_calls():
                try:
                    attempts, pause_s = await self._run_stream(attempts)
                except CellError as error:
                    self._calls.fail_all(error)
                    attempts, pause_s = self._calls.attempts(), 0.0
                if pause_s:
                    await asyncio.sleep(pause_s)
        finally:
            self._calls.fail_all(Cancelled("the pipeline was cancelled"))
            self._room.set()

    async def _wait_for_calls(self) -> bool:
        """Wait until there is something to send; False when there will be nothing."""
        while not len(self._calls):
            if self._closing:
                return False
            self._changed.clear()
            await self._changed.wait()
        return True

    async def _run_stream(self, attempts: Attempts) -> tuple[Attempts, float]:
        """Run one stream to its end; returns what the next one begins with, and the pause before it."""
        connection = await self._client.connect(attempts)
        self._calls.opened()
        metadata = attempts.metadata(None)
        stream = CallStream(connection.channel, metadata)
        sending = asyncio.ensure_future(self._send(stream, attempts))
        failed: grpc.RpcError | None = None
        try:
            async for response in stream.grpc_call:
                self._calls.answered(response.answers)
                self._changed.set()
                self._room.set()
                attempts.succeeded(connection, ())
        except grpc.aio.AioRpcError as error:
            failed = stream.reason(error)
        finally:
            sending.cancel()
            stream.grpc_call.cancel()
            await asyncio.wait([sending])
        made = as_cell_error(failed, self._client.url, connection.target) if failed else None
        never_sent = made is not None and never_began(failed, made)
        self._calls.broken(made, never_sent=never_sent)
        self._room.set()
        following = self._calls.attempts() if self._calls.progressed or self._calls.moving else attempts
        if isinstance(failed, NoLane):
            failed = await refusal(connection.channel, metadata) or failed
        if failed is None:
            return following, self._calls.pause_s
        return following, following.failed(failed, connection)

    async def _send(self, stream: CallStream, attempts: Attempts) -> None:
        """Send what waits, message by message. While one is sent, calls gather for the next."""
        try:
            while True:
                while not self._calls.can_send:
                    if self._calls.moving or (self._closing and not len(self._calls)):
                        await stream.grpc_call.done_writing()
                        return
                    self._changed.clear()
                    try:
                        await asyncio.wait_for(self._changed.wait(), SWEEP_S)
                    except TimeoutError:
                        self._calls.sweep()
                await stream.write(self._calls.take(attempts))
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The stream is over; who reads it hears why.
            return
