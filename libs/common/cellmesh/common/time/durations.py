"""Lengths of time, in milliseconds: `2D 03:04:05.678`.

Text is days with a `D`, then hours, minutes and seconds with colons between, of which the right-hand
ones are enough: `5.5` is seconds, `04:05` minutes and seconds. Fractions below a millisecond are cut.
"""

from __future__ import annotations

import decimal
from decimal import Decimal
from typing import Any, Final

from cellmesh.common import errors
from cellmesh.common.time.parse import DAY, HOUR, MINUTE, SECOND

DURATION_MAX: Final = 2**63 - 1
TEXT_SIZE_MAX: Final = 128


def normalize_duration(value: Any) -> int:
    """Return the milliseconds of a duration given as such, or as text.

    Raises:
        BadTypeValu: the value is no duration, or more than 64 bits hold.
    """
    if isinstance(value, str):
        millis = _parse(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        millis = value
    else:
        raise _bad(value, f"a duration is text or whole milliseconds, not {type(value).__name__}")
    if not -DURATION_MAX - 1 <= millis <= DURATION_MAX:
        raise _bad(value, "the duration is too long to be kept")
    return millis


def print_duration(millis: int) -> str:
    """Return the text of a duration; a negative one counts on from whole negative days."""
    days, rest = divmod(millis, DAY)
    hours, rest = divmod(rest, HOUR)
    minutes, rest = divmod(rest, MINUTE)
    seconds, milli = divmod(rest, SECOND)
    clock = f"{hours:02}:{minutes:02}:{seconds:02}.{milli:03}"
    return f"{days}D {clock}" if days else clock


def _parse(text: str) -> int:
    clean = text.strip()
    if not clean or len(clean) > TEXT_SIZE_MAX:
        raise _bad(text[:TEXT_SIZE_MAX], "the text is no duration")
    days, found, rest = clean.partition("D")
    millis = 0
    if found:
        millis = _whole(days, text) * DAY
        if not rest.strip():
            return millis
    else:
        rest = clean
    match rest.split(":"):
        case [seconds]:
            return millis + _seconds(seconds, text)
        case [minutes, seconds]:
            return millis + _whole(minutes, text) * MINUTE + _seconds(seconds, text)
        case [hours, minutes, seconds]:
            return (
                millis + _whole(hours, text) * HOUR + _whole(minutes, text) * MINUTE + _seconds(seconds, text)
            )
    raise _bad(text, "a duration has hours, minutes and seconds at most")


def _whole(part: str, text: str) -> int:
    try:
        return int(part)
    except ValueError:
        raise _bad(text, f"{part.strip()!r} is no whole number") from None


def _seconds(part: str, text: str) -> int:
    try:
        number = Decimal(part)
    except decimal.InvalidOperation:
        raise _bad(text, f"{part.strip()!r} is no number of seconds") from None
    if not number.is_finite() or number.adjusted() > 18:
        raise _bad(text, f"{part.strip()!r} is no number of seconds")
    return int(number * SECOND)


def _bad(value: Any, message: str) -> errors.BadTypeValu:
    return errors.BadTypeValu(message, name="duration", valu=value)
