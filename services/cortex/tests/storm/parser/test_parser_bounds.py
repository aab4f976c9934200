"""Bounds on nesting, depth and length, and how the time grows."""

from __future__ import annotations

import sys
import time

import pytest
from cellmesh.common.errors import BadSyntax
from cellmesh.cortex.storm import parser
from cellmesh.cortex.storm.parser import ast, parse_query
from cellmesh.cortex.storm.parser.depth import tree_depth
from cellmesh.cortex.storm.parser.printer import print_query

NESTED = {
    "subqueries": ("{ ", "", " }"),
    "parentheses": ("$x=", "(1)", ""),
    "lists": ("$x=(", "1", ")"),
    "calls": ("$f(", "", ")"),
    "conditions": ("+(", ":a", ")"),
    "blocks": ("if (1) { ", "", " }"),
    "filters": ("+{ ", "", " }"),
    "edits": ("[ +(a)> { ", "", " } ]"),
    "embedded": ("$x=${ ", "", " }"),
    "formats": ("$x=`{", "1", "}`"),
}


def _nested(name: str, depth: int) -> str:
    opening, inner, closing = NESTED[name]
    match name:
        case "parentheses":
            return opening + "(" * depth + "1" + ")" * depth
        case "lists":
            return opening + "[" * (depth - 1) + inner + "]" * (depth - 1) + closing
        case "calls":
            return "$f(" * depth + closing * depth
        case "conditions":
            return "+" + "(" * depth + inner + ")" * depth
        case "formats":
            return "$x=" + "`{" * depth + inner + "}`" * depth
        case _:
            return opening * depth + inner + closing * depth


@pytest.mark.parametrize("name", NESTED)
def test_nesting_up_to_the_bound_parses_and_prints(name: str) -> None:
    # An edit with an edge opens two brackets a turn.
    depth = parser.NESTING_MAX // 2 if name == "edits" else parser.NESTING_MAX

    tree = parse_query(_nested(name, depth))

    assert print_query(parse_query(print_query(tree))) == print_query(tree)


@pytest.mark.parametrize("name", NESTED)
@pytest.mark.parametrize("depth", [parser.NESTING_MAX + 1, 20_000])
def test_deeper_nesting_is_refused(name: str, depth: int) -> None:
    with pytest.raises(BadSyntax, match="nested more than"):
        parse_query(_nested(name, depth))


@pytest.mark.parametrize(
    "text",
    ["$x=(1" + " + 1" * 250 + ")", "+(:a" + " or :a" * 250 + ")", "$x" + ".a" * 250, "$x" + "()" * 250],
    ids=["operators", "conditions", "members", "calls"],
)
def test_chain_up_to_the_bound_parses_and_prints(text: str) -> None:
    tree = parse_query(text)

    assert 250 < tree_depth(tree) <= parser.TREE_DEPTH_MAX
    assert print_query(tree) == text


@pytest.mark.parametrize(
    "text",
    ["$x=(1" + " + 1" * 5000 + ")", "+(:a" + " or :a" * 5000 + ")", "$x" + ".a" * 5000, "$x" + "()" * 5000],
    ids=["operators", "conditions", "members", "calls"],
)
def test_longer_chain_is_refused(text: str) -> None:
    with pytest.raises(BadSyntax, match="longer than"):
        parse_query(text)


def test_many_operations_side_by_side_are_no_depth() -> None:
    query = parse_query("inet:ipv4=1.2.3.4 " * 2000)

    assert len(query.operations) == 2000


def test_too_long_a_text_is_refused() -> None:
    with pytest.raises(BadSyntax, match="longer than"):
        parse_query(" " * (parser.TEXT_LENGTH_MAX + 1))


def test_a_caller_deep_in_the_stack_gets_a_fault() -> None:
    def descend(depth: int) -> ast.Query:
        return descend(depth - 1) if depth else parse_query(_nested("blocks", 90))

    # The engine raises Python's limit for its process; here it must be one that the caller comes near.
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    try:
        with pytest.raises(BadSyntax, match="nested too deeply"):
            descend(800)
    finally:
        sys.setrecursionlimit(limit)


def test_time_grows_with_the_length() -> None:
    unit = '[ inet:dns:a=(foo.com, 1.2.3.4) :asn=(1 + 2) +#a.b=(2019, 2020) ] -(refs)> * +(:x=5 or #y) $l.append("z") '

    def seconds(count: int) -> float:
        text = unit * count
        best = 1e9
        for _ in range(3):
            start = time.thread_time()
            parse_query(text)
            best = min(best, time.thread_time() - start)
        return best

    # Eight times the text; twenty leaves room for a busy machine and is far from sixty-four.
    assert seconds(800) < 20 * seconds(100)
