"""What an instance asks AHA: who leads, for how long, and where the others are.

A lease ends here before it ends at AHA: it is counted from before the request was sent, and less a margin.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import grpc.aio
from cellmesh.api.aha.v1 import (
    leadership_pb2,
    leadership_service_pb2_grpc,
    registry_pb2,
    registry_service_pb2_grpc,
)
from cellmesh.common.errors import (
    CellError,
    CellUnreachable,
    DeadlineExceeded,
    LinkErr,
    NoSuchName,
    from_rpc_error,
)
from cellmesh.common.rpc.channel import open_aio_channel
from cellmesh.common.time.clock import boottime_s
from cellmesh.common.tls.folder import IdentityFolder
from cellmesh.common.tls.identity import CellIdentity, registry_name

CALL_DEADLINE_S: Final = 1.0
LEASE_MARGIN: Final = 0.1
"""This part of a lease is given away, as clocks run at slightly different rates."""

LEASE_MARGIN_MIN_S: Final = 0.1

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Leadership:
    """Who leads a service.

    Attributes:
        service: The service, such as "cortex".
        leader: The instance, such as "00.cortex.demo".
        term: The term it leads in.
        valid_until_s: Until when the leader may take writes without a renewal, on the clock of `boottime_s` here.
    """

    service: str
    leader: str
    term: int
    valid_until_s: float


class Arbiter:
    """AHA, as an instance asks it. Belongs to the event loop that makes the first call.

    Args:
        folder: The instance's certificate; tells where AHA is.
        identity: Its name.
        clock: In seconds; goes on while the machine is suspended.
    """

    def __init__(
        self, folder: IdentityFolder, identity: CellIdentity, clock: Callable[[], float] = boottime_s
    ) -> None:
        self._folder = folder
        self._identity = identity
        self._clock = clock
        self._index = 0
        self._channel: grpc.aio.Channel | None = None

    async def claim(self, term: int, *, lease_s: float, force: bool = False) -> Leadership:
        """Ask to lead. Raises NotLeader, Retry (with `wait_s`), CellUnreachable."""
        request = leadership_pb2.ClaimLeadershipRequest(term=term, force=force)
        request.lease.FromNanoseconds(int(lease_s * 1e9))

        async def call(channel: grpc.aio.Channel) -> leadership_pb2.Leadership:
            stub = leadership_service_pb2_grpc.LeadershipServiceStub(channel)
            return (await stub.ClaimLeadership(request, timeout=CALL_DEADLINE_S)).leadership

        return await self._leadership(call)

    async def renew(self, term: int, *, lease_s: float) -> Leadership:
        """Prolong the lease. Raises NotLeader, CellUnreachable."""
        request = leadership_pb2.RenewLeadershipRequest(term=term)
        request.lease.FromNanoseconds(int(lease_s * 1e9))

        async def call(channel: grpc.aio.Channel) -> leadership_pb2.Leadership:
            stub = leadership_service_pb2_grpc.LeadershipServiceStub(channel)
            return (await stub.RenewLeadership(request, timeout=CALL_DEADLINE_S)).leadership

        return await self._leadership(call)

    async def transfer(self, term: int, successor: str) -> Leadership:
        """Pass the leadership on, or, without a successor, give the lease back.

        Raises:
            NotLeader, BadName: see LeadershipService.
            CellUnreachable: AHA did not answer; it may have done it.
        """
        request = leadership_pb2.TransferLeadershipRequest(term=term, successor=successor)

        async def call(channel: grpc.aio.Channel) -> leadership_pb2.Leadership:
            stub = leadership_service_pb2_grpc.LeadershipServiceStub(channel)
            return (await stub.TransferLeadership(request, timeout=CALL_DEADLINE_S)).leadership

        return await self._leadership(call)

    async def get(self, service: str) -> Leadership:
        """Who leads. Raises NoSuchName, CellUnreachable."""
        request = leadership_pb2.GetLeadershipRequest(service=service)

        async def call(channel: grpc.aio.Channel) -> leadership_pb2.Leadership:
            stub = leadership_service_pb2_grpc.LeadershipServiceStub(channel)
            return (await stub.GetLeadership(request, timeout=CALL_DEADLINE_S)).leadership

        return await self._leadership(call)

    async def addresses(self, service: str) -> dict[str, str]:
        """Where the instances of a service serve, by name. Raises CellUnreachable."""
        request = registry_pb2.GetServiceRequest(name=service)

        async def call(channel: grpc.aio.Channel) -> registry_pb2.GetServiceResponse:
            stub = registry_service_pb2_grpc.RegistryServiceStub(channel)
            return await stub.GetService(request, timeout=CALL_DEADLINE_S)

        try:
            response = await self._call(call)
        except NoSuchName:
            return {}
        return {found.name: found.address for found in response.instances}

    async def close(self) -> None:
        """Close the channel."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close(None)

    async def _leadership(
        self, call: Callable[[grpc.aio.Channel], Awaitable[leadership_pb2.Leadership]]
    ) -> Leadership:
        sent_s = self._clock()
        found = await self._call(call)
        left_s = found.lease_left.ToNanoseconds() / 1e9
        margin_s = max(left_s * LEASE_MARGIN, LEASE_MARGIN_MIN_S)
        return Leadership(found.service, found.leader, found.term, sent_s + left_s - margin_s)

    async def _call(self, call: Callable[[grpc.aio.Channel], Awaitable[T]]) -> T:
        mesh = self._folder.mesh()
        if mesh is None or not mesh.registry_addresses:
            raise CellUnreachable(
                "the identity names no registry", name=registry_name(self._identity.network)
            )
        # Where AHA is may change while the cell runs; see `mesh.json`.
        address = mesh.registry_addresses[self._index % len(mesh.registry_addresses)]
        name = registry_name(self._identity.network)
        if self._channel is None:
            self._channel = open_aio_channel(address, identity=self._folder, server_name=name)
        try:
            return await call(self._channel)
        except grpc.aio.AioRpcError as error:
            found: CellError = from_rpc_error(error, cell=name, address=address)
            if isinstance(found, CellUnreachable | LinkErr | DeadlineExceeded):
                self._index += 1
                await self.close()
            raise found from None


__all__ = ["LEASE_MARGIN", "Arbiter", "Leadership"]
