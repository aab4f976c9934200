"""Queries in braces as values, and small rules of values, held against answers observed from Synapse 2.256."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.runtime.messages import Fire
from cellmesh.cortex.storm.runtime.options import QueryOptions

sys.path.insert(0, str(Path(__file__).parents[1]))
from storm_kit import Run


@pytest.fixture
def filled(engine: Engine) -> Engine:
    """An engine whose graph has three numbers."""
    assert Run(engine, "[ it:dev:int=1 it:dev:int=2 it:dev:int=3 ]").error is None
    return engine


@pytest.mark.parametrize(
    ("text", "prints"),
    [
        # What a query in braces sets is set outside, too.
        ("$x={ $y=5 return($y) } $lib.print($y)", ["5"]),
        ("$x={ $y=5 } $lib.print($y)", ["5"]),
        ("$x={ for $i in (1, 2) { } return($i) } $lib.print($i)", ["2"]),
        ("$x={ function f() { return(3) } return($f()) } $lib.print($f())", ["3"]),
        # Without a node, a statement does not run that uses what was set from one.
        ("$x={ it:dev:int=2 $y=$node.value() return($y) } $lib.print($y)", []),
        ("it:dev:int=1 $x={ $y=5 return($y) } $lib.print($y)", ["5"]),
        ("it:dev:int={ $y=2 return($y) } $lib.print($y)", ["2"]),
        ("[ it:dev:int={ $y=7 return($y) } ] $lib.print($y)", ["7"]),
        ("it:dev:int=1 [ +(foo)> { $y=5 it:dev:int=2 } ] $lib.print($y)", ["5"]),
        ("if { $y=5 return((true)) } { $lib.print($y) }", ["5"]),
        ("it:dev:int=1 -> { $y=5 } $lib.print($y)", ["5"]),
        ("function f() { $x={ $y=5 } return($y) } $lib.print($f())", ["5"]),
        # But not out of a function, nor of a query that runs with variables of its own.
        ("$y=1 $q=${ $y=5 } $q.exec() $lib.print($y)", ["1"]),
        # The first node is counted before the limit is looked at.
        ("$q=${ it:dev:int } $lib.print($q.size(limit=(0))) $lib.print($q.size(limit=(2)))", ["1", "2"]),
        # What takes null as nothing takes undef so.
        (
            "$v=$lib.view.get() $v.set(desc, a) $v.set(desc, $lib.undef) $lib.print($v.get(desc))",
            ["$lib.null"],
        ),
    ],
)
def test_what_is_printed(filled: Engine, text: str, prints: list[str]) -> None:
    run = Run(filled, text)
    assert (run.error, run.prints) == (None, prints)


def test_members_of_the_library_cannot_be_set(filled: Engine) -> None:
    assert Run(filled, "$lib.time.now=1").error == "StormRuntimeError"
    assert Run(filled, "function f() { $x={ $y=5 } return($y) } $f() $lib.print($y)").error == "NoSuchVar"


def test_a_node_is_fired_as_its_value(filled: Engine) -> None:
    messages = list(filled.storm("it:dev:int=1 $lib.fire(seen, node=$node, more=([$node]))", QueryOptions()))
    assert [message.data for message in messages if isinstance(message, Fire)] == [{"node": 1, "more": [1]}]


@pytest.mark.parametrize(
    ("text", "nodes", "error"),
    [
        # In edits and lifts, a number with a point stands for its text; in filters and casts for itself.
        ("[ it:dev:int=(2.0) ]", [], "BadTypeValu"),
        ("[ it:dev:int?=(2.0) ]", [], None),
        ("[ it:dev:str=(1.50) ]", ["1.50"], None),
        ("[ meta:event=(e,) :duration=(1.5) ] +:duration=1500 | spin | it:dev:int=1", [1], None),
        ("it:dev:int=(1.0)", [], "BadTypeValu"),
        ("it:dev:int>(1.5)", [], "BadTypeValu"),
        ("it:dev:int*in=((1.0), (2.0))", [], "BadTypeValu"),
        ("it:dev:int +it:dev:int>(1.5)", [2, 3], None),
        ("$x=$lib.cast(int, (1.5)) it:dev:int=$x", [1], None),
    ],
)
def test_numbers_with_a_point(filled: Engine, text: str, nodes: list[object], error: str | None) -> None:
    run = Run(filled, text)
    assert (run.nodes, run.error) == (nodes, error)
