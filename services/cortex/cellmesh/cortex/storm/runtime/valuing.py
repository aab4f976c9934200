"""Values of a query made ready for the graph: what types normalise and indexes compare."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from cellmesh.cortex.storm.runtime.values import toprim
from cellmesh.cortex.views.node import Node

if TYPE_CHECKING:
    from cellmesh.cortex.model.types.base import Type

NDEF = "ndef"

_SEVERAL = frozenset({"in=", "range=", "*in=", "*range="})
"""Comparisons whose operand is a list of values."""

PLAIN_FOR_ALL = frozenset({str, int, bool, float, Decimal, bytes, type(None)})
"""Types of values that are the same for each type of property, but that some spell numbers with a point."""


def plain_value(value: Any) -> Any:
    """Return a value as the model takes it: a node stands for its value, library objects for what they hold.

    Raises:
        NoSuchType: it has no plain form.
    """
    kind = type(value)
    if kind in PLAIN_FOR_ALL:
        return value
    if kind is Node:
        return value.value
    if kind is list or kind is tuple:
        return tuple([plain_value(item) for item in value])
    if kind is dict:
        return {plain_value(key): plain_value(item) for key, item in value.items()}
    return toprim(value)


def value_for(kind: Type, value: Any, *, spells: bool = True) -> Any:
    """Return a value as `plain_value` does, but with nodes as form and value where a type holds those.

    Args:
        kind: What is to take the value: for an `ndef`, or one in a part or element of it, a node stands for itself.
        value: Any value of a query.
        spells: Whether a number with a point stands for its text, `1.50`, as it does in edits and lifts; one in a
            list does not.

    Raises:
        NoSuchType: it has no plain form.
    """
    given = type(value)
    if given is Decimal and spells:
        return str(value)
    if given in PLAIN_FOR_ALL:
        return value
    if given is Node:
        return value.ndef if NDEF in kind.chain else value.value
    if given is list or given is tuple:
        if kind.element is not None:
            return tuple([value_for(kind.element, item, spells=False) for item in value])
        parts = _parts(kind)
        if parts and len(parts) == len(value):
            return tuple(
                [value_for(part, item, spells=False) for part, item in zip(parts, value, strict=True)]
            )
    return plain_value(value)


def operand_for(kind: Type, operator: str, value: Any, *, spells: bool = False) -> Any:
    """Return what a comparison with values of a type compares them with; see `value_for`."""
    if operator in _SEVERAL and isinstance(value, (list, tuple)):
        return tuple([value_for(kind, item, spells=spells) for item in value])
    return value_for(kind, value, spells=spells)


def _parts(kind: Type) -> tuple[Type, ...]:
    parts: tuple[Type, ...] = getattr(kind, "parts", ())
    return parts or tuple(part for _, part in kind.fields)
