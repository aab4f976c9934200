"""The values of a column as bytes, laid out as Apache Arrow lays them out."""

from __future__ import annotations

import json
import struct
import sys
from array import array
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import accumulate
from typing import Any, Final

from cellmesh.api.cortex.v1 import table_pb2

TIME_MIN_MS: Final = -62135596800000
TIME_MAX_MS: Final = 253402300799999
"""The years 1 to 9999. Other values of a time, such as the one that means no end, make its column one of integers."""

INT64_MIN: Final = -(1 << 63)
INT64_MAX: Final = (1 << 63) - 1

_INT64 = table_pb2.COLUMN_KIND_INT64
_DOUBLE = table_pb2.COLUMN_KIND_DOUBLE
_BOOL = table_pb2.COLUMN_KIND_BOOL
_TEXT = table_pb2.COLUMN_KIND_TEXT
_BYTES = table_pb2.COLUMN_KIND_BYTES
_JSON = table_pb2.COLUMN_KIND_JSON
_TIME = table_pb2.COLUMN_KIND_TIME

_KINDS: Final[dict[type, table_pb2.ColumnKind.ValueType]] = {
    bool: _BOOL,
    int: _INT64,
    float: _DOUBLE,
    str: _TEXT,
    bytes: _BYTES,
}


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
    kind = _JSON if is_json else _kind_of(types)
    if kind == _INT64:
        integers = [value or 0 for value in values] if column.validity else values
        least, most = min(integers), max(integers)
        if least < INT64_MIN or most > INT64_MAX:
            kind = _JSON
        else:
            if is_time and least >= TIME_MIN_MS and most <= TIME_MAX_MS:
                kind = _TIME
            column.values = struct.pack(f"<{len(values)}q", *integers)
    column.kind = kind
    if kind in (_INT64, _TIME):
        return
    if kind == _DOUBLE:
        column.values = struct.pack(f"<{len(values)}d", *(value or 0.0 for value in values))
    elif kind == _BOOL:
        column.values = _bits(values)
    elif kind == _BYTES:
        _fill_pieces(column, [value or b"" for value in values])
    elif kind == _JSON:
        _fill_pieces(column, [b"" if value is None else _json(value) for value in values])
    elif len(types) == 1:
        _fill_texts(column, [value or "" for value in values] if column.validity else values)
    else:
        _fill_pieces(column, [b"" if value is None else _text_bytes(value) for value in values])


def _kind_of(types: set[type]) -> table_pb2.ColumnKind.ValueType:
    if len(types) != 1:
        # One kind of value by itself keeps its kind; several are text, lists and maps among them as JSON.
        return _TEXT if any(found in _KINDS for found in types) else _JSON
    (only,) = types
    return _KINDS.get(only, _JSON)


def _fill_texts(column: table_pb2.Column, texts: list[str]) -> None:
    joined = "".join(texts)
    if not joined.isascii():
        _fill_pieces(column, [text.encode("utf-8", "replace") for text in texts])
        return
    # Most texts are: then all of them are encoded at once, and have as many bytes as characters.
    column.values = joined.encode()
    column.offsets = _offsets(map(len, texts))


def _fill_pieces(column: table_pb2.Column, pieces: list[bytes]) -> None:
    column.values = b"".join(pieces)
    column.offsets = _offsets(map(len, pieces))


def _offsets(sizes: Iterable[int]) -> bytes:
    offsets = array("i", accumulate(sizes, initial=0))
    if sys.byteorder == "big":
        offsets.byteswap()
    return offsets.tobytes()


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
