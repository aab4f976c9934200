"""Records of a feed read from the bytes of their messages.

Feeds repeat themselves: the same properties with the same values, the same tags. So a record of the usual shape (a
form, a value, properties, tags) is only cut into its fields; what a property or a tag means is looked up by its bytes,
and worked out the first time. Everything else goes through the generated classes. Bytes that protobuf would refuse
are never taken: whatever is not exactly as expected is left to it.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from cellmesh.api.common.v1 import value_pb2
from cellmesh.api.cortex.v1 import feed_pb2
from cellmesh.common.errors import BadArg, BadDataValu, StorageCorrupt
from cellmesh.common.values import from_value
from cellmesh.cortex.values.wire import read_varint
from cellmesh.cortex.views.feed_values import NOTHING, BadRecord, FeedEdge, FeedNode
from google.protobuf.message import DecodeError

_FORM: Final = 0x0A
_VALUE: Final = 0x12
_PROP: Final = 0x1A
_TAG: Final = 0x22

_VALUE_INT: Final = 0x18
_VALUE_TEXT: Final = 0x3A
_VALUE_LIST: Final = 0x4A


class WireRecord:
    """A record of the usual shape, cut into its fields.

    Attributes:
        data: The bytes of its FeedNode.
        form: The bytes of its form's name.
        value: Its value.
        props, tags: The bytes of the entries of these maps.
    """

    __slots__ = ("data", "form", "props", "tags", "value")

    def __init__(self, data: bytes, form: bytes, value: Any, props: list[bytes], tags: list[bytes]) -> None:
        self.data = data
        self.form = form
        self.value = value
        self.props = props
        self.tags = tags

    def plain(self) -> FeedNode:
        """Return the record as any other."""
        try:
            return plain_record(feed_pb2.FeedNode.FromString(self.data))
        except DecodeError:
            raise BadArg("the record is no FeedNode", name="nodes") from None


FeedRecord: TypeAlias = FeedNode | WireRecord | BadRecord


def read_request(data: bytes) -> tuple[list[FeedRecord], str]:
    """Read a serialized AddNodesRequest; returns its records and its view's id.

    Raises:
        BadArg: the bytes are no such message.
    """
    try:
        return _read_request(data)
    except (IndexError, DecodeError, UnicodeDecodeError, StorageCorrupt):
        raise BadArg("the request is no AddNodesRequest", name="nodes") from None


def _read_request(data: bytes) -> tuple[list[FeedRecord], str]:
    records: list[FeedRecord] = []
    view_id = ""
    at, end = 0, len(data)
    while at < end:
        tag = data[at]
        if tag != _FORM and tag != _VALUE:
            request = feed_pb2.AddNodesRequest.FromString(data)
            return [_plain_or_bad(node) for node in request.nodes], request.view_id
        size, at = read_varint(data, at + 1)
        stop = at + size
        if stop > end:
            raise IndexError
        if tag == _FORM:
            node = data[at:stop]
            try:
                record = _cut(node)
            except BadDataValu:
                # The way of all others tells where in the record it is.
                record = None
            records.append(_plain_or_bad(feed_pb2.FeedNode.FromString(node)) if record is None else record)
        else:
            view_id = data[at:stop].decode()
        at = stop
    return records, view_id


def _cut(data: bytes) -> WireRecord | None:
    """Cut a FeedNode into its fields; None if it is not of the usual shape."""
    form = value = None
    props: list[bytes] = []
    tags: list[bytes] = []
    at, end = 0, len(data)
    while at < end:
        tag = data[at]
        size = data[at + 1]
        at += 2
        if size >= 0x80:
            size, at = read_varint(data, at - 1)
        stop = at + size
        if stop > end:
            return None
        if tag == _PROP:
            props.append(data[at:stop])
        elif tag == _TAG:
            tags.append(data[at:stop])
        elif tag == _VALUE:
            if value is not None:
                return None
            value = data[at:stop]
        elif tag == _FORM:
            form = data[at:stop]
        else:
            return None
        at = stop
    if form is None or value is None:
        return None
    return WireRecord(data, form, _value(value), props, tags)


def read_entry(data: bytes) -> tuple[str, Any] | None:
    """Read an entry of a map from text to Value; None if it has not exactly key and value, in this order."""
    try:
        return _read_entry(data)
    except (IndexError, DecodeError, UnicodeDecodeError, StorageCorrupt, BadDataValu):
        return None


def _read_entry(data: bytes) -> tuple[str, Any] | None:
    if not data or data[0] != 0x0A:
        return None
    size, at = read_varint(data, 1)
    stop = at + size
    if stop >= len(data) or data[stop] != 0x12:
        return None
    name = data[at:stop].decode()
    size, at = read_varint(data, stop + 1)
    if at + size != len(data):
        return None
    return name, _value(data[at:])


def _value(data: bytes) -> Any:
    """Return the Python value of a serialized Value, as `from_value` does: lists as lists."""
    if data:
        tag = data[0]
        if tag == _VALUE_INT:
            number, at = read_varint(data, 1)
            if at == len(data) and number < 1 << 64:
                return (number >> 1) ^ -(number & 1)
        elif tag == _VALUE_TEXT:
            size, at = read_varint(data, 1)
            if at + size == len(data):
                return data[at:].decode()
        elif tag == _VALUE_LIST:
            size, at = read_varint(data, 1)
            if at + size == len(data):
                items = _items(data, at)
                if items is not None:
                    return items
    return from_value(value_pb2.Value.FromString(data))


def _items(data: bytes, at: int) -> list[Any] | None:
    """Read a list of numbers and texts; None if it holds anything else."""
    items: list[Any] = []
    end = len(data)
    while at < end:
        if data[at] != 0x0A:
            return None
        size, at = read_varint(data, at + 1)
        stop = at + size
        if stop > end or not size or (data[at] != _VALUE_INT and data[at] != _VALUE_TEXT):
            return None
        items.append(_value(data[at:stop]))
        at = stop
    return items


def _plain_or_bad(node: feed_pb2.FeedNode) -> FeedNode | BadRecord:
    try:
        return plain_record(node)
    except BadDataValu as error:
        return BadRecord(error)


def _bad_field(node: feed_pb2.FeedNode) -> str:
    """Return where in a record the value is that does not read, such as `props.asn`."""
    values = {"value": node.value}
    values |= {f"props.{name}": value for name, value in node.props.items()}
    values |= {f"tags.{name}": value for name, value in node.tags.items()}
    for tag, props in node.tag_props.items():
        values |= {f"tag_props.{tag}.{name}": value for name, value in props.props.items()}
    values |= {f"edges[{index}].to.value": edge.to.value for index, edge in enumerate(node.edges)}
    values |= {f"node_data.{name}": value for name, value in node.node_data.items()}
    for field, value in values.items():
        try:
            from_value(value)
        except BadDataValu:
            return field
    return ""


def plain_record(node: feed_pb2.FeedNode) -> FeedNode:
    """Return the record of a message.

    Raises:
        BadDataValu: a value of it is none; `field` is where.
    """
    try:
        return _plain_record(node)
    except BadDataValu as error:
        error.setdefault("field", _bad_field(node))
        raise


def _plain_record(node: feed_pb2.FeedNode) -> FeedNode:
    read = from_value
    return FeedNode(
        node.form,
        read(node.value),
        {name: read(value) for name, value in node.props.items()} if node.props else NOTHING,
        {name: read(value) for name, value in node.tags.items()} if node.tags else NOTHING,
        {
            tag: {name: read(value) for name, value in props.props.items()}
            for tag, props in node.tag_props.items()
        }
        if node.tag_props
        else NOTHING,
        tuple(FeedEdge(edge.verb, edge.to.form, read(edge.to.value), edge.reverse) for edge in node.edges)
        if node.edges
        else (),
        {name: read(value) for name, value in node.node_data.items()} if node.node_data else NOTHING,
    )
