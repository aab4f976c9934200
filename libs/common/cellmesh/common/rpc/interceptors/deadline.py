"""Refuses calls whose deadline has passed before they began, and tells handlers how long they have."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, ClassVar

import grpc
from cellmesh.common.auth.context import current_call
from cellmesh.common.errors import DeadlineExceeded
from cellmesh.common.rpc.service import Method, SingleHandler, StreamHandler

# What gRPC reports for "no deadline" is a very large number of seconds.
NO_DEADLINE_S = 10 * 365 * 86400.0


class DeadlineInterceptor:
    """Sets `Call.deadline`. gRPC itself cancels the handler when the deadline passes."""

    name: ClassVar[str] = "deadline"
    inside: ClassVar[frozenset[str]] = frozenset({"request_id", "telemetry", "errors"})
    required: ClassVar[bool] = False

    def wrap_single(self, method: Method, inner: SingleHandler) -> SingleHandler:
        """Set the deadline, then answer."""

        async def handle(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            _set_deadline(context)
            return await inner(request, context)

        return handle

    def wrap_stream(self, method: Method, inner: StreamHandler) -> StreamHandler:
        """Set the deadline, then stream."""

        async def handle(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            _set_deadline(context)
            async with aclosing(inner(request, context)) as stream:  # type: ignore[type-var]
                async for message in stream:
                    yield message

        return handle


def _set_deadline(context: grpc.aio.ServicerContext[Any, Any]) -> None:
    remaining_s = context.time_remaining()
    if remaining_s is None or remaining_s > NO_DEADLINE_S:
        return
    call = current_call()
    if remaining_s <= 0:
        raise DeadlineExceeded("the deadline had passed before the call began", method=call.method)
    call.deadline = time.monotonic() + remaining_s
