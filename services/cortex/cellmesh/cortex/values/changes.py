"""LayerEdits to and from their change record, cellmesh.api.cortex.v1.LayerEdits.

Writing joins bytes, as each edit of every feed passes here; reading, which replay and mirrors do, goes
through the generated classes.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from typing import Any, Final

from cellmesh.api.common.v1 import value_pb2
from cellmesh.api.cortex.v1 import node_edit_pb2, node_pb2
from cellmesh.common.errors import StorageCorrupt
from cellmesh.cortex.values.edits import (
    MISSING,
    EdgeAdd,
    EdgeDelete,
    Interval,
    LayerEdits,
    NameNumber,
    NodeAdd,
    NodeDataDelete,
    NodeDataSet,
    NodeDelete,
    NodeEdit,
    NodeEdits,
    PropDelete,
    PropSet,
    TagDelete,
    TagPropDelete,
    TagPropSet,
    TagSet,
    Unmask,
)
from cellmesh.cortex.values.wire import (
    decode_value,
    encode_interval,
    encode_value,
    field,
    read_varint,
    varint,
    zigzag,
)
from google.protobuf.message import DecodeError

TYPE_NAME: Final = "cellmesh.api.cortex.v1.LayerEdits"
COMPRESSED_TYPE_NAME: Final = TYPE_NAME + "+zlib"
"""What a change record with a compressed payload is called: feeds repeat themselves, and shrink to an eighth."""

COMPRESS_SIZE_MIN: Final = 1024
COMPRESS_LEVEL: Final = 1
PAYLOAD_SIZE_MAX: Final = 1 << 30

_NODES: Final = 0x12

NODE_ADD: Final = b"\x22\x02\x0a\x00"
"""NodeEdits.edits holding a NodeAdd."""


def encode_layer_edits(edits: LayerEdits) -> bytes:
    """Serialize the edits of one transaction."""
    nodes = [encode_node_edits(node) for node in edits.nodes]
    origin = field(0x32, edits.origin.encode()) if edits.origin else b""
    return frame(edits.layer_id, nodes, edits.user, edits.time_ms) + encode_names(edits.names) + origin


def encode_names(names: Iterable[NameNumber]) -> bytes:
    """Serialize LayerEdits.names: what a record adds behind its edits when names got their numbers with it."""
    return b"".join(
        field(0x2A, b"\x08" + varint(kind) + field(0x12, name.encode()) + b"\x18" + varint(number))
        for kind, name, number in names
    )


def frame(layer_id: str, nodes: Iterable[bytes], user: str, time_ms: int) -> bytes:
    """Put a LayerEdits together from serialized NodeEdits."""
    parts = [field(0x0A, layer_id.encode())]
    parts.extend(field(0x12, node) for node in nodes)
    if user:
        parts.append(field(0x1A, user.encode()))
    if time_ms:
        parts.append(b"\x20" + varint(zigzag(time_ms)))
    return b"".join(parts)


def encode_node_edits(node: NodeEdits) -> bytes:
    """Serialize the edits of one node."""
    parts = [
        b"\x08" + varint(node.nid),
        field(0x12, node.form.encode()),
        field(0x1A, encode_value(node.value)),
    ]
    parts.extend(field(0x22, encode_edit(edit)) for edit in node.edits)
    return b"".join(parts)


def encode_edit(edit: NodeEdit) -> bytes:
    """Serialize one edit."""
    return _ENCODERS[type(edit)](edit)


def prop_set_edit(name_and_value: bytes) -> bytes:
    """Return NodeEdits.edits holding a PropSet without old value, from its serialized name and value."""
    return field(0x22, field(0x1A, name_and_value))


def _value(tag: int, value: object) -> bytes:
    return b"" if value is MISSING else field(tag, encode_value(value))


def _interval(tag: int, interval: Interval) -> bytes:
    return b"" if interval is None else field(tag, encode_interval(interval))


def _prop_set(edit: PropSet) -> bytes:
    return field(
        0x1A,
        field(0x0A, edit.name.encode())
        + field(0x12, encode_value(edit.value))
        + _value(0x1A, edit.old_value),
    )


def _prop_delete(edit: PropDelete) -> bytes:
    return field(0x22, field(0x0A, edit.name.encode()) + _value(0x12, edit.old_value))


def _tag_set(edit: TagSet) -> bytes:
    body = field(0x0A, edit.name.encode()) + _interval(0x12, edit.interval)
    if edit.existed:
        body += b"\x18\x01"
    return field(0x2A, body + _interval(0x22, edit.old_interval))


def _tag_delete(edit: TagDelete) -> bytes:
    return field(0x32, field(0x0A, edit.name.encode()) + _interval(0x12, edit.old_interval))


def _tag_prop_set(edit: TagPropSet) -> bytes:
    body = field(0x0A, edit.tag.encode()) + field(0x12, edit.name.encode())
    return field(0x3A, body + field(0x1A, encode_value(edit.value)) + _value(0x22, edit.old_value))


def _tag_prop_delete(edit: TagPropDelete) -> bytes:
    body = field(0x0A, edit.tag.encode()) + field(0x12, edit.name.encode())
    return field(0x42, body + _value(0x1A, edit.old_value))


def _edge_add(edit: EdgeAdd) -> bytes:
    return field(0x4A, field(0x0A, edit.verb.encode()) + b"\x10" + varint(edit.to_nid))


def _edge_delete(edit: EdgeDelete) -> bytes:
    return field(0x52, field(0x0A, edit.verb.encode()) + b"\x10" + varint(edit.to_nid))


def _data_set(edit: NodeDataSet) -> bytes:
    body = field(0x0A, edit.name.encode()) + field(0x12, encode_value(edit.value))
    return field(0x5A, body + _value(0x1A, edit.old_value))


def _data_delete(edit: NodeDataDelete) -> bytes:
    return field(0x62, field(0x0A, edit.name.encode()) + _value(0x12, edit.old_value))


def _unmask(edit: Unmask) -> bytes:
    prop = field(0x0A, edit.prop.encode()) if edit.prop else b""
    return field(0x6A, prop + (field(0x12, edit.tag.encode()) if edit.tag else b""))


_ENCODERS: Final[dict[type, Callable[[Any], bytes]]] = {
    NodeAdd: lambda edit: b"\x0a\x00",
    NodeDelete: lambda edit: b"\x12\x00",
    PropSet: _prop_set,
    PropDelete: _prop_delete,
    TagSet: _tag_set,
    TagDelete: _tag_delete,
    TagPropSet: _tag_prop_set,
    TagPropDelete: _tag_prop_delete,
    EdgeAdd: _edge_add,
    EdgeDelete: _edge_delete,
    NodeDataSet: _data_set,
    NodeDataDelete: _data_delete,
    Unmask: _unmask,
}


def pack(payload: bytes) -> tuple[str, bytes]:
    """Return the type name and payload that a change record gets for serialized LayerEdits."""
    if len(payload) < COMPRESS_SIZE_MIN:
        return TYPE_NAME, payload
    return COMPRESSED_TYPE_NAME, zlib.compress(payload, COMPRESS_LEVEL)


def is_layer_edits(type_name: str) -> bool:
    """Whether a change record of a type holds LayerEdits."""
    return type_name in (TYPE_NAME, COMPRESSED_TYPE_NAME)


def unpack(type_name: str, payload: bytes) -> bytes:
    """Undo `pack`: return the serialized LayerEdits of a change record.

    Raises:
        StorageCorrupt: the payload is not what the type name says.
    """
    if type_name == TYPE_NAME:
        return payload
    if type_name != COMPRESSED_TYPE_NAME:
        raise StorageCorrupt("a change record holds something other than layer edits", type=type_name)
    inflater = zlib.decompressobj()
    try:
        plain = inflater.decompress(payload, PAYLOAD_SIZE_MAX)
    except zlib.error as error:
        raise StorageCorrupt("a change record's payload does not decompress") from error
    if not inflater.eof:
        raise StorageCorrupt("a change record's payload ends early or is too large")
    return plain


def decode_record(type_name: str, payload: bytes) -> LayerEdits:
    """Read the edits of a change record, compressed or not.

    Raises:
        StorageCorrupt: it holds no LayerEdits.
    """
    return decode_layer_edits(unpack(type_name, payload))


def decode_layer_edits(payload: bytes) -> LayerEdits:
    """Read serialized LayerEdits.

    Raises:
        StorageCorrupt: the bytes are no LayerEdits.
    """
    try:
        message = node_edit_pb2.LayerEdits.FromString(payload)
    except DecodeError as error:
        raise StorageCorrupt("a change record's edits do not read back") from error
    return from_proto(message)


def split_layer_edits(payload: bytes) -> tuple[list[bytes], bytes]:
    """Split serialized LayerEdits: each of its NodeEdits, serialized, and the message without them.

    Raises:
        StorageCorrupt: the bytes are no LayerEdits.
    """
    nodes: list[bytes] = []
    rest: list[bytes] = []
    at, end = 0, len(payload)
    try:
        while at < end:
            tag, start = payload[at], at
            if tag & 7 == 2:
                size, at = read_varint(payload, at + 1)
                at += size
                if tag == _NODES:
                    nodes.append(payload[at - size : at])
                    continue
            elif tag & 7 == 0:
                _, at = read_varint(payload, at + 1)
            else:
                raise StorageCorrupt("a change record's edits hold an unknown field")
            rest.append(payload[start:at])
    except IndexError:
        at = end + 1
    if at != end:
        raise StorageCorrupt("a change record's edits end early")
    return nodes, b"".join(rest)


def decode_node_edits(data: bytes) -> NodeEdits:
    """Read serialized NodeEdits; raises StorageCorrupt."""
    try:
        return _node_edits(node_edit_pb2.NodeEdits.FromString(data))
    except DecodeError as error:
        raise StorageCorrupt("a change record's edits do not read back") from error


def _node_edits(node: node_edit_pb2.NodeEdits) -> NodeEdits:
    return NodeEdits(node.nid, node.form, _read(node.value), tuple(read_edit(edit) for edit in node.edits))


def from_proto(message: node_edit_pb2.LayerEdits) -> LayerEdits:
    """Make domain values of a message."""
    nodes = tuple(_node_edits(node) for node in message.nodes)
    names = tuple((item.kind, item.name, item.number) for item in message.names)
    return LayerEdits(message.layer_id, nodes, message.user, message.time_ms, names, message.origin)


def to_proto(edits: LayerEdits) -> node_edit_pb2.LayerEdits:
    """Make a message of domain values."""
    return node_edit_pb2.LayerEdits.FromString(encode_layer_edits(edits))


def _read(value: value_pb2.Value) -> Any:
    return decode_value(value.SerializeToString(deterministic=True))


def _old(message: Any) -> Any:
    return _read(message.old_value) if message.HasField("old_value") else MISSING


def _span(message: Any, name: str) -> Interval:
    if not message.HasField(name):
        return None
    interval: node_pb2.Interval = getattr(message, name)
    return (interval.min, interval.max)


def read_edit(edit: node_edit_pb2.NodeEdit) -> NodeEdit:
    """Make a domain value of a message; raises StorageCorrupt."""
    kind = edit.WhichOneof("edit")
    reader = _DECODERS.get(kind or "")
    if reader is None:
        raise StorageCorrupt("a change record holds an edit of an unknown kind")
    return reader(getattr(edit, kind or ""))


_DECODERS: Final[dict[str, Callable[[Any], NodeEdit]]] = {
    "node_add": lambda item: NodeAdd(),
    "node_delete": lambda item: NodeDelete(),
    "prop_set": lambda item: PropSet(item.name, _read(item.value), _old(item)),
    "prop_delete": lambda item: PropDelete(item.name, _old(item)),
    "tag_set": lambda item: TagSet(
        item.name, _span(item, "interval"), item.existed, _span(item, "old_interval")
    ),
    "tag_delete": lambda item: TagDelete(item.name, _span(item, "old_interval")),
    "tag_prop_set": lambda item: TagPropSet(item.tag, item.name, _read(item.value), _old(item)),
    "tag_prop_delete": lambda item: TagPropDelete(item.tag, item.name, _old(item)),
    "edge_add": lambda item: EdgeAdd(item.verb, item.to_nid),
    "edge_delete": lambda item: EdgeDelete(item.verb, item.to_nid),
    "node_data_set": lambda item: NodeDataSet(item.name, _read(item.value), _old(item)),
    "node_data_delete": lambda item: NodeDataDelete(item.name, _old(item)),
    "unmask": lambda item: Unmask(item.prop, item.tag),
}
