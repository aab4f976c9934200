"""StormNode: a node as Python sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cellmesh.api.cortex.v1 import node_pb2
from cellmesh.common.values import from_value

Interval = tuple[int, int]
"""Begin and end in milliseconds since 1970 UTC; the end is exclusive."""


@dataclass(frozen=True, slots=True)
class StormNode:
    """A node that came out of a query.

    Attributes:
        form: Its form, such as "inet:fqdn".
        value: Its value: text, integer, or a list of such.
        iden: SHA-256 over form and value, 64 hexadecimal digits.
        props: Properties by name relative to the form, such as "zone"; universal ones begin with a dot.
        tags: Tags by name without the #, each with its interval or None.
        tag_props: Properties of tags, by tag and name.
        path: Variables of its path, where the query was run with `path=True`.
        repr: The value as people read it; empty unless the query was run with `repr=True`.
        prop_reprs: Properties as people read them, where that is another text than the value.
    """

    form: str
    value: Any
    iden: str
    props: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, Interval | None] = field(default_factory=dict)
    tag_props: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    path: Mapping[str, Any] = field(default_factory=dict)
    repr: str = ""
    prop_reprs: Mapping[str, str] = field(default_factory=dict)

    @property
    def ndef(self) -> tuple[str, Any]:
        """Form and value."""
        return self.form, self.value

    def __hash__(self) -> int:
        return hash(self.iden)

    def __getitem__(self, name: str) -> Any:
        """A property: `node["asn"]`, `node[":asn"]`, `node[".seen"]`. KeyError when it is not set."""
        return self.props[name.removeprefix(":")]

    def get(self, name: str, default: Any = None) -> Any:
        """A property, or the default when it is not set."""
        return self.props.get(name.removeprefix(":"), default)

    def has_tag(self, name: str) -> bool:
        """Whether it has a tag; with or without the #."""
        return name.removeprefix("#") in self.tags

    def text(self) -> str:
        """The value in one line, as people read it where the query asked for that."""
        return self.repr or plain_text(self.value)


def from_proto(node: node_pb2.Node) -> StormNode:
    """Make a node of what came over the wire."""
    return StormNode(
        form=node.form,
        value=from_value(node.value),
        iden=node.buid.hex(),
        props={name: from_value(value) for name, value in node.props.items()},
        tags={
            name: (tag.interval.min, tag.interval.max) if tag.HasField("interval") else None
            for name, tag in node.tags.items()
        },
        tag_props={
            tag: {name: from_value(value) for name, value in props.props.items()}
            for tag, props in node.tag_props.items()
        },
        path={name: from_value(value) for name, value in node.path.items()},
        repr=node.repr.value,
        prop_reprs=dict(node.repr.props),
    )


def plain_text(value: Any) -> str:
    """A value in one line."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (list, tuple)):
        return f"({', '.join(map(plain_text, value))})"
    return str(value)
