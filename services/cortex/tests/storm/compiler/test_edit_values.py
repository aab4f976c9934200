"""Queries in braces as values of edits: what they return counts, and else the nodes they give."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from cellmesh.cortex.storm.engine import Engine
from storm_kit import Run


@pytest.mark.parametrize(
    ("edit", "prop", "wanted"),
    [
        (":name={ return(zed) }", "name", "zed"),
        (":name={ [ ou:name=one ] }", "name", "one"),
        (":name={ [ ou:name=one ] return(two) }", "name", "two"),
        (":name?={ return(zed) }", "name", "zed"),
        (":founded?={ return(zed) }", "founded", None),
        (":name*unset={ return(zed) }", "name", "zed"),
        (".seen={ return(2020) }", ".seen", [1577836800000, 1577836800001]),
        (":names={ return((x, y)) }", "names", ["x", "y"]),
        (":names={ [ ou:name=x ou:name=y ] }", "names", ["x", "y"]),
        (":names+={ return(x) }", "names", ["a", "x"]),
        (":names++={ return((x, y)) }", "names", ["a", "x", "y"]),
    ],
)
def test_a_property_takes_what_a_query_returns(engine: Engine, edit: str, prop: str, wanted: Any) -> None:
    run = Run(engine, f"[ ou:org=(o, 1) :names=(a, ) {edit} ]")
    assert run.error is None, run.message
    found = engine.call(f"ou:org=(o, 1) return($node.props.'{prop}')")
    assert (list(found) if isinstance(found, (list, tuple)) else found) == wanted


def test_a_node_is_made_of_what_a_query_returns(engine: Engine) -> None:
    assert Run(engine, "[ inet:asn={ return(5) } ]").nodes == [5]
    assert Run(engine, "[ inet:asn={ [ inet:asn=6 ] return(7) } ]").nodes == [7]
    assert Run(engine, "[ inet:asn?={ return(x) } ]").nodes == []
    assert Run(engine, "[ ou:org=(o, 1) :name={ return($lib.null) } ]").error == "BadTypeValu"
