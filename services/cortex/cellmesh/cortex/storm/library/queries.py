"""`$lib.storm`: queries and expressions in text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadArg, BadSyntax
from cellmesh.cortex.storm.library.root import cast_value
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, LibrarySpec, ParameterSpec
from cellmesh.cortex.storm.runtime.members import get_member
from cellmesh.cortex.storm.runtime.messages import CsvRow, Error, Fire, Init, NodeRow, Print, Warn
from cellmesh.cortex.storm.runtime.options import QueryOptions
from cellmesh.cortex.storm.runtime.queries import StormQuery
from cellmesh.cortex.storm.runtime.values import toprim, tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext


def _eval(context: RunContext, text: Any, kind: Any) -> Any:
    expression = tostr(text)
    if not expression.strip():
        raise BadSyntax("there is nothing to work out", name="text")
    value = context.value_of(f"return({expression})", context.all_vars())
    return value if kind is None else cast_value(context, kind, value)


def _run(context: RunContext, query: Any, options: Any) -> Iterator[tuple[str, Any]]:
    """Run a query as one of its own, and yield its messages as pairs of kind and facts."""
    given = toprim(options) or {}
    if not isinstance(given, dict):
        raise BadArg("opts is a dictionary", name="opts")
    context.session.pause()
    found: list[Any] = []
    made = QueryOptions(
        vars=given.get("vars") or {},
        view=given.get("view") or str(context.view.id),
        user=context.user,
        mode=given.get("mode") or "storm",
        limit=given.get("limit"),
        readonly=context.run.is_readonly or bool(given.get("readonly")),
        has_all_rights=context.options.has_all_rights,
    )
    start = context.engine.storm  # type: ignore[attr-defined]
    for message in start(query.text if isinstance(query, StormQuery) else tostr(query), made):
        context.tick()
        found.append(_packed(context, message))
    context.session.generation += 1
    yield from found


def _packed(context: RunContext, message: Any) -> tuple[str, Any]:
    """Return a message as a pair of kind and facts."""
    match message:
        case NodeRow():
            return ("node", context.call(get_member(context, message.node, "pack")))
        case Print():
            return ("print", {"mesg": message.text})
        case Warn():
            return ("warn", {"mesg": message.text, **message.fields})
        case Fire():
            return ("storm:fire", {"type": message.type, "data": message.data})
        case CsvRow():
            return ("csv:row", {"row": message.row, "table": message.table})
        case Error():
            return (
                "err",
                (message.error.name, {"mesg": message.error.message}),
            )
        case Init():
            return ("init", {"task": message.task_id, "tick": message.time_ms, "text": message.text})
    return ("fini", {"count": message.node_count, "took": int(message.duration_s * 1000)})


LIBRARIES: Final = (
    LibrarySpec(
        ("storm",),
        "Queries in text.",
        (
            FunctionSpec(
                "eval",
                "The value of an expression in text; it sees the variables of the query.",
                _eval,
                (
                    ParameterSpec("text", type="str", doc="The expression."),
                    ParameterSpec("cast", None, "str", "A type or property to normalise the value by."),
                ),
                "any",
                may_change=True,
            ),
            FunctionSpec(
                "run",
                "Run a query as one of its own, and give its messages as pairs of kind and facts.",
                _run,
                (
                    ParameterSpec("query", type="str", doc="The query."),
                    ParameterSpec("opts", None, "dict", "Options: vars, view, mode, limit, readonly."),
                ),
                "list",
                is_generator=True,
                may_change=True,
            ),
        ),
    ),
)
