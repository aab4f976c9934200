"""What an instance of AHA asks instead of AHA: the other instances of AHA themselves.

There is nobody above them, so they settle by votes who leads. A term belongs to the candidate that more than half
of them have voted for, and each votes once in a term, durably. A vote is refused by who has more of the log, and
while a grant to the old leader runs. The leader's lease is the grants of so many followers that they and it are more
than half.

Two instances have no majority when one is gone. So with two, the leader goes on alone, and a promotion by force asks
the operator to say that the other one is stopped (`accept_loss`); a leader that meets a higher term makes way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import grpc
from cellmesh.api.aha.v1 import registry_pb2, registry_service_pb2_grpc
from cellmesh.api.common.v1 import mirror_pb2, mirror_service_pb2_grpc
from cellmesh.common.errors import LinkErr, NoSuchName, NotLeader, PromotionUnsafe, Retry
from cellmesh.common.mirror import voting
from cellmesh.common.mirror.arbiter import Leadership
from cellmesh.common.mirror.schema import FIRST_TERM, Facts
from cellmesh.common.rpc.channel import open_aio_channel
from cellmesh.common.telemetry.logs import get_logger
from cellmesh.common.tls.folder import IdentityFolder
from cellmesh.common.tls.identity import CellIdentity, registry_name

if TYPE_CHECKING:
    from cellmesh.common.mirror.role import Mirror

CALL_TIMEOUT_S: Final = 1.0
VOTE_RETRY_S: Final = 0.2
FOREVER_S: Final = float("inf")

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Peer:
    """Another instance that answers.

    Attributes:
        address: Where it serves.
        status: How it stands.
    """

    address: str
    status: mirror_pb2.MirrorStatus


class QuorumMesh:
    """The instances of AHA, as one of them asks them. Has the methods of `role.Mesh`.

    Args:
        identity: The name of the instance.
        folder: Its certificate; tells where instances of AHA are.
        own_address: Where it serves itself, as told to others; empty before it does.
        registered: Instances of AHA that its own registry knows, by name.
    """

    votes: Final = True

    def __init__(
        self,
        identity: CellIdentity,
        folder: IdentityFolder,
        own_address: Callable[[], str] = str,
        registered: Callable[[], dict[str, str]] = dict,
    ) -> None:
        self._identity = identity
        self._folder = folder
        self._own_address = own_address
        self._registered = registered
        self._mirror: Mirror | None = None

    def bind(self, mirror: Mirror) -> None:
        """Tell whose it is."""
        self._mirror = mirror

    async def claim(
        self, term: int, *, lease_s: float, force: bool = False, accept_loss: bool = False
    ) -> Leadership:
        """Ask to lead.

        Raises:
            NotLeader: another one leads.
            Retry: others still grant the lease of the old leader, or vote for somebody else.
            LinkErr: it was a follower, and nobody answers.
            PromotionUnsafe: too few answer for a majority.
        """
        facts = self._facts()
        if force or (facts.leader == self._identity.name and term > facts.term):
            return await self._elect(max(term, facts.term), force=force, accept_loss=accept_loss)
        found = _leading(await self._ask_all())
        if found is not None and found.status.term >= facts.term:
            raise _another(self._identity.name, found.status)
        if term > facts.term > 0:
            # Handed over: the old leader has released its lease.
            return await self._elect(term - 1, force=False, accept_loss=False)
        if facts.leader not in ("", self._identity.name):
            raise LinkErr(f"{facts.leader} led, and does not answer", name=facts.leader)
        return self._lead(max(term, facts.term, FIRST_TERM))

    async def renew(self, term: int, *, lease_s: float) -> Leadership:
        """Look whether anybody knows of a higher term. Raises NotLeader."""
        for peer in await self._ask_all():
            if peer.status.term > term:
                raise _another(self._identity.name, peer.status)
        return self._lead(term)

    async def transfer(self, term: int, successor: str) -> Leadership:
        """Let another one lead: it gets the votes for the next term itself."""
        if not successor:
            return self._lead(term)
        return Leadership(self._identity.service, successor, term + 1, 0.0)

    async def get(self, service: str) -> Leadership:
        """Who leads. Raises NoSuchName when nobody ever did, LinkErr when nobody tells."""
        facts = self._facts()
        mirror = self._mirror
        if mirror is not None and mirror.is_leader:
            return self._lead(mirror.term)
        peers = await self._ask_all()
        found = _leading(peers)
        if found is not None and found.status.term >= facts.term:
            return Leadership(service, found.status.name, found.status.term, 0.0)
        if facts.leader:
            return Leadership(service, facts.leader, facts.term, 0.0)
        if peers:
            raise LinkErr("the instances of AHA that answer have no leader now", name=service)
        if self._addresses():
            raise LinkErr("no other instance of AHA answers", name=service)
        raise NoSuchName(f"nobody has led {service}", name=service)

    async def addresses(self, service: str) -> dict[str, str]:
        """Where the instances serve, by name. Raises NoSuchName when none answers."""
        found = {peer.status.name: peer.address for peer in await self._ask_all()}
        if not found:
            raise NoSuchName("no other instance of AHA answers", name=service)
        return found

    async def close(self) -> None:
        """Nothing is kept open."""

    def members(self) -> set[str]:
        """The names of all instances that count, its own among them."""
        facts = self._facts()
        return {self._identity.name, *facts.followers, *([facts.leader] if facts.leader else [])}

    def grants_needed(self) -> int | None:
        """How many followers must grant the lease; None where there are too few for majorities."""
        count = len(self.members())
        return count // 2 if count >= 3 else None

    async def _elect(self, term: int, *, force: bool, accept_loss: bool) -> Leadership:
        """Get the votes of more than half for the term after the given one."""
        mirror = self._mirror
        assert mirror is not None
        members = self.members()
        request = await voting.candidacy(mirror, term + 1, released=not force)
        if request is None:
            raise Retry(f"{self._identity.name} has voted for another one", wait_s=VOTE_RETRY_S)
        peers = await self._ask_all()
        answers = await asyncio.gather(
            *(self._vote(peer, request) for peer in peers if peer.status.name in members)
        )
        votes = 1
        wait_s = 0.0
        for answer in answers:
            if answer is None:
                continue
            votes += answer.granted
            wait_s = max(wait_s, answer.wait_ms / 1000)
            if answer.term > request.term:
                raise Retry(
                    f"there is a higher term, {answer.term}, already", wait_s=VOTE_RETRY_S, term=answer.term
                )
        if votes > len(members) // 2 or (accept_loss and len(members) == 2):
            _log.warning("elected", term=request.term, votes=votes, members=sorted(members))
            return self._lead(request.term)
        if wait_s:
            raise Retry("the lease of the old leader still runs", wait_s=wait_s)
        silent = sorted(members - {peer.status.name for peer in peers} - {self._identity.name})
        if votes + len(silent) > len(members) // 2 and silent:
            raise PromotionUnsafe(
                f"{votes} of {len(members)} instances vote for {self._identity.name}, and {', '.join(silent)} "
                "cannot be asked",
                name=self._identity.name,
                missing=silent,
                hint="with two instances: be sure that the other one is stopped, and accept the loss",
            )
        raise Retry(
            f"{votes} of {len(members)} instances vote for {self._identity.name}", wait_s=VOTE_RETRY_S
        )

    async def _vote(self, peer: Peer, request: mirror_pb2.VoteRequest) -> mirror_pb2.VoteResponse | None:
        channel = self._open(peer.address)
        try:
            stub = mirror_service_pb2_grpc.MirrorServiceStub(channel)
            return await stub.Vote(request, timeout=CALL_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            _log.info("no_vote", instance=peer.status.name, error=str(error.details()))
            return None
        finally:
            await channel.close(None)

    async def _ask_all(self) -> list[Peer]:
        """The other instances that answer."""
        addresses = self._addresses()
        found = await asyncio.gather(*(self._ask(address) for address in addresses))
        told: dict[str, str] = {}
        for _, others in found:
            told |= others
        more = sorted(set(told.values()) - set(addresses) - {self._own_address()})
        found += await asyncio.gather(*(self._ask(address) for address in more))
        peers = {
            peer.status.name: peer
            for peer, _ in found
            if peer is not None and peer.status.name != self._identity.name
        }
        return list(peers.values())

    async def _ask(self, address: str) -> tuple[Peer | None, dict[str, str]]:
        """How an instance stands, and which others it knows of."""
        channel = self._open(address)
        try:
            response = await mirror_service_pb2_grpc.MirrorServiceStub(channel).GetMirrorStatus(
                mirror_pb2.GetMirrorStatusRequest(), timeout=CALL_TIMEOUT_S
            )
            others = await registry_service_pb2_grpc.RegistryServiceStub(channel).GetService(
                registry_pb2.GetServiceRequest(name=self._identity.service), timeout=CALL_TIMEOUT_S
            )
        except grpc.aio.AioRpcError:
            return None, {}
        finally:
            await channel.close(None)
        return Peer(address, response.status), {found.name: found.address for found in others.instances}

    def _open(self, address: str) -> grpc.aio.Channel:
        # One of its own each time: a kept one that was cut would wait before it connects again.
        return open_aio_channel(
            address, identity=self._folder, server_name=registry_name(self._identity.network)
        )

    def _addresses(self) -> list[str]:
        mesh = self._folder.mesh()
        known: Iterable[str] = (*(mesh.registry_addresses if mesh else ()), *self._registered().values())
        return sorted({address for address in known if address} - {self._own_address()})

    def _facts(self) -> Facts:
        return self._mirror.facts if self._mirror is not None else Facts()

    def _lead(self, term: int) -> Leadership:
        # With a majority to ask, only grants make a lease.
        until_s = FOREVER_S if self.grants_needed() is None else 0.0
        return Leadership(self._identity.service, self._identity.name, term, until_s)


def _leading(peers: Iterable[Peer]) -> Peer | None:
    """The one of the highest term among those that lead."""
    found = [peer for peer in peers if peer.status.role == mirror_pb2.MIRROR_ROLE_LEADER]
    return max(found, key=lambda peer: peer.status.term, default=None)


def _another(name: str, status: mirror_pb2.MirrorStatus) -> NotLeader:
    leader = status.name if status.role == mirror_pb2.MIRROR_ROLE_LEADER else status.leader
    return NotLeader(
        f"{leader or 'another instance'} leads in term {status.term}",
        name=name,
        leader=leader,
        term=status.term,
        service="aha",
    )


__all__ = ["QuorumMesh"]
