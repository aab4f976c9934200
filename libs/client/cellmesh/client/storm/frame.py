"""Frame: the nodes of a query as columns, which came as columns and stay so.

The batches of an answer may differ: in which columns they have, and in the kind of a column, since that follows from the
values in the batch. Here each column gets one kind for all batches; then every batch has all columns.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, Final

from cellmesh.api.cortex.v1 import table_pb2
from cellmesh.client.storm import html
from cellmesh.client.storm.request import Told
from cellmesh.client.storm.rows import leaves
from cellmesh.common.time.parse import print_time

if TYPE_CHECKING:
    import pandas
    import polars

SHOWN_ROWS: Final = 50
IDEN_SHOWN: Final = 12
"""Digits of an iden in a notebook."""

NONE: Final = table_pb2.COLUMN_KIND_UNSPECIFIED
INT64: Final = table_pb2.COLUMN_KIND_INT64
DOUBLE: Final = table_pb2.COLUMN_KIND_DOUBLE
BOOL: Final = table_pb2.COLUMN_KIND_BOOL
TEXT: Final = table_pb2.COLUMN_KIND_TEXT
BYTES: Final = table_pb2.COLUMN_KIND_BYTES
JSON: Final = table_pb2.COLUMN_KIND_JSON
TIME: Final = table_pb2.COLUMN_KIND_TIME

PIECES: Final = frozenset({TEXT, BYTES, JSON, NONE})
"""Kinds whose values differ in size, and have offsets. A column without any value is one of text."""


@dataclass(frozen=True, slots=True)
class Part:
    """A column of one batch, in the buffers of Arrow.

    Attributes:
        kind: The kind of the whole column.
        count: How many rows.
        null_count: How many of them are null.
        validity: A bit for each row, or empty when none is null.
        values: The values.
        offsets: Of text, bytes and JSON; else empty.
    """

    kind: int
    count: int
    null_count: int
    validity: bytes
    values: bytes
    offsets: bytes = b""

    def python(self) -> list[Any]:
        """The values as Python has them; texts of JSON as they are."""
        if self.kind in PIECES:
            bounds = pairwise(_numbers("i", self.offsets))
            found: list[Any] = [self.values[begin:end] for begin, end in bounds]
            if self.kind != BYTES:
                found = _texts(self.values, self.offsets)
        elif self.kind == DOUBLE:
            found = list(_numbers("d", self.values))
        elif self.kind == BOOL:
            found = bits(self.values, self.count)
        else:
            found = list(_numbers("q", self.values))
        if not self.null_count:
            return found
        return [value if ok else None for value, ok in zip(found, bits(self.validity, self.count))]


class Frame:
    """A table of nodes. Whatever reads Arrow's C stream takes it: `polars.DataFrame(frame)`, `pyarrow.table(frame)`,
    and DuckDB by its name.

    Args:
        batches: As they came.
        columns: The columns that were asked for; none for all that came.
        told: What the query told beside them.
    """

    def __init__(self, batches: Sequence[table_pb2.ColumnBatch], columns: Sequence[str], told: Told) -> None:
        self.prints = tuple(told.prints)
        self.warnings = tuple(told.warnings)
        self.edit_count = told.edit_count
        self.duration_s = told.duration_s
        self.kinds = _kinds(batches, columns)
        self.batches = tuple(_batch(batch, self.kinds) for batch in batches)
        self.counts = tuple(batch.row_count for batch in batches)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(self.kinds)

    def __len__(self) -> int:
        return sum(self.counts)

    def __repr__(self) -> str:
        return f"<{len(self)} rows, {len(self.kinds)} columns>"

    def to_dict(self) -> dict[str, list[Any]]:
        """Each column as a list of Python's own values. Times are milliseconds since 1970."""
        return {name: list(self._values(index)) for index, name in enumerate(self.kinds)}

    def to_polars(self) -> polars.DataFrame:
        """A frame of polars, made over the buffers as they came, by Arrow's C interface.

        Raises:
            ModuleNotFoundError: polars is not installed: `pip install 'cellmesh[polars]'`.
        """
        import polars

        return polars.DataFrame(self)

    def to_pandas(self) -> pandas.DataFrame:
        """A frame of pandas.

        Numbers, times and truth values are taken over as arrays, nulls by masks. Text becomes Python's own strings,
        since without pyarrow pandas keeps no others.

        Raises:
            ModuleNotFoundError: pandas is not installed: `pip install 'cellmesh[pandas]'`.
        """
        import pandas
        from cellmesh.client.storm.frame_pandas import series

        made = {
            name: series(kind, [batch[index] for batch in self.batches])
            for index, (name, kind) in enumerate(self.kinds.items())
        }
        return pandas.DataFrame(made, index=pandas.RangeIndex(len(self)))

    def __arrow_c_schema__(self) -> Any:
        """Arrow's C interface: the names and kinds of the columns."""
        from cellmesh.client.storm import arrow

        return arrow.schema_capsule(self)

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """Arrow's C interface: the batches. What is handed over keeps this frame alive."""
        from cellmesh.client.storm import arrow

        return arrow.stream_capsule(self)

    def _repr_html_(self) -> str:
        shown = min(len(self), SHOWN_ROWS)
        columns = [self._first(index, shown) for index in range(len(self.kinds))]
        note = f"{len(self)} {'row' if len(self) == 1 else 'rows'}" + (
            f", the first {shown} shown" if shown < len(self) else ""
        )
        return html.table(self.columns, list(zip(*columns)), note)

    def _first(self, index: int, count: int) -> list[str]:
        """The first values of a column as people read them."""
        found: list[str] = []
        name, kind = list(self.kinds.items())[index]
        for value in self._values(index):
            if len(found) == count:
                break
            if value is None:
                found.append("")
            else:
                found.append(_shown(name, kind, value))
        return found

    def _values(self, index: int) -> Iterator[Any]:
        for batch in self.batches:
            yield from batch[index].python()


def _shown(name: str, kind: int, value: Any) -> str:
    if kind == TIME:
        return print_time(value)
    if name == "tags" and kind == JSON:
        return " ".join(f"#{tag}" for tag in leaves(json.loads(value)))
    text = value.hex() if isinstance(value, bytes) else str(value)
    # Nobody reads an iden to its end, and it is as wide as all else.
    return f"{text[:IDEN_SHOWN]}…" if name == "iden" else text


def bits(data: bytes, count: int) -> list[bool]:
    """The first bits of a bitmap, the lowest bit of a byte first."""
    text = f"{int.from_bytes(data, 'little'):0{count}b}" if count else ""
    return [digit == "1" for digit in text[::-1][:count]]


def _kinds(batches: Sequence[table_pb2.ColumnBatch], columns: Sequence[str]) -> dict[str, int]:
    """The kind of each column over all batches."""
    names = dict.fromkeys(columns) or dict.fromkeys(
        column.name for batch in batches for column in batch.columns
    )
    found: dict[str, set[int]] = {name: set() for name in (names or ("form", "value", "iden"))}
    for batch in batches:
        for column in batch.columns:
            if column.kind != NONE:
                found[column.name].add(column.kind)
    return {name: _joined(kinds) for name, kinds in found.items()}


def _joined(kinds: set[int]) -> int:
    if not kinds:
        return TEXT
    if len(kinds) == 1:
        return next(iter(kinds))
    if kinds == {INT64, TIME}:
        return INT64
    # A number too large for 64 bits in one batch makes the column JSON; otherwise several kinds are text, as in a batch.
    return JSON if kinds <= {INT64, JSON} else TEXT


def _batch(batch: table_pb2.ColumnBatch, kinds: dict[str, int]) -> tuple[Part, ...]:
    columns = {column.name: column for column in batch.columns}
    return tuple(_part(columns.get(name), kind, batch.row_count) for name, kind in kinds.items())


def _part(column: table_pb2.Column | None, kind: int, count: int) -> Part:
    if column is None or column.kind == NONE:
        validity = bytes((count + 7) // 8)
        if kind in PIECES:
            return Part(kind, count, count, validity, b"", bytes(4 * (count + 1)))
        return Part(kind, count, count, validity, bytes(validity if kind == BOOL else 8 * count))
    validity = column.validity
    null_count = count - int.from_bytes(validity, "little").bit_count() if validity else 0
    if column.kind == kind or {column.kind, kind} == {INT64, TIME} or (column.kind, kind) == (JSON, TEXT):
        return Part(kind, count, null_count, validity, column.values, column.offsets)
    # Of another kind than in other batches: written anew, as text or JSON.
    given = Part(column.kind, count, null_count, validity, column.values, column.offsets).python()
    pieces = [_piece(value, column.kind) for value in given]
    offsets = array("i", [0])
    offsets.extend(accumulate(map(len, pieces)))
    return Part(kind, count, null_count, validity, b"".join(pieces), offsets.tobytes())


def _piece(value: Any, kind: int) -> bytes:
    if value is None:
        return b""
    if kind in (TEXT, JSON):
        return str(value).encode()
    return json.dumps(value.hex() if isinstance(value, bytes) else value).encode()


def _numbers(code: str, data: bytes) -> array[Any]:
    found = array(code)
    found.frombytes(data)
    return found


def _texts(values: bytes, offsets: bytes) -> list[Any]:
    bounds = pairwise(_numbers("i", offsets))
    if values.isascii():
        # Then letters stand where bytes do, and one pass decodes them all.
        text = values.decode("ascii")
        return [text[begin:end] for begin, end in bounds]
    return [values[begin:end].decode() for begin, end in bounds]
