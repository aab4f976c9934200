"""`$lib.task` and, by its older name, `$lib.ps`: the queries that run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from cellmesh.cortex.storm.running import end_query, visible_queries
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, LibrarySpec, ParameterSpec
from cellmesh.cortex.storm.runtime.values import tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext, RunningQuery


def _facts(context: RunContext, query: RunningQuery) -> dict[str, Any]:
    view = str(context.session.graph.view(query.options.view).id)
    return {
        "iden": query.task_id,
        "name": "storm",
        "info": {"query": query.text, "view": view},
        "tick": int(query.began_s * 1000),
        "user": query.options.user,
        "kids": {},
    }


def _list(context: RunContext) -> list[dict[str, Any]]:
    return [_facts(context, query) for query in visible_queries(context)]


def _tasks(context: RunContext, timeout: Any) -> Iterator[dict[str, Any]]:
    for facts in _list(context):
        yield {**facts, "service": None}


def _kill(context: RunContext, prefix: Any) -> bool:
    end_query(context, tostr(prefix))
    return True


def _kill_task(context: RunContext, prefix: Any, timeout: Any) -> bool:
    return _kill(context, prefix)


_PREFIX: Final = ParameterSpec(
    "prefix", type="str", doc="The iden of the query's task, or what it begins with."
)
_TIMEOUT: Final = ParameterSpec(
    "timeout", None, "int", "Without effect: only the queries of this Cortex are looked at."
)

LIBRARIES: Final = (
    LibrarySpec(
        ("ps",),
        "The queries that run, by the older names of $lib.task.",
        (
            FunctionSpec("kill", "End a query.", _kill, (_PREFIX,), "bool", may_change=True),
            FunctionSpec(
                "list", "The queries that run: the own ones, and with task.get all.", _list, (), "list"
            ),
        ),
    ),
    LibrarySpec(
        ("task",),
        "The queries that run.",
        (
            FunctionSpec("kill", "End a query.", _kill_task, (_PREFIX, _TIMEOUT), "bool", may_change=True),
            FunctionSpec(
                "list",
                "The queries that run: the own ones, and with task.get all.",
                _tasks,
                (_TIMEOUT,),
                "dict",
                is_generator=True,
            ),
        ),
    ),
)
