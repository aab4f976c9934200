"""Time text to milliseconds since 1970 (UTC) and back, as Storm users write times.

A time is one of, in any case of letters and with space around it:

    ?                       no end in sight: FUTURE
    now
    2020-01-02T03:04:05.678 digits in the order year to fraction; see below
    2 Jan 2020 03:04:05     as in mail; the day of the week may come first, with a comma
    TIME + 3 days           TIME or nothing (which means now), + or -, a whole number, and one of
                            sec secs seconds min mins minute minutes hour hours day days

Of digit times only the digits count: `2020-01-02 03:04`, `2020/01/02T03:04` and `202001020304` are the
same. There are 4 digits of year, then pairs down to the second, then any number of fraction digits, of
which three count. A `*` means nothing here, but see `parse_range`.

A zone may follow the last digit, after one space at most: an offset (`+02:00`, `-0500`, `+5:30`) or one
of the names in mail (`Z`, `UTC`, `GMT`, `EST`, `PDT`, ...). Without one the time is UTC.

A date with dashes takes no offset of days, as its dashes would be taken for minus: write
`20200102 + 1 day`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from types import MappingProxyType
from typing import Any, Final

from cellmesh.common import errors
from cellmesh.common.time.clock import SYSTEM_CLOCK, Clock

FUTURE: Final = 2**63 - 1
FUTURE_TEXT: Final = "?"

# The last millisecond of the year 9999, and the least that an index holds. Text reaches back to year 1.
TIME_MAX: Final = 253402300799999
TIME_MIN: Final = -(2**63)
CALENDAR_MIN: Final = -62135596800000

SECOND: Final = 1000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

UNITS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "sec": SECOND,
        "secs": SECOND,
        "seconds": SECOND,
        "min": MINUTE,
        "mins": MINUTE,
        "minute": MINUTE,
        "minutes": MINUTE,
        "hour": HOUR,
        "hours": HOUR,
        "day": DAY,
        "days": DAY,
    }
)

# What is to be added to a time in the zone to make it UTC, in hours. The single letters have the signs
# that RFC 822 gave them.
ZONES: Final[Mapping[str, int]] = MappingProxyType(
    {
        "z": 0,
        "ut": 0,
        "utc": 0,
        "gmt": 0,
        "a": 1,
        "m": 12,
        "n": -1,
        "y": -12,
        "edt": 4,
        "est": 5,
        "cdt": 5,
        "cst": 6,
        "mdt": 6,
        "mst": 7,
        "pdt": 7,
        "pst": 8,
    }
)

MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

TEXT_SIZE_MAX: Final = 256

_EPOCH_DAY = date(1970, 1, 1).toordinal()
_OFFSET_RE = re.compile(r"(?<=\d)\s?([+-])(\d{1,2}):?(\d{2})$")
_ZONE_RE = re.compile(rf"(?<=\d)\s?({'|'.join(ZONES)})$")
_MAIL_RE = re.compile(
    rf"(?:(?:mon|tue|wed|thu|fri|sat|sun),)?\s*(\d{{1,2}})\s*({'|'.join(MONTHS)})\s*(\d{{4}})\s*(\d\d:.*)$"
)
_MAIL_CLOCK_RE = re.compile(r"(\d\d):(\d\d):(\d\d)")
_DELTA_RE = re.compile(r"\s*(0+|[1-9]\d*)\s*([a-z]+)", re.ASCII)
_NOT_DIGIT_RE = re.compile(r"\D")
_UNIT_RE = re.compile(r"sec|min|hour|day")


def normalize_time(value: Any, *, clock: Clock = SYSTEM_CLOCK) -> int:
    """Return the time that a property stores for a value.

    Args:
        value: Text as in the module docstring, or milliseconds since 1970.
        clock: Where `now` comes from.

    Raises:
        BadTypeValu: the value is no time, or lies outside TIME_MIN to TIME_MAX and is not FUTURE.
    """
    if isinstance(value, str):
        return parse_time(value, clock=clock)
    if isinstance(value, int) and not isinstance(value, bool):
        return check_time(value, value)
    raise _bad(value, f"a time is text or whole milliseconds, not {type(value).__name__}")


def parse_time(text: str, *, clock: Clock = SYSTEM_CLOCK) -> int:
    """Return the milliseconds since 1970 of time text.

    Raises:
        BadTypeValu: the text is no time, or the time lies outside the range.
    """
    return check_time(_parse(_clean(text), text, clock), text)


def parse_delta(text: str) -> int:
    """Return the milliseconds of a signed length of time, such as "+3 days" or "- 1 hour".

    Raises:
        BadTypeValu: the text is something else.
    """
    clean = _clean(text)
    if not is_delta(clean):
        raise _bad(text, "an offset starts with + or -")
    return _delta(clean[0], clean[1:], text)


def is_delta(text: str) -> bool:
    """Whether text starts like a signed length of time, so that `parse_delta` is to read it."""
    return text.lstrip().startswith(("+", "-"))


def parse_range(text: str) -> tuple[int, int]:
    """Return the span of text that ends in `*`: its start, and the start of what follows it.

    `2020*` is the whole year, `2020-01*` the month, and so on to the second. In Storm, a lift by `=`
    takes the end in as well; a lift by `<` or `<=` compares with the end, one by `>` or `>=` with the
    start (as `parse_time` gives it).

    Raises:
        BadTypeValu: there is no `*`, the rest is no digit time, or it goes below the second.
    """
    clean = _clean(text)
    if not clean.endswith("*"):
        raise _bad(text, "a range of times ends in *")
    shift, rest = _split_zone(clean[:-1].strip(), text)
    digits = _NOT_DIGIT_RE.sub("", rest)
    if len(digits) > 14 or _MAIL_RE.match(rest):
        raise _bad(text, "a range of times goes down to the second and not below")
    if shift and len(digits) < 14:
        raise _bad(text, "a range of times in a zone needs the whole time, down to the second")
    start = _digits(digits, text) + shift
    end = start + _span(digits)
    return check_time(start, text), end


def print_time(millis: int) -> str:
    """Return the text of a time, such as `2020/01/02 03:04:05.678`, or `?` for FUTURE.

    A time before the year 1, which text cannot say, is printed as its milliseconds.
    """
    if millis == FUTURE:
        return FUTURE_TEXT
    if not CALENDAR_MIN <= millis <= TIME_MAX:
        return str(millis)
    days, rest = divmod(millis, DAY)
    day = date.fromordinal(_EPOCH_DAY + days)
    seconds, milli = divmod(rest, SECOND)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    # The year has no leading zeros, as in Synapse.
    return f"{day.year}/{day.month:02}/{day.day:02} {hour:02}:{minute:02}:{second:02}.{milli:03}"


def check_time(millis: int, value: Any) -> int:
    """Return a time that lies in the range kept.

    Args:
        millis: The time.
        value: What it was made of, for the error.

    Raises:
        BadTypeValu: it does not.
    """
    if TIME_MIN <= millis <= TIME_MAX or millis == FUTURE:
        return millis
    if millis > TIME_MAX:
        raise _bad(value, "the time is after the end of the year 9999")
    raise _bad(value, "the time is before the first that can be kept")


def _parse(clean: str, text: str, clock: Clock) -> int:
    if clean == "now":
        return clock.now()
    if clean == FUTURE_TEXT:
        return FUTURE
    shift, rest = _split_zone(clean, text)
    if _UNIT_RE.search(rest):
        # Minus is looked for first, so this goes at most two deep: now + 1 day - 1 hour.
        sign = "-" if "-" in rest else "+"
        base, found, count = rest.partition(sign)
        if found:
            delta = _delta(sign, count, text)
            start = _parse(base.strip(), text, clock) if base.strip() else clock.now()
            return check_time(start, text) + delta + shift
    mail = _MAIL_RE.match(rest)
    millis = (_mail(mail, text) if mail else _digits(_NOT_DIGIT_RE.sub("", rest), text)) + shift
    if millis < CALENDAR_MIN:
        raise _bad(text, "the time is before the year 1 in UTC")
    return millis


def _delta(sign: str, rest: str, text: str) -> int:
    found = _DELTA_RE.fullmatch(rest.rstrip())
    unit = UNITS.get(found[2]) if found else None
    if found is None or unit is None:
        raise _bad(
            text,
            "an offset is a sign, a whole number and a unit",
            hint=f"units are {', '.join(UNITS)}; a date before it has no dashes: 20200102 + 1 day",
        )
    count = int(found[1])
    return count * unit if sign == "+" else -count * unit


def _split_zone(clean: str, text: str) -> tuple[int, str]:
    """Take the zone off the end: the milliseconds to add for UTC, and the rest."""
    found = _ZONE_RE.search(clean)
    if found:
        return ZONES[found[1]] * HOUR, clean[: found.start()]
    found = _OFFSET_RE.search(clean)
    if not found:
        return 0, clean
    size = int(found[2]) * HOUR + int(found[3]) * MINUTE
    if size >= DAY:
        raise _bad(text, "the offset of a zone is less than 24 hours")
    return (-size if found[1] == "+" else size), clean[: found.start()]


def _mail(found: re.Match[str], text: str) -> int:
    clock = _MAIL_CLOCK_RE.fullmatch(found[4].strip())
    if clock is None:
        raise _bad(text, "the time of day is to be hours:minutes:seconds")
    month = MONTHS.index(found[2]) + 1
    return _millis(int(found[3]), month, int(found[1]), int(clock[1]), int(clock[2]), int(clock[3]), 0, text)


def _digits(digits: str, text: str) -> int:
    size = len(digits)
    if size < 4 or (size < 14 and size % 2) or not digits[4:].isascii():
        raise _bad(
            text,
            "the text is no time",
            hint="write 2020-01-02T03:04:05, or less of it from the left; now; ?; now + 3 days",
        )
    year = int(digits[:4])
    month = int(digits[4:6] or 1)
    day = int(digits[6:8] or 1)
    milli = int(digits[14:17].ljust(3, "0"))
    return _millis(
        year,
        month,
        day,
        int(digits[8:10] or 0),
        int(digits[10:12] or 0),
        int(digits[12:14] or 0),
        milli,
        text,
    )


def _millis(
    year: int, month: int, day: int, hour: int, minute: int, second: int, milli: int, text: str
) -> int:
    try:
        days = date(year, month, day).toordinal() - _EPOCH_DAY
    except ValueError:
        raise _bad(text, f"there is no day {year}-{month:02}-{day:02}") from None
    if hour > 23 or minute > 59 or second > 59:
        raise _bad(text, f"there is no time of day {hour:02}:{minute:02}:{second:02}")
    return days * DAY + hour * HOUR + minute * MINUTE + second * SECOND + milli


def _span(digits: str) -> int:
    """How long the year, month, ... second is that the digits name."""
    match len(digits):
        case 4:
            year = int(digits)
            return (date(year, 12, 31).toordinal() - date(year, 1, 1).toordinal() + 1) * DAY
        case 6:
            year, month = int(digits[:4]), int(digits[4:])
            first = date(year, month, 1).toordinal()
            return (31 if month == 12 else date(year, month + 1, 1).toordinal() - first) * DAY
        case 8:
            return DAY
        case 10:
            return HOUR
        case 12:
            return MINUTE
    return SECOND


def _clean(text: str) -> str:
    if len(text) > TEXT_SIZE_MAX:
        raise _bad(text[:64], f"time text has at most {TEXT_SIZE_MAX} characters")
    return text.strip().lower()


def _bad(value: Any, message: str, hint: str = "") -> errors.BadTypeValu:
    error = errors.BadTypeValu(message, name="time", valu=value)
    if hint:
        error.set("hint", hint)
    return error
