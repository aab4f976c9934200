"""The command `graph`: which nodes, in which order, and what is told of the ways between them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.runtime.messages import Error, NodeRow

sys.path.insert(0, str(Path(__file__).parents[1]))
from storm_kit import Run, open_engine

NODES = (
    "[ inet:dns:a=(x.com, 9.9.9.9) +(refs)> { [ inet:asn=3 ] } ]",
    "[ it:dev:str=a +(refs)> { [ it:dev:str=b +(refs)> { [ it:dev:str=c ] } ] } ]",
)


@pytest.fixture(name="engine", scope="module")
def _engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with open_engine(tmp_path_factory.mktemp("graph") / "graph") as engine:
        for text in NODES:
            assert Run(engine, text).error is None
        yield engine


def picture(engine: Engine, text: str) -> list[tuple[str, list[tuple[str, Any]]]]:
    """Each node as text, with the ways told of: the other node, and what is said of the way."""
    names: dict[str, str] = {}
    found = []
    for message in engine.storm(text):
        if isinstance(message, Error):
            raise message.error
        if isinstance(message, NodeRow):
            node, meta = message.node, message.path or {}
            names[node.iden] = str(node.repr())
            ways = [(names[iden], {**fact}) for iden, fact in meta["edges"]]
            found.append((("*" if meta.get("graph:seed") else "") + names[node.iden], ways))
    return found


def prop(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "prop", "prop": name, **more}


def test_it_goes_along_properties_breadth_first(engine: Engine) -> None:
    found = picture(engine, "inet:dns:a | graph --degrees 2 --refs")
    start = found[0][0].removeprefix("*")
    assert [name for name, _ in found] == [f"*{start}", "x.com", "9.9.9.9", "com"]
    assert [ways for _, ways in found] == [
        [],
        [(start, prop("fqdn", reverse=True))],
        [(start, prop("ipv4", reverse=True))],
        [("x.com", prop("domain", reverse=True))],
    ]


def test_a_way_is_told_of_at_the_node_that_comes_last(engine: Engine) -> None:
    found = picture(engine, "inet:ipv4 inet:dns:a | graph --refs --filter { -inet:fqdn }")
    assert found[0] == ("*9.9.9.9", [])
    assert found[1][1] == [("9.9.9.9", prop("ipv4"))]
    assert len(found) == 2


def test_light_edges_between_its_nodes(engine: Engine) -> None:
    edge = {"type": "edge", "verb": "refs"}
    assert picture(engine, "it:dev:str=b it:dev:str=a | graph") == [("*b", []), ("*a", [("b", edge)])]
    assert picture(engine, "it:dev:str=a it:dev:str=b | graph")[1] == (
        "*b",
        [("a", {**edge, "reverse": True})],
    )
    assert picture(engine, "it:dev:str=a it:dev:str=b | graph --no-edges")[1] == ("*b", [])


def test_rules_of_a_form_come_before_those_of_any(engine: Engine) -> None:
    rules = "--form-pivot * { -(refs)> * } --form-pivot inet:dns:a { -> inet:fqdn }"
    found = picture(engine, f"inet:dns:a it:dev:str=a | graph {rules}")
    assert [name for name, _ in found][1:] == ["*a", "x.com", "b"]
    assert found[2][1][0][1] == {"type": "rules", "scope": "inet:dns:a", "index": 0, "reverse": True}
    assert found[3][1][0][1] == {"type": "rules", "scope": "*", "index": 0, "reverse": True}


def test_filters(engine: Engine) -> None:
    def names(options: str) -> list[str]:
        return [
            name for name, _ in picture(engine, f"it:dev:str=a | graph --pivot {{ -(refs)> * }} {options}")
        ]

    assert names("--degrees 5") == ["*a", "b", "c"]
    assert names("--degrees 0") == ["*a"]
    assert names("--degrees 5 --filter { -it:dev:str=b }") == ["*a"]
    assert names("--degrees 5 --filter { -it:dev:str=b } --yield-filtered") == ["*a", "b"]
    assert names("--degrees 5 --form-filter it:dev:str { -it:dev:str=c }") == ["*a", "b"]
    assert names("--degrees 5 --filter { -it:dev:str=a }") == []
    assert names("--degrees 5 --filter { -it:dev:str=a } --no-filter-input") == ["*a", "b", "c"]


def test_bad_degrees(engine: Engine) -> None:
    assert Run(engine, "it:dev:str | graph --degrees -1").error == "BadArg"
    assert Run(engine, "it:dev:str | graph --form-pivot it:dev:str").error == "BadArg"
