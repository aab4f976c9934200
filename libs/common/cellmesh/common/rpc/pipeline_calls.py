"""One call of a pipeline, as the cell sees it: the method it goes to, the context it gets, the room its answers have.

A handler is given a `CallContext`, which stands for the context that gRPC would have made. What it writes goes to the
stream's answers when the call's window and the stream have room; until then it waits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import grpc
import grpc.aio
from cellmesh.api.common.v1 import pipeline_service_pb2 as pb
from cellmesh.common.errors import CellError, FeatureNotSupported, to_abort
from cellmesh.common.errors.status import DETAILS_KEY
from cellmesh.common.rpc.offsets import CHANGE_OFFSET_KEY, MIN_OFFSET_KEY
from cellmesh.common.rpc.service import SingleHandler
from cellmesh.common.telemetry.names import METADATA_REQUEST_ID, METADATA_TRACE_PARENT

MESSAGE_COST: Final = 64
"""What a message counts in a window beside its bytes, so that empty ones count too."""
WINDOW_MAX: Final = 64 * 1024 * 1024
"""Bytes that a window can have; what is granted above is lost."""

Metadata = tuple[tuple[str, "str | bytes"], ...]
OuterContext = grpc.aio.ServicerContext[Any, Any]

# They are of the stream, and a call inside has its own.
_OWN_KEYS: Final = frozenset({METADATA_REQUEST_ID, MIN_OFFSET_KEY})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A method with one request, as a server serves it.

    Attributes:
        handler: What answers, with the interceptors around it. Of a stream of answers it writes all, or all but the
            last, which it returns.
        reader: Makes a request of bytes; None passes bytes on.
        writer: Makes bytes of a response.
        is_stream: Whether it may answer with many messages.
    """

    handler: SingleHandler
    reader: Callable[[bytes], Any] | None
    writer: Callable[[Any], bytes]
    is_stream: bool = False


@dataclass(slots=True, eq=False)
class PipelinedCall:
    """A call as it came.

    Attributes:
        call_id: The caller's number of it.
        path: Full method name.
        request: The serialized request.
        deadline: When its caller gives up, on time.monotonic's clock; None for never.
        metadata: What it bears of its own, beside the stream's.
        credit: Bytes that may still be sent; what falls below 0 was one message too large.
        queued: Its messages that wait among the large ones.
        task: What runs it, if it has a window.
        dropped: Whether its caller wants no answer any more.
    """

    call_id: int
    path: str
    request: bytes
    deadline: float | None
    metadata: Metadata
    credit: int = 0
    queued: int = 0
    task: asyncio.Task[None] | None = None
    dropped: bool = False
    _waiter: asyncio.Future[None] | None = None

    @classmethod
    def of(cls, sent: pb.PipelineCall, path: str, now: float) -> PipelinedCall:
        """Read a call."""
        metadata: Metadata = ()
        if sent.min_change_offset:
            metadata = ((MIN_OFFSET_KEY, str(sent.min_change_offset)),)
        if sent.request_id:
            metadata = (*metadata, (METADATA_REQUEST_ID, sent.request_id))
        if sent.trace_parent:
            metadata = (*metadata, (METADATA_TRACE_PARENT, sent.trace_parent))
        deadline = now + sent.timeout.ToNanoseconds() / 1e9 if sent.HasField("timeout") else None
        return cls(sent.call_id, path, sent.request, deadline, metadata, min(sent.window, WINDOW_MAX))

    def grant(self, size: int) -> None:
        """Let so many more bytes be sent."""
        self.credit = min(self.credit + size, WINDOW_MAX)
        waiter = self._waiter
        if self.credit > 0 and waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def granted(self) -> None:
        """Wait until something may be sent."""
        while self.credit <= 0:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None


class Answers(Protocol):
    """Where the messages of calls go."""

    drained: asyncio.Event

    def put(self, call: PipelinedCall, answer: pb.PipelineAnswer) -> None:
        """Take an answer in, to be sent soon."""
        ...


class StreamFacts:
    """What all calls of a stream have from it."""

    __slots__ = ("_auth", "deadline", "metadata", "outer", "peer", "untraced")

    def __init__(self, outer: OuterContext) -> None:
        self.outer = outer
        self.peer: str = outer.peer()
        self._auth: Any = None
        self.metadata: Metadata = tuple(
            (key, value) for key, value in outer.invocation_metadata() or () if key not in _OWN_KEYS
        )
        self.untraced = tuple(pair for pair in self.metadata if pair[0] != METADATA_TRACE_PARENT)
        left_s: float | None = outer.time_remaining()
        self.deadline = None if left_s is None else time.monotonic() + left_s

    def auth_context(self) -> Any:
        """The certificate of who opened the stream."""
        if self._auth is None:
            self._auth = self.outer.auth_context()
        return self._auth

    def metadata_with(self, own: Metadata) -> Metadata:
        """The stream's metadata, its credentials among them, with those of a call."""
        if not own:
            return self.metadata
        if any(key == METADATA_TRACE_PARENT for key, _ in own):
            return (*self.untraced, *own)
        return (*self.metadata, *own)


class CallContext:
    """Stands for the gRPC context of one call of a pipeline: as much as interceptors and handlers use."""

    __slots__ = ("_answers", "_call", "_code", "_details", "_endpoint", "_metadata", "_stream", "trailing")

    def __init__(
        self, stream: StreamFacts, call: PipelinedCall, endpoint: Endpoint, answers: Answers
    ) -> None:
        self._stream = stream
        self._call = call
        self._endpoint = endpoint
        self._answers = answers
        self._metadata = stream.metadata_with(call.metadata)
        self._code: grpc.StatusCode | None = None
        self._details = ""
        self.trailing: Metadata = ()

    async def write(self, message: Any) -> None:
        """Send one of several answers, when there is room for it."""
        if not self._endpoint.is_stream:
            raise FeatureNotSupported("this method has one answer", name=self._call.path)
        data = self._endpoint.writer(message)
        call, drained = self._call, self._answers.drained
        while call.credit <= 0 or not drained.is_set():
            await call.granted()
            await drained.wait()
        call.credit -= len(data) + MESSAGE_COST
        self._answers.put(call, pb.PipelineAnswer(call_id=call.call_id, response=data, more=True))

    def peer(self) -> str:
        """Where the stream comes from."""
        return self._stream.peer

    def auth_context(self) -> Any:
        """The certificate of who opened the stream."""
        return self._stream.auth_context()

    def invocation_metadata(self) -> Metadata:
        """The stream's metadata, its credentials among them, and what the call has of its own."""
        return self._metadata

    def time_remaining(self) -> float | None:
        """How long the call may take, in seconds."""
        deadline, whole = self._call.deadline, self._stream.deadline
        if deadline is None:
            deadline = whole
        elif whole is not None:
            deadline = min(deadline, whole)
        return None if deadline is None else deadline - time.monotonic()

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
        """Whether nobody waits for the call any more."""
        return self._call.dropped or bool(self._stream.outer.cancelled())

    def error(self) -> pb.PipelineError:
        """What the call was ended with."""
        code = self._code or grpc.StatusCode.UNKNOWN
        status = next((value for key, value in self.trailing if key == DETAILS_KEY), b"")
        made = pb.PipelineError(code=code.value[0], message=self._details)
        made.status = status if isinstance(status, bytes) else status.encode()
        return made


def failed(call_id: int, error: CellError) -> pb.PipelineAnswer:
    """The answer that tells an error."""
    code, message, metadata = to_abort(error)
    status = next(value for key, value in metadata if key == DETAILS_KEY)
    return pb.PipelineAnswer(
        call_id=call_id, error=pb.PipelineError(code=code.value[0], message=message, status=status)
    )


def offset_of(metadata: Metadata) -> int:
    """The change offset among what a handler told besides; 0 for none."""
    for key, value in metadata:
        if key == CHANGE_OFFSET_KEY:
            try:
                return int(value)
            except ValueError:
                return 0
    return 0
