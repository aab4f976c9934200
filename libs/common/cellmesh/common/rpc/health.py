"""grpc.health.v1 for grpc.aio: a board of statuses, and the service that shows it.

grpcio's own aio servicer writes to the context; this one is made of async generators like every handler of
ours, so it goes through the same chain.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

from cellmesh.common.errors import NoSuchName
from cellmesh.common.rpc.permissions import COMMON_PERMISSIONS
from cellmesh.common.rpc.service import Service
from grpc_health.v1 import health_pb2

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN

WHOLE_SERVER = ""


class HealthBoard:
    """Status by service name; "" is the whole server. Used in the event loop only."""

    def __init__(self) -> None:
        self._statuses: dict[str, int] = {WHOLE_SERVER: NOT_SERVING}
        self._changed = asyncio.Event()
        self._closed = False

    def add(self, services: Iterable[str]) -> None:
        """Add services, with the status of the whole server."""
        for name in services:
            self._statuses.setdefault(name, self._statuses[WHOLE_SERVER])

    def set_all(self, serving: bool) -> None:
        """Set the status of the server and each of its services."""
        if self._closed:
            return
        status = SERVING if serving else NOT_SERVING
        self._statuses = dict.fromkeys(self._statuses, status)
        self._announce()

    def set(self, service: str, serving: bool) -> None:
        """Set the status of one service."""
        if not self._closed:
            self._statuses[service] = SERVING if serving else NOT_SERVING
            self._announce()

    def close(self) -> None:
        """Say NOT_SERVING for good and end the watches, which would hold up the server's stop."""
        self.set_all(False)
        self._closed = True
        self._announce()

    def get(self, service: str) -> int | None:
        """The status of a service, None when there is no such service."""
        return self._statuses.get(service)

    def snapshot(self) -> dict[str, int]:
        """All statuses."""
        return dict(self._statuses)

    async def watch(self, service: str) -> AsyncIterator[int]:
        """The status now and after each change, until the board is closed. Changes in between may be skipped."""
        last: int | None = None
        while True:
            changed = self._changed
            status = self._statuses.get(service, SERVICE_UNKNOWN)
            if status != last:
                last = status
                yield status
            elif self._closed:
                return
            else:
                await changed.wait()

    def _announce(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


class HealthServicer:
    """grpc.health.v1.Health over a board."""

    def __init__(self, board: HealthBoard) -> None:
        self._board = board

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: Any
    ) -> health_pb2.HealthCheckResponse:
        """Answer the status of a service."""
        status = self._board.get(request.service)
        if status is None:
            raise NoSuchName(f"no service {request.service!r} is served here", name=request.service)
        return health_pb2.HealthCheckResponse(status=status)

    async def List(self, request: Any, context: Any) -> Any:
        """Answer every status."""
        return health_pb2.HealthListResponse(
            statuses={
                name: health_pb2.HealthCheckResponse(status=status)
                for name, status in self._board.snapshot().items()
            }
        )

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: Any
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """Send the status now and after each change."""
        async for status in self._board.watch(request.service):
            yield health_pb2.HealthCheckResponse(status=status)


def health_service(board: HealthBoard) -> Service:
    """The health service of a server."""
    return Service(
        health_pb2.DESCRIPTOR.services_by_name["Health"], HealthServicer(board), COMMON_PERMISSIONS
    )
