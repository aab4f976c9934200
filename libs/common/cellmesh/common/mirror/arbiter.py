"""What an instance asks AHA about the leadership of its service."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import grpc
import grpc.aio
from cellmesh.api.aha.v1 import (
    leadership_pb2,
    leadership_service_pb2_grpc,
    registry_pb2,
    registry_service_pb2_grpc,
)
from cellmesh.common.errors import CellError, LinkErr, NotLeader, from_rpc_error
from cellmesh.common.rpc.registry_link import RegistryLink
from cellmesh.common.time.clock import boottime_s
from cellmesh.common.tls.folder import IdentityFolder
from cellmesh.common.tls.identity import CellIdentity
from google.protobuf.duration_pb2 import Duration

CALL_DEADLINE_S: Final = 1.0
MARGIN_PART: Final = 0.1
MARGIN_MIN_S: Final = 0.1

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Leadership:
    """Who leads a service.

    Attributes:
        service: The service, such as "cortex".
        leader: The instance that leads it, such as "00.cortex.demo".
        term: The term it leads in.
        valid_until_s: On the clock of this machine, `boottime_s`: until when the leader may rely on its lease. Of
            another one's lease it says nothing, which may be longer and be renewed.
    """

    service: str
    leader: str
    term: int
    valid_until_s: float


class Arbiter:
    """Asks AHA for one instance. Each call takes at most CALL_DEADLINE_S for each address of AHA.

    All methods raise LinkErr when AHA does not answer, or has no leader itself.

    Args:
        identity: The name of the instance.
        folder: Its identity; tells where AHA is.
        clock: In seconds, as `boottime_s`.
    """

    votes: Final = False
    """AHA knows nothing of logs."""

    def __init__(
        self, identity: CellIdentity, folder: IdentityFolder, clock: Callable[[], float] = boottime_s
    ) -> None:
        self._identity = identity
        self._link = RegistryLink(folder, identity.network)
        self._clock = clock

    async def claim(
        self, term: int, *, lease_s: float, force: bool = False, accept_loss: bool = False
    ) -> Leadership:
        """Ask to lead in a term above all that are known, or to go on in this one. AHA knows of no losses.

        Raises:
            NotLeader: another leads: `leader` and `term` say who.
            Retry: with force, while the lease of the other runs for `wait_s` seconds.
        """
        request = leadership_pb2.ClaimLeadershipRequest(term=term, lease=_duration(lease_s), force=force)
        return await self._leadership(lambda stub: stub.ClaimLeadership(request, timeout=CALL_DEADLINE_S))

    async def renew(self, term: int, *, lease_s: float) -> Leadership:
        """Begin the lease anew. Raises NotLeader."""
        request = leadership_pb2.RenewLeadershipRequest(term=term, lease=_duration(lease_s))
        return await self._leadership(lambda stub: stub.RenewLeadership(request, timeout=CALL_DEADLINE_S))

    async def transfer(self, term: int, successor: str) -> Leadership:
        """Pass the leadership on, or give the lease back where there is no successor. Raises NotLeader, BadName."""
        request = leadership_pb2.TransferLeadershipRequest(term=term, successor=successor)
        try:
            return await self._leadership(
                lambda stub: stub.TransferLeadership(request, timeout=CALL_DEADLINE_S)
            )
        except NotLeader as error:
            if not successor or error.get("leader") != successor or error.get("term") != term + 1:
                raise
            # It was done, and the answer was lost.
            return Leadership(self._identity.service, successor, term + 1, self._clock())

    async def get(self, service: str) -> Leadership:
        """Who leads a service. Raises NoSuchName when nobody ever did."""
        request = leadership_pb2.GetLeadershipRequest(service=service)
        return await self._leadership(lambda stub: stub.GetLeadership(request, timeout=CALL_DEADLINE_S))

    async def addresses(self, service: str) -> dict[str, str]:
        """Where the live instances of a service serve, by name. Raises NoSuchName when there is none."""
        request = registry_pb2.GetServiceRequest(name=service)

        async def ask(channel: grpc.aio.Channel) -> registry_pb2.GetServiceResponse:
            stub = registry_service_pb2_grpc.RegistryServiceStub(channel)
            return await stub.GetService(request, timeout=CALL_DEADLINE_S)

        response = await self._call(ask)
        return {instance.name: instance.address for instance in response.instances}

    def grants_needed(self) -> int | None:
        """The grants of all followers make a lease in place of AHA's."""
        return None

    async def close(self) -> None:
        """Close the channel. A later call opens another one."""
        await self._link.close()

    async def _leadership(
        self,
        ask: Callable[
            [leadership_service_pb2_grpc.LeadershipServiceAsyncStub],
            Awaitable[
                leadership_pb2.ClaimLeadershipResponse
                | leadership_pb2.RenewLeadershipResponse
                | leadership_pb2.TransferLeadershipResponse
                | leadership_pb2.GetLeadershipResponse
            ],
        ],
    ) -> Leadership:
        async def send(channel: grpc.aio.Channel) -> Leadership:
            sent_s = self._clock()
            found = (await ask(leadership_service_pb2_grpc.LeadershipServiceStub(channel))).leadership
            lease_s = found.lease_left.ToNanoseconds() / 1e9
            margin_s = max(lease_s * MARGIN_PART, MARGIN_MIN_S)
            return Leadership(found.service, found.leader, found.term, sent_s + lease_s - margin_s)

        return await self._call(send)

    async def _call(self, send: Callable[[grpc.aio.Channel], Awaitable[T]]) -> T:
        """Ask one address after the other, each once, until one answers."""
        link = self._link
        if not link.addresses and not link.find():
            raise LinkErr("the identity folder names no registry, so nobody says who leads", name=link.name)
        last: CellError | None = None
        tried: set[str] = set()
        while (address := link.address) not in tried:
            tried.add(address)
            try:
                return await send(link.open())
            except grpc.aio.AioRpcError as error:
                last = self._told(error, address)
                if not isinstance(last, LinkErr):
                    raise last from None
            # Even where there is one address: the next channel shows the certificate of then.
            await link.close()
            await link.next_address()
        assert last is not None
        raise last

    def _told(self, error: grpc.aio.AioRpcError, address: str) -> CellError:
        made = from_rpc_error(error, cell=self._link.name, address=address)
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            return LinkErr(
                f"{self._link.name} at {address} does not answer within {CALL_DEADLINE_S:g} s",
                name=self._link.name,
                address=address,
            )
        if isinstance(made, NotLeader) and made.get("service") != self._identity.service:
            # It is AHA that has no leader, or does not know which of its instances that is.
            return LinkErr(made.message, name=self._link.name, address=address)
        return made


def _duration(seconds: float) -> Duration:
    made = Duration()
    made.FromNanoseconds(int(seconds * 1e9))
    return made
