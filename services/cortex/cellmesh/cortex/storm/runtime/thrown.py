"""Errors as a query sees them: `catch NAME as err` and `$err`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cellmesh.common.errors import CellError, StormRaise
from cellmesh.cortex.storm.runtime.members import toiter
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
    """Whether a `catch` that names one error or a list of them takes this one; `*` takes all."""
    wanted = error_name(error)
    if isinstance(names, str):
        return names in (wanted, "*")
    return any(tostr(name) in (wanted, "*") for name in toiter(context, names))
