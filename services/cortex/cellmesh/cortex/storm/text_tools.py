"""What methods and library functions share about text and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from cellmesh.common.errors import BadJsonText, MustBeJsonSafe
from cellmesh.cortex.storm.runtime.values import torepr, tostr
from cellmesh.cortex.views.node import Node

JSON_DEPTH_MAX: Final = 200


def joined(separator: str, items: Iterable[Any]) -> str:
    """Join values as text; null shows as `None` and truth values in capitals, as users know it."""
    return separator.join([tostr(item) for item in items])


def formatted(template: str, values: Mapping[str, Any]) -> str:
    """Replace `{name}` by the text of the named value; names that are not given stay as they are."""
    for name, value in values.items():
        template = template.replace("{" + name + "}", torepr(value))
    return template


def parsed_json(text: str) -> Any:
    """Read JSON text.

    Raises:
        BadJsonText: it is none; the message names the place.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadJsonText(f"the text is not valid JSON: {error}") from error


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Return a value as JSON.

    Raises:
        MustBeJsonSafe: JSON cannot hold it.
    """
    separators = (",", ":") if indent is None else (",", ": ")
    return json.dumps(json_safe(value), ensure_ascii=False, separators=separators, indent=indent)


def json_safe(value: Any, depth: int = 0) -> Any:
    """Return a value as JSON reads it back; a number with a point becomes the nearest float.

    Raises:
        MustBeJsonSafe: JSON cannot hold it.
    """
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if depth > JSON_DEPTH_MAX:
        raise MustBeJsonSafe(f"the value is deeper than {JSON_DEPTH_MAX} levels, or holds itself")
    if kind is float or kind is Decimal:
        number = float(value)
        if number != number or number in (float("inf"), float("-inf")):
            raise MustBeJsonSafe(f"JSON has no number {number}")
        return number
    if kind is list or kind is tuple:
        return [json_safe(item, depth + 1) for item in value]
    if kind is dict:
        if not all(isinstance(key, str) for key in value):
            raise MustBeJsonSafe("the keys of a JSON object are text")
        return {key: json_safe(item, depth + 1) for key, item in value.items()}
    if kind is Node:
        return json_safe(value.value, depth + 1)
    plain = getattr(value, "storm_plain", None)
    if plain is None:
        raise MustBeJsonSafe(f"JSON cannot hold a {kind.__name__}", type=kind.__name__)
    return json_safe(plain(), depth + 1)
