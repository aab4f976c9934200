"""MirrorService: what instances of a service ask of each other, and operators of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

from cellmesh.api.common.v1 import mirror_pb2, mirror_service_pb2
from cellmesh.common.auth.context import CallerKind, current_caller
from cellmesh.common.changelog import actor_name
from cellmesh.common.errors import AuthDeny, BadState
from cellmesh.common.mirror import promotion, voting
from cellmesh.common.mirror.instance import Role
from cellmesh.common.mirror.quorum import QuorumMesh
from cellmesh.common.mirror.role import Mirror
from cellmesh.common.rpc.permissions import COMMON_PERMISSIONS
from cellmesh.common.rpc.service import Service
from cellmesh.common.time.clock import boottime_s

_ROLES: Final = {
    Role.UNKNOWN: mirror_pb2.MIRROR_ROLE_UNSPECIFIED,
    Role.LEADER: mirror_pb2.MIRROR_ROLE_LEADER,
    Role.FOLLOWER: mirror_pb2.MIRROR_ROLE_FOLLOWER,
}


class MirrorServicer:
    """Serves cellmesh.api.common.v1.MirrorService.

    Args:
        mirror: The instance's role.
    """

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror

    async def Follow(
        self, requests: AsyncIterator[mirror_pb2.FollowRequest], context: Any
    ) -> AsyncIterator[mirror_pb2.FollowResponse]:
        """See the proto."""
        async for response in self._mirror.leading.serve(self._mirror, current_caller().name, requests):
            yield response

    async def GetMirrorStatus(
        self, request: mirror_pb2.GetMirrorStatusRequest, context: Any
    ) -> mirror_pb2.GetMirrorStatusResponse:
        """See the proto."""
        return mirror_pb2.GetMirrorStatusResponse(status=await status_of(self._mirror))

    async def Promote(self, request: mirror_pb2.PromoteRequest, context: Any) -> mirror_pb2.PromoteResponse:
        """See the proto."""
        await promotion.promote(self._mirror, force=request.force, accept_loss=request.accept_loss)
        return mirror_pb2.PromoteResponse(status=await status_of(self._mirror))

    async def HandOver(
        self, request: mirror_pb2.HandOverRequest, context: Any
    ) -> mirror_pb2.HandOverResponse:
        """See the proto."""
        caller = current_caller()
        name = caller.name if caller.kind is CallerKind.CELL else ""
        term, end = await promotion.hand_over(self._mirror, name, request)
        return mirror_pb2.HandOverResponse(term=term, end_offset=end)

    async def TakeOver(
        self, request: mirror_pb2.TakeOverRequest, context: Any
    ) -> mirror_pb2.TakeOverResponse:
        """See the proto."""
        caller = current_caller()
        name = caller.name if caller.kind is CallerKind.CELL else ""
        return mirror_pb2.TakeOverResponse(term=await promotion.take_over(self._mirror, name, request))

    async def Vote(self, request: mirror_pb2.VoteRequest, context: Any) -> mirror_pb2.VoteResponse:
        """See the proto."""
        caller, mirror = current_caller(), self._mirror
        if caller.kind is CallerKind.CELL and caller.name != request.candidate:
            raise AuthDeny(f"{caller.name} asks for votes for {request.candidate}", username=caller.name)
        if not isinstance(mirror.mesh, QuorumMesh):
            raise BadState(f"AHA settles who leads {mirror.instance.service}, not votes", name=mirror.name)
        return await voting.vote(mirror, request)

    async def RemoveFollower(
        self, request: mirror_pb2.RemoveFollowerRequest, context: Any
    ) -> mirror_pb2.RemoveFollowerResponse:
        """See the proto."""
        await self._mirror.forget(request.name)
        return mirror_pb2.RemoveFollowerResponse()

    async def CreateCheckpoint(
        self, request: mirror_pb2.CreateCheckpointRequest, context: Any
    ) -> mirror_pb2.CreateCheckpointResponse:
        """See the proto."""
        mirror = self._mirror
        if not mirror.is_leader:
            raise mirror.not_leader()
        offset = await mirror.workers.run(mirror.checkpoints.create, actor_name())
        return mirror_pb2.CreateCheckpointResponse(offset=offset)

    async def GetStateHash(
        self, request: mirror_pb2.GetStateHashRequest, context: Any
    ) -> mirror_pb2.GetStateHashResponse:
        """See the proto."""
        mirror = self._mirror
        found = await mirror.workers.run_long(lambda token: mirror.checkpoints.wait(request.offset, token))
        return mirror_pb2.GetStateHashResponse(
            offset=request.offset, sha256=found.sha256, databases=found.databases
        )


async def status_of(mirror: Mirror) -> mirror_pb2.MirrorStatus:
    """How an instance stands."""
    next_offset = await mirror.workers.run(mirror.next_offset)
    status = mirror_pb2.MirrorStatus(
        name=mirror.instance.name,
        role=_ROLES[mirror.role],
        term=mirror.term,
        leader=mirror.leader.name,
        leader_address=mirror.leader.address,
        next_offset=next_offset,
        writable=mirror.is_leader and mirror.gate.is_open,
        trouble=mirror.trouble,
    )
    if mirror.is_leader:
        now_s = boottime_s()
        status.synchronous_count = mirror.gate.synchronous_count
        for follower in sorted(mirror.leading.followers.values(), key=lambda found: found.name):
            told = status.followers.add(
                name=follower.name,
                connected=follower.connected,
                next_offset=follower.next_offset,
                lag=max(next_offset - follower.next_offset, 0),
            )
            if follower.heard_s:
                told.silence.FromNanoseconds(int((now_s - follower.heard_s) * 1e9))
    elif mirror.stream is not None:
        stream = mirror.stream.stream
        status.connected = stream.connected
        status.leader_offset = stream.leader_offset
        status.silence.FromNanoseconds(int(stream.silence_s * 1e9))
    return status


def mirror_service(mirror: Mirror) -> Service:
    """The MirrorService of an instance."""
    descriptor = mirror_service_pb2.DESCRIPTOR.services_by_name["MirrorService"]
    return Service(descriptor, MirrorServicer(mirror), COMMON_PERMISSIONS)
