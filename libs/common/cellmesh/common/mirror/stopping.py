"""How a leader that is told to stop has one of its followers lead first.

    nobody there            nobody is connected, and AHA knows of none that lives: it stops at once
    waiting for one in step  writes go on meanwhile
    TakeOver                the follower asks for the leadership, gets it, and answers when it leads

All of it is bounded; where it does not succeed, the leader stops as it is, and its followers wait for it.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import grpc
from cellmesh.api.common.v1 import mirror_pb2, mirror_service_pb2_grpc
from cellmesh.common.errors import CellError, from_rpc_error
from cellmesh.common.mirror.instance import Place
from cellmesh.common.telemetry.logs import get_logger

if TYPE_CHECKING:
    from cellmesh.common.mirror.leading import Follower
    from cellmesh.common.mirror.role import Mirror

IN_STEP_COUNT: Final = 1000
"""A follower that lacks no more records than this may take over: writes wait until it has them."""

CONNECT_S: Final = 1.0
"""For so long a follower that AHA knows to live, and that is not connected, may connect: it may just have started."""

SWITCH_S: Final = 3.0
"""What a follower that has everything may take until it leads, beyond the time given."""

POLL_S: Final = 0.02

_log = get_logger(__name__)


async def make_way(mirror: Mirror, timeout_s: float) -> str:
    """Have a follower lead before this instance stops; returns its name, "" if none does or none is needed.

    Takes at most `timeout_s` and SWITCH_S. Raises nothing: whatever goes wrong is logged.
    """
    if not (mirror.is_leader and mirror.has_followers and timeout_s > 0):
        return ""
    began_s = time.monotonic()
    end_s = began_s + timeout_s
    places = await _live_followers(mirror, timeout_s)
    while places and mirror.is_leader:
        found = await _in_step(mirror, places, began_s, end_s)
        if found is None:
            break
        place = places.pop(found.name)
        _log.info("handing_over", successor=found.name, offset=found.next_offset)
        try:
            term = await _have_take_over(mirror, place, end_s - time.monotonic())
        except CellError as error:
            # Perhaps it stops as well, or came to no answer.
            _log.warning("successor_failed", successor=found.name, error=str(error))
            continue
        _log.info("handed_over", successor=found.name, term=term, took_s=round(time.monotonic() - began_s, 3))
        return found.name
    if mirror.is_leader:
        _log.warning(
            "not_handed_over",
            reason="no follower is there that is in step and can lead",
            followers=sorted(mirror.leading.followers),
        )
        return ""
    return mirror.leader.name


async def _live_followers(mirror: Mirror, timeout_s: float) -> dict[str, Place]:
    """The followers that are registered, by name, and where. Who stops has left the registry."""
    if not mirror.confirmed:
        # AHA has not said that it leads: there is nothing to hand over.
        return {}
    try:
        addresses = await asyncio.wait_for(mirror.addresses(), timeout_s)
    except (CellError, TimeoutError) as error:
        _log.info("followers_unknown", error=str(error))
        return {}
    return {name: Place(name, addresses[name]) for name in mirror.leading.followers if addresses.get(name)}


async def _in_step(mirror: Mirror, places: dict[str, Place], began_s: float, end_s: float) -> Follower | None:
    """The most advanced of these followers, once one lacks little; None when none comes so far in time."""
    while True:
        followers = [
            found for name, found in mirror.leading.followers.items() if name in places and found.connected
        ]
        now_s = time.monotonic()
        if now_s >= end_s or (not followers and now_s - began_s > CONNECT_S):
            return None
        best = max(followers, key=lambda found: found.next_offset, default=None)
        if best is not None:
            next_offset = await mirror.workers.run(mirror.next_offset)
            if next_offset - best.next_offset <= IN_STEP_COUNT:
                return best
        await asyncio.sleep(POLL_S)


async def _have_take_over(mirror: Mirror, place: Place, left_s: float) -> int:
    """Ask a follower to lead; returns the term in which it does. Raises CellError."""
    request = mirror_pb2.TakeOverRequest(term=mirror.term)
    request.timeout.FromMilliseconds(int(max(left_s, 0.0) * 1000))
    stub = mirror_service_pb2_grpc.MirrorServiceStub(mirror.channel_to(place))
    try:
        response = await stub.TakeOver(request, timeout=max(left_s, 0.0) + SWITCH_S)
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error, cell=place.name, address=place.address) from None
    return response.term


__all__ = ["make_way"]
