"""The synchronous face: CellClient."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, cast

import grpc
from cellmesh.api.aha.v1 import registry_pb2, registry_service_pb2_grpc
from cellmesh.client.aliases import parse_url
from cellmesh.client.core import Attempts, ClientCore, ClientOptions
from cellmesh.client.failures import registry_failure
from cellmesh.client.instances import Prefer
from cellmesh.client.lane import LANE_PATHS, NO_OPTIONS, NoLane
from cellmesh.client.lane_blocking import BlockingLaneCall, Lanes
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
from cellmesh.common.errors import CellError, CellUnreachable, IsFini, NoSuchCert
from cellmesh.common.rpc.channel import UNARY_DEADLINE_S, open_channel
from cellmesh.common.tls.folder import IdentityFolder

if TYPE_CHECKING:
    from cellmesh.client.pipeline_blocking import Pipeline
    from cellmesh.client.storm.query import StormQuery
    from cellmesh.client.storm.request import StormKeywords

StubT = TypeVar("StubT")


def open_cell(
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
) -> CellClient:
    """Make a client of a cell. Nothing is sent before the first call.

    Args:
        url: See `cellmesh.client.urls`, or an alias.
        identity: Folder with cell.crt, cell.key, ca.crt and mesh.json, for grpcs:// and aha://. Left out,
            $CELLMESH_IDENTITY or ~/.cellmesh/identity. Who logs in over grpcs:// needs but ca.crt.
        user: A user of the cell to log in as, with its password.
        password: Its password.
        api_key: An API key of the cell to log in with, instead.
        timeout_s: Deadline of calls with one answer that give none themselves, all attempts together; None for none.
        stream_timeout_s: Likewise of calls with a stream of answers.
        prefer: Where calls go when AHA knows several instances: "leader", or "any" for those that change nothing.
        retry: How often and how soon calls are made again that may be; NO_RETRY for never.

    Raises:
        BadUrl: the URL cannot be used.
        NoSuchCert: the URL needs an identity and there is none.
        BadArg: the credentials do not go together.
    """
    parsed = parse_url(url)
    options = ClientOptions(timeout_s, stream_timeout_s, Prefer(prefer), retry or RetryPolicy())
    return CellClient(parsed, identity_folder(identity), Login.of(parsed, user, password, api_key), options)


class _Connection:
    """One channel to one address. gRPC's callables are kept by method."""

    def __init__(self, target: Target, login: Login) -> None:
        self.target = target
        self.answered = False
        self.channel = open_channel(
            target.address,
            identity=target.identity,
            server_name=target.server_name,
            authority_pem=target.authority_pem,
        )
        self.callables: dict[str, Any] = {}
        self.lanes = Lanes(self.channel, login.metadata)
        # The lane has a stream, which would keep the channel for ever.
        weakref.finalize(self, self.lanes.close)


class CellClient:
    """A client of one cell, or of the instances of a service that AHA names. Threads may share it."""

    def __init__(self, url: CellUrl, identity: IdentityFolder, login: Login, options: ClientOptions) -> None:
        self.url = url
        self.core: ClientCore[_Connection] = ClientCore(
            url, identity, login, options, lambda target: _Connection(target, login)
        )
        self._look_up_lock = threading.Lock()
        self._watcher: _Watcher | None = None

    def __repr__(self) -> str:
        return f"<Cell {self.url}>"

    def stub(self, stub_class: Callable[[grpc.Channel], StubT], *, read_only: bool = False) -> StubT:
        """Make a stub of a generated class. Its calls raise CellErrors.

        Args:
            stub_class: The class, such as `StormServiceStub`.
            read_only: The caller's word that the calls change nothing, where their proto cannot say it, such as Storm
                queries: they may be made again, and with `prefer="any"` go to any instance.
        """
        return stub_class(cast(grpc.Channel, _Channel(self, read_only)))

    @property
    def channel(self) -> grpc.Channel:
        """What stubs are made over: a channel whose calls raise CellErrors and find the cell anew when it moved."""
        return cast(grpc.Channel, _Channel(self, False))

    def pipeline(self, **options: Any) -> Pipeline:
        """Open a pipeline: many small calls on one stream. See `Pipeline` for the options."""
        from cellmesh.client.pipeline_blocking import Pipeline

        return Pipeline(self, **options)

    def storm(self, text: str, **options: Unpack[StormKeywords]) -> StormQuery:
        """Make a query of a Cortex; it runs when it is asked for something. See `StormQuery` and `make_options`.

        Raises:
            BadArg: an option has a value that there is none of.
        """
        from cellmesh.client.storm.query import StormQuery
        from cellmesh.client.storm.request import make_options

        return StormQuery(self, text, make_options(**options))

    @property
    def address(self) -> str:
        """Where the cell is that takes the writes, finding it if need be. Raises CellUnreachable."""
        return self.connect(Attempts(self.core, "", replayable=True, timeout_s=None)).target.address

    @property
    def change_offset(self) -> int:
        """The highest change offset that an answer has told."""
        return self.core.change_offset

    def close(self) -> None:
        """Close the connections. Running calls are cancelled. A cell in this process is stopped."""
        connections = self.core.close()
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.stop()
        for connection in connections:
            connection.lanes.close()
            connection.channel.close()
        if self.core.in_process is not None:
            self.core.in_process.close()

    def __enter__(self) -> Self:
        if self.core.in_process is not None:
            self.core.in_process.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Used by the calls.

    def connect(self, attempts: Attempts) -> _Connection:
        """Return the connection that a call goes over next, finding the cell if need be."""
        core = self.core
        if core.in_process is not None and not core.in_process.is_running and not core.closed:
            core.in_process.start()
        while True:
            try:
                connection = core.find(attempts)
                if connection is not None:
                    return connection
                self._look_up(attempts)
                continue
            except CellError as error:
                pause_s = attempts.not_found(error)
            time.sleep(pause_s)

    def _look_up(self, attempts: Attempts) -> None:
        """Ask AHA where the cell is, unless another thread has done so meanwhile."""
        table = self.core.table
        assert table is not None
        with self._look_up_lock:
            if not table.stale:
                return
            self.core.told(self._ask_registry(attempts))
            if self._watcher is None and not self.core.closed:
                self._watcher = _Watcher(self)

    def _ask_registry(self, attempts: Attempts) -> registry_pb2.GetServiceResponse:
        last: CellError | None = None
        core = self.core
        for target, wait_s in lookup_order(registry_targets(core.identity), core.registry):
            left_s = attempts.timeout_s()
            if last is not None and attempts.is_over:
                break
            with _open_registry(target) as channel:
                registry = registry_service_pb2_grpc.RegistryServiceStub(channel)
                request = registry_pb2.GetServiceRequest(name=self.url.name)
                try:
                    answer = registry.GetService(
                        request, timeout=wait_s if left_s is None else min(wait_s, left_s)
                    )
                except grpc.RpcError as error:
                    last = registry_failure(error, self.url, target)
                    if not isinstance(last, CellUnreachable):
                        raise last from None
                else:
                    core.registry = target.address
                    return answer
        assert last is not None, "there is at least one registry address"
        raise last


def _open_registry(target: Target) -> grpc.Channel:
    return open_channel(target.address, identity=target.identity, server_name=target.server_name)


class _Watcher:
    """Follows AHA's registry in a thread, until it is stopped or the client is gone."""

    def __init__(self, client: CellClient) -> None:
        self._core = weakref.ref(client.core)
        self._stopped = threading.Event()
        self._call: Any = None
        assert client.core.table is not None
        self._following: Following = client.core.table.following()
        self._identity = client.core.identity
        self._targets = registry_targets(self._identity)
        weakref.finalize(client, self.stop)
        threading.Thread(target=self._run, name=f"cell-watch-{client.url.name}", daemon=True).start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        call = self._call
        if call is not None:
            call.cancel()

    def _run(self) -> None:
        pause_s = WATCH_PAUSE_MIN_S
        turn = 0
        self._stopped.wait(WATCH_DELAY_S)
        while not self._stopped.is_set():
            # Read each time: AHA tells of more instances of itself as they join.
            with suppress(NoSuchCert):
                self._targets = registry_targets(self._identity)
            target = self._targets[turn % len(self._targets)]
            turn += 1
            try:
                if self._follow(target):
                    pause_s = WATCH_PAUSE_MIN_S
            except grpc.RpcError as error:
                if ends_watch(error):
                    return
            self._stopped.wait(pause_s)
            pause_s = min(pause_s * 2, WATCH_PAUSE_MAX_S)

    def _follow(self, target: Target) -> bool:
        """Follow until the stream ends; returns whether anything came."""
        heard = False
        following = self._following
        with _open_registry(target) as channel:
            self._call = registry_service_pb2_grpc.RegistryServiceStub(channel).WatchInstances(
                following.request()
            )
            if self._stopped.is_set():
                self._call.cancel()
            try:
                for message in self._call:
                    core = self._core()
                    if core is None:
                        break
                    core.watched(message, whole=following.took(message))
                    heard = True
                    del core
            except grpc.RpcError as error:
                if not heard:
                    raise
                if ends_watch(error):
                    self._stopped.set()
        return heard


class _Channel:
    """Looks like grpc.Channel to a generated stub."""

    def __init__(self, client: CellClient, read_only: bool) -> None:
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
        client: CellClient,
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

    def on_lane(
        self,
        connection: _Connection,
        request: Any,
        attempts: Attempts,
        metadata: Any,
        options: dict[str, Any],
    ) -> BlockingLaneCall | None:
        """Make one attempt of a call on the connection's lane; None where it is to be made by itself."""
        if self.path not in LANE_PATHS or metadata or options != NO_OPTIONS:
            return None
        return connection.lanes.begin(self, request, attempts.timeout_s(), attempts.metadata(None))

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

    def __call__(
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
            connection = client.connect(attempts)
            try:
                call: Any = self.on_lane(connection, request, attempts, metadata, options)
                if call is not None:
                    answer = call.answer()
                else:
                    answer, call = self.on(connection).with_call(
                        request,
                        timeout=attempts.timeout_s(),
                        metadata=attempts.metadata(metadata),
                        **options,
                    )
            except NoLane:
                continue
            except grpc.RpcError as error:
                pause_s = attempts.failed(error, connection)
            except ValueError as error:
                raise closed(error, client) from None
            else:
                attempts.succeeded(connection, call.trailing_metadata())
                return answer
            if pause_s:
                time.sleep(pause_s)


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
    ) -> AnswerStream:
        attempts = self.attempts(self.client.core.options.stream_timeout_s if timeout is None else timeout)
        options = {"wait_for_ready": wait_for_ready, "compression": compression}
        return AnswerStream(self, request, attempts, metadata, options)


class AnswerStream(Iterator[Any]):
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
        self._call: Any = None
        self._open()

    def _open(self) -> None:
        attempts = self._attempts
        self._connection = self._method.client.connect(attempts)
        try:
            self._call = self._method.on_lane(
                self._connection, self._request, attempts, self._metadata, self._options
            ) or self._method.on(self._connection)(
                self._request,
                timeout=attempts.timeout_s(),
                metadata=attempts.metadata(self._metadata),
                **self._options,
            )
        except ValueError as error:
            raise closed(error, self._method.client) from None

    def __iter__(self) -> AnswerStream:
        return self

    def __next__(self) -> Any:
        while True:
            try:
                message = next(self._call)
            except StopIteration:
                self._attempts.succeeded(self._connection, self._call.trailing_metadata())
                raise
            except NoLane:
                self._open()
                continue
            except grpc.RpcError as error:
                pause_s = self._attempts.failed(error, self._connection, begun=self._begun)
                if pause_s:
                    time.sleep(pause_s)
                self._open()
                continue
            if not self._begun:
                self._begun = True
                self._attempts.succeeded(self._connection, ())
            return message

    def cancel(self) -> None:
        """End the call."""
        self._call.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()

    def __del__(self) -> None:
        if self._call is not None:
            self._call.cancel()


def closed(error: ValueError, client: CellClient) -> Exception:
    """gRPC says by ValueError that a channel is closed."""
    if "closed channel" in str(error).lower():
        return IsFini("the client is closed", name=str(client.url))
    return error
