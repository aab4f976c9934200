"""Node edits: the smallest steps by which a layer changes, each with what it takes to undo it.

An edit says what is so afterwards, and what was so before *in that layer*. Deletions are read in one of two
ways, so that a layer can hide what lies below it in a stack without a further kind of edit:

    of something the layer holds          the layer no longer holds it
    of something the layer does not hold  the layer masks it: views above see nothing, whatever is below

To delete what is both in a layer and below it, a deletion is written twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

Interval: TypeAlias = "tuple[int, int] | None"

NameNumber: TypeAlias = "tuple[int, str, int]"
"""A name that got its number: the kind as in the proto's NameKind, the name, the number."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Stands for the old value of what was not there, as None can be a value."""


MISSING = Missing()


@dataclass(frozen=True, slots=True)
class NodeAdd:
    """The layer makes the node."""

    def inverse(self) -> NodeEdit:
        """The edit that takes it back."""
        return NodeDelete()


@dataclass(frozen=True, slots=True)
class NodeDelete:
    """The layer removes, or masks, the node. Its properties, tags and edges were removed before."""

    def inverse(self) -> NodeEdit:
        """The edit that takes it back."""
        return NodeAdd()


@dataclass(frozen=True, slots=True)
class PropSet:
    """A property gets a value."""

    name: str
    value: object
    old_value: object = MISSING

    def inverse(self) -> NodeEdit:
        """The edit that takes it back."""
        if self.old_value is MISSING:
            return PropDelete(self.name, self.value)
        return PropSet(self.name, self.old_value, self.value)


@dataclass(frozen=True, slots=True)
class PropDelete:
    """A property loses its value. Without an old value the layer masks it."""

    name: str
    old_value: object = MISSING

    def inverse(self) -> NodeEdit:
        """The edit that takes it back; a mask is lifted by setting, so it has none."""
        return PropSet(self.name, None if self.old_value is MISSING else self.old_value)


@dataclass(frozen=True, slots=True)
class TagSet:
    """A tag is put on, or its interval changes."""

    name: str
    interval: Interval = None
    existed: bool = False
    old_interval: Interval = None

    def inverse(self) -> NodeEdit:
        """The edit that takes it back."""
        if self.existed:
            return TagSet(self.name, self.old_interval, True, self.interval)
        return TagDelete(self.name, self.interval)


@dataclass(frozen=True, slots=True)
class TagDelete:
    """A tag is taken off."""

    name: str
    old_interval: Interval = None

    def inverse(self) -> NodeEdit:
        """The edit that takes it back."""
        return TagSet(self.name, self.old_interval)


@dataclass(frozen=True, slots=True)
class TagPropSet:
    """A property of a tag gets a value."""

    tag: str
    name: str
    value: object
    old_value: object = MISSING

    def inverse(self) -> NodeEdit:
        """The edit that takes it back."""
        if self.old_value is MISSING:
            return TagPropDelete(self.tag, self.name, self.value)
        return TagPropSet(self.tag, self.name, self.old_value, self.value)


@dataclass(frozen=True, slots=True)
class TagPropDelete:
    """A property of a tag loses its value."""

    tag: str
    name: str
    old_value: object = MISSING

    def inverse(self) -> NodeEdit:
        """The edit that takes it back."""
        return TagPropSet(self.tag, self.name, None if self.old_value is MISSING else self.old_value)


@dataclass(frozen=True, slots=True)
class EdgeAdd:
    """A light edge from this node is made."""

    verb: str
    to_nid: int

    def inverse(self) -> NodeEdit:
        """The edit that takes it back."""
        return EdgeDelete(self.verb, self.to_nid)


@dataclass(frozen=True, slots=True)
class EdgeDelete:
    """A light edge from this node is removed."""

    verb: str
    to_nid: int

    def inverse(self) -> NodeEdit:
        """The edit that takes it back."""
        return EdgeAdd(self.verb, self.to_nid)


@dataclass(frozen=True, slots=True)
class NodeDataSet:
    """Data is attached to the node."""

    name: str
    value: object
    old_value: object = MISSING

    def inverse(self) -> NodeEdit:
        """The edit that takes it back."""
        if self.old_value is MISSING:
            return NodeDataDelete(self.name, self.value)
        return NodeDataSet(self.name, self.old_value, self.value)


@dataclass(frozen=True, slots=True)
class NodeDataDelete:
    """Data is removed from the node."""

    name: str
    old_value: object = MISSING

    def inverse(self) -> NodeEdit:
        """The edit that takes it back."""
        return NodeDataSet(self.name, None if self.old_value is MISSING else self.old_value)


@dataclass(frozen=True, slots=True)
class Unmask:
    """What the layer masks shows again: a property, a tag, a tag's property, or with neither name the node."""

    prop: str = ""
    tag: str = ""

    def inverse(self) -> NodeEdit:
        """The edit that takes it back."""
        if self.prop:
            return TagPropDelete(self.tag, self.prop) if self.tag else PropDelete(self.prop)
        return TagDelete(self.tag) if self.tag else NodeDelete()


NodeEdit: TypeAlias = (
    NodeAdd
    | NodeDelete
    | PropSet
    | PropDelete
    | TagSet
    | TagDelete
    | TagPropSet
    | TagPropDelete
    | EdgeAdd
    | EdgeDelete
    | NodeDataSet
    | NodeDataDelete
    | Unmask
)


@dataclass(frozen=True, slots=True)
class NodeEdits:
    """The edits of one node, in order."""

    nid: int
    form: str
    value: object
    edits: tuple[NodeEdit, ...]

    def inverse(self) -> NodeEdits:
        """The edits that take them back, the last one first."""
        return NodeEdits(
            self.nid, self.form, self.value, tuple(edit.inverse() for edit in reversed(self.edits))
        )


@dataclass(frozen=True, slots=True)
class LayerEdits:
    """The edits of one transaction on one layer: what the change log holds.

    Attributes:
        layer_id: The layer, 32 hexadecimal digits.
        nodes: The nodes changed, in order.
        user: Who asked for it.
        time_ms: When, in milliseconds since 1970.
        names: The names that got their numbers in the transaction.
        origin: The layer that they were made in first, if they came from another one.
    """

    layer_id: str
    nodes: tuple[NodeEdits, ...]
    user: str = ""
    time_ms: int = 0
    names: tuple[NameNumber, ...] = ()
    origin: str = ""

    def inverse(self) -> LayerEdits:
        """The edits that restore the layer's state from before."""
        nodes = tuple(node.inverse() for node in reversed(self.nodes))
        return LayerEdits(self.layer_id, nodes, self.user, self.time_ms)
