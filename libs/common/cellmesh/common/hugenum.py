"""Exact decimal numbers: what a hugenum is, its arithmetic, its text and its index bytes.

A hugenum has up to 24 decimal places and lies within +/-730750818665451459101842, which is what 160 bits
hold in units of 1E-24. Arithmetic goes on with 49 significant digits, rounding half to even, and may
leave the range; a result that is to be stored goes through `normalize`. All of this agrees with
Synapse, number for number.

Index bytes are the number in units of 1E-24 plus 2**159, as 20 bytes, so they sort as the numbers do.
"""

from __future__ import annotations

import decimal
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, TypeVar

from cellmesh.common import errors

PLACES: Final = 24
PRECISION: Final = 49
UNIT: Final = Decimal(1).scaleb(-PLACES)
MAX: Final = Decimal(730750818665451459101842)
MIN: Final = -MAX

INDEX_SIZE: Final = 20
_INDEX_OFFSET: Final = 1 << (INDEX_SIZE * 8 - 1)

INT_DIGITS_MAX: Final = 4000

Number = Decimal | int

NO_UNITS: Final[Mapping[str, Decimal]] = MappingProxyType({})
TEXT_SIZE_MAX: Final = 512

_SKIPPED_RE = re.compile(r"[\s,]")
_TEXT_RE = re.compile(r"(-?\d+(?:\.\d+)?(?:e[+-]\d{1,6})?)\.?([^\W\d_]\w*)?")

_Result = TypeVar("_Result")


def _make_context() -> decimal.Context:
    return decimal.Context(
        prec=PRECISION,
        rounding=decimal.ROUND_HALF_EVEN,
        Emin=-999999,
        Emax=999999,
        capitals=1,
        clamp=0,
        traps=[decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow],
    )


def hugenum(value: Any) -> Decimal:
    """Make a decimal of a number or text, exactly; hexadecimal text with 0x too.

    A float is taken at its shortest text, so 0.1 is a tenth.

    Raises:
        BadTypeValu: the value is no number.
    """
    match value:
        case Decimal():
            return value
        case float():
            return Decimal(repr(value))
        case int():
            return Decimal(value)
        case str():
            return _of_text(value)
    raise _bad(value, "the value is no number")


def normalize(value: Any, *, units: Mapping[str, Decimal] = NO_UNITS) -> Decimal:
    """Make the hugenum that a property stores: rounded to 24 places, within the range, no trailing zeros.

    Args:
        value: A number, or text as `parse_text` reads it.
        units: Unit in small letters -> what a number in that unit is multiplied by.

    Raises:
        BadTypeValu: the value is no number, not finite, or out of range.
    """
    number = parse_text(value, units=units) if isinstance(value, str) else hugenum(value)
    if not number.is_finite():
        raise _bad(value, "a hugenum is finite")
    if not MIN <= number <= MAX:
        raise _bad(value, f"a hugenum lies between {MIN} and {MAX}")
    made = _run("round", lambda context: number.quantize(UNIT, context=context), number)
    return made.normalize(_make_context())


def parse_text(written: str, *, units: Mapping[str, Decimal] = NO_UNITS) -> Decimal:
    """Read a number as people write it: `1,000.5 kg`.

    Spaces and commas count for nothing. An exponent needs its sign (`1e+3`), as `1e3` would be one of a
    unit named e3.

    Raises:
        BadTypeValu: the text is no number, or its unit is none of `units`.
    """
    found = _TEXT_RE.fullmatch(_SKIPPED_RE.sub("", written[: TEXT_SIZE_MAX + 1]).lower())
    if found is None or len(written) > TEXT_SIZE_MAX:
        raise _bad(written[:TEXT_SIZE_MAX], "the text is no number")
    number, unit = Decimal(found[1]), found[2]
    if not unit:
        return number
    factor = units.get(unit)
    if factor is None:
        known = f"units are {', '.join(units)}" if units else "it takes no unit; an exponent needs its sign"
        raise errors.BadTypeValu(f"unknown unit {unit}", name="hugenum", valu=written, hint=known)
    return mul(number, factor)


def to_int(value: Decimal | float) -> int:
    """The whole part of a number.

    A number of a few letters, `1E+99999999`, may stand for an int whose making takes minutes; so there is a bound.

    Raises:
        OverflowError: it has more than 4000 digits, or is infinite.
        ValueError: it is not a number.
    """
    if isinstance(value, Decimal) and value.is_finite() and value.adjusted() >= INT_DIGITS_MAX:
        raise OverflowError("the number has too many digits")
    return int(value)


def text(value: Decimal) -> str:
    """The print form: plain digits, no exponent, no trailing zeros."""
    made = format(value, "f")
    return made.rstrip("0").rstrip(".") if "." in made else made


def add(left: Number, right: Number) -> Decimal:
    """left + right.

    Raises:
        BadTypeValu: the result is no number or too large for any decimal. So for all operations.
    """
    return _run("add", lambda context: context.add(left, right), left, right)


def sub(left: Number, right: Number) -> Decimal:
    """left - right."""
    return _run("sub", lambda context: context.subtract(left, right), left, right)


def mul(left: Number, right: Number) -> Decimal:
    """left * right."""
    return _run("mul", lambda context: context.multiply(left, right), left, right)


def div(left: Number, right: Number) -> Decimal:
    """left / right, to 49 digits. Division by zero is an error."""
    return _run("div", lambda context: context.divide(left, right), left, right)


def mod(left: Number, right: Number) -> tuple[Decimal, Decimal]:
    """The whole quotient, rounded towards zero, and the remainder, which has the sign of `left`."""
    return _run("mod", lambda context: context.divmod(left, right), left, right)


def pow(left: Number, right: Number) -> Decimal:
    """left to the power of right, which may be a fraction."""
    return _run("pow", lambda context: context.power(left, right), left, right)


def round(value: Number) -> Decimal:
    """The value with exactly 24 decimal places, halves to even."""
    return _run("round", lambda context: context.quantize(value, UNIT), value)


def scaleb(value: Number, exponent: Number) -> Decimal:
    """The value with its decimal point moved `exponent` places to the right."""
    return _run("scaleb", lambda context: context.scaleb(value, exponent), value, exponent)


def encode_index(value: Decimal) -> bytes:
    """The 20 index bytes of a hugenum, which sort as the numbers do; places beyond 24 are rounded.

    Raises:
        BadIndxValu: the number is out of range or not finite.
    """
    if not value.is_finite() or not MIN <= value <= MAX:
        raise errors.BadIndxValu(f"a hugenum lies between {MIN} and {MAX}", valu=value)
    units = int(round(value).scaleb(PLACES, _make_context()))
    return (units + _INDEX_OFFSET).to_bytes(INDEX_SIZE, "big")


def decode_index(data: bytes) -> Decimal:
    """Undo `encode_index`; trailing zeros are gone.

    Raises:
        BadIndxValu: these are not 20 bytes.
    """
    if len(data) != INDEX_SIZE:
        raise errors.BadIndxValu(f"{INDEX_SIZE} bytes are needed", size=len(data))
    units = int.from_bytes(data, "big") - _INDEX_OFFSET
    context = _make_context()
    return Decimal(units).scaleb(-PLACES, context).normalize(context)


def _of_text(value: str) -> Decimal:
    try:
        if value.startswith("0x"):
            return Decimal(int(value, 16))
        return Decimal(value)
    except (decimal.InvalidOperation, ValueError):
        raise _bad(value, "the text is no number") from None


def _run(name: str, operation: Callable[[decimal.Context], _Result], *operands: Number) -> _Result:
    with _told(name, operands):
        return operation(_make_context())


@contextmanager
def _told(name: str, operands: tuple[Number, ...]) -> Iterator[None]:
    """Turn decimal's signals into our errors."""
    try:
        yield
    except decimal.DivisionByZero:
        raise _failed(name, operands, "division by zero") from None
    except decimal.Overflow:
        raise _failed(name, operands, "the result is too large") from None
    except (decimal.InvalidOperation, TypeError, ValueError):
        # Zero by zero, and any remainder by zero, come as an invalid operation.
        by_zero = name in ("div", "mod") and operands[1] == 0
        raise _failed(name, operands, "division by zero" if by_zero else "the result is no number") from None


def _failed(name: str, operands: tuple[Number, ...], message: str) -> errors.BadTypeValu:
    shown = [value if isinstance(value, Decimal | int) else str(value) for value in operands]
    return errors.BadTypeValu(message, name="hugenum", operation=name, valu=shown)


def _bad(value: Any, message: str) -> errors.BadTypeValu:
    return errors.BadTypeValu(message, name="hugenum", valu=value)
