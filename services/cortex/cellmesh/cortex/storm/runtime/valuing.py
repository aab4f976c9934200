"""Values of a query made ready for the graph: what types normalise and indexes compare."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from cellmesh.cortex.storm.runtime.values import toprim
from cellmesh.cortex.views.node import Node

_AS_IT_IS = frozenset({str, int, bool, float, Decimal, bytes, type(None)})


def plain_value(value: Any) -> Any:
    """Return a value as the model takes it: a node stands for its value, library objects for what they hold.

    Raises:
        NoSuchType: it has no plain form.
    """
    kind = type(value)
    if kind in _AS_IT_IS:
        return value
    if kind is Node:
        return value.value
    if kind is list or kind is tuple:
        return tuple([plain_value(item) for item in value])
    if kind is dict:
        return {plain_value(key): plain_value(item) for key, item in value.items()}
    return toprim(value)
