"""`$lib.time`: times, their parts and texts, and waiting."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cellmesh.common.errors import BadArg, BadCast, BadTypeValu, StormRuntimeError
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, LibrarySpec, ParameterSpec
from cellmesh.cortex.storm.runtime.values import tobool, toint, tonumber, tostr
from cellmesh.cortex.storm.runtime.valuing import plain_value
from cellmesh.cortex.storm.waiting import wait

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
FORMATS: Final = {
    "iso8601": "%Y-%m-%dT%H:%M:%SZ",
    "iso8601us": "%Y-%m-%dT%H:%M:%S.%fZ",
    "rfc2822": "%d %b %Y %H:%M:%S UT",
    "synapse": "%Y/%m/%d %H:%M:%S.%f",
}


def milliseconds(context: RunContext, value: Any) -> int:
    """Return a time as milliseconds since 1970; raises BadTypeValu."""
    found: int = context.model.type("time").norm(plain_value(value))
    return found


def _moment(context: RunContext, value: Any) -> datetime:
    return EPOCH + timedelta(milliseconds=milliseconds(context, value))


def _seconds(value: Any) -> float:
    return max(0.0, float(tonumber(value)))


def _part(read: Callable[[datetime], int]) -> Callable[[RunContext, Any], int]:
    def part(context: RunContext, tick: Any) -> int:
        try:
            return read(_moment(context, tick))
        except OverflowError as error:
            raise StormRuntimeError("the calendar ends before that time") from error

    return part


def _format(context: RunContext, value: Any, form: Any) -> str:
    if not isinstance(form, str):
        raise StormRuntimeError(f"a form of time is text, not a {type(form).__name__}", name="format")
    try:
        return _moment(context, value).strftime(form)
    except (BadTypeValu, ValueError, OverflowError) as error:
        raise StormRuntimeError(f"the time cannot be written so: {error}") from error


def _parse(context: RunContext, text: Any, form: Any, is_error_ok: Any) -> int | None:
    try:
        moment = datetime.strptime(tostr(text), tostr(form))
    except (
        ValueError,
        IndexError,
        re.error,
    ) as error:  # the last two of a form that says a thing twice, or ends in %
        if tobool(is_error_ok):
            return None
        raise StormRuntimeError(f"the text is no such time: {error}", valu=tostr(text)) from error
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return (aware - EPOCH) // timedelta(milliseconds=1)


def _fromunix(context: RunContext, seconds: Any) -> int:
    try:
        return int(tonumber(seconds) * 1000)
    except BadCast as error:
        raise BadArg("seconds since 1970 are a number", name="secs") from error


def _now(context: RunContext) -> int:
    now: int = context.session.graph.now_ms()
    return now


def _sleep(context: RunContext, value: Any) -> None:
    wait(context, _seconds(value))


def _ticker(context: RunContext, tick: Any, count: Any) -> Iterator[int]:
    pause = _seconds(tick)
    end = None if count is None else toint(count)
    place = 0
    while end is None or place < end:
        wait(context, pause)
        context.tick()
        yield place
        place += 1


def _to_utc(context: RunContext, tick: Any, zone: Any) -> tuple[bool, Any]:
    moment, name = _moment(context, tick).replace(tzinfo=None), tostr(zone)
    try:
        local = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return _refused(f"Unknown timezone: {name}")
    early, late = moment.replace(tzinfo=local), moment.replace(tzinfo=local, fold=1)
    if early.utcoffset() != late.utcoffset():
        # A clock put back shows a time twice, one put forward leaves it out.
        is_twice = early.astimezone(UTC).astimezone(local).replace(tzinfo=None) == moment
        return _refused(f"{'Ambiguous' if is_twice else 'Missing'} time: {moment} {name}")
    return (True, (early.astimezone(UTC) - EPOCH) // timedelta(milliseconds=1))


def _refused(message: str) -> tuple[bool, dict[str, Any]]:
    return (False, {"err": "BadArg", "errmsg": message, "errinfo": {"mesg": message}})


_TICK: Final = ParameterSpec("tick", type="time", doc="The time.")
_FORMAT: Final = ParameterSpec("format", type="str", doc="The layout, as Python's strftime has it.")


def _part_spec(name: str, doc: str, read: Callable[[datetime], int]) -> FunctionSpec:
    return FunctionSpec(name, doc, _part(read), (_TICK,), "int")


LIBRARIES: Final = (
    LibrarySpec(
        ("time",),
        "Times, in milliseconds since 1970 in UTC.",
        (
            _part_spec("day", "The day of the month, from 1.", lambda m: m.day),
            _part_spec("dayofmonth", "The day of the month, from 0.", lambda m: m.day - 1),
            _part_spec("dayofweek", "The day of the week, Monday being 0.", lambda m: m.weekday()),
            _part_spec("dayofyear", "The day of the year, from 0.", lambda m: m.timetuple().tm_yday - 1),
            FunctionSpec(
                "format",
                "The text of a time.",
                _format,
                (ParameterSpec("valu", type="time", doc="The time."), _FORMAT),
                "str",
            ),
            FunctionSpec(
                "fromunix",
                "A time given in seconds since 1970.",
                _fromunix,
                (ParameterSpec("secs", type="number", doc="The seconds."),),
                "int",
            ),
            _part_spec("hour", "The hour, from 0.", lambda m: m.hour),
            _part_spec("minute", "The minute, from 0.", lambda m: m.minute),
            _part_spec("month", "The month, from 1.", lambda m: m.month),
            _part_spec("monthofyear", "The month, from 0.", lambda m: m.month - 1),
            FunctionSpec("now", "The time now.", _now, (), "int"),
            FunctionSpec(
                "parse",
                "Read a time; without a zone in it the text means UTC.",
                _parse,
                (
                    ParameterSpec("valu", type="str", doc="The text."),
                    _FORMAT,
                    ParameterSpec("errok", False, "bool", "Give null instead of an error."),
                ),
                "int",
            ),
            _part_spec("second", "The second, from 0.", lambda m: m.second),
            FunctionSpec(
                "sleep",
                "Wait.",
                _sleep,
                (ParameterSpec("valu", type="number", doc="Seconds to wait."),),
            ),
            FunctionSpec(
                "ticker",
                "Count from 0 with a wait before each number.",
                _ticker,
                (
                    ParameterSpec("tick", type="number", doc="Seconds to wait."),
                    ParameterSpec("count", None, "int", "How many numbers; without end when left out."),
                ),
                "int",
                is_generator=True,
            ),
            FunctionSpec(
                "toUTC",
                "Whether a time of a zone is known in UTC, and the time, or why not.",
                _to_utc,
                (_TICK, ParameterSpec("timezone", type="str", doc="Such as `America/New_York`.")),
                "pair",
            ),
            _part_spec("year", "The year.", lambda m: m.year),
        ),
    ),
    LibrarySpec(("time", "formats"), "Layouts for `$lib.time.format`.", constants=FORMATS),
)
