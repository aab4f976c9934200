"""Errors to status: a CellError with all its fields; anything else as INTERNAL, logged whole and told of nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, ClassVar, NoReturn

import grpc
from cellmesh.common.auth.context import find_current_call
from cellmesh.common.errors import CellError, Internal, StatusCode, to_abort
from cellmesh.common.errors.status import from_exception
from cellmesh.common.rpc.service import Method, SingleHandler, StreamHandler
from cellmesh.common.telemetry.logs import get_logger

_log = get_logger(__name__)

# Not the server's failure, hence not to be mapped: the call is over, or has its status already.
_PASSED = (asyncio.CancelledError, grpc.aio.AbortError, GeneratorExit)


class ErrorsInterceptor:
    """Ends calls that failed with the status of their error. No traceback crosses the wire."""

    name: ClassVar[str] = "errors"
    inside: ClassVar[frozenset[str]] = frozenset({"request_id", "telemetry"})
    required: ClassVar[bool] = True

    def wrap_single(self, method: Method, inner: SingleHandler) -> SingleHandler:
        """Map what the handler raises."""

        async def handle(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            try:
                return await inner(request, context)
            except asyncio.CancelledError:
                await abort_if_ended(context)
                raise
            except _PASSED:
                raise
            except Exception as error:  # noqa: BLE001  the one place that maps every error
                await _abort(context, error)

        return handle

    def wrap_stream(self, method: Method, inner: StreamHandler) -> StreamHandler:
        """Map what the handler raises, before or after its first message."""

        async def handle(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            try:
                async with aclosing(inner(request, context)) as stream:  # type: ignore[type-var]
                    async for message in stream:
                        yield message
            except _PASSED:
                raise
            except Exception as error:  # noqa: BLE001  the one place that maps every error
                await _abort(context, error)

        return handle


async def abort_if_ended(context: grpc.aio.ServicerContext[Any, Any]) -> None:
    """End the call with its error if it was cancelled here; return if its caller has gone."""
    call = find_current_call()
    if call is None or call.ended_by is None:
        return
    if call.task is not None:
        call.task.uncancel()
    await _abort(context, call.ended_by)


async def _abort(context: grpc.aio.ServicerContext[Any, Any], error: Exception) -> NoReturn:
    known = from_exception(error)
    if isinstance(known, Internal) and not isinstance(error, CellError):
        _log.error("call_failed", exc_info=error)
    elif known.code in (StatusCode.INTERNAL, StatusCode.DATA_LOSS, StatusCode.UNKNOWN):
        _log.error("call_failed", exc_info=error, error=str(known))
    else:
        _log.debug("call_refused", error=known.name, message=known.message)
    code, text, metadata = to_abort(known)
    # What handlers told besides, such as the change offset, is told with an error too.
    await context.abort(code, text, (*(context.trailing_metadata() or ()), *metadata))
    raise AssertionError("abort returned")
