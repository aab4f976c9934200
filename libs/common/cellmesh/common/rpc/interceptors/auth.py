"""Who calls, and whether the method's permission row lets them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, ClassVar

import grpc
from cellmesh.common.auth.context import LOCAL_ROOT, Caller, caller_of_identity, current_call
from cellmesh.common.rpc.permissions import check_permission
from cellmesh.common.rpc.service import Method, SingleHandler, StreamHandler
from cellmesh.common.tls.identity import identity_of_names

SUBJECT_NAMES_KEY = "x509_subject_alternative_name"

CallerOf = Callable[["grpc.aio.ServicerContext[Any, Any]"], Caller]


class AuthInterceptor:
    """Sets `Call.caller` and refuses what the permission row refuses."""

    name: ClassVar[str] = "auth"
    inside: ClassVar[frozenset[str]] = frozenset({"request_id", "telemetry", "errors", "deadline"})
    required: ClassVar[bool] = True

    def __init__(self, caller_of: CallerOf) -> None:
        self._caller_of = caller_of

    def wrap_single(self, method: Method, inner: SingleHandler) -> SingleHandler:
        """Check, then answer."""

        async def handle(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            self._check(method, context)
            return await inner(request, context)

        return handle

    def wrap_stream(self, method: Method, inner: StreamHandler) -> StreamHandler:
        """Check, then stream."""

        async def handle(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            self._check(method, context)
            async with aclosing(inner(request, context)) as stream:  # type: ignore[type-var]
                async for message in stream:
                    yield message

        return handle

    def _check(self, method: Method, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        call = current_call()
        call.caller = self._caller_of(context)
        check_permission(method.permission, call.caller, method.path)


def caller_of_peer(*, insecure: bool) -> CallerOf:
    """Make the function that tells who calls a server.

    Args:
        insecure: Whether the server's TCP port is without TLS, which makes root of whoever connects.
    """

    def find(context: grpc.aio.ServicerContext[Any, Any]) -> Caller:
        if insecure or context.peer().startswith("unix:"):
            return LOCAL_ROOT
        return caller_of_identity(identity_of_names(context.auth_context().get(SUBJECT_NAMES_KEY, ())))

    return find
