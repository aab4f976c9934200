"""`$lib.storm`: queries and expressions in text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cellmesh.cortex.storm.library.root import cast_value
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, LibrarySpec, ParameterSpec
from cellmesh.cortex.storm.runtime.values import tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext


def _eval(context: RunContext, text: Any, kind: Any) -> Any:
    value = context.value_of(f"return({tostr(text)})", context.all_vars())
    return value if kind is None else cast_value(context, kind, value)


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
            ),
        ),
    ),
)
