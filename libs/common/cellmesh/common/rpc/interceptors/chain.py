"""The order of the interceptors, and the check that an order is sound.

    request_id > telemetry > errors > deadline > auth > forward > handler

Errors stand outside deadline and auth, so that a refusal is told with the same details as any other error,
and inside telemetry, so that spans and metrics see the status the client sees.
"""

from __future__ import annotations

from collections.abc import Sequence

from cellmesh.common.errors import BadState
from cellmesh.common.rpc.interceptors.auth import Accounts, AuthInterceptor, CallerOf
from cellmesh.common.rpc.interceptors.base import Interceptor
from cellmesh.common.rpc.interceptors.deadline import DeadlineInterceptor
from cellmesh.common.rpc.interceptors.errors import ErrorsInterceptor
from cellmesh.common.rpc.interceptors.request_id import RequestIdInterceptor
from cellmesh.common.rpc.interceptors.telemetry import TelemetryInterceptor
from cellmesh.common.rpc.service import Method, SingleHandler, StreamHandler
from cellmesh.common.tasks.registry import TaskRegistry

CHAIN: tuple[type[Interceptor], ...] = (
    RequestIdInterceptor,
    TelemetryInterceptor,
    ErrorsInterceptor,
    DeadlineInterceptor,
    AuthInterceptor,
)


def default_chain(
    caller_of: CallerOf,
    accounts: Accounts | None = None,
    tasks: TaskRegistry | None = None,
    forward: Interceptor | None = None,
) -> tuple[Interceptor, ...]:
    """Make the interceptors of a server in the written order.

    See AuthInterceptor for the first arguments; `tasks` gets the running calls; `forward` is the ForwardInterceptor of
    a cell that may have mirrors.
    """
    return (
        RequestIdInterceptor(tasks),
        TelemetryInterceptor(),
        ErrorsInterceptor(),
        DeadlineInterceptor(),
        AuthInterceptor(caller_of, accounts),
        *(() if forward is None else (forward,)),
    )


def check_order(chain: Sequence[Interceptor]) -> None:
    """Check that an order is sound.

    Raises:
        BadState: an interceptor stands twice, outside one it must stand inside, or is required and missing.
    """
    position: dict[str, int] = {}
    for index, interceptor in enumerate(chain):
        if interceptor.name in position:
            raise BadState(f"interceptor {interceptor.name} stands twice in the chain", name=interceptor.name)
        position[interceptor.name] = index
    for interceptor in chain:
        for outer in interceptor.inside:
            if position.get(outer, -1) > position[interceptor.name]:
                raise BadState(
                    f"interceptor {interceptor.name} must stand inside {outer}", name=interceptor.name
                )
    for kind in CHAIN:
        if kind.required and kind.name not in position:
            raise BadState(f"interceptor {kind.name} is missing from the chain", name=kind.name)


def wrap_single(chain: Sequence[Interceptor], method: Method, handler: SingleHandler) -> SingleHandler:
    """Put a chain around a handler that answers with one message."""
    for interceptor in reversed(chain):
        handler = interceptor.wrap_single(method, handler)
    return handler


def wrap_stream(chain: Sequence[Interceptor], method: Method, handler: StreamHandler) -> StreamHandler:
    """Put a chain around a handler that answers with a stream."""
    for interceptor in reversed(chain):
        handler = interceptor.wrap_stream(method, handler)
    return handler
