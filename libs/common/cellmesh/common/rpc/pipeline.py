"""CallService: many small calls on one stream.

    stream of requests -> calls that wait -> workers ──────> answers that wait -> stream of responses
                       -> calls with a window, each a task ─┘

A call goes to the very handler that gRPC would call, with the interceptors around it, and a context that stands for the
one it would have. So it is named, admitted, measured and refused as any other; nothing of that is repeated here.

What waits is bounded on both sides: who sends faster than the cell works, or reads slower than it answers, is not read
from until there is room. Of calls with a window the answers are bounded each by itself, so that one whose caller does not
read it holds up no other. Small answers go before large ones, never before an earlier one of their own call.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, cast

import grpc
import grpc.aio
from cellmesh.api.common.v1 import pipeline_service_pb2 as pb
from cellmesh.common.errors import (
    BadArg,
    Cancelled,
    DeadlineExceeded,
    FeatureNotSupported,
    LimitExceeded,
    ShuttingDown,
)
from cellmesh.common.rpc.permissions import COMMON_PERMISSIONS
from cellmesh.common.rpc.pipeline_calls import (
    CallContext,
    Endpoint,
    OuterContext,
    PipelinedCall,
    StreamFacts,
    failed,
    offset_of,
)
from cellmesh.common.rpc.service import Service
from google.protobuf.message import DecodeError

CALLS_IN_MESSAGE_MAX: Final = 1000
"""Calls in a message; grants likewise, and cancelled calls."""
CONCURRENCY_DEFAULT: Final = 8
CONCURRENCY_MAX: Final = 64
WAITING_COUNT_MAX: Final = 4000
WAITING_SIZE_MAX: Final = 16 * 1024 * 1024
"""Calls of a stream that have not begun, and the bytes of their requests. Above, the stream is not read on."""
OPEN_COUNT_MAX: Final = 1000
OPEN_SIZE_MAX: Final = 64 * 1024 * 1024
"""Calls of a stream with a window that run, and the bytes of their requests, unless one alone has more. Above, such calls
are refused: to wait for room they would hold up the grants behind them."""
ANSWERS_COUNT_MAX: Final = 500
ANSWERS_SIZE_MAX: Final = 1024 * 1024
"""Answers in one message, and their bytes, unless one alone has more."""
SMALL_SIZE_MAX: Final = 64 * 1024
"""Answers of up to so many bytes go before larger ones."""
UNSENT_SIZE_MAX: Final = 4 * 1024 * 1024
"""Bytes of answers that the client has not taken. Above, no further call without a window begins, no message is written."""
TURN_S: Final = 0.002
"""How long calls that wait for nothing may follow one another before others have their turn."""
STARTS_IN_TURN_MAX: Final = 32
"""Calls with a window that are begun in a row, likewise."""


class Pipelines:
    """The CallService of a server.

    Attributes:
        endpoints: The methods of the server with one request, by full name; the server fills it.
    """

    def __init__(self) -> None:
        self.endpoints: dict[str, Endpoint] = {}
        self._runs: set[_Run] = set()
        self._closed = False

    async def Pipeline(self, requests: AsyncIterator[pb.PipelineRequest], context: OuterContext) -> bytes:
        """See the proto."""
        if self._closed:
            raise ShuttingDown("the cell is stopping and takes no new calls", outcome="none")
        run = _Run(self.endpoints, context)
        self._runs.add(run)
        try:
            run.reading = asyncio.ensure_future(run.read(requests))
            await run.write()
        finally:
            self._runs.discard(run)
            run.cancel()
        # Leaves together with the end, and says nothing.
        return b""

    def close(self) -> None:
        """Begin no further call: those that run are answered, the others refused, and the streams ended."""
        self._closed = True
        for run in tuple(self._runs):
            run.close()


def pipeline_service(pipelines: Pipelines) -> Service:
    """The CallService of a server."""
    return Service(
        pb.DESCRIPTOR.services_by_name["CallService"],
        pipelines,
        COMMON_PERMISSIONS,
        raw_responses=("Pipeline",),
        last_returned=("Pipeline",),
    )


class _Run:
    """One stream."""

    def __init__(self, endpoints: dict[str, Endpoint], context: OuterContext) -> None:
        self.reading: asyncio.Future[None] | None = None
        self.drained = asyncio.Event()
        self.drained.set()
        self._endpoints = endpoints
        self._facts = StreamFacts(context)
        self._send: Callable[[bytes], Awaitable[object]] = context.write
        self._concurrency = CONCURRENCY_DEFAULT
        self._path = ""
        self._waiting: deque[PipelinedCall] = deque()
        self._waiting_size = 0
        self._workers: set[asyncio.Task[None]] = set()
        self._open: dict[int, PipelinedCall] = {}
        self._open_size = 0
        self._small: deque[pb.PipelineAnswer] = deque()
        self._large: deque[tuple[PipelinedCall, pb.PipelineAnswer]] = deque()
        self._unsent_size = 0
        self._change: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._error: BaseException | None = None
        self._read_whole = False
        self._closing = False
        self._is_sending = False
        self._told_windows = False
        self._told_closing = False
        self._over = False

    # In.

    async def read(self, requests: AsyncIterator[pb.PipelineRequest]) -> None:
        """Take in calls until the client has no more."""
        first = True
        try:
            async for message in requests:
                if first:
                    self._configure(message)
                    first = False
                _check_counts(message)
                for grant in message.grants:
                    opened = self._open.get(grant.call_id)
                    if opened is not None:
                        opened.grant(grant.size)
                for call_id in message.cancelled_call_ids:
                    self._drop(call_id)
                await self._take(message)
                while not self._has_room():
                    self._room = asyncio.get_running_loop().create_future()
                    await self._room
        except asyncio.CancelledError:
            # The stream ends, or the server stops.
            raise
        except Exception as error:  # noqa: BLE001  raised again by `write`, where the chain maps it
            self._error = error
        finally:
            self._read_whole = True
            self._wake()

    def _has_room(self) -> bool:
        return (
            len(self._waiting) < WAITING_COUNT_MAX
            and self._waiting_size < WAITING_SIZE_MAX
            and len(self._small) < WAITING_COUNT_MAX
        )

    def _configure(self, message: pb.PipelineRequest) -> None:
        self._concurrency = min(message.concurrency or CONCURRENCY_DEFAULT, CONCURRENCY_MAX)
        if message.in_order:
            self._concurrency = 1

    async def _take(self, message: pb.PipelineRequest) -> None:
        now, begun = time.monotonic(), 0
        for sent in message.calls:
            self._path = path = sent.method or self._path
            if not path:
                raise BadArg("the first call of a pipeline must name its method", name="method")
            call = PipelinedCall.of(sent, path, now)
            if self._closing:
                self._refuse(call)
            elif sent.window:
                self._begin(call)
                begun += 1
                if begun % STARTS_IN_TURN_MAX == 0:
                    await asyncio.sleep(0)
            else:
                self._waiting.append(call)
                self._waiting_size += len(call.request)
        for _ in range(min(self._concurrency - len(self._workers), len(self._waiting))):
            worker = asyncio.ensure_future(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._worker_done)

    def _refuse(self, call: PipelinedCall) -> None:
        # Not begun: callers may send it again, whatever it does.
        error = ShuttingDown("the cell is stopping and starts no new work", outcome="none")
        self.put(call, failed(call.call_id, error))

    # Calls without a window: so many at once, in turn.

    async def _work(self) -> None:
        """Run calls one after another until none waits."""
        turn_ends = time.monotonic() + TURN_S
        while self._waiting:
            if not self.drained.is_set():
                await self.drained.wait()
                continue
            call = self._waiting.popleft()
            self._waiting_size -= len(call.request)
            self._make_room()
            self.put(call, await self._run_call(call))
            if time.monotonic() > turn_ends:
                await asyncio.sleep(0)
                turn_ends = time.monotonic() + TURN_S

    def _worker_done(self, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        self._noticed(worker)

    # Calls with a window: each at once, by itself.

    def _begin(self, call: PipelinedCall) -> None:
        if call.call_id in self._open:
            raise BadArg(f"call {call.call_id} of the pipeline has no answer yet", name="call_id")
        size = len(call.request)
        if len(self._open) >= OPEN_COUNT_MAX or (self._open and self._open_size + size > OPEN_SIZE_MAX):
            error = LimitExceeded(
                f"at most {OPEN_COUNT_MAX} calls with a window run on a pipeline",
                name="calls",
                limit=OPEN_COUNT_MAX,
                outcome="none",
            )
            self.put(call, failed(call.call_id, error))
            return
        self._open[call.call_id] = call
        self._open_size += size
        call.task = asyncio.get_running_loop().create_task(self._run_open(call))
        call.task.add_done_callback(self._noticed)

    async def _run_open(self, call: PipelinedCall) -> None:
        try:
            answer = await self._run_call(call)
        except asyncio.CancelledError:
            if self._over or not call.dropped:
                raise
            return
        finally:
            # One that was dropped is out already, and its number may be another's.
            if self._open.get(call.call_id) is call:
                del self._open[call.call_id]
            self._open_size -= len(call.request)
        if call.dropped:
            return
        if self._open or self._is_sending:
            self.put(call, answer)
            return
        # The last one that ran: to send here saves the way to another task. It cannot be cancelled any more.
        self._enqueue(call, answer)
        await self._flush()

    def _drop(self, call_id: int) -> None:
        """Nobody wants a call's answers any more: end it."""
        call = self._open.get(call_id)
        if call is not None and not call.dropped:
            call.dropped = True
            if call.task is not None:
                call.task.cancel()

    def _noticed(self, task: asyncio.Task[None]) -> None:
        """A task has ended: the stream perhaps too."""
        if not task.cancelled():
            error = task.exception()
            if error is not None:
                self._error = self._error or error
        if self._read_whole or self._closing or self._error is not None:
            self._wake()

    async def _run_call(self, call: PipelinedCall) -> pb.PipelineAnswer:
        endpoint = self._endpoints.get(call.path)
        if endpoint is None or (endpoint.is_stream and call.task is None):
            # The words of gRPC, which callers may know.
            return failed(call.call_id, FeatureNotSupported("Method not found!", name=call.path[:200]))
        context = CallContext(self._facts, call, endpoint, self)
        passed = cast(OuterContext, context)
        try:
            request: Any = call.request if endpoint.reader is None else endpoint.reader(call.request)
        except DecodeError:
            return failed(call.call_id, BadArg("the request does not read", name=call.path))
        try:
            if call.deadline is None:
                response = await endpoint.handler(request, passed)
            else:
                async with asyncio.timeout(max(call.deadline - time.monotonic(), 0.0)):
                    response = await endpoint.handler(request, passed)
            if response is None and endpoint.is_stream:
                answer = pb.PipelineAnswer(call_id=call.call_id)
            else:
                answer = pb.PipelineAnswer(call_id=call.call_id, response=endpoint.writer(response))
        except grpc.aio.AbortError:
            answer = pb.PipelineAnswer(call_id=call.call_id, error=context.error())
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._over or call.dropped or task is None:
                raise
            # Somebody ended this call alone: the stream goes on.
            task.uncancel()
            return failed(call.call_id, Cancelled("the call was ended", method=call.path))
        except TimeoutError:
            error = DeadlineExceeded(
                "the caller's deadline passed before the work was done", method=call.path
            )
            return failed(call.call_id, error)
        if context.trailing:
            answer.change_offset = offset_of(context.trailing)
        return answer

    # Out.

    def put(self, call: PipelinedCall, answer: pb.PipelineAnswer) -> None:
        """Take an answer in, to be sent soon."""
        self._enqueue(call, answer)
        self._wake()

    def _enqueue(self, call: PipelinedCall, answer: pb.PipelineAnswer) -> None:
        size = len(answer.response)
        if size <= SMALL_SIZE_MAX and not call.queued:
            self._small.append(answer)
        else:
            call.queued += 1
            self._large.append((call, answer))
        self._unsent_size += size
        if self._unsent_size >= UNSENT_SIZE_MAX or len(self._small) >= WAITING_COUNT_MAX:
            self.drained.clear()

    def _wake(self) -> None:
        if self._change is not None and not self._change.done():
            self._change.set_result(None)

    def _make_room(self) -> None:
        if self._room is not None and not self._room.done() and self._has_room():
            self._room.set_result(None)

    async def write(self) -> None:
        """Send the answers, until all calls are answered and the client has no more."""
        loop = asyncio.get_running_loop()
        while True:
            await self._flush()
            if self._error is not None:
                raise self._error
            ended = (self._read_whole or self._closing) and not self._is_sending
            if ended and not self._waiting and not self._workers and not self._open:
                return
            self._change = loop.create_future()
            await self._change

    async def _flush(self) -> None:
        """Send what waits, unless somebody does so already and will find it."""
        if self._is_sending:
            return
        self._is_sending = True
        try:
            while self._small or self._large or (self._closing and not self._told_closing):
                message = self._pack()
                if not self._told_windows:
                    message.knows_windows = self._told_windows = True
                if self._closing and not self._told_closing:
                    message.closing = self._told_closing = True
                await self._send(message.SerializeToString())
        finally:
            self._is_sending = False

    def _pack(self) -> pb.PipelineResponse:
        answers: list[pb.PipelineAnswer] = []
        size = 0
        small, large = self._small, self._large
        while len(answers) < ANSWERS_COUNT_MAX:
            if small:
                answer = small[0]
                length = len(answer.response)
                if answers and size + length > ANSWERS_SIZE_MAX:
                    break
                small.popleft()
            elif large:
                call, answer = large[0]
                length = len(answer.response)
                if answers and size + length > ANSWERS_SIZE_MAX and not call.dropped:
                    break
                large.popleft()
                call.queued -= 1
                if call.dropped:
                    self._unsent_size -= length
                    continue
            else:
                break
            self._unsent_size -= length
            size += length
            answers.append(answer)
        if self._unsent_size < UNSENT_SIZE_MAX and len(small) < WAITING_COUNT_MAX:
            self.drained.set()
            self._make_room()
        return pb.PipelineResponse(answers=answers)

    # The end.

    def close(self) -> None:
        """Begin no further call."""
        self._closing = True
        while self._waiting:
            call = self._waiting.popleft()
            self._waiting_size -= len(call.request)
            self._refuse(call)
        self._make_room()
        self._wake()

    def cancel(self) -> None:
        """The stream is over: end what runs."""
        self._over = True
        self._waiting.clear()
        for worker in tuple(self._workers):
            worker.cancel()
        for call in tuple(self._open.values()):
            if call.task is not None:
                call.task.cancel()
        if self.reading is not None:
            self.reading.cancel()


def _check_counts(message: pb.PipelineRequest) -> None:
    """Refuse a message that would take the event loop for long."""
    for name in ("calls", "grants", "cancelled_call_ids"):
        if len(getattr(message, name)) > CALLS_IN_MESSAGE_MAX:
            raise LimitExceeded(
                f"a message of a pipeline has at most {CALLS_IN_MESSAGE_MAX} {name}",
                name=name,
                limit=CALLS_IN_MESSAGE_MAX,
            )
