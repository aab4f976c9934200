"""The queries that run: which of them a user sees, and ending one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cellmesh.common.errors import StormRuntimeError

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext, RunningQuery


def visible_queries(context: RunContext) -> list[RunningQuery]:
    """Return the queries a user may see: the own ones, and with the permission task.get all."""
    rights: Any = getattr(context.run, "rights", None)
    sees_all = rights is None or rights.allowed(("task", "get"))
    return [found for found in context.engine.running if sees_all or found.options.user == context.user]


def end_query(context: RunContext, prefix: str) -> None:
    """End the one query whose task's iden begins so.

    Raises:
        StormRuntimeError: none does that the user sees, or more than one.
        AuthDeny: it is somebody else's, and the user has not the permission task.del.
    """
    found = [query for query in visible_queries(context) if query.task_id.startswith(prefix)]
    if not prefix or len(found) != 1:
        how_many = "no task has" if not found else "more than one task has"
        raise StormRuntimeError(f"{how_many} an iden that begins so", iden=prefix)
    rights: Any = getattr(context.run, "rights", None)
    if rights is not None and found[0].options.user != context.user:
        rights.confirm(("task", "del"))
    found[0].cancel()
