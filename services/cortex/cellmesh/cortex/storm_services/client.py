"""What a Cortex asks of a Storm service. Threads may share it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from cellmesh.api.storm_service.v1 import provider_pb2
from cellmesh.api.storm_service.v1.provider_service_pb2_grpc import ProviderServiceStub
from cellmesh.client import CellUrl, open_cell
from cellmesh.client.aliases import parse_url
from cellmesh.client.urls import Scheme
from cellmesh.common.errors import BadUrl
from cellmesh.common.values import from_value, to_value

DESCRIBE_TIMEOUT_S: Final = 5.0
"""How long a service may take to tell what it is."""

CALL_TIMEOUT_S: Final = 300.0
"""How long a method may take that gives one value. Streams may take as long as they want."""


def checked_url(url: str) -> CellUrl:
    """Return the URL of a service taken apart; raises BadUrl."""
    parsed = parse_url(url)
    if parsed.scheme is Scheme.CELL:
        raise BadUrl("a Storm service is a process of its own", url=url[:200])
    return parsed


class ServiceClient:
    """A client of a Storm service. Nothing is sent before the first call.

    Args:
        url: Where it is.
        identity: Folder of the Cortex's own identity.
    """

    def __init__(self, url: str, identity: Path | None) -> None:
        self._client = open_cell(url, identity=identity)
        self._stub: Any = self._client.stub(ProviderServiceStub)

    def close(self) -> None:
        """Close the connection; running calls are cancelled."""
        self._client.close()

    def describe(self, timeout_s: float = DESCRIBE_TIMEOUT_S) -> provider_pb2.Provider:
        """Return what the service tells of itself."""
        response = self._stub.GetProvider(provider_pb2.GetProviderRequest(), timeout=timeout_s)
        found: provider_pb2.Provider = response.provider
        return found

    def call(self, method: str, arguments: Sequence[Any], named: Mapping[str, Any], user: str) -> Any:
        """Call a method that gives one value."""
        request = provider_pb2.CallMethodRequest(call=_call(method, arguments, named, user))
        return from_value(self._stub.CallMethod(request, timeout=CALL_TIMEOUT_S).value)

    def stream(
        self, method: str, arguments: Sequence[Any], named: Mapping[str, Any], user: str
    ) -> Iterator[Any]:
        """Call a method that gives values one after the other. Closing the iterator cancels the call."""
        request = provider_pb2.StreamMethodRequest(call=_call(method, arguments, named, user))
        responses = self._stub.StreamMethod(request)
        try:
            for response in responses:
                for value in response.values:
                    yield from_value(value)
        finally:
            cancel = getattr(responses, "cancel", None) or getattr(responses, "close", None)
            if cancel is not None:
                cancel()


def _call(method: str, arguments: Sequence[Any], named: Mapping[str, Any], user: str) -> provider_pb2.Call:
    return provider_pb2.Call(
        method=method,
        arguments=[to_value(value) for value in arguments],
        named={name: to_value(value) for name, value in named.items()},
        user=user,
    )
