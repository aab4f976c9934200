"""Lanes: one stream to each cell, on which calls travel that are many and small. What both faces share of it.

    call ─ begin ─> fresh ─ take ─> one message of the stream ─> the cell
    call <─ messages, the end, or an error ─ answered <─ one message of the stream

A call on a lane looks to its face as one that gRPC made by itself: it has messages, an end, an error that is a
`grpc.RpcError`, and can be cancelled. So retries, the change of leaders and errors are decided where they are for every
call. The lane itself makes no call again.

- Each call has a window: the cell sends no more than that before the caller has taken what came.
- When the stream ends well, calls without an answer were not begun. When it breaks, those that never left were not.
- A cell that has no lanes, or refuses to open one, says so by `NoLane`; the call is then made by itself.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

import grpc
import grpc.aio
from cellmesh.api.common.v1 import pipeline_service_pb2 as pb
from cellmesh.common.errors.status import DETAILS_KEY
from cellmesh.common.rpc.offsets import CHANGE_OFFSET_KEY, MIN_OFFSET_KEY
from cellmesh.common.telemetry.names import METADATA_REQUEST_ID, METADATA_TRACE_PARENT

PIPELINE_PATH: Final = "/cellmesh.api.common.v1.CallService/Pipeline"
LANE_PATHS: Final = frozenset(
    f"/cellmesh.api.cortex.v1.StormService/{name}"
    for name in ("Storm", "CallStorm", "CountStorm", "ParseStorm")
)
"""The methods whose calls travel on lanes."""

WINDOW_SIZE: Final = 512 * 1024
"""Bytes of one call's messages that may be on their way, or here and not taken."""
MESSAGE_COST: Final = 64
"""What a message counts beside its bytes, as the proto says."""
CALLS_MAX: Final = 900
"""Calls at once on a lane, less than a cell takes. Those above are made by themselves."""
CALLS_IN_MESSAGE_MAX: Final = 500
MESSAGE_SIZE_MAX: Final = 1024 * 1024
"""Calls in one message, and the bytes of their requests, unless one alone has more."""
NOTES_IN_MESSAGE_MAX: Final = 1000
"""Grants in one message, and cancelled calls, as the proto allows."""
REQUEST_SIZE_MAX: Final = 1024 * 1024
"""Calls with larger requests are made by themselves."""
PAUSE_S: Final = 10.0
"""How long no lane is tried where one was refused."""
TIMEOUT_MAX_S: Final = 7 * 86400.0
"""Longer ones count as none."""

NO_OPTIONS: Final[dict[str, Any]] = {"wait_for_ready": None, "compression": None}
"""What a call on a lane has of gRPC's own options."""

_ENDED: Final = "the cell ended the stream before the call began"
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


class LaneError(grpc.aio.AioRpcError):
    """A call on a lane failed. It has what gRPC's own errors have.

    Attributes:
        never_sent: Whether the cell has certainly not begun the call.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        text: str,
        trailing: tuple[tuple[str, Any], ...] = (),
        *,
        never_sent: bool = False,
    ) -> None:
        super().__init__(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailing), text, None)
        self.never_sent = never_sent


class NoLane(LaneError):
    """The cell carries no such calls on a stream: this one has not begun, and is to be made by itself."""


class LaneCall:
    """One call.

    Attributes:
        call_id: Its number; 0 before it was sent.
        sent: How it is told to the cell.
        messages: What came and was not taken, serialized.
        ended: Whether nothing more comes.
        error: What it failed with.
        change_offset: What the cell told of it at the end.
        taken: Bytes that were taken and not granted anew.
        notify: Called when something came.
    """

    __slots__ = (
        "call_id",
        "change_offset",
        "deadline",
        "ended",
        "error",
        "messages",
        "notify",
        "sent",
        "taken",
    )

    def __init__(self, sent: pb.PipelineCall, deadline: float | None, notify: Callable[[], None]) -> None:
        self.call_id = 0
        self.sent = sent
        self.deadline = deadline
        self.messages: deque[bytes] = deque()
        self.ended = False
        self.error: grpc.RpcError | None = None
        self.change_offset = 0
        self.taken = 0
        self.notify = notify

    def fail(self, error: grpc.RpcError) -> None:
        """The call ends with an error, after the messages that came."""
        if not self.ended:
            # In this order: another thread may look.
            self.error = error
            self.ended = True
            self.notify()

    @property
    def trailing(self) -> tuple[tuple[str, str], ...]:
        """What gRPC would have as trailing metadata."""
        return ((CHANGE_OFFSET_KEY, str(self.change_offset)),) if self.change_offset else ()


class LaneHistory:
    """What is known of a cell's lanes on one connection.

    Attributes:
        refused_until: Until when none is tried, on time.monotonic's clock.
    """

    __slots__ = ("refused_until",)

    def __init__(self) -> None:
        self.refused_until = 0.0

    @property
    def may_try(self) -> bool:
        """Whether a lane may be tried."""
        return not self.refused_until or time.monotonic() >= self.refused_until


class LaneBook:
    """The calls of one lane. Not for several threads at once: the face sees to that.

    Attributes:
        calls: Those under way, by number.
        closing: Whether the cell begins no more calls on it, or the stream is over.
        answered: Whether anything has come.
    """

    def __init__(self, history: LaneHistory) -> None:
        self.calls: dict[int, LaneCall] = {}
        self.closing = False
        self.answered = False
        self._history = history
        self._fresh: deque[LaneCall] = deque()
        self._grants: dict[int, int] = {}
        self._cancelled: list[int] = []
        self._next_id = 1
        self._path = ""
        self._knows_windows = False
        self._refusal: Callable[[], LaneError] = lambda: LaneError(
            grpc.StatusCode.UNAVAILABLE, _ENDED, never_sent=True
        )

    @property
    def is_full(self) -> bool:
        """Whether no further call has room."""
        return len(self.calls) + len(self._fresh) >= CALLS_MAX

    @property
    def can_send(self) -> bool:
        """Whether there is something to send."""
        return bool(self._fresh or self._grants or self._cancelled)

    def add(self, call: LaneCall) -> None:
        """Take a call in."""
        self._fresh.append(call)

    def take(self) -> pb.PipelineRequest:
        """The next message: calls, grants and cancellations, as many as wait and have room in it."""
        message = pb.PipelineRequest()
        size, calls, fresh = 0, message.calls, self._fresh
        now = 0.0
        while fresh and len(calls) < CALLS_IN_MESSAGE_MAX and size < MESSAGE_SIZE_MAX:
            call = fresh.popleft()
            if call.ended:
                continue
            sent = call.sent
            call.call_id = sent.call_id = self._next_id
            self._next_id += 1
            if sent.method == self._path:
                sent.method = ""
            else:
                self._path = sent.method
            if call.deadline is not None:
                now = now or time.monotonic()
                sent.timeout.FromNanoseconds(max(int((call.deadline - now) * 1e9), 1))
            size += len(sent.request)
            calls.append(sent)
            self.calls[call.call_id] = call
        if self._grants:
            for call_id in list(itertools.islice(self._grants, NOTES_IN_MESSAGE_MAX)):
                message.grants.add(call_id=call_id, size=self._grants.pop(call_id))
        if self._cancelled:
            message.cancelled_call_ids.extend(self._cancelled[:NOTES_IN_MESSAGE_MAX])
            del self._cancelled[:NOTES_IN_MESSAGE_MAX]
        return message

    def read(self, response: pb.PipelineResponse) -> None:
        """Hand a message of the cell to the calls."""
        self.answered = True
        if response.knows_windows:
            self._knows_windows = True
        if response.closing:
            self.closing = True
        calls = self.calls
        for answer in response.answers:
            if answer.more:
                call = calls.get(answer.call_id)
            else:
                call = calls.pop(answer.call_id, None)
            if call is None or call.ended:
                # One that was cancelled, or given up.
                continue
            kind = answer.WhichOneof("outcome")
            if kind == "response":
                call.messages.append(answer.response)
            if not answer.more:
                call.change_offset = answer.change_offset
                if kind == "error":
                    call.error = self._error_of(answer.error, call)
                # Last: another thread may look.
                call.ended = True
            call.notify()
        if response.answers and not self._knows_windows:
            # An older cell: it has answered what it can, and the next calls are made by themselves.
            self._history.refused_until = float("inf")

    def _error_of(self, told: pb.PipelineError, call: LaneCall) -> LaneError:
        code = _CODES.get(told.code, grpc.StatusCode.UNKNOWN)
        if code is grpc.StatusCode.UNIMPLEMENTED and not self._knows_windows:
            return NoLane(code, told.message, never_sent=True)
        trailing: tuple[tuple[str, Any], ...] = call.trailing
        if told.status:
            trailing = (*trailing, (DETAILS_KEY, told.status))
        return LaneError(code, told.message, trailing)

    def took(self, call: LaneCall, size: int) -> bool:
        """A message of a call was taken by its caller. Returns whether there is a grant to be sent now."""
        call.taken += size + MESSAGE_COST
        if call.ended or call.taken < WINDOW_SIZE // 2:
            return False
        self._grants[call.call_id] = self._grants.get(call.call_id, 0) + call.taken
        call.taken = 0
        return True

    def cancel(self, call: LaneCall) -> bool:
        """Nobody wants a call any more. Returns whether the cell is to be told."""
        if call.ended and call.call_id not in self.calls:
            return False
        call.ended = True
        if self.calls.pop(call.call_id, None) is None:
            # Not sent yet: `take` leaves it out.
            return False
        self._grants.pop(call.call_id, None)
        self._cancelled.append(call.call_id)
        return True

    def broken(self, error: grpc.RpcError | None) -> None:
        """The stream is over: every call ends.

        Args:
            error: Why; None when the cell ended it well.
        """
        self.closing = True
        under_way, self.calls = self.calls, {}
        fresh, self._fresh = self._fresh, deque()
        self._grants.clear()
        self._cancelled.clear()
        code, text, never_sent = grpc.StatusCode.UNAVAILABLE, _ENDED, True
        trailing: tuple[tuple[str, Any], ...] = ()
        kind: type[LaneError] = LaneError
        if error is not None and (isinstance(error, NoLane) or (not self.answered and _is_refusal(error))):
            is_old = _code_of(error) is grpc.StatusCode.UNIMPLEMENTED
            self._history.refused_until = float("inf") if is_old else time.monotonic() + PAUSE_S
            kind, text = NoLane, "the cell opens no stream for calls"
        elif error is not None:
            code, text, trailing, never_sent = _code_of(error), _text_of(error), _trailing_of(error), False
        for call in under_way.values():
            call.fail(kind(code, text, trailing, never_sent=never_sent))
        never_sent = never_sent or code is grpc.StatusCode.UNAVAILABLE
        self._refusal = lambda: kind(code, text, trailing, never_sent=never_sent)
        for call in fresh:
            self.refuse(call)

    def refuse(self, call: LaneCall) -> None:
        """A call came when the stream was over: it fails as those that had not left."""
        call.fail(self._refusal())


def describe(method: Any, request: Any, metadata: Iterable[tuple[str, Any]] | None) -> pb.PipelineCall | None:
    """How a call is told to the cell; None if its request is too large for a lane.

    Args:
        method: Of a stub of ours.
        request: Its request.
        metadata: What goes along. What is of the whole stream is left out.
    """
    data: bytes = method.kwargs["request_serializer"](request)
    if len(data) > REQUEST_SIZE_MAX:
        return None
    sent = pb.PipelineCall(method=method.path, request=data, window=WINDOW_SIZE)
    for key, value in metadata or ():
        if key == METADATA_REQUEST_ID:
            sent.request_id = value
        elif key == METADATA_TRACE_PARENT:
            sent.trace_parent = value
        elif key == MIN_OFFSET_KEY:
            sent.min_change_offset = int(value)
    return sent


def deadline_of(timeout_s: float | None) -> float | None:
    """When a call is given up, on time.monotonic's clock."""
    return None if timeout_s is None or timeout_s > TIMEOUT_MAX_S else time.monotonic() + timeout_s


def too_late() -> LaneError:
    """What gRPC says when a deadline passes."""
    return LaneError(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")


def _is_refusal(error: grpc.RpcError) -> bool:
    """Whether the cell was there and did not open the stream."""
    if _code_of(error) in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.PERMISSION_DENIED):
        return True
    return any(key == DETAILS_KEY for key, _ in _trailing_of(error))


def _code_of(error: grpc.RpcError) -> grpc.StatusCode:
    code = getattr(error, "code", lambda: None)()
    return code if isinstance(code, grpc.StatusCode) else grpc.StatusCode.UNKNOWN


def _text_of(error: grpc.RpcError) -> str:
    return str(getattr(error, "details", lambda: "")() or "")


def _trailing_of(error: grpc.RpcError) -> tuple[tuple[str, Any], ...]:
    return tuple((key, value) for key, value in getattr(error, "trailing_metadata", tuple)() or ())
