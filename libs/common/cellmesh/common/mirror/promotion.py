"""How a follower becomes leader, and how a leader makes way."""

from __future__ import annotations

import asyncio
import contextvars
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import grpc
from cellmesh.api.common.v1 import mirror_pb2, mirror_service_pb2_grpc
from cellmesh.common.errors import (
    AuthDeny,
    BadState,
    CellError,
    MirrorDiverged,
    NotLeader,
    PromotionUnsafe,
    Retry,
    TimeOut,
    from_rpc_error,
)
from cellmesh.common.failpoints import failpoint
from cellmesh.common.mirror.arbiter import Leadership
from cellmesh.common.mirror.instance import Place
from cellmesh.common.rpc.channel import open_aio_channel
from cellmesh.common.telemetry.logs import get_logger
from cellmesh.common.time.clock import boottime_s

if TYPE_CHECKING:
    from cellmesh.common.mirror.role import Mirror

HAND_OVER_S: Final = 10.0
"""How long a leader that takes no writes waits for its successor to have everything."""

CALL_TIMEOUT_S: Final = 1.0
CLAIM_LEASES: Final = 4.0
"""A claim with force is given up after so many leases."""

_log = get_logger(__name__)


async def promote(mirror: Mirror, *, force: bool, accept_loss: bool) -> None:
    """Make an instance leader. See MirrorService.Promote for what is raised."""
    if mirror.is_leader:
        raise BadState(
            f"{mirror.instance.name} leads already, in term {mirror.term}", name=mirror.instance.name
        )
    if force:
        await _take(mirror, accept_loss=accept_loss)
    else:
        await _ask(mirror, HAND_OVER_S)


async def take_over(mirror: Mirror, caller: str, request: mirror_pb2.TakeOverRequest) -> int:
    """Lead, as the leader asks for that; returns the new term. See MirrorService.TakeOver for what is raised."""
    leader = mirror.leader.name
    if not mirror.is_follower or request.term != mirror.term or (caller and caller != leader):
        raise BadState(
            f"{mirror.instance.name} does not follow {caller or 'anybody'} in term {request.term} now",
            name=mirror.instance.name,
        )
    if not mirror.events.is_ready():
        raise BadState(f"{mirror.instance.name} stops, or takes no writes", name=mirror.instance.name)
    # To its end whatever becomes of the call: once the leader has made way, nobody leads but this one. In a context of
    # its own, as it outlives the call.
    asking = asyncio.create_task(
        _ask(mirror, _timeout_s(request)), name="mirror-take-over", context=contextvars.Context()
    )
    await asyncio.shield(asking)
    return mirror.term


async def hand_over(mirror: Mirror, caller: str, request: mirror_pb2.HandOverRequest) -> tuple[int, int]:
    """Make way for a follower; returns the new term and where the log of this one ends.

    Raises:
        NotLeader, AuthDeny, TimeOut: see MirrorService.HandOver.
    """
    successor = request.successor
    if caller and caller != successor:
        raise AuthDeny(f"{caller} may not have the leadership passed to {successor}", username=caller)
    async with mirror.lock:
        if not mirror.is_leader or request.term != mirror.term:
            raise mirror.not_leader()
        found = mirror.leading.followers.get(successor)
        if found is None or not found.connected:
            raise BadState(f"{successor} does not follow {mirror.instance.name} now", name=successor)
        # First those parts that act by themselves: what they are about to do is handed on.
        await mirror.tell_role(False)
        mirror.gate.close(_handing_over, draining=True)
        try:
            end = await mirror.workers.run(_flush, mirror)
            wait_s = _timeout_s(request)
            if not await mirror.leading.wait_until_at(successor, end, wait_s):
                raise TimeOut(
                    f"{successor} has not come to offset {end} in {wait_s:g} s; "
                    f"{mirror.instance.name} goes on as leader",
                    name=successor,
                )
            failpoint("mirror_before_transfer")
        except BaseException:
            mirror.gate.open()
            await mirror.tell_role(True)
            raise
        # From here on AHA may have passed it on, whatever is heard of that.
        mirror.gate.close(_handing_over)
        try:
            leadership = await mirror.mesh.transfer(mirror.term, successor)
        except CellError:
            await _find_out(mirror)
            raise
        except asyncio.CancelledError:
            mirror.reopen_when_renewed()
            raise
        await mirror.become_follower(successor, leadership.term)
        return leadership.term, end


async def catch_up(mirror: Mirror, *, accept_loss: bool) -> None:
    """Take in what other instances have and this one has not. Nothing more is acknowledged anywhere meanwhile.

    Raises:
        PromotionUnsafe: acknowledged changes may be on instances that do not answer.
    """
    answering = await _others(mirror)
    _check_safe(mirror, {place.name for place, _ in answering}, accept_loss=accept_loss)
    for place, status in sorted(answering, key=lambda found: -found[1].next_offset):
        if status.next_offset <= mirror.applied_offset:
            break
        _log.info("catching_up", source=place.name, offset=status.next_offset)
        try:
            await mirror.follow(place, observer=True)
        except MirrorDiverged as error:
            if not accept_loss:
                raise PromotionUnsafe(
                    f"{place.name} has changes up to offset {status.next_offset} that do not continue those here",
                    name=mirror.instance.name,
                    missing=[place.name],
                ) from error
        except CellError as error:
            if not accept_loss:
                raise PromotionUnsafe(
                    f"{place.name} has changes that could not be fetched: {error.message}",
                    name=mirror.instance.name,
                    missing=[place.name],
                ) from error


async def _ask(mirror: Mirror, timeout_s: float) -> None:
    """Have the leader hand over."""
    stub = mirror_service_pb2_grpc.MirrorServiceStub(mirror.leader_channel())
    request = mirror_pb2.HandOverRequest(term=mirror.term, successor=mirror.instance.name)
    request.timeout.FromMilliseconds(int(timeout_s * 1000))
    try:
        response = await stub.HandOver(request, timeout=timeout_s + 5.0)
    except grpc.aio.AioRpcError as error:
        found = from_rpc_error(error, cell=mirror.leader.name, address=mirror.leader.address)
        found.set("hint", "if the leader will not come back, promote with force")
        raise found from None
    async with mirror.lock:
        if mirror.is_leader:
            # The stream ended first, and AHA told.
            return
        await mirror.stop_following()
        failpoint("mirror_before_claim")
        try:
            leadership = await _claim_handed_over(mirror, response.term)
            await mirror.become_leader(leadership)
        except BaseException:
            # AHA has it as leader: following goes on until AHA tells so.
            mirror.go_on_following()
            raise


async def _claim_handed_over(mirror: Mirror, term: int) -> Leadership:
    """Claim what the old leader has passed on."""
    try:
        return await mirror.mesh.claim(term, lease_s=mirror.settings.lease_s)
    except (PromotionUnsafe, Retry) as error:
        # Too few instances of AHA answered in time. The old leader has made way, so this one tries until they do.
        _log.warning("votes_missing", error=str(error))
        return await _claim(mirror, accept_loss=False)


async def _take(mirror: Mirror, *, accept_loss: bool) -> None:
    """Lead without the leader there is."""
    async with mirror.lock:
        if mirror.is_leader:
            return
        names = {place.name for place, _ in await _others(mirror)}
        _check_safe(mirror, names, accept_loss=accept_loss)
        # From here on the old leader gets no grant, and what it was granted runs out.
        mirror.grants = False
        await mirror.stop_following()
        try:
            await mirror.workers.run(mirror.store_facts, replace(mirror.facts, promoting=True))
            await asyncio.sleep(max(0.0, mirror.granted_until_s - boottime_s()))
            failpoint("mirror_before_claim")
            leadership = await _claim(mirror, accept_loss=accept_loss)
            await catch_up(mirror, accept_loss=accept_loss)
            # The lease may have run out meanwhile, but nobody else can have been given a term.
            leadership = await mirror.mesh.claim(leadership.term, lease_s=mirror.settings.lease_s)
            await mirror.become_leader(leadership)
        except BaseException:
            mirror.grants = True
            mirror.go_on_following()
            raise


async def _claim(mirror: Mirror, *, accept_loss: bool) -> Leadership:
    """Claim the leadership until the lease of the old leader has run out."""
    end_s = boottime_s() + mirror.settings.lease_s * CLAIM_LEASES
    while True:
        try:
            return await mirror.mesh.claim(
                mirror.term, lease_s=mirror.settings.lease_s, force=True, accept_loss=accept_loss
            )
        except NotLeader:
            raise
        except Retry as error:
            wait_s = float(error.get("wait_s") or 0.1)
            if boottime_s() + wait_s > end_s:
                raise
            await asyncio.sleep(max(wait_s, 0.02))


def _check_safe(mirror: Mirror, answering: set[str], *, accept_loss: bool) -> None:
    """Whether every acknowledged change is on an instance that answers."""
    if mirror.mesh.votes:
        # Nobody with more of the log has voted for it, and among those who voted somebody has each of them.
        return
    facts = mirror.facts
    needed = facts.synchronous_count
    missing = sorted(set(facts.followers) - answering - {mirror.instance.name})
    if needed and len(missing) >= needed and not accept_loss:
        raise PromotionUnsafe(
            f"{', '.join(missing)} may have acknowledged changes that {mirror.instance.name} has not, and "
            f"{'does' if len(missing) == 1 else 'do'} not answer",
            name=mirror.instance.name,
            missing=missing,
            hint="bring them back, or accept the loss",
        )


async def _others(mirror: Mirror) -> list[tuple[Place, mirror_pb2.MirrorStatus]]:
    """The other instances that answer, and how they stand."""
    addresses = await mirror.addresses()
    places = [Place(name, address) for name, address in addresses.items() if name != mirror.instance.name]

    async def ask(place: Place) -> mirror_pb2.MirrorStatus | None:
        # A channel of its own: one that was cut would still wait before it connects again.
        channel = open_aio_channel(place.address, identity=mirror.instance.folder, server_name=place.name)
        try:
            stub = mirror_service_pb2_grpc.MirrorServiceStub(channel)
            response = await stub.GetMirrorStatus(
                mirror_pb2.GetMirrorStatusRequest(), timeout=CALL_TIMEOUT_S, wait_for_ready=True
            )
        except grpc.aio.AioRpcError as error:
            _log.info("instance_silent", instance=place.name, error=str(error.details()))
            return None
        finally:
            await channel.close(None)
        return response.status

    found = await asyncio.gather(*map(ask, places))
    return [(place, status) for place, status in zip(places, found, strict=True) if status is not None]


async def _find_out(mirror: Mirror) -> None:
    """Who leads, after passing the leadership on ended in an error. Hold the lock; the gate is closed."""
    try:
        leadership = await mirror.mesh.get(mirror.instance.service)
    except CellError:
        # Closed until AHA answers a renewal; see `Mirror._keep_leading`.
        mirror.reopen_when_renewed()
        return
    if leadership.leader == mirror.instance.name:
        mirror.gate.open()
        await mirror.tell_role(True)
    else:
        await mirror.become_follower(leadership.leader, leadership.term)


def _timeout_s(request: mirror_pb2.HandOverRequest | mirror_pb2.TakeOverRequest) -> float:
    """How long a leader may wait for its successor."""
    asked_s = request.timeout.ToNanoseconds() / 1e9 if request.HasField("timeout") else HAND_OVER_S
    return max(0.0, min(asked_s, HAND_OVER_S))


def _flush(mirror: Mirror) -> int:
    # Privileged, so it is committed behind all that was being written when the gate was closed.
    mirror.store_facts(mirror.facts)
    return mirror.next_offset()


def _handing_over() -> Retry:
    return Retry("the leader is handing over to another instance", wait_s=0.5)


__all__ = ["catch_up", "hand_over", "promote", "take_over"]
