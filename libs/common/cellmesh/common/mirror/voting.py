"""Votes among the instances of AHA: each has one in a term, and gives it durably."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cellmesh.api.common.v1 import mirror_pb2
from cellmesh.common.time.clock import boottime_s

if TYPE_CHECKING:
    from cellmesh.common.mirror.role import Mirror


async def vote(mirror: Mirror, request: mirror_pb2.VoteRequest) -> mirror_pb2.VoteResponse:
    """Vote for another instance, or not. Each votes once in a term, durably."""
    async with mirror.lock:
        facts = mirror.facts
        known = max(mirror.term, facts.term)
        if request.term <= known:
            again = request.term == facts.term and facts.leader == request.candidate
            return mirror_pb2.VoteResponse(granted=again, term=known)
        if not request.released:
            if mirror.is_leader and mirror.gate.is_open:
                return mirror_pb2.VoteResponse(term=known)
            left_s = mirror.granted_until_s - boottime_s() if mirror.is_follower else 0.0
            if left_s > 0:
                return mirror_pb2.VoteResponse(term=known, wait_ms=int(left_s * 1000) + 1)
        position = await mirror.workers.run(mirror.position)
        if (request.last_term, request.next_offset) < (position.last_term, position.next_offset):
            return mirror_pb2.VoteResponse(term=known)
        if mirror.is_leader:
            await mirror.become_follower(request.candidate, request.term)
        else:
            facts = replace(facts, term=request.term, leader=request.candidate)
            await mirror.workers.run(mirror.store_facts, facts)
            # Streams of lower terms end with their next message.
            mirror.term = request.term
        return mirror_pb2.VoteResponse(granted=True, term=request.term)


async def candidacy(mirror: Mirror, term: int, *, released: bool) -> mirror_pb2.VoteRequest | None:
    """Vote for itself, durably; what is to be asked of the others. None: it has voted for another one.

    Called while the lock is held.
    """
    facts = mirror.facts
    if term <= max(mirror.term, facts.term) and facts.leader != mirror.instance.name:
        return None
    # Who led before is a member still, and so is everybody it counted.
    members = {*facts.followers, *([facts.leader] if facts.leader else [])} - {mirror.instance.name}
    await mirror.workers.run(
        mirror.store_facts,
        replace(facts, term=term, leader=mirror.instance.name, followers=tuple(sorted(members))),
    )
    mirror.term = term
    position = await mirror.workers.run(mirror.position)
    return mirror_pb2.VoteRequest(
        term=term,
        candidate=mirror.instance.name,
        last_term=position.last_term,
        next_offset=position.next_offset,
        released=released,
    )
