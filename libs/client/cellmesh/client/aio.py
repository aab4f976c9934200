"""The asyncio face: AioCellClient."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import grpc
import grpc.aio
from cellmesh.api.aha.v1 import registry_pb2, registry_service_pb2_grpc
from cellmesh.client.blocking import (
    NO_LOGIN,
    RESOLVE_ATTEMPTS_MAX,
    RESOLVE_PAUSE_S,
    registry_failure,
    with_ours,
)
from cellmesh.client.failures import as_cell_error, is_connection_failure
from cellmesh.client.login import Login
from cellmesh.client.resolve import (
    LOOKUP_DEADLINE_S,
    Target,
    choose,
    identity_folder,
    registry_targets,
    static_target,
)
from cellmesh.client.urls import CellUrl, Scheme
from cellmesh.common.errors import CellError, CellUnreachable, IsFini
from cellmesh.common.rpc.channel import UNARY_DEADLINE_S, open_aio_channel
from cellmesh.common.tls.folder import IdentityFolder

StubT = TypeVar("StubT")


def open_cell_aio(
    url: str,
    *,
    identity: Path | str | None = None,
    user: str | None = None,
    password: str | None = None,
    api_key: str | None = None,
    timeout_s: float = UNARY_DEADLINE_S,
) -> AioCellClient:
    """Make a client of a cell for the running event loop. Arguments and errors are those of `open_cell`."""
    parsed = CellUrl.parse(url)
    return AioCellClient(
        parsed, identity_folder(identity), timeout_s, Login.of(parsed, user, password, api_key)
    )


class _Connection:
    """One channel to one address. gRPC's callables are kept by method."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.channel = open_aio_channel(
            target.address,
            identity=target.identity,
            server_name=target.server_name,
            authority_pem=target.authority_pem,
        )
        self.callables: dict[str, Any] = {}


class AioCellClient:
    """A client of one cell, or of whichever instance of a service AHA names. Belongs to one event loop."""

    def __init__(
        self, url: CellUrl, identity: IdentityFolder, timeout_s: float, login: Login = NO_LOGIN
    ) -> None:
        self.url = url
        self.login = login
        self.timeout_s = timeout_s
        self._identity = identity
        self._lock = asyncio.Lock()
        self._connection: _Connection | None = None
        self._closed = False
        self._failed_address = ""
        if url.scheme is Scheme.AHA:
            registry_targets(identity)
        else:
            static_target(url, identity, logs_in=bool(login.header))

    def stub(self, stub_class: Callable[[grpc.aio.Channel], StubT]) -> StubT:
        """Make a stub of a generated class. Its calls raise CellErrors."""
        return stub_class(self.channel)

    @property
    def channel(self) -> grpc.aio.Channel:
        """What stubs are made over: a channel whose calls raise CellErrors and find the cell anew when it moved."""
        return cast(grpc.aio.Channel, _Channel(self))

    async def find_address(self) -> str:
        """Where the cell is, finding it if need be. Raises CellUnreachable."""
        return (await self.connect()).target.address

    async def close(self) -> None:
        """Close the connection. Running calls are cancelled."""
        self._closed = True
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.channel.close(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # Used by the calls.

    async def connect(self) -> _Connection:
        """Return the connection, made if there is none."""
        connection = self._connection
        if connection is not None:
            return connection
        async with self._lock:
            if self._closed:
                raise IsFini("the client is closed", name=str(self.url))
            if self._connection is None:
                self._connection = _Connection(await self._find())
            return self._connection

    def failed(self, error: grpc.RpcError, connection: _Connection) -> tuple[CellError, bool]:
        """Make our error of gRPC's. Also tells whether the call may be made again at once."""
        made = as_cell_error(error, self.url, connection.target)
        if not is_connection_failure(made):
            return made, False
        if self._connection is connection:
            self._connection = None
            self._failed_address = connection.target.address
            # The channel goes with the last call that uses it; closing it here would cancel those calls.
        return made, self.url.scheme is Scheme.AHA

    async def _find(self) -> Target:
        found = static_target(self.url, self._identity, logs_in=bool(self.login.header))
        return found if found is not None else await self._ask_registry()

    async def _ask_registry(self) -> Target:
        last: CellError | None = None
        for target in registry_targets(self._identity):
            async with open_aio_channel(
                target.address, identity=target.identity, server_name=target.server_name
            ) as channel:
                registry = registry_service_pb2_grpc.RegistryServiceStub(channel)
                request = registry_pb2.GetServiceRequest(name=self.url.name)
                try:
                    response = await registry.GetService(request, timeout=LOOKUP_DEADLINE_S)
                except grpc.aio.AioRpcError as error:
                    last = registry_failure(error, self.url, target)
                    if isinstance(last, CellUnreachable):
                        continue
                    raise last from None
            return choose(self.url.name, response.instances, self._identity, self._failed_address)
        assert last is not None, "there is at least one registry address"
        raise last


class _Channel:
    """Looks like grpc.aio.Channel to a generated stub."""

    def __init__(self, client: AioCellClient) -> None:
        self._client = client

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> _Single:
        return _Single(self._client, "unary_unary", method, args, kwargs)

    def stream_unary(self, method: str, *args: Any, **kwargs: Any) -> _Single:
        return _Single(self._client, "stream_unary", method, args, kwargs)

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> _Streaming:
        return _Streaming(self._client, "unary_stream", method, args, kwargs)

    def stream_stream(self, method: str, *args: Any, **kwargs: Any) -> _Streaming:
        return _Streaming(self._client, "stream_stream", method, args, kwargs)


class _Method:
    """One method of a stub."""

    def __init__(
        self, client: AioCellClient, kind: str, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.client = client
        self.replayable = kind.startswith("unary")
        self._kind = kind
        self._method = method
        self._args = args
        self._kwargs = kwargs

    def on(self, connection: _Connection) -> Any:
        """gRPC's callable for this method on a connection."""
        found = connection.callables.get(self._method)
        if found is None:
            found = getattr(connection.channel, self._kind)(self._method, *self._args, **self._kwargs)
            connection.callables[self._method] = found
        return found


class _Single(_Method):
    """A method with one answer."""

    async def __call__(
        self,
        request: Any,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> Any:
        client = self.client
        loop = asyncio.get_running_loop()
        timeout = client.timeout_s if timeout is None else timeout
        until = loop.time() + timeout
        attempt = 0
        while True:
            attempt += 1
            connection = await client.connect()
            try:
                return await self.on(connection)(
                    request,
                    timeout=timeout,
                    metadata=with_ours(metadata, client.login),
                    wait_for_ready=wait_for_ready,
                    compression=compression,
                )
            except grpc.aio.AioRpcError as error:
                made, again = client.failed(error, connection)
                if not (again and self.replayable and attempt < RESOLVE_ATTEMPTS_MAX):
                    raise made from None
            await asyncio.sleep(RESOLVE_PAUSE_S * (attempt - 1))
            timeout = max(until - loop.time(), 0.001)


class _Streaming(_Method):
    """A method with a stream of answers."""

    def __call__(
        self,
        request: Any,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: Any = None,
        wait_for_ready: bool | None = None,
        compression: Any = None,
    ) -> AioAnswerStream:
        kwargs = {
            "timeout": timeout,
            "metadata": with_ours(metadata, self.client.login),
            "wait_for_ready": wait_for_ready,
            "compression": compression,
        }
        return AioAnswerStream(self, request, kwargs)


class AioAnswerStream(AsyncIterator[Any]):
    """The answers of a streaming call. Dropping it, or `cancel`, ends the call at the server too."""

    def __init__(self, method: _Streaming, request: Any, kwargs: dict[str, Any]) -> None:
        self._method = method
        self._request = request
        self._kwargs = kwargs
        self._attempt = 0
        self._begun = False
        self._connection: _Connection | None = None
        self._call: Any = None
        self._messages: AsyncIterator[Any] | None = None

    def __aiter__(self) -> AioAnswerStream:
        return self

    async def __anext__(self) -> Any:
        while True:
            if self._messages is None:
                self._attempt += 1
                self._connection = await self._method.client.connect()
                self._call = self._method.on(self._connection)(self._request, **self._kwargs)
                self._messages = self._call.__aiter__()
            assert self._connection is not None
            try:
                message = await self._messages.__anext__()
            except grpc.aio.AioRpcError as error:
                made, again = self._method.client.failed(error, self._connection)
                if (
                    not (again and self._method.replayable)
                    or self._begun
                    or self._attempt >= RESOLVE_ATTEMPTS_MAX
                ):
                    raise made from None
                self._messages = None
                await asyncio.sleep(RESOLVE_PAUSE_S * (self._attempt - 1))
                continue
            self._begun = True
            return message

    def cancel(self) -> None:
        """End the call."""
        if self._call is not None:
            self._call.cancel()

    def __del__(self) -> None:
        self.cancel()
