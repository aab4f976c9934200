"""LeadershipService over the leaders. A cell leads or leaves by its own certificate; no one does it for another."""

from __future__ import annotations

from typing import Any

from cellmesh.aha.directory.instances import parse_wanted
from cellmesh.aha.directory.leadership import Leaders, Lease
from cellmesh.api.aha.v1 import leadership_pb2
from cellmesh.common.auth.context import CallerKind, current_caller
from cellmesh.common.errors import AuthDeny, BadArg, NoSuchName
from cellmesh.common.tls.identity import CellIdentity
from google.protobuf.duration_pb2 import Duration

Context = Any


class LeadershipServicer:
    """Serves cellmesh.api.aha.v1.LeadershipService.

    Args:
        leaders: Who leads.
        network: The network of this registry.
    """

    def __init__(self, leaders: Leaders, network: str) -> None:
        self._leaders = leaders
        self._network = network

    async def ClaimLeadership(
        self, request: leadership_pb2.ClaimLeadershipRequest, context: Context
    ) -> leadership_pb2.ClaimLeadershipResponse:
        """See the proto."""
        caller = self._calling_cell()
        lease = await self._leaders.claim(caller, request.term, _length_s(request.lease), force=request.force)
        return leadership_pb2.ClaimLeadershipResponse(leadership=self._to_proto(lease))

    async def RenewLeadership(
        self, request: leadership_pb2.RenewLeadershipRequest, context: Context
    ) -> leadership_pb2.RenewLeadershipResponse:
        """See the proto."""
        caller = self._calling_cell()
        lease = await self._leaders.renew(caller, request.term, _length_s(request.lease))
        return leadership_pb2.RenewLeadershipResponse(leadership=self._to_proto(lease))

    async def TransferLeadership(
        self, request: leadership_pb2.TransferLeadershipRequest, context: Context
    ) -> leadership_pb2.TransferLeadershipResponse:
        """See the proto."""
        lease = await self._leaders.transfer(self._calling_cell(), request.term, request.successor)
        return leadership_pb2.TransferLeadershipResponse(leadership=self._to_proto(lease))

    async def GetLeadership(
        self, request: leadership_pb2.GetLeadershipRequest, context: Context
    ) -> leadership_pb2.GetLeadershipResponse:
        """See the proto."""
        wanted = parse_wanted(request.service, self._network)
        if wanted.network != self._network:
            raise NoSuchName(f"{request.service[:128]} is of another network", name=request.service[:128])
        lease = self._leaders.get(wanted.service)
        return leadership_pb2.GetLeadershipResponse(leadership=self._to_proto(lease))

    def _calling_cell(self) -> CellIdentity:
        caller = current_caller()
        if (
            caller.kind is CallerKind.CELL
            and isinstance(caller.identity, CellIdentity)
            and caller.network == self._network
        ):
            return caller.identity
        raise AuthDeny(
            f"{caller.name} cannot lead: a cell of {self._network} leads, by its own certificate",
            username=caller.name,
        )

    def _to_proto(self, lease: Lease) -> leadership_pb2.Leadership:
        leader = lease.leader
        message = leadership_pb2.Leadership(service=leader.service, leader=leader.name, term=leader.term)
        message.lease_left.FromNanoseconds(int(self._leaders.left_s(lease) * 1e9))
        return message


def _length_s(lease: Duration) -> float:
    length_s = lease.ToNanoseconds() / 1e9
    if length_s < 0:
        raise BadArg("a lease has a length", name="lease", valu=length_s)
    return length_s
