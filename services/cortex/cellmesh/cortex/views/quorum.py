"""Merge requests: forks of a view with a quorum are merged when enough users have voted for it.

What a view with a quorum asks for is its fact "quorum": a count, and the roles whose users may vote. A fork's facts are
"merge" (the request), "votes" by user, and "merging" from the last vote on until the fork is gone. What became of requests is the
parent's fact "merges".
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import AuthDeny, BadState, CantMergeView, NoSuchView, SynErr
from cellmesh.common.storage import WriteTxn
from cellmesh.cortex.layers.layer import load_layers
from cellmesh.cortex.values.ids import ViewId
from cellmesh.cortex.views.merge import merge_view
from cellmesh.cortex.views.restack import restacked, stored_view
from cellmesh.cortex.views.stack_changes import Step, delete_view, set_view_facts
from cellmesh.cortex.views.stacks import remove_layer
from cellmesh.cortex.views.view import load_views

if TYPE_CHECKING:
    from cellmesh.cortex.views.graph import Graph
    from cellmesh.cortex.views.view import View

Facts = dict[str, Any]

MERGES_KEPT_MAX: Final = 1000
"""Merge requests that a view remembers."""

MERGE: Final = "merge"
VOTES: Final = "votes"
MERGING: Final = "merging"
QUORUM: Final = "quorum"
MERGES: Final = "merges"


def _parent(graph: Graph, view: View) -> View:
    parent = None if view.parent is None else graph.views.get(ViewId(view.parent))
    if parent is None or not parent.facts.get(QUORUM):
        raise BadState("the view is no fork of a view with a quorum", iden=str(view.id))
    return parent


def request_of(view: View) -> Facts | None:
    """Return the merge request of a fork, or None."""
    found: Facts | None = view.facts.get(MERGE)
    return found


def require_request(graph: Graph, view: View) -> Facts:
    """Return the merge request of a fork; raises BadState if there is none."""
    _parent(graph, view)
    found = request_of(view)
    if found is None:
        raise BadState("the view has no merge request", iden=str(view.id))
    return found


def summary(graph: Graph, view: View) -> Facts | None:
    """Return a merge request with its votes and what the quorum is; None if there is no request."""
    parent = _parent(graph, view)
    request = request_of(view)
    if request is None:
        return None
    return {
        "merge": request,
        "quorum": parent.facts[QUORUM],
        "merging": bool(view.facts.get(MERGING)),
        "votes": list(view.facts.get(VOTES, {}).values()),
        "offset": offset_of(graph, view),
    }


def offset_of(graph: Graph, view: View) -> int:
    """Return the offset behind the last edit of a fork's own layer; 0 if there was none."""
    found = graph.activities.of_layer(str(view.layers[0].id))
    return 0 if found is None else found.offset + 1


def merging_views(graph: Graph, view: View) -> list[str]:
    """Return the idens of the forks of a view with a quorum that have merge requests.

    Raises:
        BadState: the view has no quorum.
    """
    if not view.facts.get(QUORUM):
        raise BadState("the view has no quorum", iden=str(view.id))
    return [
        str(other.id)
        for other in graph.views.values()
        if other.parent == view.id and request_of(other) is not None
    ]


def _change(graph: Graph, view: View, change: Callable[[Facts], None], user: str) -> View:
    def op(txn: WriteTxn) -> Sequence[Step]:
        facts = dict(stored_view(txn, view.id).facts)
        if facts.get(MERGING):
            raise BadState("the view is being merged", iden=str(view.id))
        change(facts)
        return (set_view_facts(view.id, facts),)

    graph.change_stacks(op, user)
    return graph.view(view.id)


def set_request(graph: Graph, view: View, request: Facts, *, user: str) -> View:
    """Ask for a fork to be merged; earlier votes are void. Durable on return; raises BadState."""
    _parent(graph, view)

    def change(facts: Facts) -> None:
        facts[MERGE] = request
        facts.pop(VOTES, None)

    return _change(graph, view, change, user)


def delete_request(graph: Graph, view: View, *, user: str) -> Facts | None:
    """Withdraw a merge request, with its votes; returns it."""
    _parent(graph, view)
    found = request_of(view)

    def change(facts: Facts) -> None:
        facts.pop(MERGE, None)
        facts.pop(VOTES, None)

    if found is not None:
        _change(graph, view, change, user)
    return found


def set_comment(graph: Graph, view: View, comment: str, now_ms: int, *, user: str) -> Facts:
    """Change what a merge request says; returns it."""
    require_request(graph, view)

    def change(facts: Facts) -> None:
        if MERGE not in facts:
            raise BadState("the merge request was withdrawn", iden=str(view.id))
        facts[MERGE] = {**facts[MERGE], "comment": comment, "updated": now_ms}

    return dict(_change(graph, view, change, user).facts[MERGE])


def may_vote(graph: Graph, view: View, voter: str, roles: Collection[str]) -> None:
    """Make certain that a user may vote on the merging of a fork.

    Args:
        voter: The user's iden.
        roles: Idens of the user's roles.

    Raises:
        AuthDeny: it is the user's own fork or request, or none of the roles is of the quorum.
        BadState: there is no quorum, or no request.
    """
    parent = _parent(graph, view)
    request = request_of(view)
    owners = {view.facts.get("creator"), None if request is None else request.get("creator")}
    if voter in owners:
        raise AuthDeny("users do not vote on what they have made themselves", user=voter)
    if request is None:
        raise BadState("the view has no merge request", iden=str(view.id))
    if not set(parent.facts[QUORUM].get("roles", ())) & set(roles):
        raise AuthDeny("none of the user's roles is one of the quorum", user=voter)


def set_vote(graph: Graph, view: View, vote: Facts, *, user: str) -> View:
    """Store a vote; durable on return. `is_decided` tells whether the fork is to be merged then."""

    def change(facts: Facts) -> None:
        if MERGE not in facts:
            raise BadState("the merge request was withdrawn", iden=str(view.id))
        facts[VOTES] = {**facts.get(VOTES, {}), vote["user"]: vote}

    return _change(graph, view, change, user)


def change_vote(
    graph: Graph, view: View, voter: str, change: Callable[[Facts], Facts | None], *, user: str
) -> Facts | None:
    """Change a vote, or remove it where `change` gives None; returns what it was, or None if there was none."""
    require_request(graph, view)
    found: Facts | None = view.facts.get(VOTES, {}).get(voter)
    if found is None:
        return None

    def apply(facts: Facts) -> None:
        votes = dict(facts.get(VOTES, {}))
        old = votes.pop(voter, None)
        new = None if old is None else change(old)
        if new is not None:
            votes[voter] = new
        facts[VOTES] = votes

    _change(graph, view, apply, user)
    return found


def is_decided(graph: Graph, view: View) -> bool:
    """Whether enough users are for merging a fork as it is now, and none is against it."""
    parent = None if view.parent is None else graph.views.get(ViewId(view.parent))
    if parent is None or request_of(view) is None or not parent.facts.get(QUORUM):
        return False
    now = offset_of(graph, view)
    votes: list[Facts] = list(view.facts.get(VOTES, {}).values())
    if any(not vote["approved"] for vote in votes):
        return False
    return len([vote for vote in votes if vote["offset"] == now]) >= int(parent.facts[QUORUM]["count"])


def begin_merging(graph: Graph, view: View, now_ms: int, *, user: str) -> View:
    """Note that a fork is being merged, and with what votes; durable on return. `merge_decided` does it."""
    parent = _parent(graph, view)

    def op(txn: WriteTxn) -> Sequence[Step]:
        known = stored_view(txn, view.id)
        facts = dict(known.facts)
        if facts.get(MERGING):
            return ()
        above = dict(stored_view(txn, parent.id).facts)
        done = {**facts[MERGE], "votes": list(facts.get(VOTES, {}).values()), "merged": now_ms}
        above[MERGES] = [*above.get(MERGES, ()), done][-MERGES_KEPT_MAX:]
        facts[MERGING] = True
        return (set_view_facts(parent.id, above), set_view_facts(view.id, facts))

    graph.change_stacks(op, user)
    return graph.view(view.id)


def merge_decided(graph: Graph, view: View, *, user: str) -> View:
    """Merge a fork whose merging has begun, and remove it with its layer; its own forks become the parent's.

    It may be called again after it was cut short. Returns the parent.
    """
    parent = graph.view(view.parent)
    layer = view.layers[0]
    merge_view(graph, view, user=user)

    def op(txn: WriteTxn) -> Sequence[Step]:
        views = load_views(txn, load_layers(txn))
        steps: list[Step] = []
        if view.id not in views:
            raise NoSuchView("the view was removed", iden=str(view.id))
        for other in views.values():
            if other.parent == view.id:
                moved = replace(other, parent=parent.id, layers=(other.layers[0], *view.layers[1:]))
                steps += restacked(views, moved)
        return [*steps, delete_view(view.id)]

    graph.change_stacks(op, user)
    if not any(one.id == layer.id for other in graph.views.values() for one in other.layers):
        remove_layer(graph, layer, user=user)
    return parent


def check_free_merge(graph: Graph, view: View) -> None:
    """Make certain that a fork may be merged without votes.

    Raises:
        SynErr: the view below has a quorum.
        CantMergeView: the fork is protected, or is not to be merged.
    """
    parent = None if view.parent is None else graph.views.get(ViewId(view.parent))
    if parent is not None and parent.facts.get(QUORUM):
        raise SynErr("the view is merged when its quorum has voted for it", view=str(view.id))
    for fact in ("nomerge", "protected"):
        if view.facts.get(fact):
            raise CantMergeView(f"the view must not be merged: {fact}", view=str(view.id))
