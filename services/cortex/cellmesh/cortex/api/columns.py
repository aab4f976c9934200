"""The nodes of a query as batches of columns, laid out as Apache Arrow lays them out.

Rows are gathered a node at a time, on the query's own thread, and packed a column at a time. A client makes a table
out of the bytes without looking at a row.
"""

from __future__ import annotations

import json
import struct
import sys
from array import array
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import accumulate
from typing import Any, Final

from cellmesh.api.cortex.v1 import node_pb2, table_pb2
from cellmesh.common.errors import BadArg
from cellmesh.common.values import from_value
from cellmesh.cortex.api.convert import message_bytes
from cellmesh.cortex.model.entries import Form
from cellmesh.cortex.model.types.times import TimeType
from cellmesh.cortex.storm.runtime.messages import Fini, Message, NodeRow
from cellmesh.cortex.views.node import Node

BATCH_ROWS: Final = 4096
BATCH_BYTES: Final = 512 * 1024
"""Of the nodes as stored. A batch is sent when it has reached either."""

COLUMN_COUNT_MAX: Final = 1000

FORM: Final = "form"
VALUE: Final = "value"
IDEN: Final = "iden"
TAGS: Final = "tags"

TIME_MIN_MS: Final = -62135596800000
TIME_MAX_MS: Final = 253402300799999
"""The years 1 to 9999. Other values of a time, such as the one that means no end, make its column one of integers."""

_INT64 = table_pb2.COLUMN_KIND_INT64
_DOUBLE = table_pb2.COLUMN_KIND_DOUBLE
_BOOL = table_pb2.COLUMN_KIND_BOOL
_TEXT = table_pb2.COLUMN_KIND_TEXT
_BYTES = table_pb2.COLUMN_KIND_BYTES
_JSON = table_pb2.COLUMN_KIND_JSON
_TIME = table_pb2.COLUMN_KIND_TIME

_KINDS: Final[dict[type, int]] = {
    bool: _BOOL,
    int: _INT64,
    float: _DOUBLE,
    str: _TEXT,
    bytes: _BYTES,
}


class TableBuilder:
    """Gathers nodes until they make a batch.

    Args:
        columns: The columns wanted, as in the proto; none for those that the nodes have.
        reprs: Whether values and properties are human text.

    Raises:
        BadArg: a column is not named as one, or there are too many.
    """

    def __init__(self, columns: Sequence[str], *, reprs: bool) -> None:
        if len(columns) > COLUMN_COUNT_MAX:
            raise BadArg(f"at most {COLUMN_COUNT_MAX} columns can be asked for", name="columns")
        for name in columns:
            if name not in (FORM, VALUE, IDEN, TAGS) and (
                name[:1] not in (":", ".", "#", "$") or len(name) < 2
            ):
                raise BadArg(
                    f"{name!r} names no column",
                    name="columns",
                    hint="there are form, value, iden, tags, :property, .property, #tag and $variable",
                )
        self._wanted = tuple(dict.fromkeys(columns))
        self.needs_path = any(name.startswith("$") for name in self._wanted)
        self._reprs = reprs
        self._timed: dict[tuple[str, str], bool] = {}
        # How each wanted column is read, and under which name of the node.
        self._plan = [
            (name[0], name[1:] if name[0] in ":#$" else name, name) if name[0] in ":.#$" else (name, "", name)
            for name in self._wanted
        ]
        self._reset()

    def _reset(self) -> None:
        names = self._wanted or (FORM, VALUE, IDEN)
        self._columns: dict[str, list[Any]] = {name: [] for name in names}
        self._untimed: set[str] = set()
        self._times: set[str] = set()
        self._tags: list[Any] = []
        self._has_tags = False
        self._count = 0
        self._size = 0

    @property
    def count(self) -> int:
        """How many rows wait."""
        return self._count

    def add(self, row: NodeRow) -> bool:
        """Take a node; returns whether the batch is full."""
        node = row.node
        data = node.packed()
        if not self._wanted:
            self._add_all(node)
        elif self._reprs or node.is_deleted:
            self._add_wanted(node, row.path or {})
        else:
            self._add_stored(node.form, node_pb2.Node.FromString(data), row.path or {})
        self._count += 1
        self._size += len(data)
        return self._count >= BATCH_ROWS or self._size >= BATCH_BYTES

    def take(self) -> table_pb2.ColumnBatch:
        """Return what was gathered, as columns, and begin anew."""
        batch = table_pb2.ColumnBatch(row_count=self._count)
        if not self._wanted and self._has_tags:
            self._columns[TAGS] = self._tags
        for name, values in self._columns.items():
            values.extend([None] * (self._count - len(values)))
            is_time = name in self._times and name not in self._untimed
            fill_column(batch.columns.add(name=name), values, is_time=is_time, is_json=name == TAGS)
        self._reset()
        return batch

    def _add_all(self, node: Node) -> None:
        form = node.form
        columns = self._columns
        columns[FORM].append(form.name)
        columns[VALUE].append(self._value(node, form))
        columns[IDEN].append(node.iden)
        record = node.record
        for name in record.props:
            column = name if name.startswith(".") else f":{name}"
            values = columns.get(column)
            if values is None:
                values = columns[column] = []
            if len(values) < self._count:
                values.extend([None] * (self._count - len(values)))
            values.append(self._prop(node, form, name, column))
        self._tags.append(sorted(record.tags))
        self._has_tags = self._has_tags or bool(record.tags)

    def _add_wanted(self, node: Node, path: dict[str, Any]) -> None:
        form = node.form
        for column, values in self._columns.items():
            match column[0]:
                case ":":
                    values.append(self._prop(node, form, column[1:], column))
                case ".":
                    values.append(self._prop(node, form, column, column))
                case "#":
                    values.append(node.has_tag(column[1:]))
                case "$":
                    values.append(path.get(column[1:]))
                case _ if column == FORM:
                    values.append(form.name)
                case _ if column == IDEN:
                    values.append(node.iden)
                case _ if column == TAGS:
                    values.append(sorted(node.record.tags))
                case _:
                    values.append(self._value(node, form))

    def _add_stored(self, form: Form, stored: node_pb2.Node, path: dict[str, Any]) -> None:
        """As `_add_wanted`, of a node as it is stored: taken apart once, by compiled code."""
        props, tags, columns = stored.props, stored.tags, self._columns
        for kind, name, column in self._plan:
            found: Any
            if kind in (":", "."):
                value = props.get(name)
                found = None if value is None else from_value(value)
                if found is not None:
                    self._note_time(form, name, column)
            elif kind == "#":
                found = name in tags
            elif kind == "$":
                found = path.get(name)
            elif kind == FORM:
                found = form.name
            elif kind == IDEN:
                found = stored.buid.hex()
            elif kind == TAGS:
                found = sorted(tags)
            else:
                self._note_time(form, "", VALUE)
                found = from_value(stored.value)
            columns[column].append(found)

    def _value(self, node: Node, form: Form) -> Any:
        if self._reprs:
            return _text(node.repr())
        self._note_time(form, "", VALUE)
        return node.value

    def _prop(self, node: Node, form: Form, name: str, column: str) -> Any:
        value = node.get(name)
        if value is None:
            return None
        if self._reprs:
            return _text(node.repr(name))
        self._note_time(form, name, column)
        return value

    def _note_time(self, form: Form, name: str, column: str) -> None:
        """A column is one of times only if each value in it is of a type of time."""
        key = (form.name, name)
        is_time = self._timed.get(key)
        if is_time is None:
            if name:
                prop = form.props.get(name)
                is_time = prop is not None and isinstance(prop.type, TimeType)
            else:
                is_time = isinstance(form.type, TimeType)
            self._timed[key] = is_time
        (self._times if is_time else self._untimed).add(column)


def send_columns(message: Message, table: TableBuilder, send: Callable[[bytes], object]) -> None:
    """Send a message of a query, or gather it; before the last one, send what was gathered."""
    if isinstance(message, NodeRow):
        if table.add(message):
            send(table_pb2.QueryColumnsResponse(batches=[table.take()]).SerializeToString())
        return
    if isinstance(message, Fini) and table.count:
        send(table_pb2.QueryColumnsResponse(batches=[table.take()]).SerializeToString())
    # An element of StormResponse.messages; this one has them under the same number.
    send(message_bytes(message, False))


def fill_column(column: table_pb2.Column, values: list[Any], *, is_time: bool, is_json: bool = False) -> None:
    """Lay out the values of a column.

    Args:
        column: Where to; its name is set.
        values: A value for each row, or None.
        is_time: Whether they are times where their range allows.
        is_json: Whether they are written as JSON whatever they are.
    """
    types = set(map(type, values))
    if type(None) in types:
        types.discard(type(None))
        if not types:
            column.validity = bytes((len(values) + 7) // 8)
            return
        column.validity = _bits([value is not None for value in values])
    kind = _JSON if is_json else _kind_of(types, values)
    if kind == _INT64 and is_time and all(v is None or TIME_MIN_MS <= v <= TIME_MAX_MS for v in values):
        kind = _TIME
    column.kind = kind  # type: ignore[assignment]
    if kind in (_INT64, _TIME):
        column.values = struct.pack(f"<{len(values)}q", *(value or 0 for value in values))
    elif kind == _DOUBLE:
        column.values = struct.pack(f"<{len(values)}d", *(value or 0.0 for value in values))
    elif kind == _BOOL:
        column.values = _bits(values)
    elif kind == _BYTES:
        _fill_pieces(column, [value or b"" for value in values])
    elif kind == _JSON:
        _fill_pieces(column, [b"" if value is None else _json(value) for value in values])
    else:
        _fill_pieces(column, [b"" if value is None else _text_bytes(value) for value in values])


def _kind_of(types: set[type], values: list[Any]) -> int:
    if len(types) != 1:
        # One kind of value by itself keeps its kind; several are text, lists and maps among them as JSON.
        return _TEXT if any(found in _KINDS for found in types) else _JSON
    (only,) = types
    kind = _KINDS.get(only, _JSON)
    if kind == _INT64 and not all(value is None or -(1 << 63) <= value < 1 << 63 for value in values):
        return _JSON
    return kind


def _fill_pieces(column: table_pb2.Column, pieces: list[bytes]) -> None:
    offsets = array("i", [0])
    offsets.extend(accumulate(map(len, pieces)))
    if sys.byteorder == "big":
        offsets.byteswap()
    column.values = b"".join(pieces)
    column.offsets = offsets.tobytes()


def _bits(flags: Sequence[Any]) -> bytes:
    """A bit for each flag, the lowest bit of a byte first."""
    bits = "".join(["1" if flag else "0" for flag in reversed(flags)])
    return int(bits or "0", 2).to_bytes((len(flags) + 7) // 8, "little")


def _text_bytes(value: Any) -> bytes:
    return value.encode("utf-8", "replace") if isinstance(value, str) else _json(value)


def _json(value: Any) -> bytes:
    return json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _plain(value: Any) -> Any:
    match value:
        case bytes():
            return value.hex()
        case Decimal():
            return str(value)
        case list() | tuple():
            return [_plain(item) for item in value]
        case dict():
            return {str(key): _plain(item) for key, item in value.items()}
        case _:
            return value


def _text(value: Any) -> str:
    """What a type shows as one text."""
    if isinstance(value, (list, tuple)):
        return f"({', '.join(map(_text, value))})"
    return str(value)
