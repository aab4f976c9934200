"""Python values to and from the wire's Value, lossless.

    None, bool, int of any size, float, Decimal, str, bytes, list or tuple, dict

Lists and tuples both come back as lists, except in map keys, where only a tuple will do. Dicts keep
their order, and keys of any hashable kind. This is on the path of every node and message, so the
kinds are dispatched by exact type and messages are filled in place.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from cellmesh.api.common.v1 import value_pb2
from cellmesh.common import errors, limits

Value = value_pb2.Value
NULL = value_pb2.NullValue.NULL_VALUE_UNSPECIFIED

INT_MIN = -(2**63)
INT_MAX = 2**63 - 1

LIST_WIRE_DEPTH = 2
MAP_WIRE_DEPTH = 3

BIG_INT_DIGITS_MAX = 4000


def to_value(value: Any) -> value_pb2.Value:
    """Make the Value of a Python value.

    Raises:
        BadDataValu: the value, or one inside it, is of a kind that no Value holds.
        LimitExceeded: lists and maps nest deeper than the wire carries.
    """
    made = Value()
    fill_value(made, value)
    return made


def fill_value(target: value_pb2.Value, value: Any, room: int = limits.VALUE_WIRE_DEPTH_MAX) -> None:
    """Set an empty Value in place, as `to_value` does: saves a copy inside larger messages."""
    filler = _FILLERS.get(type(value))
    if filler is None:
        filler = _filler_of_subclass(value)
    filler(target, value, room)


def from_value(value: value_pb2.Value) -> Any:
    """Return the Python value of a Value.

    Raises:
        BadDataValu: the text of a number does not parse, or a map key is not hashable.
    """
    kind = value.WhichOneof("kind")
    if kind is None:
        return None
    return _READERS[kind](value)


def _fill_null(target: value_pb2.Value, value: None, room: int) -> None:
    target.null_value = NULL


def _fill_bool(target: value_pb2.Value, value: bool, room: int) -> None:
    target.bool_value = value


def _fill_int(target: value_pb2.Value, value: int, room: int) -> None:
    if INT_MIN <= value <= INT_MAX:
        target.int_value = value
        return
    try:
        target.big_int_value = str(value)
    except ValueError:
        raise errors.LimitExceeded(
            "the integer has too many digits", name="digits", limit=BIG_INT_DIGITS_MAX
        ) from None


def _fill_float(target: value_pb2.Value, value: float, room: int) -> None:
    target.double_value = value


def _fill_decimal(target: value_pb2.Value, value: Decimal, room: int) -> None:
    target.decimal_value = str(value)


def _fill_text(target: value_pb2.Value, value: str, room: int) -> None:
    try:
        target.string_value = value
    except UnicodeEncodeError as error:
        raise errors.BadDataValu(
            "the text has code points that UTF-8 cannot carry",
            valu=ascii(value[error.start : error.end]),
            offset=error.start,
        ) from None


def _fill_bytes(target: value_pb2.Value, value: bytes, room: int) -> None:
    target.bytes_value = value


def _fill_list(target: value_pb2.Value, value: list[Any] | tuple[Any, ...], room: int) -> None:
    room = _go_deeper(room, LIST_WIRE_DEPTH)
    body = target.list_value
    if not value:
        body.SetInParent()
        return
    add = body.items.add
    get = _FILLERS.get
    for item in value:
        filler = get(type(item))
        if filler is None:
            filler = _filler_of_subclass(item)
        filler(add(), item, room)


def _fill_map(target: value_pb2.Value, value: dict[Any, Any], room: int) -> None:
    room = _go_deeper(room, MAP_WIRE_DEPTH)
    body = target.map_value
    if not value:
        body.SetInParent()
        return
    add = body.entries.add
    get = _FILLERS.get
    for key, item in value.items():
        entry = add()
        if type(key) is str:
            try:
                entry.key = key
            except UnicodeEncodeError:
                _fill_text(entry.value_key, key, room)
        else:
            fill_value(entry.value_key, key, room)
        filler = get(type(item))
        if filler is None:
            filler = _filler_of_subclass(item)
        filler(entry.value, item, room)


def _go_deeper(room: int, cost: int) -> int:
    room -= cost
    if room < 0:
        raise errors.LimitExceeded(
            "lists and maps nest too deep for one message",
            name="value_wire_depth",
            limit=limits.VALUE_WIRE_DEPTH_MAX,
        )
    return room


_FILLERS: dict[type, Callable[[value_pb2.Value, Any, int], None]] = {
    type(None): _fill_null,
    bool: _fill_bool,
    int: _fill_int,
    float: _fill_float,
    Decimal: _fill_decimal,
    str: _fill_text,
    bytes: _fill_bytes,
    bytearray: lambda target, value, room: _fill_bytes(target, bytes(value), room),
    memoryview: lambda target, value, room: _fill_bytes(target, bytes(value), room),
    list: _fill_list,
    tuple: _fill_list,
    dict: _fill_map,
}


def _filler_of_subclass(value: Any) -> Callable[[value_pb2.Value, Any, int], None]:
    """Subclasses (enums, named tuples, ordered dicts) travel as the kind they extend."""
    for kind in (int, float, Decimal, str, bytes, list, tuple, dict):
        if isinstance(value, kind):
            return _FILLERS[kind]
    raise errors.BadDataValu(
        f"a {type(value).__name__} has no place in a Value",
        type=type(value).__name__,
        hint="use None, bool, int, float, Decimal, str, bytes, list, tuple or dict",
    )


def _read_big_int(value: value_pb2.Value) -> int:
    try:
        return int(value.big_int_value)
    except ValueError:
        raise errors.BadDataValu("big_int_value is no integer", valu=value.big_int_value[:64]) from None


def _read_decimal(value: value_pb2.Value) -> Decimal:
    try:
        return Decimal(value.decimal_value)
    except InvalidOperation:
        raise errors.BadDataValu("decimal_value is no number", valu=value.decimal_value[:64]) from None


def _read_list(value: value_pb2.Value) -> list[Any]:
    return [from_value(item) for item in value.list_value.items]


def _read_map(value: value_pb2.Value) -> dict[Any, Any]:
    made: dict[Any, Any] = {}
    for entry in value.map_value.entries:
        key = _read_key(entry.value_key) if entry.HasField("value_key") else entry.key
        made[key] = from_value(entry.value)
    return made


def _read_key(value: value_pb2.Value) -> Any:
    key = from_value(value)
    try:
        frozen = _freeze(key)
        hash(frozen)
    except TypeError:
        raise errors.BadDataValu("a map has a key that cannot be one", type=type(key).__name__) from None
    return frozen


def _freeze(key: Any) -> Any:
    return tuple(_freeze(item) for item in key) if isinstance(key, list) else key


_READERS: dict[str, Callable[[value_pb2.Value], Any]] = {
    "null_value": lambda value: None,
    "bool_value": lambda value: value.bool_value,
    "int_value": lambda value: value.int_value,
    "big_int_value": _read_big_int,
    "double_value": lambda value: value.double_value,
    "decimal_value": _read_decimal,
    "string_value": lambda value: value.string_value,
    "bytes_value": lambda value: value.bytes_value,
    "list_value": _read_list,
    "map_value": _read_map,
}
