"""A span and a duration for each call, when telemetry is on. Off, the handler is not wrapped at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, ClassVar

import grpc
from cellmesh.common.rpc.service import Method, SingleHandler, StreamHandler
from cellmesh.common.telemetry import tracing


class TelemetryInterceptor:
    """Measures calls. Health checks are left out: there are many, and they say nothing."""

    name: ClassVar[str] = "telemetry"
    inside: ClassVar[frozenset[str]] = frozenset({"request_id"})
    required: ClassVar[bool] = False

    def wrap_single(self, method: Method, inner: SingleHandler) -> SingleHandler:
        """Measure a call with one answer."""
        recorder = _recorder(method)
        if recorder is None:
            return inner

        async def handle(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            with recorder.record(context.invocation_metadata() or ()) as span:
                try:
                    return await inner(request, context)
                except BaseException as error:
                    span.failed(_status_of(context, error))
                    raise

        return handle

    def wrap_stream(self, method: Method, inner: StreamHandler) -> StreamHandler:
        """Measure a stream until its end."""
        recorder = _recorder(method)
        if recorder is None:
            return inner

        async def handle(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            with recorder.record(context.invocation_metadata() or ()) as span:
                try:
                    async with aclosing(inner(request, context)) as stream:  # type: ignore[type-var]
                        async for message in stream:
                            yield message
                except BaseException as error:
                    span.failed(_status_of(context, error))
                    raise

        return handle


def _recorder(method: Method) -> tracing.CallRecorder | None:
    return None if method.service.startswith("grpc.") else tracing.call_recorder(method.service, method.name)


def _status_of(context: grpc.aio.ServicerContext[Any, Any], error: BaseException) -> int:
    if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
        return int(grpc.StatusCode.CANCELLED.value[0])
    code = context.code()
    value = code.value[0] if isinstance(code, grpc.StatusCode) else code
    return int(value or grpc.StatusCode.UNKNOWN.value[0])
