"""The vocabulary of an import: what readers yield, and the nodes they make."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cellmesh.api.cortex.v1 import feed_pb2
from cellmesh.common.errors import CellError
from cellmesh.common.values import fill_value

TEXT_SIZE_MAX: Final = 16 * 1024 * 1024
"""Characters of one text in one node."""

_SLUG_BREAKS: Final = re.compile(r"[^\w]+")


@dataclass(slots=True)
class Record:
    """One record of a file.

    Attributes:
        place: Where it stands, as people find it: a line, an index, an id.
        nodes: What it makes.
        problems: What of it could not be used, each with its reason.
        what: The start of the record itself, for the file of rejects.
        is_edge: Whether it is an edge of a record that came before.
    """

    place: str
    nodes: list[feed_pb2.FeedNode] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    what: str = ""
    is_edge: bool = False


class Unusable(Exception):
    """Something that makes no node; the text says why."""


def make_node(
    form: str,
    value: Any,
    props: Mapping[str, Any] | None = None,
    tags: Mapping[str, Any] | Iterable[str] = (),
) -> feed_pb2.FeedNode:
    """Make a node for the feed. Properties without a value are left out.

    Raises:
        Unusable: a value is of a kind, or of a size, that no node holds.
    """
    made = feed_pb2.FeedNode(form=form)
    set_value(made.value, value, form)
    for name, item in (props or {}).items():
        if item is not None and item != "" and item != []:
            set_value(made.props[name], item, name)
    items = tags.items() if isinstance(tags, Mapping) else ((name, None) for name in tags)
    for name, interval in items:
        set_value(made.tags[name], interval, f"#{name}")
    return made


def set_value(target: Any, value: Any, name: str) -> None:
    """Fill a Value of a message; raises Unusable with the name of what it was for."""
    if isinstance(value, str) and len(value) > TEXT_SIZE_MAX:
        raise Unusable(f"{name}: a text of {len(value):,} characters, more than {TEXT_SIZE_MAX:,}")
    try:
        fill_value(target, value)
    except (CellError, ValueError, UnicodeError) as error:
        raise Unusable(f"{name}: {error}") from None


def add_edge(node: feed_pb2.FeedNode, verb: str, form: str, value: Any, *, is_reverse: bool = False) -> None:
    """Add a light edge to a node; raises Unusable."""
    edge = node.edges.add(verb=verb, reverse=is_reverse)
    edge.to.form = form
    set_value(edge.to.value, value, verb)


def tag_segment(text: str) -> str:
    """One part of a tag made of any text."""
    return _SLUG_BREAKS.sub("_", text.lower()).strip("_") or "unnamed"


def excerpt_of(value: Any, size: int = 200) -> str:
    """The start of a record, for the file of rejects."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= size else text[:size] + "…"
