"""Node records: what a layer knows of one node, in wire form.

A record is one of two kinds, told apart by its first byte:

    0x0A   the layer made the node: the record is a serialized cellmesh.api.cortex.v1.Node, as a lift
           streams it. (0x0A is the tag of its first field.) Nothing below the layer is hidden.
    0x01   anything else: flags(1), size(varint) and bytes of a Node, masks. The Node holds what the layer
           adds to a node below; masks are the names that the layer hides of what is below.

Fields stand in this order, each once, so that records of equal content are equal bytes: form, value, buid,
props by name, tags by name, tag_props by tag. `find_prop` relies on it.

    flags   1 ADDED: the layer made the node        2 MASKS: nothing below the layer is seen
    mask    kind(1) size(varint) name [size(varint) name]: P a property, T a tag, Q a tag's property
"""

from __future__ import annotations

from functools import cache
from typing import Final

from cellmesh.common.errors import StorageCorrupt
from cellmesh.cortex.values.wire import decode_value, encode_value, field, read_varint, varint

NODE_START: Final = 0x0A
PARTIAL_START: Final = 0x01
ADDED: Final = 1
MASKS: Final = 2

_PROPS: Final = 0x22
_TAGS: Final = 0x2A
_TAG_PROPS: Final = 0x32
_KEY: Final = 0x0A
_BODY: Final = 0x12


def node_head(form: str, value: object, buid: bytes) -> bytes:
    """Return the first fields of a record: form, value, buid."""
    return _form_field(form) + field(0x12, encode_value(value)) + b"\x1a\x20" + buid


@cache
def _form_field(form: str) -> bytes:
    return field(0x0A, form.encode())


def prop_entry(name: str, encoded_value: bytes) -> bytes:
    """Return the field of one property. What follows tag and size is name and value, as in a PropSet."""
    return field(_PROPS, field(_KEY, name.encode()) + field(_BODY, encoded_value))


def tag_entry(name: str, tag: bytes) -> bytes:
    """Return the field of one tag, from its serialized Tag."""
    return field(_TAGS, field(_KEY, name.encode()) + field(_BODY, tag))


def tag_props_entry(tag: str, props: dict[str, bytes]) -> bytes:
    """Return the field of one tag's properties."""
    body = b"".join(
        field(0x0A, field(_KEY, name.encode()) + field(_BODY, props[name])) for name in sorted(props)
    )
    return field(_TAG_PROPS, field(_KEY, tag.encode()) + field(_BODY, body))


class Record:
    """A record taken apart. Values are kept serialized; changing one is changing a dict.

    Attributes:
        head: The fields form, value and buid.
        is_added: Whether the layer made the node.
        is_mask: Whether nothing below the layer is seen.
        props: Property name -> serialized Value.
        tags: Tag name -> serialized Tag.
        tag_props: Tag name -> property name -> serialized Value.
        prop_masks, tag_masks, tag_prop_masks: What is hidden of the layers below.
    """

    __slots__ = (
        "head",
        "is_added",
        "is_mask",
        "prop_masks",
        "props",
        "tag_masks",
        "tag_prop_masks",
        "tag_props",
        "tags",
    )

    def __init__(self, head: bytes) -> None:
        self.head = head
        self.is_added = False
        self.is_mask = False
        self.props: dict[str, bytes] = {}
        self.tags: dict[str, bytes] = {}
        self.tag_props: dict[str, dict[str, bytes]] = {}
        self.prop_masks: set[str] = set()
        self.tag_masks: set[str] = set()
        self.tag_prop_masks: set[tuple[str, str]] = set()

    @property
    def is_empty(self) -> bool:
        """Whether the layer says nothing of the node any more."""
        return not (
            self.is_added or self.is_mask or self.props or self.tags or self.tag_props or self.has_masks
        )

    @property
    def has_masks(self) -> bool:
        """Whether names are hidden of the layers below."""
        return bool(self.prop_masks or self.tag_masks or self.tag_prop_masks)

    def node_bytes(self) -> bytes:
        """Return the Node: the head and what the layer knows."""
        parts = [self.head]
        props = self.props
        parts.extend(prop_entry(name, props[name]) for name in sorted(props))
        tags = self.tags
        parts.extend(tag_entry(name, tags[name]) for name in sorted(tags))
        parts.extend(tag_props_entry(tag, self.tag_props[tag]) for tag in sorted(self.tag_props))
        return b"".join(parts)

    def to_bytes(self) -> bytes:
        """Return the record as it is stored."""
        node = self.node_bytes()
        if self.is_added and not self.is_mask and not self.has_masks:
            return node
        flags = (ADDED if self.is_added else 0) | (MASKS if self.is_mask else 0)
        parts = [bytes((PARTIAL_START, flags)), varint(len(node)), node]
        parts.extend(b"P" + _sized(name) for name in sorted(self.prop_masks))
        parts.extend(b"T" + _sized(name) for name in sorted(self.tag_masks))
        parts.extend(b"Q" + _sized(tag) + _sized(name) for tag, name in sorted(self.tag_prop_masks))
        return b"".join(parts)


def _sized(name: str) -> bytes:
    data = name.encode()
    return varint(len(data)) + data


def parse_record(data: bytes) -> Record:
    """Take a stored record apart.

    Raises:
        StorageCorrupt: the bytes are no record.
    """
    try:
        if data[0] == NODE_START:
            record = parse_node(data)
            record.is_added = True
            return record
        if data[0] != PARTIAL_START:
            raise StorageCorrupt("a node record starts with an unknown byte")
        flags = data[1]
        size, at = read_varint(data, 2)
        record = parse_node(data[at : at + size])
        record.is_added = bool(flags & ADDED)
        record.is_mask = bool(flags & MASKS)
        _parse_masks(record, data, at + size)
    except IndexError:
        raise StorageCorrupt("a node record ends early") from None
    return record


def _parse_masks(record: Record, data: bytes, at: int) -> None:
    end = len(data)
    while at < end:
        kind = data[at]
        size, at = read_varint(data, at + 1)
        name = data[at : at + size].decode()
        at += size
        if kind == 0x50:
            record.prop_masks.add(name)
        elif kind == 0x54:
            record.tag_masks.add(name)
        elif kind == 0x51:
            size, at = read_varint(data, at)
            record.tag_prop_masks.add((name, data[at : at + size].decode()))
            at += size
        else:
            raise StorageCorrupt("a node record masks something of an unknown kind")


def parse_node(data: bytes) -> Record:
    """Take the bytes of a Node apart."""
    at = head_size(data)
    record = Record(data[:at])
    end = len(data)
    props, tags = record.props, record.tags
    while at < end:
        tag = data[at]
        size = data[at + 1]
        at += 2
        if size >= 0x80:
            size, at = read_varint(data, at - 1)
        stop = at + size
        # Inside: key (0x0A size bytes), body (0x12 size bytes).
        size = data[at + 1]
        at += 2
        if size >= 0x80:
            size, at = read_varint(data, at - 1)
        name = data[at : at + size].decode()
        at += size
        size = data[at + 1]
        at += 2
        if size >= 0x80:
            size, at = read_varint(data, at - 1)
        body = data[at:stop]
        if at + size != stop:
            raise StorageCorrupt("a field of a node record has another size than it says")
        if tag == _PROPS:
            props[name] = body
        elif tag == _TAGS:
            tags[name] = body
        elif tag == _TAG_PROPS:
            record.tag_props[name] = _parse_tag_props(body)
        else:
            raise StorageCorrupt("a node record has an unknown field")
        at = stop
    return record


def _parse_tag_props(data: bytes) -> dict[str, bytes]:
    props: dict[str, bytes] = {}
    at, end = 0, len(data)
    while at < end:
        size, at = read_varint(data, at + 1)
        stop = at + size
        size, at = read_varint(data, at + 1)
        name = data[at : at + size].decode()
        _, at = read_varint(data, at + size + 1)
        props[name] = data[at:stop]
        at = stop
    return props


def head_size(node: bytes) -> int:
    """Return the size of the fields form, value and buid of a Node."""
    at = 2 + node[1]  # a form's name has less than 128 bytes
    size = node[at + 1]
    if size < 0x80:
        at += 2 + size
    else:
        size, at = read_varint(node, at + 1)
        at += size
    return at + 34


def node_value(node: bytes) -> object:
    """Return the value of a Node."""
    size, at = read_varint(node, 3 + node[1])
    return decode_value(node[at : at + size])


def node_form(node: bytes) -> str:
    """Return the form of a Node."""
    return node[2 : 2 + node[1]].decode()


def node_buid(node: bytes) -> bytes:
    """Return the buid of a Node."""
    end = head_size(node)
    return node[end - 32 : end]


def prop_marker(name: str) -> bytes:
    """Return bytes that a Node with the property contains; a Node without it seldom does."""
    return field(_KEY, name.encode()) + b"\x12"


def find_prop(node: bytes, marker: bytes) -> bytes | None:
    """Return the serialized Value of one property of a Node, without reading the others.

    Args:
        node: The bytes of a Node.
        marker: What `prop_marker` gives for the property's name.
    """
    found = node.find(marker)
    if found < 0:
        return None
    at = head_size(node)
    end = len(node)
    if found < at:
        found = node.find(marker, at)
        if found < 0:
            return None
    # The marker could also stand inside some text: only one at the begin of a property's field counts.
    while at < end and node[at] == _PROPS:
        size = node[at + 1]
        at += 2
        if size >= 0x80:
            size, at = read_varint(node, at - 1)
        if at < found:
            at += size
            if at > found:
                found = node.find(marker, at)
                if found < 0:
                    return None
            continue
        if at == found:
            return node[read_varint(node, at + len(marker))[1] : at + size]
        return None
    return None


def tag_marker(name: str) -> bytes:
    """Return bytes that a Node with the tag contains; a Node without it seldom does."""
    return field(_KEY, name.encode()) + b"\x12"
