"""Queries that look up one node by its value: `inet:fqdn=vertex.link`, `inet:ipv4=$ip // why`.

They are told by their text alone, so that one which nobody has asked before is neither parsed nor compiled: the name, the
operator and the value stand where the pattern finds them in every text that it matches, and what it does not match (escapes,
brackets, comments with an end, a filter behind) is left to the parser. Errors too: a value that does not fit makes no such
query, and is told of by who runs it as any other.

They take less time than handing them to a thread and back, and so are answered by the thread that has them. How much they
read is known beforehand: one key of one index for each layer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import CellError
from cellmesh.cortex.layers import keys
from cellmesh.cortex.layers.catalog import index_name
from cellmesh.cortex.layers.schema import BY_PROP
from cellmesh.cortex.model.scans import Exact
from cellmesh.cortex.views.overlay import Stack

if TYPE_CHECKING:
    from cellmesh.cortex.model.registry import Model, Prop
    from cellmesh.cortex.views.graph import Graph
    from cellmesh.cortex.views.view import View

TEXT_SIZE_MAX: Final = 256
"""Characters of the text, and of a value."""
LAYER_COUNT_MAX: Final = 4
"""More layers are more to read."""

_BLANKS: Final = r"(?:\s++|//[^\n]*+)*+"
# A part of what the parser takes: the quantifiers give nothing back, so a word ends only where it does there, and
# everything behind a value begins with a blank.
_SHAPE: Final = re.compile(
    rf"{_BLANKS}(?P<form>[a-z_][a-z0-9_]*+(?::[a-z0-9_]++)++)\s*+=\s*+"
    r"(?:(?P<word>\w[^\s$(),=\]|}]*+)|'(?P<single>[^']*+)'|\"(?P<double>[^\"\\]*+)\"|\$(?P<variable>\w++))"
    rf"(?:\s{_BLANKS})?+"
)


@dataclass(frozen=True, slots=True)
class Point:
    """One key of the index of a form's values."""

    prop: Prop
    key: bytes


def find_point(text: str, model: Model, variables: Mapping[str, Any]) -> Point | None:
    """What a query looks up, if it lifts the one node that has a value. Where that is not certain it is None.

    Args:
        text: The query.
        model: What forms there are.
        variables: The variables that the query is given.
    """
    if len(text) > TEXT_SIZE_MAX:
        return None
    found = _SHAPE.fullmatch(text)
    if found is None:
        return None
    value: Any = found[found.lastgroup or ""]
    if found.lastgroup == "variable":
        value = variables.get(value)
        # What else a variable may hold, such as properties to find a node by, is for others.
        if type(value) not in (str, int) or (type(value) is str and len(value) > TEXT_SIZE_MAX):
            return None
    form = model.form(found["form"])
    if form is None or form.is_runtime:
        return None
    prop = form.value_prop
    try:
        scans = prop.type.lift("=", value)
    except CellError:
        return None
    # Wildcards and blocks give other scans.
    if len(scans) != 1 or not isinstance(scans[0], Exact):
        return None
    return Point(prop, scans[0].key)


def read_point(graph: Graph, view: View, point: Point) -> list[bytes] | None:
    """Return the nodes found, as serialized; None if that takes looking into more layers than one."""
    stack = Stack(view.layers)
    if not stack.is_single:
        return None
    with graph.slab.view() as txn:
        number = graph.names.props.find(txn, index_name(point.prop))
        if number is None:
            return []
        nids = txn.values(BY_PROP, keys.prop_prefix(stack.top, number) + point.key)
        return [record for record in stack.nodes(txn, nids) if record is not None]


__all__ = ["LAYER_COUNT_MAX", "TEXT_SIZE_MAX", "Point", "find_point", "read_point"]
