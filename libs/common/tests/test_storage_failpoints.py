"""Failpoints do what they are told, as often as told, and nothing when off."""

from __future__ import annotations

import pytest
from cellmesh.common.failpoints import (
    ENVIRONMENT_NAME,
    FailpointHit,
    clear_failpoint,
    failing,
    failpoint,
    load_environment,
    set_failpoint,
)


def hits(count: int) -> list[bool]:
    found = []
    for _ in range(count):
        try:
            failpoint("test_point")
            found.append(False)
        except FailpointHit:
            found.append(True)
    return found


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("error", [True] * 4),
        ("error*2", [True, True, False, False]),
        ("1>error*1", [False, True, False, False]),
    ],
)
def test_point_fires_as_often_as_told(spec: str, expected: list[bool]) -> None:
    with failing("test_point", spec):
        assert hits(4) == expected
    assert hits(1) == [False]


def test_points_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT_NAME, "other=sleep:1; test_point=error*1")
    load_environment()
    assert hits(2) == [True, False]
    clear_failpoint("test_point")
    clear_failpoint("other")


@pytest.mark.parametrize("spec", ["", "explode", "error:x", "*3"])
def test_unknown_action_is_refused(spec: str) -> None:
    with pytest.raises(ValueError):
        set_failpoint("test_point", spec)
