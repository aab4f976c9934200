"""The entry points, the fields of faults, and how fast real queries are parsed."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from cellmesh.common.errors import BadSyntax
from cellmesh.cortex.storm.parser import ast, parse_expression, parse_query, parse_source, parse_value
from cellmesh.cortex.storm.parser.printer import print_expression, print_query
from cellmesh.cortex.storm.source import Source, Span

CORPUS = Path(__file__).parents[5] / "tests" / "conformance"
PARSES_PER_S_MIN = 400
"""In processor time: a tenth or less of what one idle core does, so that a busy one passes."""


def test_a_fault_has_place_token_and_hint() -> None:
    with pytest.raises(BadSyntax) as raised:
        parse_query('inet:ipv4\n| $lib.print($x + "é")')

    error = raised.value
    assert {name: error.get(name) for name in ("at", "line", "column", "token")} == {
        "at": 26,
        "line": 2,
        "column": 17,
        "token": "+",
    }
    assert error.hint == "put an expression with operators in parentheses of its own"
    assert error.message.endswith('| $lib.print($x + "é")\n                ^')


def test_a_fault_in_a_named_source_names_it() -> None:
    with pytest.raises(BadSyntax) as raised:
        parse_source(Source("inet:ipv4 ->", "macro foo"))

    assert raised.value.get("source") == "macro foo"


def test_spans_take_no_part_in_equality() -> None:
    assert parse_query("inet:ipv4=1.2.3.4|uniq") == parse_query(" inet:ipv4 = 1.2.3.4 // x\n | uniq ")


def test_spans_point_into_the_text() -> None:
    text = "inet:ipv4  +:asn=5"

    query = parse_query(text)

    assert [text[node.span.start : node.span.end] for node in query.operations] == ["inet:ipv4", "+:asn=5"]
    assert query.span == Span(0, len(text))


def test_parse_value_reads_what_may_be_assigned() -> None:
    assert parse_value("1.2.3.4") == ast.Literal(Span(0, 7), "1.2.3.4", True)
    assert parse_value(" (10) ") == ast.Constant(Span(2, 4), 10)
    with pytest.raises(BadSyntax, match="end of the value"):
        parse_value("a b")


def test_parse_expression_reads_what_stands_in_dollar_parentheses() -> None:
    assert print_expression(parse_expression("1+2 * $x")) == "1 + 2 * $x"
    with pytest.raises(BadSyntax, match="needs quotes"):
        parse_expression("foo")


@pytest.mark.parametrize(
    ("body", "has_return", "has_emit"),
    [
        ("return(5)", True, False),
        ("for $x in $y { if $x { return(5) } }", True, False),
        ("{ return(5) } emit 3", True, True),
        ("yield { return(5) }", True, False),
        ("-> { return(5) }", True, False),
        ("$x={ return(5) }", False, False),
        ("$x=${ return(5) }", False, False),
        ("+{ return(5) }", False, False),
        ("tee { return(5) }", False, False),
        ("[ it:dev:int={ return(5) } +(x)> { emit 5 } ]", False, False),
        ("function g() { return(5) }", False, False),
        ("inet:ipv4 stop", False, False),
    ],
)
def test_body_effects_count_what_ends_the_function(body: str, has_return: bool, has_emit: bool) -> None:
    (function,) = parse_query(f"function f() {{ {body} }}").operations

    assert isinstance(function, ast.Function)
    assert function.body_effects == ast.BodyEffects(has_return, has_emit)


def test_a_bare_word_that_looks_like_a_number_is_text() -> None:
    bare, number = parse_query("$x=10 $y=(10)").operations

    assert isinstance(bare, ast.SetVariable)
    assert isinstance(number, ast.SetVariable)
    assert bare.value == ast.Literal(bare.span, "10", True)
    assert number.value == ast.Constant(number.span, 10)


def test_an_embedded_query_keeps_its_text() -> None:
    (command,) = parse_query("macro.set foo ${ inet:ipv4  | uniq }").operations

    assert isinstance(command, ast.Command)
    query = command.arguments[1]
    assert isinstance(query, ast.EmbeddedQuery)
    assert query.text == "inet:ipv4  | uniq"
    assert print_query(query.query) == "inet:ipv4 uniq"


def test_thirty_real_queries_parse_fast() -> None:
    cases = [json.loads(line) for line in (CORPUS / "13-workflows.jsonl").read_text("utf-8").splitlines()]
    texts = sorted({case.get("storm") or case["call"] for case in cases}, key=len)[-30:]
    assert len(texts) == 30

    best = 1e9
    for _ in range(5):
        start = time.thread_time()
        for text in texts:
            parse_query(text)
        best = min(best, time.thread_time() - start)

    assert len(texts) / best > PARSES_PER_S_MIN


@pytest.mark.parametrize(
    ("text", "operator"),
    [
        ("inet:asn<(5)", "<"),
        ("inet:ipv4 +:asn<(5) -> *", "<"),
        ("inet:ipv4 +(:asn<(5 + (1)))", "<"),
        ("it:exec:proc:time=?", "="),
        ("it:exec:proc +:time>=?", ">="),
        ("it:exec:proc +:time?=x", "?="),
    ],
)
def test_values_right_behind_operators(text: str, operator: str) -> None:
    assert f"operator='{operator}'" in repr(parse_query(text))


def test_walks_in_are_no_comparisons() -> None:
    assert "operator=" not in repr(parse_query("inet:asn <(refs)- * <((a, b))- inet:fqdn <($x)- *"))
