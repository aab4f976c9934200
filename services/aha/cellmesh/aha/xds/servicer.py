"""The stream with a client: envoy.service.discovery.v3.AggregatedDiscoveryService."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

from cellmesh.aha.xds.catalog import Catalog
from cellmesh.aha.xds.names import Kind
from cellmesh.aha.xds.security import Flavor
from cellmesh.aha.xds.subscriptions import Answer, Subscription
from cellmesh.common.auth.context import current_caller
from cellmesh.common.errors import CellError
from cellmesh.common.rpc.permissions import Level, Permission, PermissionTable
from cellmesh.common.telemetry.logs import get_logger
from cellmesh.third_party.xds.v3 import discovery_pb2

_log = get_logger(__name__)

DISCOVERY_SERVICE: Final = discovery_pb2.DESCRIPTOR.services_by_name["AggregatedDiscoveryService"]

XDS_PERMISSIONS: Final[PermissionTable] = {
    f"/{DISCOVERY_SERVICE.full_name}/StreamAggregatedResources": Permission(Level.MEMBER, "aha.instance.get"),
}

TEXT_SIZE_MAX: Final = 1024
_KINDS: Final = {kind.value: kind for kind in Kind}


class DiscoveryServicer:
    """Serves the streams.

    Args:
        catalog: What there is.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def StreamAggregatedResources(
        self, requests: AsyncIterator[discovery_pb2.DiscoveryRequest], context: Any
    ) -> AsyncIterator[discovery_pb2.DiscoveryResponse]:
        """See the proto."""
        client = Client(self._catalog, current_caller().name)
        reader = asyncio.create_task(client.read(requests), name="xds-requests")
        try:
            while (responses := await client.next()) is not None:
                for response in responses:
                    yield response
        finally:
            reader.cancel()
            client.leave()
            await asyncio.wait((reader,))


class Client:
    """One stream: what its client wants, and what it must be told. A Follower of the catalog.

    Args:
        catalog: What there is.
        caller: Who it is, for logs.
    """

    def __init__(self, catalog: Catalog, caller: str) -> None:
        self._catalog = catalog
        self._caller = caller
        self._node = ""
        self._flavor = Flavor.GRPC
        self._subscriptions: dict[Kind, Subscription] = {}
        self._marked: set[Kind] = set()
        self._woken = asyncio.Event()
        self._ended = catalog.closed
        self._error: CellError | None = None

    def mark(self, kind: Kind) -> None:
        """See Follower."""
        self._marked.add(kind)
        self._woken.set()

    def close(self) -> None:
        """See Follower."""
        self._ended = True
        self._woken.set()

    async def read(self, requests: AsyncIterator[discovery_pb2.DiscoveryRequest]) -> None:
        """Take requests until there are no more."""
        try:
            async for request in requests:
                self.take(request)
        except CellError as error:
            self._error = error
        finally:
            self.close()

    async def next(self) -> list[discovery_pb2.DiscoveryResponse] | None:
        """What must be sent, as soon as there is something; None at the end.

        Raises:
            LimitExceeded: the client asks for too much.
        """
        while True:
            if self._error is not None:
                raise self._error
            if self._ended:
                return None
            self._woken.clear()
            marked, self._marked = self._marked, set()
            # Clusters and endpoints first: what names them comes after.
            responses = [self._respond(kind) for kind in Kind if kind in marked]
            found = [response for response in responses if response is not None]
            if found:
                return found
            await self._woken.wait()

    def take(self, request: discovery_pb2.DiscoveryRequest) -> None:
        """Take one request. Raises LimitExceeded."""
        if request.HasField("node"):
            self._node = request.node.id[:TEXT_SIZE_MAX]
            self._flavor = Flavor.of(request.node.user_agent_name)
        kind = _KINDS.get(request.type_url)
        if kind is None:
            _log.warning(
                "xds_type_unknown",
                type=request.type_url[:TEXT_SIZE_MAX],
                node=self._node,
                caller=self._caller,
            )
            return
        if request.HasField("error_detail"):
            _log.warning(
                "xds_refused",
                type=kind.name.lower(),
                reason=request.error_detail.message[:TEXT_SIZE_MAX],
                nonce=request.response_nonce[:TEXT_SIZE_MAX],
                version=request.version_info[:TEXT_SIZE_MAX],
                node=self._node,
                caller=self._caller,
            )
        subscription = self._subscriptions.get(kind)
        if subscription is None:
            # Whatever nonce it has is of a stream before.
            subscription = self._subscriptions[kind] = Subscription(kind)
        elif subscription.is_stale(request.response_nonce):
            return
        everything = subscription.everything
        wish = subscription.want(request.resource_names)
        self._catalog.leave(self, kind, wish.removed)
        self._catalog.follow(self, kind, wish.added)
        if subscription.everything and not everything:
            self._catalog.follow_all(self, kind)
        elif everything and not subscription.everything:
            self._catalog.leave_all(self, kind)
        self.mark(kind)

    def leave(self) -> None:
        """Follow nothing any more."""
        for kind, subscription in self._subscriptions.items():
            self._catalog.leave(self, kind, subscription.names)
            self._catalog.leave_all(self, kind)

    def _respond(self, kind: Kind) -> discovery_pb2.DiscoveryResponse | None:
        answer: Answer | None = self._subscriptions[kind].answer(self._catalog, self._flavor)
        if answer is None:
            return None
        return discovery_pb2.DiscoveryResponse(
            version_info=self._catalog.version,
            resources=[resource.packed for resource in answer.resources],
            type_url=kind.value,
            nonce=answer.nonce,
        )
