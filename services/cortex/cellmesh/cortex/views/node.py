"""Node: a live node in one session. It holds its serialized form and decodes what is looked at, when it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cellmesh.cortex.layers.keys import unpack_nid
from cellmesh.cortex.layers.records import Record, find_prop, node_buid, node_value, parse_node, prop_marker
from cellmesh.cortex.model.registry import Form
from cellmesh.cortex.values.wire import decode_interval, decode_plain, decode_value

if TYPE_CHECKING:
    from cellmesh.cortex.views.session_base import SessionBase

_MARKERS: dict[str, bytes] = {}
_MARKER_COUNT_MAX = 100_000


def marker_of(name: str) -> bytes:
    """Return `prop_marker` of a name, kept as names are few."""
    marker = _MARKERS.get(name)
    if marker is None:
        if len(_MARKERS) >= _MARKER_COUNT_MAX:
            _MARKERS.clear()
        marker = _MARKERS[name] = prop_marker(name)
    return marker


class Node:
    """A node as its session sees it. Two of the same nid are equal.

    When the session has edited since the node was read, it is read again before the next look at it, so that
    each Node shows every edit of its own session.

    Attributes:
        session: The session it lives in.
        key: The nid in 8 bytes.
    """

    __slots__ = ("_bytes", "_generation", "_record", "key", "session")

    def __init__(self, session: SessionBase, key: bytes, data: bytes, generation: int) -> None:
        self.session = session
        self.key = key
        self._bytes = data
        self._generation = generation
        self._record: Record | None = None

    def __getattr__(self, name: str) -> Any:
        # Only for what is not set: a node that an edit block has yet to make. See `together`.
        if name in ("key", "_bytes") and self.session.together.waiting:
            self.session.together.run(is_end=False)
            return object.__getattribute__(self, name)
        raise AttributeError(name)

    def __repr__(self) -> str:
        return f"<Node {self.form.name}={self.repr()}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and other.key == self.key

    def __hash__(self) -> int:
        return hash(self.key)

    def check_editable(self) -> None:
        """Refuse a node that is in no layer.

        Raises:
            IsRuntForm: it tells of the model.
        """

    # Identity.

    @property
    def nid(self) -> int:
        """The node's 64-bit number inside this Cortex."""
        return unpack_nid(self.key)

    @property
    def buid(self) -> bytes:
        """SHA-256 over (form, value), 32 bytes."""
        return node_buid(self._bytes)

    @property
    def iden(self) -> str:
        """The buid in 64 hexadecimal digits."""
        return node_buid(self._bytes).hex()

    @property
    def form(self) -> Form:
        """The form."""
        return self.session.form_of_key(self.key)

    @property
    def value(self) -> Any:
        """The stored value; sequences are tuples."""
        return node_value(self._bytes)

    @property
    def ndef(self) -> tuple[str, Any]:
        """Form name and value."""
        return self.form.name, self.value

    @property
    def is_deleted(self) -> bool:
        """Whether the node is gone; it then has its last value, and no properties or tags."""
        self._fresh()
        return self._record is not None and not self._record.head

    # Contents.

    def get(self, name: str) -> Any:
        """Return a property by relative name (`.seen` for a universal one), or None if it is not set."""
        encoded = self.encoded(name)
        if encoded is None:
            return None
        return self._decode(name, encoded)

    def encoded(self, name: str) -> bytes | None:
        """Return a property as a serialized Value, or None: cheaper than `get` where bytes do."""
        if self._generation != self.session.generation:
            self._fresh()
        if self._record is not None:
            return self._record.props.get(name)
        return find_prop(self._bytes, _MARKERS.get(name) or marker_of(name))

    def has(self, name: str) -> bool:
        """Whether a property is set."""
        return self.encoded(name) is not None

    @property
    def props(self) -> Mapping[str, Any]:
        """Properties by relative name, a dict of its own."""
        return {name: self._decode(name, value) for name, value in self.record.props.items()}

    @property
    def tags(self) -> Mapping[str, tuple[int, int] | None]:
        """Tags by name with their intervals, a dict of its own."""
        return {name: _interval(tag) for name, tag in self.record.tags.items()}

    @property
    def tag_props(self) -> Mapping[str, Mapping[str, Any]]:
        """Tag properties by tag and name, a dict of its own."""
        return {
            tag: {name: decode_value(value) for name, value in props.items()}
            for tag, props in self.record.tag_props.items()
        }

    def has_tag(self, name: str) -> bool:
        """Whether the node has a tag."""
        if self._generation != self.session.generation:
            self._fresh()
        if self._record is not None:
            return name in self._record.tags
        # A marker can also stand inside text, but what lacks it lacks the tag.
        if (_MARKERS.get(name) or marker_of(name)) not in self._bytes:
            return False
        return name in self.record.tags

    def tag(self, name: str) -> tuple[int, int] | None:
        """Return a tag's interval; None without one, or without the tag."""
        found = self.record.tags.get(name)
        return None if found is None else _interval(found)

    def tag_prop(self, tag: str, name: str) -> Any:
        """Return a tag's property, or None if it is not set."""
        found = self.record.tag_props.get(tag, {}).get(name)
        return None if found is None else decode_value(found)

    def repr(self, name: str | None = None) -> Any:
        """Return human text of the value, or of a property (None if it is not set)."""
        if name is None:
            return self.form.type.repr(self.value)
        value = self.get(name)
        if value is None:
            return None
        prop = self.form.props.get(name)
        return str(value) if prop is None else prop.type.repr(value)

    def packed(self) -> bytes:
        """Return the node as a serialized cellmesh.api.cortex.v1.Node, as it is stored."""
        if self._generation != self.session.generation:
            self._fresh()
        return self._bytes

    @property
    def record(self) -> Record:
        """The node taken apart, values still serialized. Not to be changed."""
        if self._generation != self.session.generation:
            self._fresh()
        if self._record is None:
            self._record = parse_node(self._bytes)
        return self._record

    # For the session.

    def renew(self, data: bytes | None, generation: int) -> None:
        """Take what was read anew; None when the node is gone."""
        if data is None:
            self._record = Record(b"")
            self._generation = generation
            return
        if data != self._bytes or self._record is not None:
            self._bytes = data
            self._record = None
        self._generation = generation

    def _fresh(self) -> None:
        session = self.session
        if self._generation != session.generation:
            self.renew(session.read_node(self.key), session.generation)

    def _decode(self, name: str, encoded: bytes) -> Any:
        prop = self.form.props.get(name)
        if prop is not None and prop.type.is_mutable:
            return decode_plain(encoded)
        return decode_value(encoded)


def _interval(tag: bytes) -> tuple[int, int] | None:
    """Read a serialized Tag."""
    return decode_interval(tag[2:]) if tag else None
