"""Names the request. The caller's id is kept when it is a sound one, so that one id goes through many cells."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, ClassVar

import grpc
from cellmesh.common.auth.context import Call, set_current_call
from cellmesh.common.rpc.service import Method, SingleHandler, StreamHandler
from cellmesh.common.telemetry.names import METADATA_REQUEST_ID

_SOUND = re.compile(r"[A-Za-z0-9._:-]{1,64}")


class RequestIdInterceptor:
    """Makes the Call that the other interceptors fill and everything below reads."""

    name: ClassVar[str] = "request_id"
    inside: ClassVar[frozenset[str]] = frozenset()
    required: ClassVar[bool] = True

    def __init__(self) -> None:
        # Unique in the mesh (64 random bits a process) and cheap: drawing random bytes for each call is not.
        self._prefix = os.urandom(8).hex()
        self._next = itertools.count(1).__next__

    def wrap_single(self, method: Method, inner: SingleHandler) -> SingleHandler:
        """Name the request, then answer."""
        path = method.path

        async def handle(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            set_current_call(Call(self._request_id(context), path))
            return await inner(request, context)

        return handle

    def wrap_stream(self, method: Method, inner: StreamHandler) -> StreamHandler:
        """Name the request, then stream."""
        path = method.path

        async def handle(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            set_current_call(Call(self._request_id(context), path))
            async with aclosing(inner(request, context)) as stream:  # type: ignore[type-var]
                async for message in stream:
                    yield message

        return handle

    def _request_id(self, context: grpc.aio.ServicerContext[Any, Any]) -> str:
        for key, value in context.invocation_metadata() or ():
            if key == METADATA_REQUEST_ID and isinstance(value, str) and _SOUND.fullmatch(value):
                return value
        return f"{self._prefix}-{self._next():x}"
