"""The gRPC server: services behind the chain of interceptors, on a unix socket and a TCP port."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio
from cellmesh.common import limits
from cellmesh.common.addresses import join_host_port, split_host_port
from cellmesh.common.errors import AddressInUse, BadConfValu, BadState
from cellmesh.common.rpc.interceptors.auth import caller_of_peer
from cellmesh.common.rpc.interceptors.base import Interceptor
from cellmesh.common.rpc.interceptors.chain import check_order, default_chain, wrap_single, wrap_stream
from cellmesh.common.rpc.interceptors.errors import abort_if_ended
from cellmesh.common.rpc.permissions import PermissionTable
from cellmesh.common.rpc.pipeline import Pipelines, pipeline_service
from cellmesh.common.rpc.pipeline_calls import Endpoint
from cellmesh.common.rpc.service import (
    Service,
    SingleHandler,
    StreamHandler,
    methods_of,
    request_reader,
    response_writer,
)
from cellmesh.common.telemetry.logs import get_logger

if TYPE_CHECKING:
    from cellmesh.common.cell.part import PartHealth
    from cellmesh.common.rpc.health import HealthBoard
    from cellmesh.common.tls.folder import IdentityFolder

# What the kernel allows for a socket's path, less the final zero.
UNIX_PATH_SIZE_MAX: Final = 107
CALL_COUNT_MAX: Final = 10_000
STOP_GRACE_S: Final = 10.0
KEEPALIVE_TIME_S: Final = 60
KEEPALIVE_TIMEOUT_S: Final = 20
CLIENT_PING_INTERVAL_MIN_S: Final = 20

SERVER_OPTIONS: Final = (
    # With port sharing on, a second cell could open a busy port and take some of its calls.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", limits.MESSAGE_SIZE_MAX),
    ("grpc.max_send_message_length", limits.MESSAGE_SIZE_MAX),
    ("grpc.keepalive_time_ms", KEEPALIVE_TIME_S * 1000),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_S * 1000),
    ("grpc.http2.min_ping_interval_without_data_ms", CLIENT_PING_INTERVAL_MIN_S * 1000),
    ("grpc.keepalive_permit_without_calls", 1),
    # Calls that have come and that the event loop has not looked at yet. By default gRPC cancels some from a thousand on,
    # which is a second's work: thousands of readers who come back after a restart would have to try again and again.
    ("grpc.server.max_pending_requests", CALL_COUNT_MAX),
    ("grpc.server.max_pending_requests_hard_limit", 2 * CALL_COUNT_MAX),
)

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ServerTls:
    """TLS of a port.

    Attributes:
        folder: The identity to serve with; its files are read anew when they change.
        require_client: Whether callers must show a certificate of the same authority.
    """

    folder: IdentityFolder
    require_client: bool = True


@dataclass(frozen=True, slots=True)
class TcpListener:
    """A TCP port. Without TLS it is insecure: whoever connects is root.

    Attributes:
        address: host:port; port 0 takes a free one.
        tls: How it is protected.
    """

    address: str
    tls: ServerTls | None = None


@dataclass(frozen=True, slots=True)
class UnixListener:
    """A unix socket in a folder that only its owner can enter. Callers are root.

    Attributes:
        path: Where the socket is made. A file left by a process that is gone is replaced.
    """

    path: Path


Listener = TcpListener | UnixListener


class RpcServer:
    """A gRPC server in the running event loop. It is a Part: it can be started, stopped and asked for its health.

    Args:
        name: For logs and errors.
        services: What it serves. Health and reflection are added.
        listeners: Where.
        chain: The interceptors; the default chain when left out.
        stop_grace_s: How long calls may go on when it stops.

    Raises:
        PermissionRowMissing: a method has no permission row.
        BadState: the chain's order is unsound, or a servicer lacks a method.
    """

    def __init__(
        self,
        name: str,
        services: Sequence[Service],
        listeners: Sequence[Listener],
        *,
        chain: Sequence[Interceptor] | None = None,
        stop_grace_s: float = STOP_GRACE_S,
    ) -> None:
        from cellmesh.common.rpc.health import HealthBoard

        self.name = name
        self.board: HealthBoard = HealthBoard()
        self.addresses: tuple[str, ...] = ()
        self._listeners = tuple(listeners)
        self._stop_grace_s = stop_grace_s
        self._server: grpc.aio.Server | None = None
        insecure = any(isinstance(where, TcpListener) and where.tls is None for where in listeners)
        self._chain = default_chain(caller_of_peer(insecure=insecure)) if chain is None else tuple(chain)
        check_order(self._chain)
        self._pipelines = Pipelines()
        self._services = (*services, *_common_services(services, self.board, self._pipelines))
        self._handlers = [
            _generic_handler(service, self._chain, self._pipelines.endpoints) for service in self._services
        ]

    @property
    def permissions(self) -> PermissionTable:
        """The row of each method it serves."""
        return {
            method.path: method.permission for service in self._services for method, _ in methods_of(service)
        }

    async def start(self) -> None:
        """Open the listeners and serve.

        Raises:
            AddressInUse: another program has a port.
            BadConfValu: an address cannot be listened at for another reason.
        """
        if self._server is not None:
            raise BadState(f"the server {self.name} was started already", name=self.name)
        server = grpc.aio.server(options=list(SERVER_OPTIONS), maximum_concurrent_rpcs=CALL_COUNT_MAX)
        for handler in self._handlers:
            server.add_generic_rpc_handlers((handler,))
        self._server = server
        try:
            self.addresses = tuple(_open(server, where, self.name) for where in self._listeners)
            await server.start()
            for where in self._listeners:
                if isinstance(where, UnixListener):
                    where.path.chmod(0o600)
        except BaseException:
            await self.stop_now()
            raise
        self.board.add(service.name for service in self._services)
        self.board.set_all(True)

    async def stop(self) -> None:
        """Say NOT_SERVING, take no new calls, let running ones end within the grace, then cancel them."""
        server, self._server = self._server, None
        if server is None:
            return
        self.board.close()
        self._pipelines.close()
        await server.stop(self._stop_grace_s)
        self.addresses = ()
        for where in self._listeners:
            if isinstance(where, UnixListener):
                where.path.unlink(missing_ok=True)

    async def stop_now(self) -> None:
        """Cancel running calls and stop."""
        self._stop_grace_s = 0.0
        await self.stop()

    def health(self) -> PartHealth:
        """Whether it serves."""
        from cellmesh.common.cell.part import WELL, PartHealth, PartState

        return WELL if self._server is not None else PartHealth(PartState.FAILED, "it does not serve")


def _common_services(
    services: Sequence[Service], board: HealthBoard, pipelines: Pipelines
) -> tuple[Service, ...]:
    from cellmesh.common.rpc.health import health_service
    from cellmesh.common.rpc.permissions import COMMON_PERMISSIONS
    from grpc_reflection.v1alpha import reflection_pb2
    from grpc_reflection.v1alpha._async import ReflectionServicer

    health, calls = health_service(board), pipeline_service(pipelines)
    descriptor = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"]
    told = [*(service.name for service in services), health.name, calls.name, descriptor.full_name]
    reflection = Service(descriptor, ReflectionServicer(told), COMMON_PERMISSIONS)
    return health, calls, reflection


def _generic_handler(
    service: Service, chain: Sequence[Interceptor], endpoints: dict[str, Endpoint]
) -> grpc.GenericRpcHandler[Any, Any]:
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
    for method, descriptor in methods_of(service):
        reader, writer = request_reader(service, descriptor), response_writer(service, descriptor)
        handler = getattr(service.servicer, method.name)
        made: Any
        if method.response_streaming and method.name not in service.last_returned:
            streaming = _writing(wrap_stream(chain, method, handler))
            if not method.request_streaming:
                endpoints[method.path] = Endpoint(streaming, reader, writer, is_stream=True)
            made = (
                grpc.stream_stream_rpc_method_handler
                if method.request_streaming
                else grpc.unary_stream_rpc_method_handler
            )(streaming, reader, writer)
        else:
            # On the wire one answer is a stream of one: gRPC sends what such a handler returns and the call's end
            # in one go, after whatever the handler has written itself.
            single = wrap_single(chain, method, handler)
            if not method.request_streaming:
                endpoints[method.path] = Endpoint(single, reader, writer, is_stream=method.response_streaming)
            made = (
                grpc.stream_unary_rpc_method_handler
                if method.request_streaming
                else grpc.unary_unary_rpc_method_handler
            )(single, reader, writer)
        handlers[method.name] = made
    return grpc.method_handlers_generic_handler(service.name, handlers)


def _writing(stream_handler: StreamHandler) -> SingleHandler:
    """A handler that writes its stream to the context itself.

    When the call is cancelled the stream is closed at once, here. Left to gRPC, a generator would be closed
    when the garbage collector finds it.
    """

    async def handle(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        stream: AsyncIterator[Any] = stream_handler(request, context)
        try:
            async with aclosing(stream):  # type: ignore[type-var]
                async for message in stream:
                    await context.write(message)
        except asyncio.CancelledError:
            # Here and not in the chain: it may wait for a slow client, where the chain is closed, not cancelled.
            await abort_if_ended(context)
            raise

    return handle


def _open(server: grpc.aio.Server, where: Listener, name: str) -> str:
    """Open one listener; returns its address as gRPC target text."""
    if isinstance(where, UnixListener):
        return _open_unix(server, where.path, name)
    host, port = split_host_port(where.address)
    _probe(host, port, name)
    try:
        if where.tls is None:
            bound = server.add_insecure_port(where.address)
        else:
            from cellmesh.common.tls.contexts import server_credentials

            credentials = server_credentials(where.tls.folder, require_client=where.tls.require_client)
            bound = server.add_secure_port(where.address, credentials)
    except RuntimeError as error:
        raise AddressInUse(
            f"{name} cannot listen at {where.address}", address=where.address, name=name
        ) from error
    return join_host_port(host, bound)


def _probe(host: str, port: int, name: str) -> None:
    """Find out in plain words why a port cannot be opened; gRPC only says that it failed."""
    address = join_host_port(host, port)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise BadConfValu(
            f"{name} cannot listen at {address}: {error.strerror}", name="listen", valu=address
        ) from error
    family, kind, protocol, _, target = found[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(target)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise AddressInUse(
                    f"{name} cannot listen at {address}: another program uses this port",
                    address=address,
                    name=name,
                    hint="stop it, or choose another address with --listen; port 0 takes a free one",
                ) from error
            raise BadConfValu(
                f"{name} cannot listen at {address}: {error.strerror}", name="listen", valu=address
            ) from error


def _open_unix(server: grpc.aio.Server, path: Path, name: str) -> str:
    if len(os.fsencode(path)) > UNIX_PATH_SIZE_MAX:
        raise BadConfValu(
            f"{path} is too long for a unix socket: choose a folder with a shorter path",
            name="dir",
            valu=str(path),
            limit=UNIX_PATH_SIZE_MAX,
        )
    # The caller holds the lock on the folder, so a socket that is there belongs to nobody.
    path.unlink(missing_ok=True)
    address = f"unix:{path}"
    try:
        server.add_insecure_port(address)
    except RuntimeError as error:
        raise AddressInUse(f"{name} cannot listen at {address}", address=address, name=name) from error
    return address
