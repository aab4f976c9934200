"""A graph of dicts: four forms, tags and light edges, with what the data model says of them written down by hand."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

Ndef: TypeAlias = tuple[str, Any]

PROPS: Final[dict[str, dict[str, str]]] = {
    "inet:asn": {"name": "text", "owner": "ou:org"},
    "inet:ipv4": {"asn": "inet:asn", "loc": "loc"},
    "ou:name": {},
    "ou:org": {"loc": "loc", "name": "ou:name", "names": "ou:name[]"},
    "syn:tag": {"up": "syn:tag"},
}
"""Properties by form, in the order of the data model, with their types: forms are the types of references to them."""

WAYS: Final = frozenset(
    {
        ("inet:asn", "ou:org"),
        ("inet:asn", "inet:ipv4"),
        ("inet:ipv4", "inet:asn"),
        ("ou:name", "ou:org"),
        ("ou:org", "inet:asn"),
        ("ou:org", "ou:name"),
        ("ou:org", "ou:org"),
    }
)
"""Forms with a property between them, by which `->` may be followed."""


class Bad(Exception):
    """A query ends with an error of this name."""


@dataclass(slots=True, eq=False)
class Node:
    """One node."""

    form: str
    value: Any
    number: int
    props: dict[str, Any] = field(default_factory=dict)
    tags: set[str] = field(default_factory=set)

    @property
    def ndef(self) -> Ndef:
        """Form and value."""
        return self.form, self.value

    @property
    def iden(self) -> bytes:
        """What breaks ties: a hash of form and value."""
        return hashlib.sha256(b"\x92" + _packed(self.form) + _packed(self.value)).digest()


def _packed(value: Any) -> bytes:
    """A small number or text, as MessagePack has it."""
    if isinstance(value, int):
        assert 0 <= value < 128
        return bytes([value])
    data = str(value).encode()
    return (bytes([0xA0 | len(data)]) if len(data) < 32 else bytes([0xD9, len(data)])) + data


class World:
    """The graph."""

    def __init__(self) -> None:
        self.nodes: dict[Ndef, Node] = {}
        self.edges: set[tuple[Ndef, str, Ndef]] = set()
        self._numbers: dict[Ndef, int] = {}
        self._forms: dict[str, int] = {}
        self._verbs: dict[str, int] = {}

    def clear(self) -> None:
        """Remove all nodes. One that is made again has its old place among those with equal values."""
        self.nodes.clear()
        self.edges.clear()

    # Values --------------------------------------------------------------------------------------------------

    @staticmethod
    def value(kind: str, given: Any) -> Any:
        """A value as the type stores it; raises Bad."""
        if kind in ("inet:asn", "inet:ipv4"):
            text = str(given)
            # A zero in front may mean an octal number, and is refused.
            if not text.isdigit() or (text[0] == "0" and int(text)):
                raise Bad("BadTypeValu")
            return int(text)
        if kind == "ou:org":
            text = str(given)
            if len(text) != 32 or set(text) - set("0123456789abcdef"):
                raise Bad("BadTypeValu")
            return text
        if kind == "ou:name[]":
            return tuple(sorted({str(item).lower() for item in given}))
        return str(given).lower()

    @staticmethod
    def form_of(kind: str) -> str | None:
        """The form that values of a type refer to."""
        name = kind.removesuffix("[]")
        return name if name in PROPS else None

    # Reading -------------------------------------------------------------------------------------------------

    def of_form(self, form: str) -> list[Node]:
        """All nodes of a form in the order of their values."""
        return sorted(
            (node for node in self.nodes.values() if node.form == form), key=lambda node: node.value
        )

    def with_prop(self, form: str, prop: str) -> list[Node]:
        """The nodes that have a property in the order of its values, of equal ones as they were made."""
        found = [node for node in self.nodes.values() if node.form == form and prop in node.props]
        return sorted(found, key=lambda node: (node.props[prop], node.number))

    def tagged(self, tag: str, form: str | None = None) -> list[Node]:
        """The nodes that carry a tag: forms in the order in which the world came to know them, nodes as they were made."""
        found = [
            node for node in self.nodes.values() if tag in node.tags and (form is None or node.form == form)
        ]
        return sorted(found, key=lambda node: (self._forms[node.form], node.number))

    def holders(self, value: Any, form: str, prop: str) -> list[Node]:
        """The nodes whose property is, or has as an element, a value."""
        found = []
        for node in sorted(self.nodes.values(), key=lambda node: node.number):
            held = node.props.get(prop) if node.form == form else None
            if held == value or (isinstance(held, tuple) and value in held):
                found.append(node)
        return found

    def referred(self, node: Node, prop: str) -> Iterator[Node]:
        """The nodes that a property refers to."""
        form = self.form_of(PROPS[node.form][prop])
        held = node.props.get(prop)
        if form is None or held is None:
            return
        for value in held if isinstance(held, tuple) else (held,):
            found = self.nodes.get((form, value))
            if found is not None:
                yield found

    def over_edges(self, node: Node, verb: str, *, is_inward: bool) -> list[Node]:
        """The other ends of a node's edges with a verb, or with any (`*`), verbs in the order in which they were first used."""
        found = []
        for start, kind, end in self.edges:
            here, there = (end, start) if is_inward else (start, end)
            if here == node.ndef and verb in ("*", kind) and there in self.nodes:
                found.append((self._verbs[kind], self.nodes[there].number, self.nodes[there]))
        return [other for _, _, other in sorted(found, key=lambda item: item[:2])]

    # Editing -------------------------------------------------------------------------------------------------

    def add(self, form: str, given: Any) -> Node:
        """Add a node if it is not there."""
        value = self.value(form, given)
        node = self.nodes.get((form, value))
        if node is None:
            self._forms.setdefault(form, len(self._forms))
            number = self._numbers.setdefault((form, value), len(self._numbers))
            node = self.nodes[form, value] = Node(form, value, number)
        return node

    def set(self, node: Node, prop: str, given: Any) -> None:
        """Set a property; what it refers to is added."""
        kind = PROPS[node.form][prop]
        value = self.value(kind, given)
        if node.props.get(prop) == value:
            return
        node.props[prop] = value
        form = self.form_of(kind)
        if form is not None:
            for one in value if isinstance(value, tuple) else (value,):
                self.add(form, one)

    def change_items(self, node: Node, prop: str, item: Any, *, is_adding: bool) -> None:
        """Add an element to an array, or take it out; an empty array is left where there is none to take out."""
        held = node.props.get(prop)
        item = self.value(PROPS[node.form][prop].removesuffix("[]"), item)
        left = [one for one in held or () if one != item]
        self.set(node, prop, [*left, item] if is_adding else left)

    def tag(self, node: Node, tag: str) -> None:
        """Add a tag and those above it."""
        parts = tag.split(".")
        for count in range(1, len(parts) + 1):
            name = ".".join(parts[:count])
            above = {"up": name.rpartition(".")[0]} if "." in name else {}
            self.add("syn:tag", name).props.update(above)
            node.tags.add(name)

    def untag(self, node: Node, tag: str) -> None:
        """Remove a tag and those below it."""
        node.tags = {name for name in node.tags if name != tag and not name.startswith(tag + ".")}

    def link(self, start: Node, verb: str, end: Node) -> None:
        """Add an edge; none between nodes that a row still holds and that are gone."""
        self._verbs.setdefault(verb, len(self._verbs))
        if start.ndef in self.nodes and end.ndef in self.nodes:
            self.edges.add((start.ndef, verb, end.ndef))

    def delete(self, node: Node) -> None:
        """Remove a node with all it has: a row may still hold it. Edges to it stay, for when it is made again."""
        self.nodes.pop(node.ndef, None)
        node.props, node.tags = {}, set()
        self.edges = {edge for edge in self.edges if node.ndef != edge[0]}

    def state(self) -> dict[Ndef, tuple[Any, ...]]:
        """All that is in it, to be compared."""
        return {
            node.ndef: (
                tuple(sorted(node.props.items())),
                tuple(sorted(node.tags)),
                tuple(
                    sorted(
                        (verb, repr(end))
                        for start, verb, end in self.edges
                        if start == node.ndef and end in self.nodes
                    )
                ),
            )
            for node in self.nodes.values()
        }


__all__ = ["PROPS", "WAYS", "Bad", "Ndef", "Node", "World"]
