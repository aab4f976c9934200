"""Queries that look up one node by its value: `inet:fqdn=vertex.link`, `inet:ipv4=$ip`.

They take less time than handing them to a thread and back, and so are run by the thread that has them. How much they read
is known beforehand: one key of one index for each layer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import CellError
from cellmesh.cortex.model.scans import Exact
from cellmesh.cortex.storm.parser import ast

if TYPE_CHECKING:
    from cellmesh.cortex.model.registry import Model

TEXT_SIZE_MAX: Final = 256
LAYER_COUNT_MAX: Final = 4
"""More layers are more to read."""

_SHAPE: Final = re.compile(r"""\s*[a-z_][\w:]*=[^\s|{}\[\]()]+\s*""")


def may_be_point(text: str) -> bool:
    """Whether a text looks like such a query, so that it is soon parsed and worth it."""
    return len(text) <= TEXT_SIZE_MAX and _SHAPE.fullmatch(text) is not None


def is_point(query: ast.Query, model: Model, variables: Mapping[str, Any]) -> bool:
    """Whether a query lifts the one node that has a value. Where that is not certain it is said of none."""
    if len(query.operations) != 1:
        return False
    lift = query.operations[0]
    if not isinstance(lift, ast.Lift) or not isinstance(lift.target, ast.PropTarget):
        return False
    target, comparison = lift.target, lift.comparison
    if target.path or not isinstance(target.name, ast.Name) or comparison is None:
        return False
    if comparison.operator != "=" or comparison.is_any_element:
        return False
    value: Any
    if isinstance(comparison.value, ast.Literal):
        value = comparison.value.value
    elif isinstance(comparison.value, ast.Variable):
        value = variables.get(comparison.value.name)
    else:
        return False
    # What else a variable may hold, such as properties to find a node by, is for others.
    if type(value) not in (str, int) or (type(value) is str and len(value) > TEXT_SIZE_MAX):
        return False
    form = model.form(target.name.text)
    if form is None or form.is_runtime:
        return False
    try:
        scans = form.value_prop.type.lift("=", value)
    except CellError:
        return False
    # Wildcards and blocks give other scans.
    return len(scans) == 1 and isinstance(scans[0], Exact)


__all__ = ["LAYER_COUNT_MAX", "TEXT_SIZE_MAX", "is_point", "may_be_point"]
