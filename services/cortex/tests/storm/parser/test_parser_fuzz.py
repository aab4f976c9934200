"""Whatever the text, the parser gives a tree or BadSyntax, and soon."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from cellmesh.common.errors import BadSyntax
from cellmesh.cortex.storm.parser import ast, parse_query
from cellmesh.cortex.storm.parser.depth import children
from cellmesh.cortex.storm.parser.printer import print_query
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

CORPUS = Path(__file__).parents[5] / "tests" / "conformance"
PARSE_TIME_S_MAX = 2.0
"""Of processor time, so that other work on the machine does not count; an idle core takes a hundredth."""

_SYMBOLS = " \t\n()[]{}|+-*<>=!^~@#$:.,\"'`/\\%&;?"
_PIECES = st.sampled_from(
    [
        *_SYMBOLS,
        "inet:ipv4",
        ":asn",
        "$x",
        "#a.b",
        "foo",
        "5",
        "-(",
        ")>",
        "->",
        "<-",
        "${",
        "$(",
        "not ",
        "and ",
        "if ",
        "for $x in ",
        "{",
        "}",
        "[",
        "]",
        "/*",
        "*/",
        "//",
        "'''",
        "reverse(",
        "yield ",
        "1.5",
        "*in=",
        "*[",
    ]
)
SETTINGS = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def _corpus() -> list[str]:
    texts = set()
    for path in CORPUS.glob("*.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            case = json.loads(line)
            texts.add(case.get("storm") or case["call"])
    return sorted(texts)


TEXTS = _corpus()


@st.composite
def _mutated(draw: st.DrawFn) -> str:
    text = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 6)))
        text = text[:start] + draw(_PIECES) + text[end:]
    return text


def _check(text: str, mode: ast.ParseMode = ast.ParseMode.STORM) -> None:
    start = time.thread_time()
    tree, fault = None, None
    try:
        tree = parse_query(text, mode)
    except BadSyntax as error:
        fault = error
    assert time.thread_time() - start < PARSE_TIME_S_MAX
    if fault is not None:
        assert 0 <= fault.get("at") <= len(text)
        assert fault.get("line") == text.count("\n", 0, fault.get("at")) + 1
    if tree is not None:
        _check_spans(tree, len(text))
        assert parse_query(print_query(tree), mode) == tree


def _check_spans(node: ast.Node, length: int) -> None:
    assert 0 <= node.span.start <= node.span.end <= length, node
    for child in children(node):
        assert node.span.start <= child.span.start <= child.span.end <= node.span.end, (node, child)
        _check_spans(child, length)


@SETTINGS
@given(st.text(max_size=200))
def test_any_text_gives_a_tree_or_a_fault(text: str) -> None:
    _check(text)


@SETTINGS
@given(st.lists(_PIECES, max_size=60).map("".join))
def test_any_row_of_tokens_gives_a_tree_or_a_fault(text: str) -> None:
    _check(text)


@SETTINGS
@given(_mutated())
def test_a_mutated_query_gives_a_tree_or_a_fault(text: str) -> None:
    _check(text)


@SETTINGS
@given(_mutated(), st.sampled_from([ast.ParseMode.LOOKUP, ast.ParseMode.SEARCH, ast.ParseMode.AUTOADD]))
def test_a_lookup_gives_a_tree_or_a_fault(text: str, mode: ast.ParseMode) -> None:
    _check(text, mode)


@pytest.mark.parametrize(
    "unit",
    [
        *_SYMBOLS,
        "a",
        "5",
        "(1",
        "(a,",
        "([",
        '({"a":',
        "{",
        "-(",
        "-(a",
        "$x(",
        "$x.",
        "#a.",
        "/*",
        "/* ",
        "'''",
        "${",
        "$(",
        "`{",
        "not ",
        "+(not ",
        "inet:ipv4 ",
        "[ ( a:b=1 ",
        "if $x {",
        "('",
        '("',
        "(1 '",
        "a ",
        ":a",
    ],
)
def test_a_long_repetition_is_parsed_or_refused_in_time(unit: str) -> None:
    text = unit * (20_000 // len(unit))
    start = time.thread_time()
    for body in (text, f"$x=(1 {text}", f"$x={text}", f"foo {text}"):
        try:
            parse_query(body)
        except BadSyntax:
            pass
    assert time.thread_time() - start < 4 * PARSE_TIME_S_MAX
