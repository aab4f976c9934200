"""What methods and library functions share about sets and order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cellmesh.common.errors import StormRuntimeError
from cellmesh.cortex.storm.runtime.valuing import plain_value


def set_item(item: Any) -> Any:
    """Return an item of a set.

    Raises:
        StormRuntimeError: it can change, so a set cannot hold it.
    """
    if isinstance(item, (list, dict, set)):
        raise StormRuntimeError(f"a set cannot hold a {type(item).__name__}: it can change")
    try:
        hash(item)
    except TypeError as error:
        raise StormRuntimeError(f"a set cannot hold a {type(item).__name__}: it can change") from error
    return item


def fixed(value: Any) -> Any:
    """Return what is kept somewhere as it is read: with tuples for lists, as changing them would change nothing there.

    Dictionaries are new ones, at any depth.
    """
    if isinstance(value, (list, tuple)):
        return tuple(fixed(item) for item in value)
    if isinstance(value, dict):
        return {key: fixed(item) for key, item in value.items()}
    return value


def in_order(items: Iterable[Any], reverse: bool) -> list[Any]:
    """Sort values.

    Raises:
        StormRuntimeError: two of them cannot be compared.
    """
    try:
        return sorted(items, key=plain_value, reverse=reverse)
    except TypeError as error:
        raise StormRuntimeError(f"the values cannot be put in order: {error}") from error
