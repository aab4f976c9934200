"""Methods of views: merge requests and the votes on them, by which a view with a quorum takes forks in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common import hashing
from cellmesh.common.auth.principals import ALL_ID
from cellmesh.common.errors import AuthDeny, BadState
from cellmesh.cortex.storm.objects.stacks import ViewObject, own_iden
from cellmesh.cortex.storm.objects.view_methods import current
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, ParameterSpec
from cellmesh.cortex.storm.runtime.rights import AUTH
from cellmesh.cortex.storm.runtime.values import tobool, tostr
from cellmesh.cortex.views import quorum

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext
    from cellmesh.cortex.views.view import View


def _now(context: RunContext) -> int:
    return context.session.graph.now_ms()


def _request(context: RunContext, self: ViewObject) -> Any:
    return quorum.request_of(current(context, self))


def _summary(context: RunContext, self: ViewObject) -> Any:
    context.session.sync()
    return quorum.summary(context.session.graph, current(context, self))


def _set_request(context: RunContext, self: ViewObject, comment: Any) -> Any:
    request = {
        "iden": hashing.guid(),
        "creator": own_iden(context),
        "created": _now(context),
    }
    if comment is not None:
        request["comment"] = tostr(comment)
    context.session.pause()
    self.view = quorum.set_request(context.session.graph, current(context, self), request, user=context.user)
    return request


def _delete_request(context: RunContext, self: ViewObject) -> Any:
    context.session.pause()
    return quorum.delete_request(context.session.graph, current(context, self), user=context.user)


def _set_comment(context: RunContext, self: ViewObject, comment: Any) -> Any:
    context.session.pause()
    return quorum.set_comment(
        context.session.graph, current(context, self), tostr(comment), _now(context), user=context.user
    )


def _roles(context: RunContext) -> set[str]:
    auth: Any = context.engine.capabilities.get(AUTH)
    if auth is None:
        return {ALL_ID}
    user = auth.policy.users.get(own_iden(context))
    return {ALL_ID, *(user.role_ids if user is not None else ())}


def is_asked(context: RunContext, view: View) -> bool:
    """Whether the user may vote on the merging of a fork, and has not yet."""
    voter = own_iden(context)
    try:
        quorum.may_vote(context.session.graph, view, voter, _roles(context))
    except (AuthDeny, BadState):
        return False
    return voter not in view.facts.get(quorum.VOTES, {})


def _set_vote(context: RunContext, self: ViewObject, approved: Any, comment: Any) -> Any:
    graph = context.session.graph
    context.session.sync()
    view = current(context, self)
    voter = own_iden(context)
    quorum.may_vote(graph, view, voter, _roles(context))
    vote = {
        "user": voter,
        "approved": tobool(approved),
        "created": _now(context),
        "offset": quorum.offset_of(graph, view),
    }
    if comment is not None:
        vote["comment"] = tostr(comment)
    context.session.pause()
    self.view = quorum.set_vote(graph, view, vote, user=context.user)
    if quorum.is_decided(graph, self.view):
        self.view = quorum.begin_merging(graph, self.view, _now(context), user=context.user)
        # In the background where a cell runs, which goes on with it wherever it ended; else at once.
        merges: Any = context.engine.capabilities.get("syncing")
        if merges is not None:
            merges.wake()
        else:
            quorum.merge_decided(graph, self.view, user=context.user)
            context.session.generation += 1
    return vote


def _vote_comment(context: RunContext, self: ViewObject, comment: Any) -> Any:
    voter, now, text = own_iden(context), _now(context), tostr(comment)
    context.session.pause()
    found = quorum.change_vote(
        context.session.graph,
        current(context, self),
        voter,
        lambda vote: {**vote, "comment": text, "updated": now},
        user=context.user,
    )
    if found is None:
        raise BadState("the user has not voted", user=voter)
    return {**found, "comment": text, "updated": now}


def _delete_vote(context: RunContext, self: ViewObject, user: Any) -> Any:
    voter = own_iden(context)
    if user is not None and tostr(user) != voter:
        if context.run.rights is not None and not context.run.rights.is_admin():
            raise AuthDeny("only administrators remove the votes of others", user=voter)
        voter = tostr(user)
    context.session.pause()
    return quorum.change_vote(
        context.session.graph, current(context, self), voter, lambda vote: None, user=context.user
    )


def _merging(context: RunContext, self: ViewObject) -> list[str]:
    return quorum.merging_views(context.session.graph, current(context, self))


def _merges(context: RunContext, self: ViewObject) -> Iterator[Any]:
    yield from reversed(current(context, self).facts.get(quorum.MERGES, ()))


_COMMENT: Final = ParameterSpec("comment", type="str", doc="What to say.")

_MAYBE_COMMENT: Final = ParameterSpec("comment", None, "str", "What to say.")

METHODS: Final = (
    FunctionSpec(
        "delMergeRequest", "Withdraw its merge request.", _delete_request, (), "dict", changes_state=True
    ),
    FunctionSpec(
        "delMergeVote",
        "Remove a vote.",
        _delete_vote,
        (ParameterSpec("useriden", None, "str", "Whose; the own one when left out."),),
        "dict",
        changes_state=True,
    ),
    FunctionSpec("getMergeRequest", "Its merge request.", _request, (), "dict"),
    FunctionSpec(
        "getMergeRequestSummary", "Its merge request, the votes and the quorum.", _summary, (), "dict"
    ),
    FunctionSpec(
        "getMerges",
        "Merge requests whose forks were merged into it, the last one first.",
        _merges,
        (),
        "dict",
        is_generator=True,
    ),
    FunctionSpec("getMergingViews", "Idens of its forks that have merge requests.", _merging, (), "list"),
    FunctionSpec(
        "setMergeComment",
        "Change what its merge request says.",
        _set_comment,
        (_COMMENT,),
        "dict",
        changes_state=True,
    ),
    FunctionSpec(
        "setMergeRequest",
        "Ask for the fork to be merged; the quorum of the view below votes on it.",
        _set_request,
        (_MAYBE_COMMENT,),
        "dict",
        changes_state=True,
    ),
    FunctionSpec(
        "setMergeVote",
        "Vote on its merge request; with enough votes, and none against it, the fork is merged and removed.",
        _set_vote,
        (ParameterSpec("approved", True, "bool", "Whether to merge it."), _MAYBE_COMMENT),
        "dict",
        changes_state=True,
    ),
    FunctionSpec(
        "setMergeVoteComment",
        "Change what the own vote says.",
        _vote_comment,
        (_COMMENT,),
        "dict",
        changes_state=True,
    ),
)
