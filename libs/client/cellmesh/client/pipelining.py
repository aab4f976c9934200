"""What both faces of a pipeline share: which calls wait, which are under way, and what becomes of each.

A call is added, taken into a message, and settled by its answer. When the stream breaks, calls under way that may be made
again wait once more; the others fail, as nobody knows whether they were carried out.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from cellmesh.api.common.v1 import pipeline_service_pb2 as pb
from cellmesh.client.core import Attempts, ClientCore, may_pass
from cellmesh.client.failures import unknown_outcome
from cellmesh.client.lane import PIPELINE_PATH
from cellmesh.client.methods import Effect, effect_of
from cellmesh.client.resolve import Target
from cellmesh.common.errors import (
    BadArg,
    CellError,
    CellUnreachable,
    DeadlineExceeded,
    NotLeader,
    from_status,
)
from google.protobuf.message import DecodeError
from google.rpc import status_pb2

CALLS_IN_MESSAGE_MAX: Final = 500
MESSAGE_SIZE_MAX: Final = 1024 * 1024
"""Calls in one message, and the bytes of their requests, unless one alone has more."""
IN_FLIGHT_MAX: Final = 2000
"""Calls sent and not answered; the others wait here."""
OPEN_CALLS_MAX: Final = 10_000
"""Calls without an answer that a pipeline takes in."""
ATTEMPTS_MAX: Final = 5
"""How often one call is sent, where it may be sent again."""
OVERDUE_S: Final = 1.0
"""How long after its deadline a call that the cell has not answered is given up here."""
SWEEP_S: Final = 0.5
"""How often that is looked for."""


class AnyFuture(Protocol):
    """As much of concurrent.futures.Future and asyncio.Future as is needed here."""

    def done(self) -> bool: ...
    def set_result(self, result: Any, /) -> None: ...
    def set_exception(self, exception: BaseException, /) -> None: ...


@dataclass(slots=True)
class PipelinedCall:
    """One call.

    Attributes:
        path: Full method name.
        request: The serialized request.
        read: Makes the answer of bytes.
        future: Where the answer goes.
        deadline: When the caller gives up, on time.monotonic's clock; None for never.
        may_repeat: Whether it may be made again when nobody knows what became of it.
        count: How often it was sent.
    """

    path: str
    request: bytes
    read: Callable[[bytes], Any]
    future: AnyFuture
    deadline: float | None
    may_repeat: bool
    count: int = 0


class PipelineCalls:
    """The calls of a pipeline. Not for several threads at once: the face sees to that.

    Attributes:
        moving: Whether the present stream is to be given up for another, at `led_to` if that is known.
        progressed: Whether an answer has come on the present stream.
        pause_s: How long to wait before the next stream, when the cell ended or refused this one.
    """

    def __init__(self, core: ClientCore[Any], *, in_order: bool, concurrency: int, read_only: bool) -> None:
        self.moving = False
        self.progressed = False
        self.pause_s = 0.0
        self.led_to: Target | None = None
        self._core = core
        self._in_order = in_order
        self._concurrency = concurrency
        self._read_only = read_only
        self._waiting: deque[PipelinedCall] = deque()
        self._under_way: dict[int, PipelinedCall] = {}
        self._next_id = 1
        self._path = ""
        self._opened = False
        self._swept = 0.0

    # In.

    def make(self, method: Any, request: Any, timeout_s: float | None, future: AnyFuture) -> PipelinedCall:
        """Make a call of a stub's method.

        Raises:
            BadArg: it is no method of a stub of ours with one request and one answer.
        """
        if getattr(method, "kind", "") != "unary_unary":
            raise BadArg(
                "a pipeline calls methods of `client.stub(...)` with one request and one answer",
                name="method",
            )
        serialize, read = method.kwargs["request_serializer"], method.kwargs["response_deserializer"]
        if timeout_s is None:
            timeout_s = self._core.options.timeout_s
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        effect = Effect.NONE if self._read_only or method.read_only else effect_of(method.path)
        return PipelinedCall(method.path, serialize(request), read, future, deadline, effect.is_safe)

    def add(self, call: PipelinedCall) -> None:
        """Take a call in."""
        self._waiting.append(call)

    def __len__(self) -> int:
        """How many calls have no answer."""
        return len(self._waiting) + len(self._under_way)

    @property
    def can_send(self) -> bool:
        """Whether a call waits and may be sent."""
        return bool(self._waiting) and len(self._under_way) < IN_FLIGHT_MAX and not self.moving

    # A stream.

    def attempts(self) -> Attempts:
        """Begin a stream. Which of its calls may be made again is decided here, call by call."""
        attempts = Attempts(
            self._core, PIPELINE_PATH, replayable=True, timeout_s=None, reads=self._read_only, safe=True
        )
        attempts.led_to, self.led_to = self.led_to, None
        return attempts

    def opened(self) -> None:
        """A new stream has been opened."""
        self._path = ""
        self._opened = False
        self.moving = self.progressed = False
        self.pause_s = 0.0

    def take(self, attempts: Attempts) -> pb.PipelineRequest:
        """The next message: as many calls as wait and have room in it."""
        message = pb.PipelineRequest()
        if not self._opened:
            self._opened = True
            message.in_order = self._in_order
            message.concurrency = self._concurrency
        offset = self._core.change_offset if attempts.to_follower else 0
        now, size = time.monotonic(), 0
        while self._waiting and len(message.calls) < CALLS_IN_MESSAGE_MAX:
            call = self._waiting[0]
            size += len(call.request)
            if len(message.calls) and size > MESSAGE_SIZE_MAX:
                break
            self._waiting.popleft()
            if call.future.done():
                continue
            if call.deadline is not None and call.deadline <= now:
                _fail(call, _too_late(call))
                continue
            call_id, self._next_id = self._next_id, self._next_id + 1
            sent = message.calls.add(call_id=call_id, request=call.request, min_change_offset=offset)
            if call.path != self._path:
                self._path = sent.method = call.path
            if call.deadline is not None:
                sent.timeout.FromNanoseconds(int((call.deadline - now) * 1e9))
            call.count += 1
            self._under_way[call_id] = call
        return message

    def answered(self, answers: Iterable[pb.PipelineAnswer]) -> None:
        """Settle the calls that have answers."""
        self.progressed = True
        again: list[PipelinedCall] = []
        for answer in answers:
            if answer.change_offset:
                self._core.saw_offset(answer.change_offset)
            call = self._under_way.pop(answer.call_id, None)
            if call is None or call.future.done():
                continue
            if answer.HasField("error"):
                error = _error_of(answer.error)
                if self._may_go_on(call, error):
                    again.append(call)
                else:
                    _fail(call, error)
                continue
            try:
                result = call.read(answer.response)
            except DecodeError:
                _fail(call, BadArg("the answer does not read", name=call.path))
                continue
            call.future.set_result(result)
        self._waiting.extendleft(reversed(again))

    def _may_go_on(self, call: PipelinedCall, error: CellError) -> bool:
        """Whether a call that was refused is made again, on another stream."""
        if not may_pass(error) or call.count >= ATTEMPTS_MAX:
            return False
        outcome = error.get("outcome")
        not_begun = outcome == "none" or (isinstance(error, NotLeader) and outcome != "unknown")
        if not (not_begun or call.may_repeat):
            return False
        self.moving = True
        if isinstance(error, NotLeader):
            self.led_to = self._core.lead(error)
        if self.led_to is None:
            self.pause_s = self._core.options.retry.pause_s(call.count)
        return True

    def broken(self, error: CellError | None, *, never_sent: bool) -> None:
        """The stream is over: see what becomes of the calls under way.

        Args:
            error: Why; None when the cell ended it.
            never_sent: Whether no call can have reached the cell.
        """
        under_way, self._under_way = self._under_way, {}
        again = []
        for call in under_way.values():
            if never_sent:
                call.count -= 1
                again.append(call)
            elif call.may_repeat and call.count < ATTEMPTS_MAX:
                again.append(call)
            else:
                lost = CellUnreachable("the pipeline ended before the call was answered", **_told(error))
                _fail(call, lost if call.may_repeat else unknown_outcome(lost, call.path))
        self._waiting.extendleft(reversed(again))

    def fail_all(self, error: CellError) -> None:
        """Nothing more can be sent: every call without an answer fails."""
        self.broken(error, never_sent=False)
        while self._waiting:
            _fail(self._waiting.popleft(), error)

    def sweep(self) -> None:
        """Give up calls whose deadline is long over, though the cell has not said so. Cheap when called often."""
        now = time.monotonic()
        if now < self._swept + SWEEP_S:
            return
        self._swept = now
        for call_id, call in list(self._under_way.items()):
            if call.deadline is not None and call.deadline + OVERDUE_S < now:
                del self._under_way[call_id]
                _fail(call, _too_late(call))


def _fail(call: PipelinedCall, error: CellError) -> None:
    if not call.future.done():
        call.future.set_exception(error)


def _too_late(call: PipelinedCall) -> DeadlineExceeded:
    return DeadlineExceeded("the caller's deadline passed before the work was done", method=call.path)


def _told(error: CellError | None) -> dict[str, Any]:
    """What the error of the stream says of the cell, for the errors of its calls."""
    if error is None:
        return {"cause": "the cell ended the stream"}
    return {key: error.get(key) for key in ("name", "address", "cause") if error.get(key)}


def _error_of(told: pb.PipelineError) -> CellError:
    try:
        status = status_pb2.Status.FromString(told.status) if told.status else None
    except DecodeError:
        status = None
    return from_status(status or status_pb2.Status(code=told.code, message=told.message))
