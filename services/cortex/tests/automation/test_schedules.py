"""Schedules: what users give, and when jobs run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from cellmesh.common.errors import BadTime, StormRuntimeError
from cellmesh.cortex.automation.schedules import Recurrence, by_period, check, moments, next_time, periodic

NOW_S = datetime(2026, 11, 21, 11, 44, 43, tzinfo=UTC).timestamp()

FIRST = [
    ({"minute": "+10"}, "2026-11-21T11:54"),
    ({"minute": "5"}, "2026-11-21T12:05"),
    ({"minute": "50,10"}, "2026-11-21T11:50"),
    ({"hour": "+2"}, "2026-11-21T13:00"),
    ({"hour": "5"}, "2026-11-22T05:00"),
    ({"day": "+2"}, "2026-11-23T00:00"),
    ({"day": "+2", "hour": "23"}, "2026-11-21T23:00"),
    ({"day": "Mon"}, "2026-11-23T00:00"),
    ({"day": "Saturday"}, "2026-11-28T00:00"),
    ({"day": "Sun,Tue"}, "2026-11-22T00:00"),
    ({"day": "-1"}, "2026-11-30T00:00"),
    ({"day": "31"}, "2026-11-30T00:00"),
    ({"day": "21"}, "2026-12-21T00:00"),
    ({"month": "+2"}, "2027-01-01T00:00"),
    ({"month": "feb"}, "2027-02-01T00:00"),
    ({"month": "11"}, "2027-11-01T00:00"),
    ({"year": "+2"}, "2028-01-01T00:00"),
    ({"hourly": "15"}, "2026-11-21T12:15"),
    ({"daily": "10:45"}, "2026-11-22T10:45"),
    ({"monthly": "-2:10:15"}, "2026-11-29T10:15"),
    ({"yearly": "june:5:10:15"}, "2027-06-05T10:15"),
]


@pytest.mark.parametrize(("given", "wanted"), FIRST)
def test_first_time(given: dict[str, Any], wanted: str) -> None:
    found = next_time(periodic(given), NOW_S)
    assert found is not None
    assert datetime.fromtimestamp(found, UTC).strftime("%Y-%m-%dT%H:%M") == wanted


@pytest.mark.parametrize("given", [given for given, _ in FIRST])
def test_times_go_on_and_fit(given: dict[str, Any]) -> None:
    recurrences, now_s = periodic(given), NOW_S
    check(recurrences)
    for _ in range(50):
        found = next_time(recurrences, now_s)
        assert found is not None
        assert found > now_s
        now_s = found


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"minute": "*"},
        {"minute": "ab"},
        {"day": "Mon,3"},
        {"day": "Mon", "month": "3"},
        {"hour": "+2", "month": "jan", "day": "3"},
        {"hour": "2", "minute": "+3"},
        {"year": "2050"},
        {"month": "-1"},
        {"hourly": "15", "hour": "3"},
        {"hourly": "0,30"},
        {"daily": "10"},
        {"monthly": "last:10:15"},
        {"yearly": "12:10:15"},
        {"minute": "+0"},
    ],
)
def test_refused(given: dict[str, Any]) -> None:
    with pytest.raises(StormRuntimeError):
        periodic(given)


@pytest.mark.parametrize("given", [{"minute": "60"}, {"hour": "24"}, {"day": "32"}, {"month": "13"}])
def test_out_of_range(given: dict[str, Any]) -> None:
    with pytest.raises(BadTime):
        check(periodic(given))


def test_leap_days_are_not_skipped() -> None:
    leap: Recurrence = ({"month": 2, "dayofmonth": -1, "hour": 0, "minute": 0}, "year", 1)
    found = next_time([leap], datetime(2028, 1, 1, tzinfo=UTC).timestamp())
    assert found is not None
    assert datetime.fromtimestamp(found, UTC).day == 29


def test_moments() -> None:
    found = moments({"day": "+1", "minute": "5"}, [int(NOW_S * 1000) + 600_000], NOW_S)
    assert [item[0]["minute"] for item in found] == [44, 49, 54]
    with pytest.raises(BadTime):
        moments({}, [0], NOW_S)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("minutely", [({}, "minute", 1)]),
        ("minutely/5", [({}, "minute", 5)]),
        ("hourly@:15,45", [({"minute": 15}, "hour", 1), ({"minute": 45}, "hour", 1)]),
        ("hourly/3@:10", [({"minute": 10}, "hour", 3)]),
        ("daily", [({"hour": 0, "minute": 0}, "day", 1)]),
        ("Daily@5", [({"hour": 5, "minute": 0}, "day", 1)]),
        ("daily@:15", [({"hour": 0, "minute": 15}, "day", 1)]),
        ("daily/2@12:30", [({"hour": 12, "minute": 30}, "day", 2)]),
        ("daily@5:15,45", [({"hour": 5, "minute": 15}, "day", 1), ({"hour": 5, "minute": 45}, "day", 1)]),
        ("weekly", [({"hour": 0, "minute": 0}, "dayofweek", 0)]),
        (
            "weekly/Mon,Wed@9",
            [({"hour": 9, "minute": 0}, "dayofweek", 0), ({"hour": 9, "minute": 0}, "dayofweek", 2)],
        ),
        ("monthly", [({"hour": 0, "minute": 0, "dayofmonth": 1}, "month", 1)]),
        (
            "monthly/1,-1@03:15",
            [
                ({"hour": 3, "minute": 15, "dayofmonth": 1}, "month", 1),
                ({"hour": 3, "minute": 15, "dayofmonth": -1}, "month", 1),
            ],
        ),
        ("yearly@10:00", [({"month": 1, "hour": 10, "minute": 0, "dayofmonth": 1}, "year", 1)]),
        ("hourly@", [({"minute": 0}, "hour", 1)]),
        ("hourly/3@", [({"minute": 0}, "hour", 3)]),
        ("daily@", [({"hour": 0, "minute": 0}, "day", 1)]),
        ("weekly/", [({"hour": 0, "minute": 0}, "dayofweek", 0)]),
        ("monthly/0", [({"hour": 0, "minute": 0, "dayofmonth": 0}, "month", 1)]),
        ("monthly/", [({"hour": 0, "minute": 0, "dayofmonth": 1}, "month", 1)]),
    ],
)
def test_periods(text: str, wanted: list[Recurrence]) -> None:
    assert by_period(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "",
        "zork",
        "hourly",
        "hourly/3",
        "hourly@12:15",
        "minutely@:10",
        "yearly/2@10:00",
        "weekly/foo",
        "daily/x",
        "monthly/32",
        "monthly/-32",
        " hourly@:15",
        "minutely@",
        "yearly@",
        "daily@25:00",
        "daily@10:60",
        "daily/",
    ],
)
def test_bad_periods(text: str) -> None:
    with pytest.raises(StormRuntimeError):
        by_period(text)


def test_a_period_of_nothing() -> None:
    with pytest.raises(BadTime):
        by_period("minutely/0")


def test_several_increments() -> None:
    wanted = [({"minute": 0}, "hour", 1), ({"minute": 0}, "hour", 3)]
    assert periodic({"hour": "+1,+3"}) == wanted
