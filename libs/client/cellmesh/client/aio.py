"""The asyncio face: AioCellClient."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, cast

import grpc
import grpc.aio
from cellmesh.api.aha.v1 import registry_pb2, registry_service_pb2_grpc
from cellmesh.client.aliases import parse_url
from cellmesh.client.core import Attempts, ClientCore, ClientOptions
from cellmesh.client.failures import registry_failure
from cellmesh.client.instances import Prefer
from cellmesh.client.lane import LANE_PATHS, NO_OPTIONS, NoLane
from cellmesh.client.lane_aio import AioLanes
from cellmesh.client.login import Login
from cellmesh.client.resolve import Target, identity_folder, lookup_order, registry_targets
from cellmesh.client.retry import RetryPolicy
from cellmesh.client.urls import CellUrl
from cellmesh.client.watching import (
    WATCH_DELAY_S,
    WATCH_PAUSE_MAX_S,
    WATCH_PAUSE_MIN_S,
    Following,
    ends_watch,
)
from cellmesh.common.errors import CellError, CellUnreachable, NoSuchCert
from cellmesh.common.rpc.channel import UNARY_DEADLINE_S, open_aio_channel
from cellmesh.common.tls.folder import IdentityFolder

if TYPE_CHECKING:
    from cellmesh.client.pipeline_aio import AioPipeline
    from cellmesh.client.storm.aio import AioStormQuery
    from cellmesh.client.storm.request import StormKeywords

StubT = TypeVar("StubT")


def open_cell_aio(
    url: str,
    *,
    identity: Path | str | None = None,
    user: str | None = None,
    password: str | None = None,
    api_key: str | None = None,
    timeout_s: float | None = UNARY_DEADLINE_S,
    stream_timeout_s: float | None = None,
    prefer: Prefer | str = Prefer.LEADER,
    retry: RetryPolicy | None = None,
) -> AioCellClient:
    """Make a client of a cell for the running event loop. Arguments and errors are those of `open_cell`."""
    parsed = parse_url(url)
    options = ClientOptions(timeout_s, stream_timeout_s, Prefer(prefer), retry or RetryPolicy())
    return AioCellClient(
        parsed, identity_folder(identity), Login.of(parsed, user, password, api_key), options
    )


open = open_cell_aio
"""`cellmesh.client.aio.open(url)`; the longer name is for imports, where this one would hide Python's own."""


class _Connection:
    """One channel to one address. gRPC's callables are kept by method."""

    def __init__(self, target: Target, login: Login) -> None:
        self.target = target
        self.answered = False
        self.channel = open_aio_channel(
            target.address,
            identity=target.identity,
            server_name=target.server_name,
            authority_pem=target.authority_pem,
        )
        self.callables: dict[str, Any] = {}
        self.lanes = AioLanes(self.channel, login.metadata)
        # The lane has a stream, which would keep the channel for ever.
        weakref.finalize(self, self.lanes.close)


class AioCellClient:
    """A client of one cell, or of the instances of a service that AHA names. Belongs to one event loop."""

    def __init__(self, url: CellUrl, identity: IdentityFolder, login: Login, options: ClientOptions) -> None:
        self.url = url
        self.core: ClientCore[_Connection] = ClientCore(
            url, identity, login, options, lambda target: _Connection(target, login)
        )
        self._look_up_lock = asyncio.Lock()
        self._watch: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Cell {self.url}>"

    def stub(self, stub_class: Callable[[grpc.aio.Channel], StubT], *, read_only: bool = False) -> StubT:
        """Make a stub of a generated class. Its calls raise CellErrors. Arguments as of `CellClient.stub`."""
        return stub_class(cast(grpc.aio.Channel, _Channel(self, read_only)))

    @property
    def channel(self) -> grpc.aio.Channel:
        """What stubs are made over: a channel whose calls raise CellErrors and find the cell anew when it moved."""
        return cast(grpc.aio.Channel, _Channel(self, False))

    def pipeline(self, **options: Any) -> AioPipeline:
        """Open a pipeline: many small calls on one stream. See `AioPipeline` for the options."""
        from cellmesh.client.pipeline_aio import AioPipeline

        return AioPipeline(self, **options)

    def storm(self, text: str, **options: Unpack[StormKeywords]) -> AioStormQuery:
        """Make a query of a Cortex; it runs when it is asked for something. Options as of `CellClient.storm`."""
        from cellmesh.client.storm.aio import AioStormQuery
        from cellmesh.client.storm.request import make_options

        return AioStormQuery(self, text, make_options(**options))

    async def find_address(self) -> str:
        """Where the cell is that takes the writes, finding it if need be. Raises CellUnreachable."""
        attempts = Attempts(self.core, "", replayable=True, timeout_s=None)
        return (await self.connect(attempts)).target.address

    @property
    def change_offset(self) -> int:
        """The highest change offset that an answer has told."""
        return self.core.change_offset

    async def close(self) -> None:
        """Close the connections. Running calls are cancelled. A cell in this process is stopped."""
        connections = self.core.close()
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
            await asyncio.wait([watch])
        for connection in connections:
            connection.lanes.close()
            await connection.channel.close(None)
        if self.core.in_process is not None:
            await asyncio.to_thread(self.core.in_process.close)

    async def __aenter__(self) -> Self:
        if self.core.in_process is not None:
            await asyncio.to_thread(self.core.in_process.start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # Used by the calls.

    async def connect(self, attempts: Attempts) -> _Connection:
        """Return the connection that a call goes over next, finding the cell if need be."""
        core = self.core
        if core.in_process is not None and not core.in_process.is_running and not core.closed:
            await asyncio.to_thread(core.in_process.start)
        while True:
            try:
                connection = core.find(attempts)
                if connection is not None:
                    return connection
                await self._look_up(attempts)
                continue
            except CellError as error:
                pause_s = attempts.not_found(error)
            await asyncio.sleep(pause_s)

    async def _look_up(self, attempts: Attempts) -> None:
        """Ask AHA where the cell is, unless another task has done so meanwhile."""
        table = self.core.table
        assert table is not None
        async with self._look_up_lock:
            if not table.stale:
                return
            self.core.told(await self._ask_registry(attempts))
            if self._watch is None and not self.core.closed:
                core = weakref.ref(self.core)
                self._watch = asyncio.ensure_future(_watch(core, table.following(), self.core.identity))
                weakref.finalize(self, self._watch.cancel)

    async def _ask_registry(self, attempts: Attempts) -> registry_pb2.GetServiceResponse:
        last: CellError | None = None
        core = self.core
        for target, wait_s in lookup_order(registry_targets(core.identity), core.registry):
            left_s = attempts.timeout_s()
            if last is not None and attempts.is_over:
                break
            async with _open_registry(target) as channel:
                registry = registry_service_pb2_grpc.RegistryServiceStub(channel)
                request = registry_pb2.GetServiceRequest(name=self.url.name)
                try:
                    answer = await registry.GetService(
                        request, timeout=wait_s if left_s is None else min(wait_s, left_s)
                    )
                except grpc.aio.AioRpcError as error:
                    last = registry_failure(error, self.url, target)
                    if not isinstance(last, CellUnreachable):
                        raise last from None
                else:
                    core.registry = target.address
                    return answer
        assert last is not None, "there is at least one registry address"
        raise last


def _open_registry(target: Target) -> grpc.aio.Channel:
    return open_aio_channel(target.address, identity=target.identity, server_name=target.server_name)


async def _watch(
    core_of: Callable[[], ClientCore[_Connection] | None], following: Following, identity: IdentityFolder
) -> None:
    """Follow AHA's registry until cancelled, or the client is gone."""
    pause_s = WATCH_PAUSE_MIN_S
    turn = 0
    targets = registry_targets(identity)
    await asyncio.sleep(WATCH_DELAY_S)
    while True:
        # Read each time: AHA tells of more instances of itself as they join.
        with suppress(NoSuchCert):
            targets = registry_targets(identity)
        target = targets[turn % len(targets)]
        turn += 1
        heard = False
        async with _open_registry(target) as channel:
            try:
                async for message in registry_service_pb2_grpc.RegistryServiceStub(channel).WatchInstances(
                    following.request()
                ):
                    core = core_of()
                    if core is None:
                        return
                    core.watched(message, whole=following.took(message))
                    heard = True
                    del core
            except grpc.aio.AioRpcError as error:
                if ends_watch(error):
                    return
        pause_s = min(pause_s * 2, WATCH_PAUSE_MAX_S) if not heard else WATCH_PAUSE_MIN_S
        await asyncio.sleep(pause_s)


class _Channel:
    """Looks like grpc.aio.Channel to a generated stub."""

    def __init__(self, client: AioCellClient, read_only: bool) -> None:
        self._client = client
        self._read_only = read_only

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> _Single:
        return _Single(self._client, "unary_unary", method, self._read_only, args, kwargs)

    def stream_unary(self, method: str, *args: Any, **kwargs: Any) -> _Single:
        return _Single(self._client, "stream_unary", method, self._read_only, args, kwargs)

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> _Streaming:
        return _Streaming(self._client, "unary_stream", method, self._read_only, args, kwargs)

    def stream_stream(self, method: str, *args: Any, **kwargs: Any) -> _Streaming:
        return _Streaming(self._client, "stream_stream", method, self._read_only, args, kwargs)


class _Method:
    """One method of a stub."""

    def __init__(
        self,
        client: AioCellClient,
        kind: str,
        path: str,
        read_only: bool,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self.client = client
        self.path = path
        self.kind = kind
        self.read_only = read_only
        self.args = args
        self.kwargs = kwargs

    def on(self, connection: _Connection) -> Any:
        """gRPC's callable for this method on a connection."""
        found = connection.callables.get(self.path)
        if found is None:
            found = getattr(connection.channel, self.kind)(self.path, *self.args, **self.kwargs)
            connection.callables[self.path] = found
        return found

    def begin(
        self,
        connection: _Connection,
        request: Any,
        attempts: Attempts,
        metadata: Any,
        options: dict[str, Any],
    ) -> Any:
        """Make one attempt of a call: on the connection's lane, where it is a call of that kind, or by itself."""
        if self.path in LANE_PATHS and not metadata and options == NO_OPTIONS:
            call = connection.lanes.begin(self, request, attempts.timeout_s(), attempts.metadata(None))
            if call is not None:
                return call
        return self.on(connection)(
            request, timeout=attempts.timeout_s(), metadata=attempts.metadata(metadata), **options
        )

    def attempts(self, timeout_s: float | None) -> Attempts:
        """Begin a call."""
        return Attempts(
            self.client.core,
            self.path,
            replayable=self.kind.startswith("unary"),
            timeout_s=timeout_s,
            reads=self.read_only,
        )


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
        attempts = self.attempts(client.core.options.timeout_s if timeout is None else timeout)
        options = {"wait_for_ready": wait_for_ready, "compression": compression}
        while True:
            connection = await client.connect(attempts)
            call = self.begin(connection, request, attempts, metadata, options)
            try:
                answer = await call
            except NoLane:
                continue
            except grpc.aio.AioRpcError as error:
                pause_s = attempts.failed(error, connection)
            else:
                attempts.succeeded(connection, await call.trailing_metadata())
                return answer
            if pause_s:
                await asyncio.sleep(pause_s)


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
        attempts = self.attempts(self.client.core.options.stream_timeout_s if timeout is None else timeout)
        options = {"wait_for_ready": wait_for_ready, "compression": compression}
        return AioAnswerStream(self, request, attempts, metadata, options)


class AioAnswerStream(AsyncIterator[Any]):
    """The answers of a streaming call. Dropping it, or `cancel`, ends the call at the server too."""

    def __init__(
        self, method: _Streaming, request: Any, attempts: Attempts, metadata: Any, options: dict[str, Any]
    ) -> None:
        self._method = method
        self._request = request
        self._attempts = attempts
        self._metadata = metadata
        self._options = options
        self._begun = False
        self._connection: _Connection | None = None
        self._call: Any = None
        self._messages: AsyncIterator[Any] | None = None

    def __aiter__(self) -> AioAnswerStream:
        return self

    async def _open(self) -> tuple[_Connection, AsyncIterator[Any]]:
        attempts = self._attempts
        connection = self._connection = await self._method.client.connect(attempts)
        self._call = self._method.begin(connection, self._request, attempts, self._metadata, self._options)
        messages: AsyncIterator[Any] = self._call.__aiter__()
        self._messages = messages
        return connection, messages

    async def __anext__(self) -> Any:
        while True:
            connection, messages = self._connection, self._messages
            if connection is None or messages is None:
                connection, messages = await self._open()
            try:
                message = await messages.__anext__()
            except StopAsyncIteration:
                self._attempts.succeeded(connection, await self._call.trailing_metadata())
                raise
            except NoLane:
                self._messages = None
                continue
            except grpc.aio.AioRpcError as error:
                pause_s = self._attempts.failed(error, connection, begun=self._begun)
                self._messages = None
                await asyncio.sleep(pause_s)
                continue
            if not self._begun:
                self._begun = True
                self._attempts.succeeded(connection, ())
            return message

    def cancel(self) -> None:
        """End the call."""
        if self._call is not None:
            self._call.cancel()

    def __del__(self) -> None:
        self.cancel()
