"""Calls that change something, on their way from a follower to its leader and back; and reads that wait.

    follower: changing call ──the same message, on behalf of its caller──> leader
              answer <──the follower has applied it── answer and change offset

The innermost interceptor: the follower has checked its caller already, and the leader checks the same caller again. What
comes back is handed on as it is, messages unread and errors whole. A call that was sent on is not sent on again: where two
instances each take the other for the leader, it ends with NotLeader.

A stream hands its messages on as they come. The wait for what was changed is at its end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from typing import Any, ClassVar, Final, Protocol

import grpc
import grpc.aio
from cellmesh.common.auth.behalf import ON_BEHALF_KEY, name_of
from cellmesh.common.auth.context import Call, current_call
from cellmesh.common.errors import BadArg, CellError, Internal, NotLeader, Retry, from_rpc_error
from cellmesh.common.errors.status import DETAILS_KEY
from cellmesh.common.rpc.interceptors.auth import AUTHORIZATION_KEY
from cellmesh.common.rpc.offsets import CHANGE_OFFSET_KEY, MIN_OFFSET_KEY
from cellmesh.common.rpc.service import Method, SingleHandler, StreamHandler, serialize_or_pass
from cellmesh.common.telemetry.logs import get_logger
from cellmesh.common.telemetry.names import METADATA_REQUEST_ID

APPLIED_WAIT_S: Final = 10.0
"""How long an answer waits, at most, until this instance has come as far as it must."""
ANSWER_TIME_S: Final = 0.05
"""What is left of the caller's time for the answer itself."""
CONNECT_WAIT_S: Final = 5.0
"""How long a call waits, at most, for a connection to the leader, or for another leader."""
LEADER_CHECK_S: Final = 0.1
"""How soon such a call notices that another one leads."""
OFFSET_MAX: Final = 2**63

_OWN_KEYS: Final = frozenset(
    {
        AUTHORIZATION_KEY,
        MIN_OFFSET_KEY,
        ON_BEHALF_KEY,
        METADATA_REQUEST_ID,
        "user-agent",
        "te",
        "content-type",
    }
)
_RESERVED: Final = ("grpc-", ":")

Context = grpc.aio.ServicerContext[Any, Any]
Metadata = tuple[tuple[str, "str | bytes"], ...]

_log = get_logger(__name__)


class MirrorView(Protocol):
    """What the interceptor needs to know of the mirror."""

    @property
    def is_follower(self) -> bool:
        """Whether the instance follows another one now."""
        ...

    @property
    def has_followers(self) -> bool:
        """Whether somebody follows it."""
        ...

    def leader_channel(self) -> grpc.aio.Channel:
        """A channel to the leader. Raises NotLeader when it is not known."""
        ...

    def not_leader(self) -> NotLeader:
        """The error that names who leads."""
        ...

    async def applied(self, offset: int, timeout_s: float) -> None:
        """Return when everything before an offset has been applied here, or this instance follows no more.

        Raises:
            Retry: it was not in time.
        """
        ...

    def next_offset(self) -> int:
        """After the last record of the log."""
        ...


class ForwardInterceptor:
    """Sends what changes something to the leader, and lets reads wait for what their caller has seen.

    Args:
        view: The mirror.
    """

    name: ClassVar[str] = "forward"
    inside: ClassVar[frozenset[str]] = frozenset({"request_id", "telemetry", "errors", "deadline", "auth"})
    required: ClassVar[bool] = False

    def __init__(self, view: MirrorView) -> None:
        self._view = view

    def wrap_single(self, method: Method, inner: SingleHandler) -> SingleHandler:
        """Answer here or have the leader answer."""
        if not method.service.startswith("cellmesh."):
            return inner
        view, may_change = self._view, method.may_change
        forward = self._forward_last if method.response_streaming else self._forward_single

        async def read(request: Any, context: Context) -> Any:
            call = current_call()
            if call.min_offset and view.is_follower:
                await self._wait_for_reader(call)
            return await inner(request, context)

        if may_change is None:
            return read

        async def change(request: Any, context: Context) -> Any:
            if view.is_follower:
                return await (
                    forward(method, request, context) if may_change(request) else read(request, context)
                )
            if not self._tells_offset():
                return await inner(request, context)
            # Whether it does change something is not asked here: to tell the offset costs less.
            try:
                return await inner(request, context)
            finally:
                self._tell_offset(context)

        return change

    def wrap_stream(self, method: Method, inner: StreamHandler) -> StreamHandler:
        """Stream from here or from the leader."""
        if not method.service.startswith("cellmesh."):
            return inner
        view, may_change = self._view, method.may_change

        async def handle(request: Any, context: Context) -> AsyncIterator[Any]:
            follows = view.is_follower
            if follows and may_change is not None and may_change(request):
                source: AsyncIterator[Any] = self._forward_stream(method, request, context)
            else:
                call = current_call()
                if follows and call.min_offset:
                    await self._wait_for_reader(call)
                source = inner(request, context)
            try:
                async with aclosing(source) as stream:  # type: ignore[type-var]
                    async for message in stream:
                        yield message
            finally:
                if may_change is not None and not follows and self._tells_offset():
                    self._tell_offset(context)

        return handle

    # On the follower.

    async def _forward_single(self, method: Method, request: Any, context: Context) -> bytes:
        call, channel = await self._begin()
        make = channel.stream_unary if method.request_streaming else channel.unary_unary
        sent = make(method.path, serialize_or_pass, None)(
            request, timeout=_time_left_s(call), metadata=_metadata(call, context)
        )
        try:
            response: bytes = await sent
        except grpc.aio.AioRpcError as error:
            await self._fail(error, call, context)
            raise AssertionError("a failed call was answered") from error
        finally:
            sent.cancel()
        await self._come_back(call, context, await sent.trailing_metadata())
        return response

    async def _forward_last(self, method: Method, request: Any, context: Context) -> bytes:
        """As handlers in `Service.last_returned` answer: all messages but the last are written."""
        last: bytes | None = None
        async with aclosing(self._forward_stream(method, request, context)) as stream:
            async for message in stream:
                if last is not None:
                    await context.write(last)
                last = message
        if last is None:
            raise Internal("the leader answered a stream without any message", method=method.path)
        return last

    async def _forward_stream(
        self, method: Method, request: Any, context: Context
    ) -> AsyncGenerator[bytes, None]:
        call, channel = await self._begin()
        make = channel.stream_stream if method.request_streaming else channel.unary_stream
        sent = make(method.path, serialize_or_pass, None)(
            request, timeout=_time_left_s(call), metadata=_metadata(call, context)
        )
        try:
            async for message in sent:
                yield message
        except grpc.aio.AioRpcError as error:
            await self._fail(error, call, context)
        finally:
            # Whoever called has gone, or the call is over and this does nothing.
            sent.cancel()
        await self._come_back(call, context, await sent.trailing_metadata())

    async def _begin(self) -> tuple[Call, grpc.aio.Channel]:
        call = current_call()
        if call.forwarded_by:
            raise self._view.not_leader()
        return call, await self._connected(call)

    async def _connected(self, call: Call) -> grpc.aio.Channel:
        """A channel to the leader that is connected, so that what fails before it was sent is told apart. Where it takes
        a while, as the leader is cut off, another one may lead meanwhile: then that is called.

        Raises:
            NotLeader: nobody leads who can be reached. It names no leader, so that callers look for one.
        """
        end_s = time.monotonic() + CONNECT_WAIT_S
        if call.deadline is not None:
            end_s = min(end_s, call.deadline - ANSWER_TIME_S)
        while True:
            channel = self._view.leader_channel()
            state = channel.get_state(try_to_connect=True)
            if state is grpc.ChannelConnectivity.READY:
                return channel
            left_s = end_s - time.monotonic()
            if left_s <= 0 or state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                raise self._unreachable()
            with suppress(TimeoutError):
                await asyncio.wait_for(channel.wait_for_state_change(state), min(left_s, LEADER_CHECK_S))

    def _unreachable(self) -> NotLeader:
        error = self._view.not_leader()
        error.set("leader", "")
        error.set(
            "hint",
            "the leader cannot be reached from here, so nothing was sent; see `cellmesh mirror status`",
        )
        return error

    async def _come_back(self, call: Call, context: Context, trailing: Any) -> None:
        """Wait for what was changed, as far as time allows, and hand on what the leader told besides."""
        told = _trailing(trailing)
        offset = next((value for key, value in told if key == CHANGE_OFFSET_KEY), "")
        if offset:
            try:
                await self._view.applied(_offset(str(offset)), _wait_s(call))
            except Retry as error:
                # It was done all the same. Who reads here with the offset waits for it again.
                _log.info("answer_before_applied", method=call.method, offset=offset, error=str(error))
        if told:
            context.set_trailing_metadata(told)

    async def _fail(self, error: grpc.aio.AioRpcError, call: Call, context: Context) -> None:
        """End the call as the leader ended it. What it changed before it failed is waited for all the same."""
        trailing = error.trailing_metadata()
        await self._come_back(call, context, trailing)
        told = _trailing(trailing)
        from_cell = any(key == DETAILS_KEY for key, _ in told)
        if error.code() is grpc.StatusCode.UNAVAILABLE and not from_cell:
            lost: CellError = from_rpc_error(error, cell="that leads")
            lost.set("outcome", "unknown")
            lost.set("hint", "the leader may have carried it out or not; see `cellmesh mirror status`")
            raise lost from None
        await context.abort(error.code(), error.details() or "", told)

    async def _wait_for_reader(self, call: Call) -> None:
        await self._view.applied(_offset(call.min_offset), _wait_s(call))

    # On the leader.

    def _tells_offset(self) -> bool:
        # A follower may send calls on before it is counted as one.
        return self._view.has_followers or bool(current_call().forwarded_by)

    def _tell_offset(self, context: Context) -> None:
        told = tuple(context.trailing_metadata() or ())
        context.set_trailing_metadata((*told, (CHANGE_OFFSET_KEY, str(self._view.next_offset()))))


def _metadata(call: Call, context: Context) -> Metadata:
    """What goes along: all that the caller sent besides its credentials, and who it is."""
    passed = (
        (key, value)
        for key, value in context.invocation_metadata() or ()
        if key not in _OWN_KEYS and not key.startswith(_RESERVED)
    )
    return (*passed, (METADATA_REQUEST_ID, call.request_id), (ON_BEHALF_KEY, name_of(call.caller)))


def _trailing(metadata: Any) -> Metadata:
    return tuple((key, value) for key, value in metadata or () if not _is_of_grpc(key))


def _is_of_grpc(key: str) -> bool:
    return key.startswith(_RESERVED) and key != DETAILS_KEY


def _time_left_s(call: Call) -> float | None:
    return None if call.deadline is None else max(call.deadline - time.monotonic(), 0.001)


def _wait_s(call: Call) -> float:
    if call.deadline is None:
        return APPLIED_WAIT_S
    return min(max(call.deadline - time.monotonic() - ANSWER_TIME_S, 0.0), APPLIED_WAIT_S)


def _offset(text: str) -> int:
    """Read a change offset. Raises BadArg."""
    if text.isascii() and text.isdecimal() and len(text) < 20 and int(text) < OFFSET_MAX:
        return int(text)
    raise BadArg(f"{text[:40]!r} is no change offset", name=MIN_OFFSET_KEY, valu=text[:40])


__all__ = ["ForwardInterceptor", "MirrorView"]
