"""Intervals: (min, max) pairs of times, in milliseconds, max itself not inside.

One time makes an interval of one millisecond. `?` (FUTURE) may stand at the end only. In a pair, an end
that starts with + or - is counted from the start, backwards too: ("2020", "-1 day") is the day before.
"""

from __future__ import annotations

from typing import Any

from cellmesh.common import errors
from cellmesh.common.time.clock import SYSTEM_CLOCK, Clock
from cellmesh.common.time.parse import (
    FUTURE,
    check_time,
    is_delta,
    normalize_time,
    parse_delta,
    print_time,
)

Interval = tuple[int, int]


def normalize_interval(value: Any, *, clock: Clock = SYSTEM_CLOCK) -> Interval:
    """Return the interval that a property or tag stores for a value.

    Args:
        value: One time (text or milliseconds), a list of two, or text of two with a comma between.
        clock: Where `now` comes from.

    Raises:
        BadTypeValu: the value is no interval, a part is no time, or the end is before the start.
    """
    if isinstance(value, str) and "," in value:
        value = value.split(",", 1)
    if isinstance(value, list | tuple):
        low, high = normalize_pair(value, clock=clock)
        return make_interval(low, high, value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise _bad(value, f"an interval is a time or two, not {type(value).__name__}")
    low = normalize_time(value, clock=clock)
    if low == FUTURE:
        raise _bad(value, "an interval needs a start")
    return low, check_time(low + 1, value)


def normalize_pair(value: list[Any] | tuple[Any, ...], *, clock: Clock = SYSTEM_CLOCK) -> Interval:
    """Return two times as they are compared with: in any order unless the second is relative to the first.

    Raises:
        BadTypeValu: these are not two times.
    """
    if len(value) != 2:
        raise _bad(value, f"an interval is two times, not {len(value)}")
    first, second = value
    low = normalize_time(first, clock=clock)
    if isinstance(second, str) and is_delta(second):
        high = check_time(low + parse_delta(second), value)
        return min(low, high), max(low, high)
    return low, normalize_time(second, clock=clock)


def make_interval(low: int, high: int, value: Any = None) -> Interval:
    """Return the interval of two times: equal ones give one millisecond.

    Args:
        low: The start.
        high: The end, FUTURE if there is none.
        value: What they were made of, for the error.

    Raises:
        BadTypeValu: the end is before the start, or both are FUTURE.
    """
    shown = (low, high) if value is None else value
    if low == FUTURE:
        raise _bad(shown, "an interval needs a start")
    if low > high:
        raise _bad(shown, "the end of an interval is before its start")
    return low, high + 1 if low == high else high


def print_interval(interval: Interval) -> tuple[str, str]:
    """The texts of both ends."""
    return print_time(interval[0]), print_time(interval[1])


def merge(left: Interval, right: Interval) -> Interval:
    """The least interval that holds both: how setting an interval widens the one that is there."""
    return min(left[0], right[0]), max(left[1], right[1])


def overlaps(left: Interval, right: Interval) -> bool:
    """Whether two intervals share a millisecond; those that only touch do not."""
    return left[0] < right[1] and right[0] < left[1]


def contains(interval: Interval, moment: int) -> bool:
    """Whether a time lies in an interval: the start does, the end does not."""
    return interval[0] <= moment < interval[1]


def covers(outer: Interval, inner: Interval) -> bool:
    """Whether all of one interval lies in the other."""
    return outer[0] <= inner[0] and inner[1] <= outer[1]


def intersection(left: Interval, right: Interval) -> Interval | None:
    """What two intervals share, or None."""
    return (max(left[0], right[0]), min(left[1], right[1])) if overlaps(left, right) else None


def _bad(value: Any, message: str) -> errors.BadTypeValu:
    return errors.BadTypeValu(message, name="ival", valu=value)
