"""The vocabulary of a load: the nodes, edges and rejects that raw records turn into."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

Ndef = tuple[str, Any]
"""A form and a value that the form's type accepts."""

_SLUG_BREAKS: Final = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Edge:
    """A light edge from the item's node to `to`, or from `to` to the item's node when `reverse`."""

    verb: str
    to: Ndef
    reverse: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """A node to make or enrich, with the edges that begin or end there."""

    form: str
    value: Any
    props: dict[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    edges: tuple[Edge, ...] = ()

    @property
    def ndef(self) -> Ndef:
        """Form and value."""
        return (self.form, self.value)


@dataclass(frozen=True, slots=True)
class Reject:
    """Something in a record that could not be used, and why."""

    file: str
    record: str
    what: str
    reason: str


class Unusable(Exception):
    """A record that stands for no node; the text says why."""


def slug(text: str) -> str:
    """Turn a name into one tag segment: lower case letters, digits and underscores."""
    return _SLUG_BREAKS.sub("_", text.lower()).strip("_") or "unnamed"


def guid_of(uuid: str) -> str:
    """Turn a UUID into the guid with the same digits, so that a node can be found by the source's own name.

    Raises:
        Unusable: the text is no UUID.
    """
    digits = uuid.strip().lower().replace("-", "")
    if len(digits) != 32 or not all(c in "0123456789abcdef" for c in digits):
        raise Unusable(f"not a UUID: {uuid!r}")
    return digits


def texts(value: Any) -> list[str]:
    """Return the non-empty texts in a field that holds one text, a list of them, or nothing."""
    items = value if isinstance(value, list) else [value]
    return [text for text in (str(item).strip() for item in items if item is not None) if text]


def first_text(value: Any) -> str:
    """Return the first text of such a field, or an empty one."""
    found = texts(value)
    return found[0] if found else ""


def without_empty(props: dict[str, Any]) -> dict[str, Any]:
    """Leave out properties that have nothing to say."""
    return {name: value for name, value in props.items() if value not in (None, "", [], ())}
