"""Bounds of a query: rows, depth, time and memory, set for the engine and for one query."""

from __future__ import annotations

from typing import Any

import pytest
from cellmesh.common.errors import CellError, LimitExceeded, RecursionLimitHit
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.runtime import memory
from cellmesh.cortex.storm.runtime.memory import anonymous_bytes, held_bytes
from cellmesh.cortex.storm.runtime.messages import Error
from cellmesh.cortex.storm.runtime.options import QueryLimits, QueryOptions

MIB = 1024 * 1024


def _error(engine: Engine, text: str, **options: Any) -> CellError:
    for message in engine.storm(text, QueryOptions(time_limit_s=60, **options)):
        if isinstance(message, Error):
            return message.error
    raise AssertionError(f"no error: {text}")


@pytest.mark.parametrize(
    "text",
    [
        "$l=([]) while (true) { $l.append((a, b, c)) }",
        "$l=([1, 2]) while (true) { $l.extend($l) }",
        "$s=$lib.set() for $i in $lib.range(100000000) { $s.add(`item {$i}`) }",
        '$d=({}) for $i in $lib.range(100000000) { $d.$i=({"a": $i}) }',
        "$x=$lib.sorted($lib.range(100000000)) for $i in $x { $y=$i }",
        "function f(l, n) { $l.append($n) return($f($l, `{$n} {$n}`)) } $f(([]), abc)",
        "function g() { for $i in $lib.range(100000000) { emit `x{$i}` } } $l=([]) for $x in $g() { $l.append($x) }",
    ],
)
def test_values_that_grow_hit_the_bound_of_memory(engine: Engine, text: str) -> None:
    error = _error(engine, text, memory_limit=16 * MIB, depth_limit=90)

    assert isinstance(error, LimitExceeded)
    assert (error.get("name"), error.get("limit")) == ("memory", 16 * MIB)
    assert error.get("line") == 1


@pytest.mark.parametrize(
    "text",
    [
        "$s=abc while (true) { $s=`{$s}{$s}` }",
        '$s=("a").ljust(1000000000000)',
        '$s=("abc").ljust(2000000) $s=$s.replace(" ", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")',
        '$s=("abc").ljust(2000000) $s=$s.join(($s, $s, $s, $s, $s, $s, $s, $s, $s))',
    ],
)
def test_one_large_text_hits_the_bound_before_it_fills_the_memory(engine: Engine, text: str) -> None:
    error = _error(engine, text, memory_limit=16 * MIB)

    assert isinstance(error, LimitExceeded)
    assert error.get("name") in ("memory", "width")


def test_values_that_come_and_go_do_not_count(engine: Engine) -> None:
    text = "for $i in $lib.range(3000) { $l=([]) for $j in (1, 2, 3, 4, 5, 6) { $l.append(`{$i} {$j}`) } } return($l.size())"

    assert engine.call(text, QueryOptions(memory_limit=1 * MIB)) == 6


def test_what_a_query_holds_is_measured_once_each(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text that a list holds a thousand times is one text."""
    monkeypatch.setattr(memory, "WALK_INTERVAL_S_MIN", 0.0)
    monkeypatch.setattr(memory, "LOOK_INTERVAL_S", 0.0)
    text = """
        $s=("x").ljust(100000) $l=([]) for $i in $lib.range(1000) { $l.append($s) }
        for $i in $lib.range(1000) { $y=$i } return($l.size())
    """
    assert engine.call(text, QueryOptions(memory_limit=1 * MIB)) == 1000
    with pytest.raises(LimitExceeded):
        engine.call(text, QueryOptions(memory_limit=50_000))


def test_held_values_are_added_up() -> None:
    module: dict[str, Any] = {"__name__": "cellmesh.cortex.storm.library.made"}
    code = (
        "import sys\n"
        "def generator():\n    kept = [bytes(70_000)]\n    yield 1\n    yield kept\n"
        "def step(found):\n    values = {'a': [bytes(100_000)], 'b': iter([bytes(50_000)])}\n    rows = generator()\n"
        "    next(rows)\n    found.append(measure(sys._getframe()))\n"
    )
    module["measure"] = lambda frame: held_bytes(frame, 10**9)
    exec(code, module)  # a module that counts as one of Storm
    found: list[int] = []
    module["step"](found)

    assert 220_000 < found[0] < 260_000


def test_memory_of_the_process_is_known() -> None:
    before = anonymous_bytes()
    if before is None:
        pytest.skip("this system does not tell")
    block = bytearray(64 * MIB)
    after = anonymous_bytes()
    assert after is not None
    assert after - before > 48 * MIB
    del block


def test_rows_depth_and_time_can_be_set_for_a_query(engine: Engine) -> None:
    rows = _error(engine, "for $i in $lib.range(1000) { }", row_limit=100)
    assert (rows.name, rows.get("name"), rows.get("limit")) == ("LimitExceeded", "rows", 100)
    depth = _error(engine, "function f(x) { return($f($x)) } $f(1)", depth_limit=12)
    assert isinstance(depth, RecursionLimitHit)
    assert (depth.get("name"), depth.get("limit")) == ("depth", 12)
    with pytest.raises(LimitExceeded) as raised:
        engine.call("while (true) { $x=1 }", QueryOptions(time_limit_s=0.05))
    assert (raised.value.get("name"), raised.value.get("line"), raised.value.get("column")) == ("time", 1, 8)


def test_a_query_cannot_raise_the_limits() -> None:
    limits = QueryLimits(row_count_max=10, depth_max=5, time_max_s=1.0, memory_max_bytes=100)
    wide = QueryOptions(row_limit=20, depth_limit=50, time_limit_s=5.0, memory_limit=1000)
    assert limits.within(wide) == limits
    tight = QueryOptions(row_limit=2, depth_limit=3, time_limit_s=0.5, memory_limit=10)
    assert limits.within(tight) == QueryLimits(2, 3, 0.5, 10)
    assert limits.within(QueryOptions()) is limits
    assert QueryLimits().within(tight) == QueryLimits(2, 3, 0.5, 10)
