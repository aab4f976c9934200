"""Names of interfaces in lifts, filters, pivots and walks along light edges."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from cellmesh.cortex.storm.engine import Engine
from storm_kit import Run

FILL = """[
    ( inet:http:request=(r, 1) :flow=(f, 1) +#foo )
    ( inet:http:request=(r, 2) )
    ( it:host=(h, 1) :phys:mass=5kg )
    ( inet:flow=(f, 1) )
    ( it:dev:str=x +(refs)> { inet:http:request=(r, 1) } +(refs)> { it:host=(h, 1) } )
]"""


@pytest.mark.parametrize(
    ("text", "like"),
    [
        ("inet:proto:request", "inet:http:request"),
        ("reverse(inet:proto:request)", "inet:http:request"),
        ("inet:proto:request:flow", "inet:http:request:flow"),
        ("inet:proto:request:flow=(f, 1)", "inet:http:request:flow=(f, 1)"),
        ("inet:proto:request#foo", "inet:http:request#foo"),
        ("inet:proto:request +:flow=(f, 1)", "inet:http:request +:flow=(f, 1)"),
        ("inet:proto:request +#foo", "inet:http:request +#foo"),
        ("phys:object", "it:host"),
        ("phys:object:phys:mass=5kg", "it:host"),
        ("it:* inet:http:* +inet:proto:request", "inet:http:request"),
        ("it:* inet:http:* -inet:proto:request", "it:host it:dev:str"),
        ("inet:http:request +inet:proto:request:flow", "inet:http:request +:flow"),
        ("inet:http:request +inet:proto:request:flow=(f, 1)", "inet:http:request +:flow"),
        ("inet:http:request +phys:object", "inet:http:request +it:host"),
        ("inet:flow -> inet:proto:request", "inet:http:request +:flow"),
        ("inet:flow -> inet:proto:request:flow", "inet:http:request +:flow"),
        ("it:dev:str -(refs)> inet:proto:request", "it:dev:str -(refs)> inet:http:request"),
        ("it:dev:str -(refs)> phys:object", "it:host"),
        ("it:dev:str -(refs)> (phys:object, inet:proto:request)", "it:dev:str -(refs)> *"),
    ],
)
def test_they_stand_for_the_forms_that_carry_them(engine: Engine, text: str, like: str) -> None:
    assert Run(engine, FILL).error is None
    found, wanted = Run(engine, text), Run(engine, like)
    assert found.error is None, found.message
    assert wanted.error is None
    assert sorted(found.nodes) == sorted(wanted.nodes)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("inet:proto:request=(r, 1)", "NoSuchProp"),
        ("inet:proto:request:nosuch", "NoSuchProp"),
        ("inet:http:request +inet:proto:request=(r, 1)", "NoSuchProp"),
        ("[ inet:proto:request=(r, 1) ]", "NoSuchForm"),
    ],
)
def test_they_are_no_forms(engine: Engine, text: str, error: str) -> None:
    assert Run(engine, FILL).error is None
    assert Run(engine, text).error == error


def test_counts(engine: Engine) -> None:
    assert Run(engine, FILL).error is None
    assert Run(engine, "inet:proto:request | count").prints == ["Counted 2 nodes."]
    assert engine.count("inet:proto:request") == 2
