"""The synchronous face: CellClient."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar, cast

import grpc
from cellmesh.api.aha.v1 import registry_pb2, registry_service_pb2_grpc
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
from cellmesh.common.rpc.channel import UNARY_DEADLINE_S, open_channel
from cellmesh.common.telemetry.tracing import outgoing_metadata
from cellmesh.common.tls.folder import IdentityFolder

RESOLVE_ATTEMPTS_MAX: Final = 3
RESOLVE_PAUSE_S: Final = 0.2

NO_LOGIN: Final = Login()

StubT = TypeVar("StubT")


def open_cell(
    url: str,
    *,
    identity: Path | str | None = None,
    user: str | None = None,
    password: str | None = None,
    api_key: str | None = None,
    timeout_s: float = UNARY_DEADLINE_S,
) -> CellClient:
    """Make a client of a cell. Nothing is sent before the first call.

    Args:
        url: See `cellmesh.client.urls`.
        identity: Folder with cell.crt, cell.key, ca.crt and mesh.json, for grpcs:// and aha://. Left out,
            $CELLMESH_IDENTITY or ~/.cellmesh/identity. Who logs in over grpcs:// needs but ca.crt.
        user: A user of the cell to log in as, with its password.
        password: Its password.
        api_key: An API key of the cell to log in with, instead.
        timeout_s: Deadline of calls with one answer that give none themselves. Streams have none.

    Raises:
        BadUrl: the URL cannot be used.
        NoSuchCert: the URL needs an identity and there is none.
        BadArg: the credentials do not go together.
    """
    parsed = CellUrl.parse(url)
    return CellClient(parsed, identity_folder(identity), timeout_s, Login.of(parsed, user, password, api_key))


class _Connection:
    """One channel to one address. gRPC's callables are kept by method."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.channel = open_channel(
            target.address,
            identity=target.identity,
            server_name=target.server_name,
            authority_pem=target.authority_pem,
        )
        self.callables: dict[str, Any] = {}


class CellClient:
    """A client of one cell, or of whichever instance of a service AHA names. Threads may share it."""

    def __init__(
        self, url: CellUrl, identity: IdentityFolder, timeout_s: float, login: Login = NO_LOGIN
    ) -> None:
        self.url = url
        self.login = login
        self.timeout_s = timeout_s
        self._identity = identity
        self._lock = threading.Lock()
        self._connection: _Connection | None = None
        self._closed = False
        self._failed_address = ""
        if url.scheme is Scheme.AHA:
            registry_targets(identity)
        else:
            static_target(url, identity, logs_in=bool(login.header))

    def stub(self, stub_class: Callable[[grpc.Channel], StubT]) -> StubT:
        """Make a stub of a generated class. Its calls raise CellErrors."""
        return stub_class(self.channel)

    @property
    def channel(self) -> grpc.Channel:
        """What stubs are made over: a channel whose calls raise CellErrors and find the cell anew when it moved."""
        return cast(grpc.Channel, _Channel(self))

    @property
    def address(self) -> str:
        """Where the cell is, finding it if need be. Raises CellUnreachable."""
        return self.connect().target.address

    def close(self) -> None:
        """Close the connection. Running calls are cancelled."""
        with self._lock:
            self._closed = True
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Used by the calls.

    def connect(self) -> _Connection:
        """Return the connection, made if there is none."""
        connection = self._connection
        if connection is not None:
            return connection
        with self._lock:
            if self._closed:
                raise IsFini("the client is closed", name=str(self.url))
            if self._connection is None:
                self._connection = _Connection(self._find())
            return self._connection

    def drop(self, connection: _Connection) -> None:
        """Forget a connection that could not be made; the next call makes a new one, finding the cell anew.

        Its channel goes with the last call that uses it. Closing it here would end those calls as cancelled.
        """
        with self._lock:
            if self._connection is connection:
                self._connection = None
                self._failed_address = connection.target.address

    def failed(self, error: grpc.RpcError, connection: _Connection) -> tuple[CellError, bool]:
        """Make our error of gRPC's. Also tells whether the call may be made again at once."""
        made = as_cell_error(error, self.url, connection.target)
        if not is_connection_failure(made):
            return made, False
        self.drop(connection)
        return made, self.url.scheme is Scheme.AHA

    def _find(self) -> Target:
        found = static_target(self.url, self._identity, logs_in=bool(self.login.header))
        return found if found is not None else self._ask_registry()

    def _ask_registry(self) -> Target:
        last: CellError | None = None
        for target in registry_targets(self._identity):
            with open_channel(
                target.address, identity=target.identity, server_name=target.server_name
            ) as channel:
                registry = registry_service_pb2_grpc.RegistryServiceStub(channel)
                request = registry_pb2.GetServiceRequest(name=self.url.name)
                try:
                    response = registry.GetService(request, timeout=LOOKUP_DEADLINE_S)
                except grpc.RpcError as error:
                    last = registry_failure(error, self.url, target)
                    if isinstance(last, CellUnreachable):
                        continue
                    raise last from None
            return choose(self.url.name, response.instances, self._identity, self._failed_address)
        assert last is not None, "there is at least one registry address"
        raise last


def registry_failure(error: grpc.RpcError, url: CellUrl, target: Target) -> CellError:
    """Make our error of a failed look-up."""
    made = as_cell_error(error, url, target)
    if isinstance(made, CellUnreachable):
        made.set(
            "hint", f"{url} is found through AHA, which does not answer there: start it, or check the address"
        )
    return made


class _Channel:
    """Looks like grpc.Channel to a generated stub."""

    def __init__(self, client: CellClient) -> None:
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
        self, client: CellClient, kind: str, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]
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
        timeout = client.timeout_s if timeout is None else timeout
        until = time.monotonic() + timeout
        attempt = 0
        while True:
            attempt += 1
            connection = client.connect()
            try:
                return self.on(connection)(
                    request,
                    timeout=timeout,
                    metadata=with_ours(metadata, client.login),
                    wait_for_ready=wait_for_ready,
                    compression=compression,
                )
            except grpc.RpcError as error:
                made, again = client.failed(error, connection)
                if not (again and self.replayable and attempt < RESOLVE_ATTEMPTS_MAX):
                    raise made from None
            except ValueError as error:
                raise _closed(error, client) from None
            time.sleep(RESOLVE_PAUSE_S * (attempt - 1))
            timeout = max(until - time.monotonic(), 0.001)


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
        kwargs = {
            "timeout": timeout,
            "metadata": with_ours(metadata, self.client.login),
            "wait_for_ready": wait_for_ready,
            "compression": compression,
        }
        return AnswerStream(self, request, kwargs)


class AnswerStream(Iterator[Any]):
    """The answers of a streaming call. Dropping it, or `cancel`, ends the call at the server too."""

    def __init__(self, method: _Streaming, request: Any, kwargs: dict[str, Any]) -> None:
        self._method = method
        self._request = request
        self._kwargs = kwargs
        self._attempt = 0
        self._begun = False
        self._call: Any = None
        self._open()

    def _open(self) -> None:
        self._attempt += 1
        self._connection = self._method.client.connect()
        try:
            self._call = self._method.on(self._connection)(self._request, **self._kwargs)
        except ValueError as error:
            raise _closed(error, self._method.client) from None

    def __iter__(self) -> AnswerStream:
        return self

    def __next__(self) -> Any:
        while True:
            try:
                message = next(self._call)
            except grpc.RpcError as error:
                made, again = self._method.client.failed(error, self._connection)
                if (
                    not (again and self._method.replayable)
                    or self._begun
                    or self._attempt >= RESOLVE_ATTEMPTS_MAX
                ):
                    raise made from None
                time.sleep(RESOLVE_PAUSE_S * (self._attempt - 1))
                self._open()
                continue
            self._begun = True
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


def with_ours(metadata: Any, login: Login) -> Any:
    """The caller's metadata, the login, and what ties this call to the one being served here, if any."""
    ours = (*login.metadata, *outgoing_metadata())
    return (*(metadata or ()), *ours) if ours else metadata


def _closed(error: ValueError, client: CellClient) -> Exception:
    """gRPC says by ValueError that a channel is closed."""
    if "closed channel" in str(error):
        return IsFini("the client is closed", name=str(client.url))
    return error
