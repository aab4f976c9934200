"""The parser against every query of the conformance corpus, and the printer against what it makes of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cellmesh.common.errors import BadSyntax
from cellmesh.cortex.storm.parser import ast, parse_query
from cellmesh.cortex.storm.parser.printer import print_query

CORPUS = Path(__file__).parents[5] / "tests" / "conformance"
AREAS = sorted(path.stem for path in CORPUS.glob("*.jsonl"))

RAISED_WHEN_RUN = {"cron-add-badquery"}
"""Cases whose own text is right and which hand a faulty query to a function."""


@dataclass(frozen=True, slots=True)
class Text:
    """One query text of a case.

    Attributes:
        fault: The expected `err` if parsing is expected to fail, else None.
    """

    case: str
    text: str
    mode: ast.ParseMode
    fault: dict[str, Any] | None


def _texts(area: str) -> Iterator[Text]:
    for line in (CORPUS / f"{area}.jsonl").read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        for entry in case.get("setup", []):
            query = entry if isinstance(entry, dict) else {"storm": entry}
            yield Text(case["id"], query["storm"], _mode(query), None)
        error = case["expect"].get("err") or {}
        is_fault = error.get("name") == "BadSyntax" and case["id"] not in RAISED_WHEN_RUN
        yield Text(case["id"], case.get("storm") or case["call"], _mode(case), error if is_fault else None)


def _mode(query: dict[str, Any]) -> ast.ParseMode:
    return ast.ParseMode((query.get("opts") or {}).get("mode", "storm"))


def test_the_corpus_is_there() -> None:
    assert len(AREAS) == 13


@pytest.mark.parametrize("area", AREAS)
def test_texts_parse_or_fail_as_expected(area: str) -> None:
    wrong = []
    for query in _texts(area):
        try:
            parse_query(query.text, query.mode)
        except BadSyntax as error:
            if query.fault is None:
                wrong.append(f"{query.case}: {error.message}")
        else:
            if query.fault is not None:
                wrong.append(f"{query.case}: parses, but is no query: {query.text}")
    assert wrong == []


def test_faults_are_placed_as_expected() -> None:
    wrong = []
    count = 0
    for query in (query for area in AREAS for query in _texts(area) if query.fault is not None):
        assert query.fault is not None
        count += 1
        with pytest.raises(BadSyntax) as raised:
            parse_query(query.text, query.mode)
        expected = {name: query.fault[name] for name in ("at", "line", "column")}
        found = {name: raised.value.get(name) for name in expected}
        if found != expected:
            wrong.append((query.case, query.text, expected, found))
    assert count >= 70
    assert wrong == []


@pytest.mark.parametrize("area", AREAS)
def test_printed_trees_parse_to_equal_trees(area: str) -> None:
    for query in _texts(area):
        if query.fault is None:
            tree = parse_query(query.text, query.mode)
            assert parse_query(print_query(tree), query.mode) == tree, query.text


@pytest.mark.parametrize("area", AREAS)
def test_printing_is_stable(area: str) -> None:
    for query in _texts(area):
        if query.fault is None:
            printed = print_query(parse_query(query.text, query.mode))
            assert print_query(parse_query(printed, query.mode)) == printed


@pytest.mark.parametrize(
    "text",
    [
        "foo --opt=stop --opt=init { } --x=-->",
        "foo --a --b=c=d -- e",
        "inet:ipv4< -5 +:asn= ?x",
        '$x=`{"a"}{"b"}c\\{`',
        "$x=(-($a ** 2) * 3 - -$b)",
        "$x=((--$x), 5)",
        "$x=(not (not $a) = (not $b))",
        "$x=({(true): 1, (1.5): 2})",
        '$"a\\"b"."e f"=5',
        "switch $x { *: { } a,b: { } (*c, d): { } }",
        "-(not #a and (:b or ($c or not (#d or #e))))",
        "-(inet:ipv4=a{b or #c)",
        "-(a{b)> *",
        "function f(a=-5, b=*, c=(1,)) { }",
        '-> (inet:asn,) -> () -> ($x, "a b", inet:*)',
    ],
)
def test_odd_texts_print_to_equal_trees(text: str) -> None:
    tree = parse_query(text)

    assert parse_query(print_query(tree)) == tree
