"""Protobuf wire format by hand, where messages are made and taken apart by the million.

Node records, change records and node data hold `Value` messages. Building the message objects only to
serialize them costs several times what joining the bytes does, and one property can be read out of a record
without parsing the rest. What is written here reads back with the generated classes, and the other way
round; tests compare the two.
"""

from __future__ import annotations

import struct
from decimal import Decimal
from typing import Any, Final

from cellmesh.api.common.v1 import value_pb2
from cellmesh.common.errors import BadDataValu, StorageCorrupt
from cellmesh.common.values import from_value, to_value

INT64_MIN: Final = -(1 << 63)
INT64_MAX: Final = (1 << 63) - 1

# Field number << 3 | wire type, of the fields of Value.
NULL: Final = b"\x08\x00"
_FALSE: Final = b"\x10\x00"
_TRUE: Final = b"\x10\x01"
_INT: Final = 0x18
_DOUBLE: Final = 0x29
_STRING: Final = 0x3A
_BYTES: Final = 0x42
_LIST: Final = 0x4A
_ITEM: Final = 0x0A

_DOUBLE_STRUCT: Final = struct.Struct("<d")
_ONE_BYTE: Final[tuple[bytes, ...]] = tuple(bytes((number,)) for number in range(256))
_SMALL_INTS: Final[tuple[bytes, ...]] = tuple(b"\x18" + _ONE_BYTE[number << 1] for number in range(64))


def varint(number: int) -> bytes:
    """Encode an unsigned number in base 128."""
    if number < 0x80:
        return _ONE_BYTE[number]
    if number < 0x4000:
        return bytes((number & 0x7F | 0x80, number >> 7))
    if 0x10000000 <= number < 0x800000000:
        # What addresses, autonomous systems and the like take.
        return bytes(
            (
                number & 0x7F | 0x80,
                number >> 7 & 0x7F | 0x80,
                number >> 14 & 0x7F | 0x80,
                number >> 21 & 0x7F | 0x80,
                number >> 28,
            )
        )
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Decode a varint at an offset; returns it with the offset behind it."""
    number = data[at]
    at += 1
    if number < 0x80:
        return number, at
    number &= 0x7F
    shift = 7
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
        if shift > 63:
            raise StorageCorrupt("a number in a stored message is longer than 64 bits")


def field(tag: int, body: bytes) -> bytes:
    """Encode a length-delimited field. `tag` is field number << 3 | 2, below 128."""
    size = len(body)
    if size < 0x80:
        return _ONE_BYTE[tag] + _ONE_BYTE[size] + body
    return _ONE_BYTE[tag] + varint(size) + body


def zigzag(number: int) -> int:
    """Map a signed 64-bit number to an unsigned one, small ones to small ones."""
    return (number << 1) ^ (number >> 63) if number < 0 else number << 1


def unzigzag(number: int) -> int:
    """Undo `zigzag`."""
    return (number >> 1) ^ -(number & 1)


def encode_text(value: str) -> bytes:
    """Serialize the Value of a text.

    Raises:
        BadDataValu: the text has code points that UTF-8 cannot carry.
    """
    try:
        body = value.encode()
    except UnicodeEncodeError as error:
        raise BadDataValu(
            "the text has code points that UTF-8 cannot carry", valu=ascii(value[error.start : error.end])
        ) from None
    size = len(body)
    if size < 0x80:
        return b"\x3a" + _ONE_BYTE[size] + body
    return b"\x3a" + varint(size) + body


def encode_value(value: Any) -> bytes:
    """Serialize the Value of a Python value.

    Raises:
        BadDataValu: the value, or one inside it, is of a kind that no Value holds.
    """
    kind = type(value)
    if kind is str:
        return encode_text(value)
    if kind is int:
        if 0 <= value < 64:
            small: bytes = _SMALL_INTS[value]
            return small
        if INT64_MIN <= value <= INT64_MAX:
            number: int = value << 1 if value >= 0 else ~(value << 1)
            return b"\x18" + varint(number)
    elif kind is tuple or kind is list:
        items = b"".join([field(_ITEM, encode_value(item)) for item in value])
        return b"\x4a" + varint(len(items)) + items
    elif kind is bool:
        return _TRUE if value else _FALSE
    elif value is None:
        return NULL
    elif kind is float:
        return b"\x29" + _DOUBLE_STRUCT.pack(value)
    made: bytes = to_value(value).SerializeToString(deterministic=True)
    return made


def decode_value(data: bytes) -> Any:
    """Return the Python value of a serialized Value; lists come back as tuples, at every depth but inside maps."""
    if not data:
        return None
    tag = data[0]
    if tag == _STRING:
        size, at = (data[1], 2) if data[1] < 0x80 else read_varint(data, 1)
        if at + size == len(data):
            return data[at:].decode()
    elif tag == _INT:
        number, at = (data[1], 2) if data[1] < 0x80 else read_varint(data, 1)
        if at == len(data):
            return (number >> 1) ^ -(number & 1)
    elif tag == _LIST:
        size, at = (data[1], 2) if data[1] < 0x80 else read_varint(data, 1)
        if at + size == len(data):
            return tuple(_items(data, at))
    elif tag == 0x10 and len(data) == 2:
        return data[1] != 0
    elif tag == _DOUBLE and len(data) == 9:
        return _DOUBLE_STRUCT.unpack_from(data, 1)[0]
    return _tuples(from_value(value_pb2.Value.FromString(data)))


def decode_plain(data: bytes) -> Any:
    """Return the Python value of a serialized Value with lists as lists: for what people put in as JSON."""
    return from_value(value_pb2.Value.FromString(data))


def _items(data: bytes, at: int) -> list[Any]:
    items: list[Any] = []
    end = len(data)
    while at < end:
        if data[at] != _ITEM:
            raise StorageCorrupt("a stored list holds something other than items")
        size, at = read_varint(data, at + 1)
        items.append(decode_value(data[at : at + size]))
        at += size
    return items


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if type(value) is list else value


def encode_interval(interval: tuple[int, int]) -> bytes:
    """Serialize an Interval."""
    low, high = interval
    return b"\x08" + varint(zigzag(low)) + b"\x10" + varint(zigzag(high))


def decode_interval(data: bytes) -> tuple[int, int]:
    """Read a serialized Interval."""
    low = high = 0
    at, end = 0, len(data)
    while at < end:
        tag = data[at]
        number, at = read_varint(data, at + 1)
        if tag == 0x08:
            low = unzigzag(number)
        elif tag == 0x10:
            high = unzigzag(number)
    return low, high


SUPPORTED_KINDS: Final = (type(None), bool, int, float, Decimal, str, bytes, list, tuple, dict)
