"""Times, ranges, intervals and durations, held against what Synapse made of the same input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cellmesh.common import errors
from cellmesh.common.time import clock, durations, intervals, parse
from hypothesis import given
from hypothesis import strategies as st

VECTORS = json.loads((Path(__file__).parent / "vectors" / "time.json").read_text())
NOW = clock.FixedClock(1_600_000_000_000)
REFUSED = {"error": True}


def outcome(call: Any, value: Any) -> Any:
    try:
        return call(value)
    except errors.BadTypeValu:
        return REFUSED


def test_vectors_are_there() -> None:
    assert {key: len(rows) > 5 for key, rows in VECTORS.items()} == dict.fromkeys(
        ("time", "time_text", "range", "interval", "duration", "duration_text"), True
    )


@pytest.mark.parametrize(("value", "wanted"), VECTORS["time"])
def test_time_agrees(value: Any, wanted: Any) -> None:
    assert outcome(parse.normalize_time, value) == wanted


@pytest.mark.parametrize(("value", "wanted"), VECTORS["time_text"])
def test_time_text_agrees(value: int, wanted: str) -> None:
    assert parse.print_time(value) == wanted


@pytest.mark.parametrize(("value", "wanted"), VECTORS["range"])
def test_range_agrees(value: str, wanted: Any) -> None:
    found = outcome(parse.parse_range, value)
    assert (list(found) if isinstance(found, tuple) else found) == wanted


@pytest.mark.parametrize(("value", "wanted"), VECTORS["interval"])
def test_interval_agrees(value: Any, wanted: Any) -> None:
    found = outcome(intervals.normalize_interval, value)
    assert (list(found) if isinstance(found, tuple) else found) == wanted


@pytest.mark.parametrize(("value", "wanted"), VECTORS["duration"])
def test_duration_agrees(value: Any, wanted: Any) -> None:
    assert outcome(durations.normalize_duration, value) == wanted


@pytest.mark.parametrize(("value", "wanted"), VECTORS["duration_text"])
def test_duration_text_agrees(value: int, wanted: str) -> None:
    assert durations.print_duration(value) == wanted


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("now", 0),
        (" NOW ", 0),
        ("+1 day", parse.DAY),
        ("-2 hours", -2 * parse.HOUR),
        ("+ 1 day", parse.DAY),
        ("-1min", -parse.MINUTE),
        ("now - 15 days", -15 * parse.DAY),
        ("now+1hour", parse.HOUR),
        ("now + 1 day - 1 hour", 23 * parse.HOUR),
    ],
)
def test_relative_times_count_from_the_clock(text: str, offset: int) -> None:
    assert parse.parse_time(text, clock=NOW) == NOW.millis + offset


@pytest.mark.parametrize(
    "text",
    [
        *(
            "now-15d",
            "-1h",
            "+1 week",
            "+1 month",
            "now?",
            "now+",
            "now+1",
            "1 day",
            "--1 day",
            "+-1 day",
            "nowish",
        ),
        *("2020-01-02 - 1 day", "2020-01-01+1day", "now - 1 day + 1 hour", "now + 1 day - 1 day - 1 day"),
    ],
)
def test_what_is_no_relative_time_is_refused(text: str) -> None:
    with pytest.raises(errors.BadTypeValu):
        parse.parse_time(text, clock=NOW)


@pytest.mark.parametrize(
    ("pair", "low", "high"),
    [
        (("-1 day", "now"), -parse.DAY, 0),
        (("now", "+1 day"), 0, parse.DAY),
        (("-1 day", "+1 day"), -parse.DAY, 0),
        (("+1 day", "-1 day"), 0, parse.DAY),
        (("now", "-1 day"), -parse.DAY, 0),
    ],
)
def test_an_end_with_a_sign_counts_from_the_start(pair: tuple[str, str], low: int, high: int) -> None:
    assert intervals.normalize_interval(pair, clock=NOW) == (NOW.millis + low, NOW.millis + high)


def test_a_pair_to_compare_with_may_be_in_any_order() -> None:
    assert intervals.normalize_pair(("2021", "2020")) == (1609459200000, 1577836800000)


def test_the_last_range_ends_after_the_last_time() -> None:
    assert parse.parse_range("9999*") == (253370764800000, parse.TIME_MAX + 1)


def test_errors_name_the_input() -> None:
    with pytest.raises(errors.BadTypeValu, match="2020-02-30") as caught:
        parse.parse_time("2020-02-30")
    assert dict(caught.value.items()) == {
        "mesg": "there is no day 2020-02-30",
        "name": "time",
        "valu": "2020-02-30",
    }


def test_long_text_is_refused_at_once() -> None:
    with pytest.raises(errors.BadTypeValu, match="at most"):
        parse.parse_time("2" * 1_000_000)


@given(st.integers(-30_000_000_000_000, parse.TIME_MAX))
def test_printed_times_of_four_digit_years_parse_back(millis: int) -> None:
    assert parse.parse_time(parse.print_time(millis)) == millis


@given(st.text(max_size=30) | st.from_regex(r"[0-9TZ:+\-. *?]{0,24}", fullmatch=True))
def test_any_text_gives_a_time_or_the_error(text: str) -> None:
    for call in (parse.normalize_time, parse.parse_range, intervals.normalize_interval):
        outcome(call, text)
    outcome(durations.normalize_duration, text)


@given(st.integers(-(2**63), 2**63 - 1))
def test_any_64_bit_integer_prints(millis: int) -> None:
    assert parse.print_time(millis)
    assert durations.print_duration(millis)


@given(st.integers(0, 2**62))
def test_durations_parse_back(millis: int) -> None:
    assert durations.normalize_duration(durations.print_duration(millis)) == millis


small = st.tuples(st.integers(-9, 9), st.integers(1, 9)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(small, small)
def test_interval_arithmetic_agrees_with_sets(left: tuple[int, int], right: tuple[int, int]) -> None:
    lefts, rights = set(range(*left)), set(range(*right))
    assert intervals.overlaps(left, right) == bool(lefts & rights)
    assert intervals.covers(left, right) == (rights <= lefts)
    shared = intervals.intersection(left, right)
    assert (set(range(*shared)) if shared else set()) == lefts & rights
    merged = set(range(*intervals.merge(left, right)))
    assert merged >= lefts | rights
    assert (min(merged), max(merged)) == (min(lefts | rights), max(lefts | rights))
    assert all(intervals.contains(left, moment) == (moment in lefts) for moment in range(-20, 20))


def test_system_clock_goes_on() -> None:
    before = clock.SYSTEM_CLOCK.monotonic()
    assert clock.SYSTEM_CLOCK.now() > 1_700_000_000_000
    assert clock.SYSTEM_CLOCK.monotonic() >= before
