"""Names the request and enters it among the running tasks. The caller's id is kept when it is a sound one, so that one id goes through many cells."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, ClassVar

import grpc
from cellmesh.common.auth.context import Call, set_current_call
from cellmesh.common.rpc.service import Method, SingleHandler, StreamHandler
from cellmesh.common.tasks.registry import TaskRegistry
from cellmesh.common.telemetry.names import METADATA_REQUEST_ID

_SOUND = re.compile(r"[A-Za-z0-9._:-]{1,64}")


class RequestIdInterceptor:
    """Makes the Call that the other interceptors fill and everything below reads.

    Args:
        tasks: Where running calls are entered; one of its own when left out.
    """

    name: ClassVar[str] = "request_id"
    inside: ClassVar[frozenset[str]] = frozenset()
    required: ClassVar[bool] = True

    def __init__(self, tasks: TaskRegistry | None = None) -> None:
        self.tasks = tasks if tasks is not None else TaskRegistry()
        # Unique in the mesh (64 random bits a process) and cheap: drawing random bytes for each call is not.
        self._prefix = os.urandom(8).hex()
        self._next = itertools.count(1).__next__

    def wrap_single(self, method: Method, inner: SingleHandler) -> SingleHandler:
        """Name the request, then answer."""
        path, request_id, is_stream = method.path, self._request_id, _is_stream(method)
        running, next_number = self.tasks.running, self.tasks.next_number
        now_ns, current_task = time.monotonic_ns, asyncio.current_task

        async def handle(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            number, call = next_number(), Call(request_id(context), path)
            call.start_ns, call.task = now_ns(), current_task()
            if is_stream:
                call.is_stream = True
            running[number] = call
            set_current_call(call)
            try:
                return await inner(request, context)
            finally:
                del running[number]

        return handle

    def wrap_stream(self, method: Method, inner: StreamHandler) -> StreamHandler:
        """Name the request, then stream."""
        path, request_id = method.path, self._request_id
        running, next_number = self.tasks.running, self.tasks.next_number
        now_ns, current_task = time.monotonic_ns, asyncio.current_task

        async def handle(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            number, call = next_number(), Call(request_id(context), path)
            call.start_ns, call.task, call.is_stream = now_ns(), current_task(), True
            running[number] = call
            set_current_call(call)
            try:
                async with aclosing(inner(request, context)) as stream:  # type: ignore[type-var]
                    async for message in stream:
                        yield message
            finally:
                del running[number]

        return handle

    def _request_id(self, context: grpc.aio.ServicerContext[Any, Any]) -> str:
        for key, value in context.invocation_metadata() or ():
            if key == METADATA_REQUEST_ID and isinstance(value, str) and _SOUND.fullmatch(value):
                return value
        return f"{self._prefix}-{self._next():x}"


def _is_stream(method: Method) -> bool:
    return method.request_streaming or method.response_streaming
