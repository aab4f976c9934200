"""When cron jobs run: schedules as recurrences, and the next time of each, in UTC.

A recurrence is (requirements, unit, increment), as the peer shows it: `({"minute": 15}, "hour", 1)` is a quarter past
each hour, `({"hour": 4, "minute": 0}, "dayofweek", 0)` Mondays at four. Without a unit it is one moment.
"""

from __future__ import annotations

import calendar
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any, Final, TypeAlias

from cellmesh.common.errors import BadTime, StormRuntimeError

Recurrence: TypeAlias = tuple[dict[str, int], str | None, int | None]

UNITS: Final = ("minute", "hour", "day", "month", "year")
SHORTHANDS: Final = ("hourly", "daily", "monthly", "yearly")
YEAR_MAX: Final = 9999
DAYS_MAX: Final = 31
HOURS_MAX: Final = 23
MINUTES_MAX: Final = 59
_NAMES: Final = {"minute": "minute", "hour": "hour", "day": "dayofmonth", "month": "month"}
_DEFAULTS: Final = {"minute": 0, "hour": 0, "day": 1, "month": 1}
_DAYS: Final = {name.lower(): number for number, name in enumerate(calendar.day_name)}
_MONTHS: Final = {name.lower(): number for number, name in enumerate(calendar.month_name) if name}


# Reading what a user gave ---------------------------------------------------------------------------------------


def periodic(given: Mapping[str, Any]) -> list[Recurrence]:
    """Return the recurrences that `minute`, `hour`, `day`, `month`, `year` or a shorthand such as `hourly` stand for.

    Raises:
        StormRuntimeError: they cannot be read, or do not go together.
    """
    named = {name: given[name] for name in UNITS if given.get(name) is not None}
    if any(not isinstance(value, str) for value in named.values()):
        raise StormRuntimeError(
            f"{', '.join(named)}: when a job runs is told as text", name=next(iter(named))
        )
    short = next((name for name in SHORTHANDS if given.get(name) is not None), None)
    if short is not None:
        if named:
            raise StormRuntimeError(f"{short} cannot be used with {', '.join(named)}", name=short)
        return [_shorthand(short, str(given[short]))]
    if not named:
        raise StormRuntimeError("a cron job needs to be told when it runs", name="minute")
    largest = max(named, key=UNITS.index)
    if any(text.startswith("+") for name, text in named.items() if name != largest):
        raise StormRuntimeError("only the largest unit may be an increment", name=largest)
    below = [name for name in UNITS[: UNITS.index(largest)] if name in _NAMES]
    choices = [[(name, value) for value in _values(name, named.get(name))] for name in below]
    if any(name == "weekday" for options in choices for name, _ in options):
        raise StormRuntimeError("days of the week do not go with months", name="day")
    text = named[largest]
    if text.startswith("+"):
        increments = [_increment(largest, part) for part in text.split(",")]
        return [
            (_requirements(chosen), largest, increment)
            for chosen in product(*choices)
            for increment in increments
        ]
    if largest == "year":
        raise StormRuntimeError("a year can only be an increment", name="year", valu=text)
    found: list[Recurrence] = []
    tops = _weekdays(text) if largest == "day" else None
    for chosen in product(*choices):
        if tops is not None:
            found.extend((_requirements(chosen), "dayofweek", day) for day in tops)
            continue
        unit = UNITS[UNITS.index(largest) + 1]
        for value in _values(largest, text):
            found.append((_requirements((*chosen, (largest, value))), unit, 1))
    return found


def _increment(name: str, text: str) -> int:
    increment = _integer(name, text.strip().removeprefix("+"))
    if increment < 1:
        raise StormRuntimeError("an increment is at least 1", name=name, valu=text)
    return increment


def by_period(text: str) -> list[Recurrence]:
    """Return the recurrences of a period such as `daily@14:30`, `weekly/mon,wed@9` or `minutely/5`.

    It is a word, what there is to choose behind a `/` (each how many minutes, hours or days, or which days of the week or
    month), and the time behind an `@`: HH:MM, HH or :MM, with several minutes parted by commas.

    Raises:
        StormRuntimeError: it cannot be read.
        BadTime: a number lies outside of its range.
    """
    rest, at, time = text.lower().partition("@")
    word, _, chosen = rest.partition("/")
    makers = {
        "minutely": _minutely,
        "hourly": _hourly,
        "daily": _daily,
        "weekly": _weekly,
        "monthly": _monthly,
        "yearly": _yearly,
    }
    make = makers.get(word)
    if make is None or ("/" in rest and not chosen and word not in ("weekly", "monthly")):
        raise StormRuntimeError("this cannot be read as a period", name="period", valu=text)
    if (at and word == "minutely") or (at and not time and word == "yearly"):
        raise StormRuntimeError(f"{word} takes no such time", name="period", valu=text)
    if word == "hourly" and not at:
        raise StormRuntimeError("hourly needs minutes, such as hourly@:15", name="period", valu=text)
    found = make(chosen, time)
    check(found)
    return found


def _minutely(chosen: str, time: str) -> list[Recurrence]:
    return [({}, "minute", _count(chosen))]


def _hourly(chosen: str, time: str) -> list[Recurrence]:
    if time and not time.startswith(":"):
        raise StormRuntimeError("hourly needs minutes, such as hourly@:15", name="period", valu=time)
    count = _count(chosen)
    return [({"minute": required["minute"]}, "hour", count) for required in _times(time)]


def _daily(chosen: str, time: str) -> list[Recurrence]:
    count = _count(chosen)
    return [(required, "day", count) for required in _times(time)]


def _weekly(chosen: str, time: str) -> list[Recurrence]:
    days = _weekdays(chosen) if chosen else [0]
    if days is None:
        raise StormRuntimeError("weekly takes days of the week", name="period", valu=chosen)
    return [(required, "dayofweek", day) for day in days for required in _times(time)]


def _monthly(chosen: str, time: str) -> list[Recurrence]:
    days = [_integer("day", part) for part in chosen.split(",")] if chosen else [1]
    if any(abs(day) > DAYS_MAX for day in days):
        raise StormRuntimeError(
            "monthly takes days from 1 to 31, or from the end", name="period", valu=chosen
        )
    return [({**required, "dayofmonth": day}, "month", 1) for day in days for required in _times(time)]


def _yearly(chosen: str, time: str) -> list[Recurrence]:
    if chosen:
        raise StormRuntimeError("yearly takes nothing but a time", name="period", valu=chosen)
    return [({"month": 1, **required, "dayofmonth": 1}, "year", 1) for required in _times(time)]


def _count(text: str) -> int:
    count = _integer("period", text) if text else 1
    if count < 1:
        raise BadTime("a period is at least 1", name="period", valu=text)
    return count


def _times(text: str) -> list[dict[str, int]]:
    """Return the hours and minutes of a time; midnight for none."""
    hour, _, minutes = text.partition(":")
    required_hour = _integer("hour", hour) if hour else 0
    values = [_integer("minute", part) for part in minutes.split(",")] if minutes else [0]
    if not 0 <= required_hour <= HOURS_MAX or any(not 0 <= value <= MINUTES_MAX for value in values):
        raise StormRuntimeError("this is no time of a day", name="period", valu=text)
    return [{"hour": required_hour, "minute": value} for value in values]


def _requirements(chosen: Sequence[tuple[str, int]]) -> dict[str, int]:
    return {_NAMES[name]: value for name, value in chosen}


def _values(name: str, text: str | None) -> list[int]:
    if text is None:
        return [_DEFAULTS[name]]
    if name == "month":
        return [_month(part) for part in text.split(",")]
    if name == "day" and _weekdays(text) is not None:
        raise StormRuntimeError("days of the week do not go with months", name="day", valu=text)
    return [_integer(name, part) for part in text.split(",")]


def _weekdays(text: str) -> list[int] | None:
    parts = [part.strip().lower() for part in text.split(",")]
    found = [_name_of(_DAYS, part) for part in parts]
    if all(day is None for day in found):
        return None
    if None in found:
        raise StormRuntimeError("days of the week and of the month do not go together", name="day", valu=text)
    return [day for day in found if day is not None]


def _name_of(names: Mapping[str, int], text: str) -> int | None:
    text = text.strip().lower()
    return names.get(text) or next((n for name, n in names.items() if name == text or name[:3] == text), None)


def _month(text: str) -> int:
    named = _name_of(_MONTHS, text)
    if named is not None:
        return named
    number = _integer("month", text)
    if number < 0:
        raise StormRuntimeError("a month is a name or a number from 1 to 12", name="month", valu=text)
    return number


def _integer(name: str, text: str) -> int:
    try:
        return int(text.strip())
    except ValueError:
        raise StormRuntimeError(f"this cannot be read as a {name}", name=name, valu=text) from None


def _shorthand(name: str, text: str) -> Recurrence:
    parts = text.split(":")
    if len(parts) != SHORTHANDS.index(name) + 1:
        raise StormRuntimeError(f"this cannot be read as {name}", name=name, valu=text)
    required: dict[str, int] = {"minute": _integer(name, parts[-1])}
    if len(parts) > 1:
        required["hour"] = _integer(name, parts[-2])
    if len(parts) > 2:
        required["dayofmonth"] = _integer(name, parts[-3])
    if len(parts) > 3:
        required["month"] = _month(parts[-4])
    return required, ("hour", "day", "month", "year")[len(parts) - 1], 1


def moments(given: Mapping[str, Any], times_ms: Sequence[int], now_s: float) -> list[Recurrence]:
    """Return the moments of an `at` job: so many days, hours or minutes from now, and given times.

    Raises:
        StormRuntimeError: a number cannot be read.
        BadTime: a time lies in the past.
    """
    now = datetime.fromtimestamp(now_s, UTC)
    found: list[datetime] = []
    for name in ("day", "hour", "minute"):
        if given.get(name) is not None:
            for part in str(given[name]).split(","):
                count = _integer(name, part.strip().removeprefix("+"))
                try:
                    found.append(now + timedelta(**{f"{name}s": count}))
                except OverflowError:
                    raise BadTime("this lies too far ahead", valu=part) from None
    found.extend(datetime.fromtimestamp(time // 1000, UTC) for time in times_ms)
    for moment in found:
        if moment < now.replace(second=0, microsecond=0):
            raise BadTime("the time lies in the past", valu=moment.isoformat())
    return [
        (
            {"year": m.year, "month": m.month, "dayofmonth": m.day, "hour": m.hour, "minute": m.minute},
            None,
            None,
        )
        for m in found
    ]


def check(recurrences: Sequence[Recurrence]) -> None:
    """Check the numbers of recurrences.

    Raises:
        BadTime: one lies outside of its range.
    """
    bounds = {
        "minute": (0, 59),
        "hour": (0, 23),
        "dayofmonth": (-31, 31),
        "month": (1, 12),
        "year": (1970, YEAR_MAX),
    }
    for required, _, _ in recurrences:
        for name, value in required.items():
            low, high = bounds[name]
            if not low <= value <= high:
                raise BadTime(f"{name} must be from {low} to {high}", name=name, valu=value)


# Finding the next time ------------------------------------------------------------------------------------------


def next_time(recurrences: Sequence[Recurrence], now_s: float) -> float | None:
    """Return the first time after a moment, in seconds since 1970; None if there is none.

    Moments that have passed stay out: whoever keeps a job drops those it has run.
    """
    times = [time for recurrence in recurrences if (time := next_of(recurrence, now_s)) is not None]
    return min(times) if times else None


def next_of(recurrence: Recurrence, now_s: float) -> float | None:
    """Return the first time of one recurrence after a moment, or None."""
    required, unit, increment = recurrence
    now = datetime.fromtimestamp(now_s, UTC)
    start = now.replace(second=0, microsecond=0)
    try:
        found = _fitted(start, required)
        if unit is None or increment is None:
            return found.timestamp() if found > now else None
        if unit == "dayofweek":
            found += timedelta(days=(increment - found.weekday()) % 7)
            return (found if found > now else found + timedelta(days=7)).timestamp()
        if found <= now:
            found = _fitted(_later(start, unit, increment), required)
        return found.timestamp()
    except (ValueError, OverflowError):
        return None  # past the last year there is


def _fitted(moment: datetime, required: Mapping[str, int]) -> datetime:
    year, month = required.get("year", moment.year), required.get("month", moment.month)
    day = required.get("dayofmonth", moment.day)
    last = calendar.monthrange(year, month)[1]
    day = max(1, last + 1 + day) if day < 0 else min(max(day, 1), last)
    return moment.replace(
        year=year,
        month=month,
        day=day,
        hour=required.get("hour", moment.hour),
        minute=required.get("minute", moment.minute),
    )


def _later(moment: datetime, unit: str, count: int) -> datetime:
    if unit in ("minute", "hour", "day"):
        return moment + timedelta(**{f"{unit}s": count})
    months = moment.year * 12 + moment.month - 1 + (count if unit == "month" else 12 * count)
    year, month = months // 12, months % 12 + 1
    return moment.replace(year=year, month=month, day=min(moment.day, calendar.monthrange(year, month)[1]))
