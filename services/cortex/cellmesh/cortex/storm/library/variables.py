"""`$lib.vars`: the variables of the query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cellmesh.cortex.storm.runtime.interface import FunctionSpec, LibrarySpec, ParameterSpec
from cellmesh.cortex.storm.runtime.members import typename
from cellmesh.cortex.storm.runtime.values import tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext


def _get(context: RunContext, name: Any, default: Any) -> Any:
    return context.get_var(tostr(name), default)


def _set(context: RunContext, name: Any, value: Any) -> None:
    context.set_var(tostr(name), value)


def _del(context: RunContext, name: Any) -> None:
    context.del_var(tostr(name))


def _list(context: RunContext) -> list[tuple[str, Any]]:
    return list(context.all_vars().items())


_NAME: Final = ParameterSpec("name", type="str", doc="The variable, without `$`.")

LIBRARIES: Final = (
    LibrarySpec(
        ("vars",),
        "The variables of the query, by names worked out while it runs.",
        (
            FunctionSpec("del", "Remove a variable.", _del, (_NAME,)),
            FunctionSpec(
                "get",
                "The value of a variable.",
                _get,
                (_NAME, ParameterSpec("defv", None, "any", "What to give when it has no value.")),
                "any",
            ),
            FunctionSpec("list", "Names and values of all variables.", _list, (), "list of pairs"),
            FunctionSpec(
                "set", "Set a variable.", _set, (_NAME, ParameterSpec("valu", type="any", doc="Its value."))
            ),
            FunctionSpec(
                "type",
                "The kind of a value, such as `str` or `list`.",
                typename,
                (ParameterSpec("valu", type="any", doc="The value."),),
                "str",
            ),
        ),
    ),
)
