"""Brings values into one comparable form.

Numbers compare by value but booleans stay apart from them; lists and tuples are the same; what JSON
lacks is written as the case files write it (`{"$bytes": hex}`, `{"$dict": pairs}`, `{"$float": name}`).
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any


def plain(value: Any) -> Any:
    """Return a hashable form of an observed or expected value; equal forms mean equal values."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, int | float | Decimal):
        return _number(value)
    if isinstance(value, bytes):
        return ("bytes", value.hex())
    if isinstance(value, list | tuple):
        return ("list", tuple(plain(item) for item in value))
    if isinstance(value, dict):
        return _mapping(value)
    return ("type", type(value).__name__)


def _number(value: int | float | Decimal) -> Any:
    if isinstance(value, int):
        return ("number", value)
    if not math.isfinite(value):
        return ("float", str(float(value)))
    if value == int(value):
        return ("number", int(value))
    return ("number", float(value))


def _mapping(value: dict[Any, Any]) -> Any:
    if len(value) == 1:
        ((key, inner),) = value.items()
        if key == "$bytes":
            return ("bytes", inner)
        if key == "$float":
            return ("float", {"inf": "inf", "-inf": "-inf"}.get(inner, inner))
        if key == "$type":
            return ("type", inner)
        if key == "$dict":
            return ("dict", frozenset((plain(k), plain(v)) for k, v in inner))
    return ("dict", frozenset((plain(k), plain(v)) for k, v in value.items()))
