"""Errors as a query sees them: `catch NAME as err` and `$err`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cellmesh.common.errors import CellError, StormRaise, StormRuntimeError
from cellmesh.cortex.storm.runtime.members import typename
from cellmesh.cortex.storm.runtime.places import locate
from cellmesh.cortex.storm.runtime.values import tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

_PLACE_FIELDS = frozenset({"mesg", "excerpt", "at", "line", "column"})


def error_name(error: CellError) -> str:
    """Return the name to catch an error by: for one raised by a query, the name it gave."""
    if isinstance(error, StormRaise):
        return str(error.get("errname") or error.name)
    return error.name


def error_value(error: CellError) -> dict[str, Any]:
    """Return `$err`: its name, message, and further fields."""
    locate(error)
    info = {key: value for key, value in error.items() if key not in _PLACE_FIELDS}
    if "line" in error.errinfo:
        info["highlight"] = {key: error.get(key) for key in ("at", "line", "column")}
    return {"name": error_name(error), "mesg": error.message, "info": info}


def catches(context: RunContext, names: Any, error: CellError) -> bool:
    """Whether a `catch` that names one error or a list of them takes this one; `*` takes all.

    Raises:
        StormRuntimeError: the names are neither a text nor a list.
    """
    wanted = error_name(error)
    if isinstance(names, str):
        return names in (wanted, "*")
    if not isinstance(names, (list, tuple)):
        raise StormRuntimeError(
            f"catch takes the name of an error or a list of names, not a value of type {typename(context, names)}",
            type=typename(context, names),
        )
    return any(tostr(name) in (wanted, "*") for name in names)
