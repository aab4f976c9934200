"""CallService: many small calls on one stream.

    stream of requests -> calls that wait -> workers -> answers that wait -> stream of responses

A call goes to the very handler that gRPC would call, with the interceptors around it, and a context that stands for the
one it would have. So it is named, admitted, measured and refused as any other; nothing of that is repeated here.

What waits is bounded on both sides: who sends faster than the cell works, or reads slower than it answers, is not read
from until there is room.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, cast

import grpc
import grpc.aio
from cellmesh.api.common.v1 import pipeline_service_pb2 as pb
from cellmesh.common.errors import (
    BadArg,
    Cancelled,
    CellError,
    DeadlineExceeded,
    FeatureNotSupported,
    LimitExceeded,
    ShuttingDown,
    to_abort,
)
from cellmesh.common.errors.status import DETAILS_KEY
from cellmesh.common.rpc.permissions import COMMON_PERMISSIONS
from cellmesh.common.rpc.service import Service, SingleHandler
from cellmesh.common.telemetry.names import METADATA_REQUEST_ID
from google.protobuf.message import DecodeError

CALLS_IN_MESSAGE_MAX: Final = 1000
CONCURRENCY_DEFAULT: Final = 8
CONCURRENCY_MAX: Final = 64
WAITING_COUNT_MAX: Final = 4000
WAITING_SIZE_MAX: Final = 16 * 1024 * 1024
"""Calls of a stream that have not begun, and the bytes of their requests. Above, the stream is not read on."""
ANSWERS_COUNT_MAX: Final = 500
ANSWERS_SIZE_MAX: Final = 1024 * 1024
"""Answers in one message, and their bytes, unless one alone has more."""
UNSENT_SIZE_MAX: Final = 4 * 1024 * 1024
"""Bytes of answers that the client has not taken. Above, no further call of the stream begins."""
TURN_S: Final = 0.002
"""How long calls that wait for nothing may follow one another before others have their turn."""

CHANGE_OFFSET_KEY: Final = "cellmesh-change-offset"
MIN_OFFSET_KEY: Final = "cellmesh-min-offset"
# They are of the stream, and a call inside has its own.
_OWN_KEYS: Final = frozenset({METADATA_REQUEST_ID, MIN_OFFSET_KEY})

Metadata = tuple[tuple[str, "str | bytes"], ...]
OuterContext = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A unary method as a server serves it.

    Attributes:
        handler: What answers, with the interceptors around it.
        reader: Makes a request of bytes; None passes bytes on.
        writer: Makes bytes of a response.
    """

    handler: SingleHandler
    reader: Callable[[bytes], Any] | None
    writer: Callable[[Any], bytes]


class Pipelines:
    """The CallService of a server.

    Attributes:
        endpoints: The unary methods of the server, by full name; the server fills it.
    """

    def __init__(self) -> None:
        self.endpoints: dict[str, Endpoint] = {}
        self._runs: set[_Run] = set()
        self._closed = False

    async def Pipeline(
        self, requests: AsyncIterator[pb.PipelineRequest], context: OuterContext
    ) -> AsyncIterator[pb.PipelineResponse]:
        """See the proto."""
        if self._closed:
            raise ShuttingDown("the cell is stopping and takes no new calls")
        run = _Run(self.endpoints, context)
        self._runs.add(run)
        try:
            reading = asyncio.ensure_future(run.read(requests))
            run.reading = reading
            async for response in run.answers():
                yield response
        finally:
            self._runs.discard(run)
            run.cancel()

    def close(self) -> None:
        """Begin no further call: those that run are answered, the others refused, and the streams ended."""
        self._closed = True
        for run in tuple(self._runs):
            run.close()


def pipeline_service(pipelines: Pipelines) -> Service:
    """The CallService of a server."""
    return Service(pb.DESCRIPTOR.services_by_name["CallService"], pipelines, COMMON_PERMISSIONS)


@dataclass(slots=True)
class _Waiting:
    """A call that has not begun."""

    call_id: int
    path: str
    request: bytes
    deadline: float | None
    min_offset: int


@dataclass(eq=False)
class _Run:
    """One stream."""

    endpoints: dict[str, Endpoint]
    context: OuterContext
    reading: asyncio.Future[None] | None = None
    _metadata: Metadata = ()
    _concurrency: int = CONCURRENCY_DEFAULT
    _path: str = ""
    _waiting: deque[_Waiting] = field(default_factory=deque)
    _waiting_size: int = 0
    _workers: set[asyncio.Task[None]] = field(default_factory=set)
    _unsent: deque[pb.PipelineAnswer] = field(default_factory=deque)
    _unsent_size: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _room: asyncio.Event = field(default_factory=asyncio.Event)
    _drained: asyncio.Event = field(default_factory=asyncio.Event)
    _error: BaseException | None = None
    _read_whole: bool = False
    _over: bool = False

    def __post_init__(self) -> None:
        self._drained.set()
        self._metadata = tuple(
            (key, value) for key, value in self.context.invocation_metadata() or () if key not in _OWN_KEYS
        )

    # In.

    async def read(self, requests: AsyncIterator[pb.PipelineRequest]) -> None:
        """Take in calls until the client has no more."""
        first = True
        try:
            async for message in requests:
                if first:
                    self._configure(message)
                    first = False
                self._take(message.calls)
                while len(self._waiting) >= WAITING_COUNT_MAX or self._waiting_size >= WAITING_SIZE_MAX:
                    self._room.clear()
                    await self._room.wait()
        except asyncio.CancelledError:
            # The stream ends, or the server stops.
            raise
        except Exception as error:  # noqa: BLE001  raised again by `answers`, where the chain maps it
            self._error = error
        finally:
            self._read_whole = True
            self._changed.set()

    def _configure(self, message: pb.PipelineRequest) -> None:
        self._concurrency = min(message.concurrency or CONCURRENCY_DEFAULT, CONCURRENCY_MAX)
        if message.in_order:
            self._concurrency = 1

    def _take(self, calls: Iterable[pb.PipelineCall]) -> None:
        now = time.monotonic()
        for count, call in enumerate(calls):
            if count >= CALLS_IN_MESSAGE_MAX:
                raise LimitExceeded(
                    f"a message of a pipeline has at most {CALLS_IN_MESSAGE_MAX} calls",
                    name="calls",
                    limit=CALLS_IN_MESSAGE_MAX,
                )
            self._path = path = call.method or self._path
            if not path:
                raise BadArg("the first call of a pipeline must name its method", name="method")
            deadline = now + call.timeout.ToNanoseconds() / 1e9 if call.HasField("timeout") else None
            self._waiting.append(_Waiting(call.call_id, path, call.request, deadline, call.min_change_offset))
            self._waiting_size += len(call.request)
        for _ in range(min(self._concurrency - len(self._workers), len(self._waiting))):
            worker = asyncio.ensure_future(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._worker_done)

    # The calls themselves.

    async def _work(self) -> None:
        """Run calls one after another until none waits."""
        turn_ends = time.monotonic() + TURN_S
        while self._waiting:
            if not self._drained.is_set():
                await self._drained.wait()
                continue
            call = self._waiting.popleft()
            self._waiting_size -= len(call.request)
            self._room.set()
            self._answer(await self._run_call(call))
            if time.monotonic() > turn_ends:
                await asyncio.sleep(0)
                turn_ends = time.monotonic() + TURN_S

    async def _run_call(self, call: _Waiting) -> pb.PipelineAnswer:
        endpoint = self.endpoints.get(call.path)
        if endpoint is None:
            # The words of gRPC, which callers may know.
            return _failed(call.call_id, FeatureNotSupported("Method not found!", name=call.path[:200]))
        context = CallContext(self.context, self._metadata, call.deadline, call.min_offset)
        passed = cast(OuterContext, context)
        try:
            request = call.request if endpoint.reader is None else endpoint.reader(call.request)
        except DecodeError:
            return _failed(call.call_id, BadArg("the request does not read", name=call.path))
        try:
            if call.deadline is None:
                response = await endpoint.handler(request, passed)
            else:
                async with asyncio.timeout(max(call.deadline - time.monotonic(), 0.0)):
                    response = await endpoint.handler(request, passed)
            answer = pb.PipelineAnswer(call_id=call.call_id, response=endpoint.writer(response))
        except grpc.aio.AbortError:
            answer = pb.PipelineAnswer(call_id=call.call_id, error=context.error())
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._over or task is None:
                raise
            # Somebody ended this call alone: the worker goes on with the next.
            task.uncancel()
            return _failed(call.call_id, Cancelled("the call was ended", method=call.path))
        except TimeoutError:
            error = DeadlineExceeded(
                "the caller's deadline passed before the work was done", method=call.path
            )
            return _failed(call.call_id, error)
        if context.trailing:
            answer.change_offset = _offset_of(context.trailing)
        return answer

    def _worker_done(self, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        if not worker.cancelled():
            error = worker.exception()
            if error is not None:
                self._error = self._error or error
        self._changed.set()

    # Out.

    def _answer(self, answer: pb.PipelineAnswer) -> None:
        self._unsent.append(answer)
        self._unsent_size += len(answer.response)
        if self._unsent_size >= UNSENT_SIZE_MAX or len(self._unsent) >= WAITING_COUNT_MAX:
            self._drained.clear()
        self._changed.set()

    async def answers(self) -> AsyncIterator[pb.PipelineResponse]:
        """The answers, in messages, until all calls are answered and the client has no more."""
        while True:
            self._changed.clear()
            while self._unsent:
                yield self._pack()
                self._drained.set()
            if self._error is not None:
                raise self._error
            if self._changed.is_set():
                continue
            if self._read_whole and not self._waiting and not self._workers:
                return
            await self._changed.wait()

    def _pack(self) -> pb.PipelineResponse:
        answers: list[pb.PipelineAnswer] = []
        size = 0
        while self._unsent and len(answers) < ANSWERS_COUNT_MAX:
            size += len(self._unsent[0].response)
            if answers and size > ANSWERS_SIZE_MAX:
                break
            answer = self._unsent.popleft()
            self._unsent_size -= len(answer.response)
            answers.append(answer)
        return pb.PipelineResponse(answers=answers)

    # The end.

    def close(self) -> None:
        """Begin no further call."""
        # Not begun: callers may send them again, whatever they do.
        refusal = ShuttingDown("the cell is stopping and starts no new work", outcome="none")
        while self._waiting:
            self._answer(_failed(self._waiting.popleft().call_id, refusal))
        if self.reading is not None:
            self.reading.cancel()
        self._changed.set()

    def cancel(self) -> None:
        """The stream is over: end what runs."""
        self._over = True
        self._waiting.clear()
        for worker in tuple(self._workers):
            worker.cancel()
        if self.reading is not None:
            self.reading.cancel()


class CallContext:
    """Stands for the gRPC context of one call of a pipeline: as much as interceptors and unary handlers use."""

    __slots__ = ("_code", "_deadline", "_details", "_metadata", "_outer", "trailing")

    def __init__(
        self, outer: OuterContext, metadata: Metadata, deadline: float | None, min_offset: int
    ) -> None:
        self._outer = outer
        self._metadata = (*metadata, (MIN_OFFSET_KEY, str(min_offset))) if min_offset else metadata
        self._deadline = deadline
        self._code: grpc.StatusCode | None = None
        self._details = ""
        self.trailing: Metadata = ()

    def peer(self) -> str:
        """Where the stream comes from."""
        return self._outer.peer()

    def auth_context(self) -> Any:
        """The certificate of who opened the stream."""
        return self._outer.auth_context()

    def invocation_metadata(self) -> Metadata:
        """The stream's metadata, its credentials among them."""
        return self._metadata

    def time_remaining(self) -> float | None:
        """How long the call may take, in seconds."""
        whole_s: float | None = self._outer.time_remaining()
        if self._deadline is None:
            return whole_s
        own_s = self._deadline - time.monotonic()
        return own_s if whole_s is None else min(own_s, whole_s)

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Iterable[tuple[str, Any]] = ()
    ) -> None:
        """End the call with a status."""
        self._code, self._details = code, details
        self.trailing = (*self.trailing, *trailing_metadata)
        raise grpc.aio.AbortError("the call of the pipeline was ended")

    async def send_initial_metadata(self, initial_metadata: Iterable[tuple[str, Any]]) -> None:
        """There is none in a pipeline."""

    def set_trailing_metadata(self, trailing_metadata: Iterable[tuple[str, Any]]) -> None:
        """Set what is told with the outcome; of it, the change offset travels."""
        self.trailing = tuple(trailing_metadata)

    def trailing_metadata(self) -> Metadata:
        """What was set."""
        return self.trailing

    def set_code(self, code: grpc.StatusCode) -> None:
        """Set the status code."""
        self._code = code

    def set_details(self, details: str) -> None:
        """Set the status message."""
        self._details = details

    def code(self) -> grpc.StatusCode | None:
        """The status code, once it is set."""
        return self._code

    def details(self) -> str:
        """The status message."""
        return self._details

    def cancelled(self) -> bool:
        """Whether the stream is over."""
        return bool(self._outer.cancelled())

    def error(self) -> pb.PipelineError:
        """What the call was ended with."""
        code = self._code or grpc.StatusCode.UNKNOWN
        status = next((value for key, value in self.trailing if key == DETAILS_KEY), b"")
        made = pb.PipelineError(code=code.value[0], message=self._details)
        made.status = status if isinstance(status, bytes) else status.encode()
        return made


def _failed(call_id: int, error: CellError) -> pb.PipelineAnswer:
    code, message, metadata = to_abort(error)
    status = next(value for key, value in metadata if key == DETAILS_KEY)
    return pb.PipelineAnswer(
        call_id=call_id, error=pb.PipelineError(code=code.value[0], message=message, status=status)
    )


def _offset_of(metadata: Metadata) -> int:
    for key, value in metadata:
        if key == CHANGE_OFFSET_KEY:
            try:
                return int(value)
            except ValueError:
                return 0
    return 0
