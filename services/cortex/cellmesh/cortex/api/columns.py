"""The nodes of a query as batches of columns, laid out as Apache Arrow lays them out.

Rows are gathered as they are stored, on the query's own thread. A full batch is taken apart at once, read a column at a
time, and laid out. A client makes a table out of the bytes without looking at a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Final

from cellmesh.api.common.v1 import value_pb2
from cellmesh.api.cortex.v1 import storm_pb2, table_pb2
from cellmesh.common.errors import BadArg
from cellmesh.common.values import from_value
from cellmesh.cortex.api.column_layout import fill_column
from cellmesh.cortex.api.convert import message_bytes
from cellmesh.cortex.layers.records import head_size
from cellmesh.cortex.model.types.times import TimeType
from cellmesh.cortex.storm.runtime.messages import Fini, Message, NodeRow
from cellmesh.cortex.values.wire import varint
from cellmesh.cortex.views.node import Node

BATCH_ROWS: Final = 4096
BATCH_BYTES: Final = 512 * 1024
"""Of the nodes as stored. A batch is sent when it has reached either."""

COLUMN_COUNT_MAX: Final = 1000

FORM: Final = "form"
VALUE: Final = "value"
IDEN: Final = "iden"
TAGS: Final = "tags"


_MESSAGE: Final = storm_pb2.StormResponse.MESSAGES_FIELD_NUMBER << 3 | 2
_NODE: Final = storm_pb2.StormMessage.NODE_FIELD_NUMBER << 3 | 2


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
        self._reset()

    def _reset(self) -> None:
        self._nodes: list[Node] = []
        self._framed: list[bytes] = []
        self._paths: list[dict[str, Any]] = []
        self._shown: list[dict[str, Any]] = []
        self._size = 0

    @property
    def count(self) -> int:
        """How many rows wait."""
        return len(self._nodes)

    def add(self, row: NodeRow) -> bool:
        """Take a node as it is now; returns whether the batch is full."""
        node = row.node
        data = node.packed()
        if node.is_deleted:
            # It has its value still, and nothing else.
            data = data[: head_size(data)]
        self._nodes.append(node)
        if self.needs_path:
            self._paths.append(row.path or {})
        if self._reprs:
            self._shown.append(self._texts_of(node))
        self._framed += (_head(len(data)), data)
        self._size += len(data)
        return len(self._nodes) >= BATCH_ROWS or self._size >= BATCH_BYTES

    def take(self) -> table_pb2.ColumnBatch:
        """Return what was gathered, as columns, and begin anew."""
        made = table_pb2.ColumnBatch(row_count=self.count)
        rows = _Rows(self._framed)
        for name in self._wanted or rows.column_names():
            values, is_time = self._column(name, rows)
            fill_column(made.columns.add(name=name), values, is_time=is_time, is_json=name == TAGS)
        self._reset()
        return made

    def _column(self, name: str, rows: _Rows) -> tuple[list[Any], bool]:
        """Return the values of a column, and whether they are times."""
        match name[0]:
            case "#":
                tag = name[1:]
                return [tag in node.tags for node in rows.nodes], False
            case "$":
                variable = name[1:]
                return [path.get(variable) for path in self._paths], False
        if name == FORM:
            return rows.forms, False
        if name == IDEN:
            return [node.buid.hex() for node in rows.nodes], False
        if name == TAGS:
            return [sorted(node.tags) for node in rows.nodes], False
        if self._reprs:
            return [shown.get(name) for shown in self._shown], False
        prop = "" if name == VALUE else name.removeprefix(":")
        values = rows.props(prop) if prop else rows.values()
        return values, self._is_time(prop, values, rows.forms)

    def _is_time(self, prop: str, values: list[Any], forms: list[str]) -> bool:
        """Whether a column is one of times: each value in it is of a type of time."""
        seen = set(forms)
        if len(seen) > 1:
            seen = {form for form, value in zip(forms, values) if value is not None}
        return bool(seen) and all(self._is_time_of(form, prop, forms) for form in seen)

    def _is_time_of(self, form_name: str, prop: str, forms: list[str]) -> bool:
        key = (form_name, prop)
        known = self._timed.get(key)
        if known is None:
            form = self._nodes[forms.index(form_name)].form
            found = form.props.get(prop) if prop else form
            known = self._timed[key] = found is not None and isinstance(found.type, TimeType)
        return known

    def _texts_of(self, node: Node) -> dict[str, Any]:
        """What people read of a node's value and properties, by column."""
        wanted = self._wanted or (VALUE, *(_column_of(name) for name in node.record.props))
        found: dict[str, Any] = {}
        for column in wanted:
            if column == VALUE:
                found[column] = _text(node.repr())
            elif column[0] in ":." and node.has(name := column.removeprefix(":")):
                found[column] = _text(node.repr(name))
        return found


class _Rows:
    """The nodes of a batch, taken apart by compiled code and read a column at a time.

    Args:
        framed: Serialized nodes, before each what makes it an element of `StormResponse.messages`. One message of
            all of them is taken apart in a seventh of the time that one for each takes.

    Attributes:
        nodes: The same, taken apart.
        forms: The form of each.
    """

    def __init__(self, framed: list[bytes]) -> None:
        messages = storm_pb2.StormResponse.FromString(b"".join(framed)).messages
        self.nodes = [message.node for message in messages]
        self.forms = [node.form for node in self.nodes]
        self._props = [node.props for node in self.nodes]

    def column_names(self) -> list[str]:
        """Return the columns that the nodes have."""
        names = sorted(set(chain.from_iterable(self._props)))
        tags = [TAGS] if any(node.tags for node in self.nodes) else []
        return [FORM, VALUE, IDEN, *map(_column_of, names), *tags]

    def values(self) -> list[Any]:
        """Return the value of each node."""
        return _python_values([node.value for node in self.nodes])

    def props(self, name: str) -> list[Any]:
        """Return a property of each node; None where it is not set."""
        # What is not there comes as an empty Value, and sooner than get() says that it is not.
        return _python_values([props[name] for props in self._props])


@lru_cache(maxsize=1024)
def _head(size: int) -> bytes:
    """What stands before a node of a size as an element of `StormResponse.messages`."""
    inner = bytes((_NODE,)) + varint(size)
    return bytes((_MESSAGE,)) + varint(len(inner) + size) + inner


def _python_values(found: list[value_pb2.Value]) -> list[Any]:
    """Return the Python values of a column; None for an empty one.

    Most columns have values of one kind: the kind of the first one is tried first.
    """
    match next(filter(None, (value.WhichOneof("kind") for value in found)), None):
        # Zero, false and the empty text may also mean that a value is of another kind.
        case "int_value":
            return [value.int_value or from_value(value) for value in found]
        case "string_value":
            return [value.string_value or from_value(value) for value in found]
        case "bool_value":
            return [value.bool_value or from_value(value) for value in found]
        case None:
            return [None] * len(found)
        case _:
            return [from_value(value) for value in found]


def _column_of(prop: str) -> str:
    return prop if prop.startswith(".") else f":{prop}"


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


def _text(value: Any) -> str:
    """What a type shows as one text."""
    if isinstance(value, (list, tuple)):
        return f"({', '.join(map(_text, value))})"
    return str(value)
