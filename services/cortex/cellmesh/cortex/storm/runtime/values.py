"""Turning values of a query into text, numbers, truth values and plain data.

The rules, tried on the peer: text of digits counts as a number (also `0x1f` and `1.5`), other text never does; empty
text and containers, zero and null are false, the text "0" is true; null prints as `$lib.null`, truth values as
`true` and `false`, containers as Python's repr of their plain form.
"""

from __future__ import annotations

import re
from decimal import Context, Decimal, DivisionByZero, InvalidOperation, Overflow
from typing import Any

from cellmesh.common.errors import BadCast, NoSuchType, NotMsgpackSafe, StormRuntimeError
from cellmesh.common.hugenum import to_int
from cellmesh.cortex.storm.runtime.interface import UNDEF
from cellmesh.cortex.views.node import Node

NUMBERS = Context(prec=49, Emin=-999_999, Emax=999_999, traps=[DivisionByZero, InvalidOperation, Overflow])
"""Numbers with a point keep 49 digits, as the model's big numbers do."""

TEXT_SHOWN_MAX = 64


def _bad_cast(value: Any, kind: str) -> BadCast:
    shown = repr(value)
    if len(shown) > TEXT_SHOWN_MAX:
        shown = shown[:TEXT_SHOWN_MAX] + "..."
    return BadCast(f"cannot make {kind} of {shown}", name=kind, type=type(value).__name__)


def tobool(value: Any) -> bool:
    """Return whether a value counts as true."""
    if value is True or value is False:
        return value
    spec_bool = getattr(value, "storm_bool", None)
    if spec_bool is not None:
        return bool(spec_bool())
    return bool(value)


def toint(value: Any) -> int:
    """Return a value as an int; a fraction is cut off.

    Raises:
        BadCast: it is no number and no text of one.
    """
    kind = type(value)
    if kind is int:
        return value  # type: ignore[no-any-return]
    if kind is bool:
        return int(value)
    if kind is str:
        try:
            return int(value, 0)
        except ValueError:
            try:
                return int(value)
            except ValueError:
                raise _bad_cast(value, "int") from None
    if isinstance(value, (int, Decimal, float)):
        try:
            return to_int(value)
        except (ValueError, OverflowError):
            raise _bad_cast(value, "int") from None
    raise _bad_cast(value, "int")


def tonumber(value: Any) -> int | Decimal:
    """Return a value as an int, or as a Decimal if it has a point.

    Raises:
        BadCast: it is no number and no text of one.
    """
    kind = type(value)
    if kind is int or kind is Decimal:
        return value  # type: ignore[no-any-return]
    if kind is bool:
        return int(value)
    if kind is float:
        return NUMBERS.create_decimal(repr(value))
    if kind is str:
        try:
            return int(value, 0)
        except ValueError:
            try:
                number = NUMBERS.create_decimal(value.strip())
            except InvalidOperation:
                raise _bad_cast(value, "number") from None
            if number.is_finite():
                return number
            raise _bad_cast(value, "number") from None
    if isinstance(value, (int, Decimal)):
        return value
    raise _bad_cast(value, "number")


def tostr(value: Any) -> str:
    """Return a value as text, as types and text functions take it; unlike `torepr`, null is `None` here.

    A node is its value.

    Raises:
        BadCast: it is bytes that are no UTF-8.
    """
    kind = type(value)
    if kind is str:
        return value  # type: ignore[no-any-return]
    if kind is bytes:
        try:
            return value.decode("utf8", "surrogatepass")  # type: ignore[no-any-return]
        except UnicodeDecodeError:
            raise _bad_cast(value, "str") from None
    if kind is bool or value is None:
        return str(value)
    if kind is Node:
        return tostr(value.value)
    return torepr(value)


def torepr(value: Any) -> str:
    """Return the text of a value as `$lib.print` and format strings show it."""
    kind = type(value)
    if kind is str:
        return value  # type: ignore[no-any-return]
    if kind is int:
        return str(value)
    if value is None:
        return "$lib.null"
    if kind is bool:
        return "true" if value else "false"
    if kind is Decimal:
        return str(value)
    if kind is bytes:
        return repr(value)
    to_text = getattr(value, "storm_text", None)
    if to_text is not None:
        return str(to_text())
    return _inner_text(value)


def _inner_text(value: Any) -> str:
    """Return the text of a value inside a container: text is quoted."""
    kind = type(value)
    if kind is str:
        return repr(value)
    if kind is list:
        return f"[{', '.join([_inner_text(item) for item in value])}]"
    if kind is tuple:
        inner = ", ".join([_inner_text(item) for item in value])
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if kind is dict:
        return f"{{{', '.join([f'{_inner_text(key)}: {_inner_text(item)}' for key, item in value.items()])}}}"
    if kind is set or kind is frozenset:
        return f"{{{', '.join([_inner_text(item) for item in value])}}}" if value else "set()"
    if value is UNDEF:
        return "$lib.undef"
    if kind in _PLAIN:
        return repr(value) if kind is bytes or kind is float else torepr(value)
    to_text = getattr(value, "storm_text", None)
    return str(to_text()) if to_text is not None else str(value)


def toprim(value: Any) -> Any:
    """Return the plain value that may leave a query: sets become lists, nodes their value, others what they offer.

    Numbers with a point stay Decimal.

    Raises:
        NoSuchType: it has no plain form.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is list:
        return [toprim(item) for item in value]
    if kind is tuple:
        return tuple([toprim(item) for item in value])
    if kind is dict:
        return {toprim(key): toprim(item) for key, item in value.items()}
    if kind is set or kind is frozenset:
        return [toprim(item) for item in value]
    if kind is Node:
        return value.value
    to_plain = getattr(value, "storm_plain", None)
    if to_plain is not None:
        return to_plain()
    raise NoSuchType(f"a {kind.__name__} has no plain form", name=kind.__name__)


def tostored(value: Any) -> Any:
    """Return the plain value that a store keeps; as `toprim`, but no sets.

    Raises:
        NotMsgpackSafe: there is a set in it.
        NoSuchType: it has no plain form.
    """
    waiting = [value]
    while waiting:
        item = waiting.pop()
        kind = type(item)
        if kind is set or kind is frozenset:
            raise NotMsgpackSafe("a set cannot be stored: make a list of it")
        if kind is list or kind is tuple:
            waiting.extend(item)
        elif kind is dict:
            waiting.extend(item.values())
    return toprim(value)


_PLAIN = frozenset({str, int, bool, float, Decimal, bytes, type(None)})


def equal(left: Any, right: Any) -> bool:
    """Return whether `=` holds: by value, without conversion, lists and tuples alike."""
    if left is right:
        return True
    if type(left) is float or type(right) is float:
        return _equal_float(left, right)
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return len(left) == len(right) and all(equal(a, b) for a, b in zip(left, right))
    return bool(left == right)


def _equal_float(left: Any, right: Any) -> bool:
    try:
        return (
            bool(Decimal(repr(left)) == right) if type(left) is float else bool(left == Decimal(repr(right)))
        )
    except (InvalidOperation, TypeError):
        return bool(left == right)


def match_regex(text: Any, pattern: Any) -> bool:
    """Return whether a pattern is found anywhere in a text, ignoring case.

    Raises:
        StormRuntimeError: the pattern is no regular expression.
    """
    try:
        return re.search(tostr(pattern), tostr(text), re.IGNORECASE) is not None
    except re.error as error:
        raise StormRuntimeError(f"bad regular expression: {error}", valu=pattern) from None
