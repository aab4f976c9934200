"""A small HTTP endpoint for monitors: /metrics for Prometheus, /healthz and /readyz for who runs the cell.

Plain HTTP/1.1, GET and HEAD, one answer a connection. It tells no data of users; still, listen where only
monitors come.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.addresses import join_host_port, split_host_port
from cellmesh.common.errors import AddressInUse, BadConfValu
from cellmesh.common.telemetry.logs import get_logger

if TYPE_CHECKING:
    from cellmesh.common.cell.base import Cell
    from cellmesh.common.cell.part import PartHealth
    from prometheus_client import CollectorRegistry

REQUEST_SIZE_MAX: Final = 8192
REQUEST_S_MAX: Final = 5.0
CONNECTION_COUNT_MAX: Final = 32

TEXT: Final = "text/plain; charset=utf-8"

_log = get_logger(__name__)

_Answer = tuple[int, str, bytes]
_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}


class MonitorEndpoint:
    """Serves a cell's figures and health over HTTP. It is a Part.

    Args:
        cell: The cell.
        listen: host:port.
        registry: Where the figures are collected.
    """

    name: Final = "metrics"

    def __init__(self, cell: Cell[Any], listen: str, registry: CollectorRegistry) -> None:
        self._cell = cell
        self._listen = listen
        self._registry = registry
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.address = ""

    async def start(self) -> None:
        """Listen.

        Raises:
            AddressInUse, BadConfValu: it cannot be listened at.
        """
        host, port = split_host_port(self._listen)
        try:
            self._server = await asyncio.start_server(
                self._connected, host, port, limit=REQUEST_SIZE_MAX, backlog=CONNECTION_COUNT_MAX
            )
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise AddressInUse(
                    f"the {self._cell.kind} cannot serve metrics at {self._listen}: another program uses this port",
                    address=self._listen,
                    name=self._cell.kind,
                    hint="choose another address with --metrics-listen; port 0 takes a free one",
                ) from error
            raise BadConfValu(
                f"the {self._cell.kind} cannot serve metrics at {self._listen}: {error.strerror or error}",
                name="metrics_listen",
                valu=self._listen,
            ) from error
        self.address = join_host_port(host, self._server.sockets[0].getsockname()[1])
        _log.info("metrics_served", address=self.address)

    async def stop(self) -> None:
        """Listen no more and end what is under way."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
            for task in list(self._connections):
                task.cancel()

    def health(self) -> PartHealth:
        """It has no trouble of its own."""
        from cellmesh.common.cell.part import WELL

        return WELL

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            if len(self._connections) <= CONNECTION_COUNT_MAX:
                async with asyncio.timeout(REQUEST_S_MAX):
                    await self._serve(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            # Who asked has gone, is too slow, or speaks no HTTP.
            pass
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            status, kind, body = 400, TEXT, b"this is no HTTP request\n"
        elif words[0] not in ("GET", "HEAD"):
            status, kind, body = 405, TEXT, b"GET and HEAD only\n"
        else:
            status, kind, body = await self._answer(words[1].split("?", 1)[0])
        lines = (
            f"HTTP/1.1 {status} {_REASONS[status]}",
            f"Content-Type: {kind}",
            f"Content-Length: {len(body)}",
            "Cache-Control: no-store",
            "Connection: close",
        )
        writer.write("\r\n".join((*lines, "", "")).encode() + (b"" if words[0] == "HEAD" else body))
        await writer.drain()

    async def _answer(self, path: str) -> _Answer:
        pages: dict[str, Callable[[], Awaitable[_Answer]]] = {
            "/metrics": self._metrics,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
        }
        page = pages.get(path)
        return await page() if page else (404, TEXT, b"there are /metrics, /healthz and /readyz\n")

    async def _metrics(self) -> _Answer:
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        # In a thread, as it looks at the disk and the database.
        return 200, CONTENT_TYPE_LATEST, await self._cell.workers.run(generate_latest, self._registry)

    async def _healthz(self) -> _Answer:
        """Whether the process does what it should: 503 means that a restart may help."""
        trouble = self._cell.failure
        return (503, TEXT, f"failed: {trouble}\n".encode()) if trouble else (200, TEXT, b"ok\n")

    async def _readyz(self) -> _Answer:
        """Whether calls should be sent here. A cell that is read-only answers reads, so it counts as ready."""
        cell = self._cell
        status = 200 if cell.is_ready and not cell.failure else 503
        return status, TEXT, f"{cell.state.value}\n".encode()


def prometheus_reader() -> tuple[CollectorRegistry, Any]:
    """A registry of a cell's own, and the metric reader that fills it when it is collected."""
    from opentelemetry.exporter.prometheus import PrometheusMetricReader
    from prometheus_client import CollectorRegistry

    registry = CollectorRegistry()
    return registry, PrometheusMetricReader(registry=registry, scope_info_enabled=False)
