"""The formatter: what it makes of texts, and that nothing but white space changes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from cellmesh.common.errors import BadSyntax
from cellmesh.cortex.storm.parser import ast, parse_query
from cellmesh.cortex.storm.parser.formatter import LINE_WIDTH_MAX, format_query, layout, squashed
from hypothesis import given, settings
from hypothesis import strategies as st

CORPUS = Path(__file__).parents[5] / "tests" / "conformance"
STORM = ast.ParseMode.STORM

KEPT = re.compile(r"break\s*|.*\$\"[^\"]*\s[^\"]*\".*", re.DOTALL)
"""Texts that are left as they are: a `break` that ends with the text, and names of variables with blanks."""


def _texts() -> list[tuple[str, ast.ParseMode]]:
    found = []
    for path in sorted(CORPUS.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            case = json.loads(line)
            mode = ast.ParseMode((case.get("opts") or {}).get("mode", "storm"))
            found.append((case.get("storm") or case["call"], mode))
    return [(text, mode) for text, mode in found if _is_query(text, mode)]


def _is_query(text: str, mode: ast.ParseMode) -> bool:
    try:
        parse_query(text, mode)
    except BadSyntax:
        return False
    return True


TEXTS = _texts()


def _check(text: str, mode: ast.ParseMode) -> None:
    made = format_query(text, mode)
    assert squashed(made) == squashed(text)
    assert parse_query(made, mode) == parse_query(text, mode)
    assert format_query(made, mode) == made
    if not KEPT.fullmatch(text):
        # The layout itself is right: the text was not given back because it wasn't.
        assert parse_query(layout(text, mode), mode) == parse_query(text, mode)


def test_the_corpus_keeps_its_meaning() -> None:
    assert len(TEXTS) > 1500
    for text, mode in TEXTS:
        _check(text, mode)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(TEXTS), st.data())
def test_texts_with_other_blanks_and_comments_keep_their_meaning(
    chosen: tuple[str, ast.ParseMode], data: st.DataObject
) -> None:
    text, mode = chosen
    blanks = st.sampled_from(
        [" ", " ", " ", "\n", "\t", "  ", "\n\n\n", " // c\n", "\n// d\n", " /* e */ ", "\n/* f\n g */\n "]
    )
    mixed = re.sub(r"\s+", lambda _: data.draw(blanks), text)
    if _is_query(mixed, mode):
        _check(mixed, mode)


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("inet:ipv4   +:asn|limit 1", "inet:ipv4 +:asn | limit 1"),
        ("$x  =  'a  b'", "$x='a  b'"),
        ("$x=(0x10)   $y=$(1)", "$x=(0x10) $y=$(1)"),
        ("inet:ipv4\n\n\n\n->   *", "inet:ipv4\n\n-> *"),
        ("inet:ipv4 // a\n  // b\n\t-> *", "inet:ipv4 // a\n// b\n-> *"),
        ("inet:ipv4 | // a\n limit 1", "inet:ipv4 | // a\nlimit 1"),
        ("inet:ipv4 { +:asn\n-> * }", "inet:ipv4 {\n    +:asn\n    -> *\n}"),
        (
            "if ($x=1) { $y=2\n}\nelif $( $x = 2 )\n{ // two\n} else { }",
            "if ($x = 1) {\n    $y=2\n} elif $( $x = 2 ) {\n    // two\n} else { }",
        ),
        (
            "switch $x { a:{ }\n// rest\n*:{ inet:fqdn } }",
            "switch $x {\n    a: { }\n    // rest\n    *: { inet:fqdn }\n}",
        ),
        (
            "[ inet:ipv4=1.2.3.4\n:asn=5 // five\n+#a\n]",
            "[ inet:ipv4=1.2.3.4\n    :asn=5 // five\n    +#a\n]",
        ),
        ("$d=({\n'a': 1,\n  'b': 2\n})", "$d=({\n'a': 1,\n  'b': 2\n})"),
        ("  /* only */  ", "/* only */"),
        ("", ""),
    ],
)
def test_texts_are_laid_out(text: str, made: str) -> None:
    assert format_query(text) == made


def test_a_text_over_several_lines_is_not_moved() -> None:
    text = "function f() {\nreturn('''a\nb   \n  c''')\n}"

    assert format_query(text) == "function f() {\n    return('''a\nb   \n  c''')\n}"


def test_long_lines_are_broken_between_operations_and_then_inside() -> None:
    lifts = " ".join(["inet:fqdn=example.com"] * 6)
    made = format_query(f"inet:ipv4 {lifts} | limit 5 // why")
    assert made.splitlines()[0] == "inet:ipv4"
    assert made.splitlines()[-1] == "| limit 5 // why"

    inside = format_query(f"for $x in $y {{ {lifts} }}")
    assert inside.splitlines()[:2] == ["for $x in $y {", "    inet:fqdn=example.com"]
    assert max(map(len, inside.splitlines())) <= LINE_WIDTH_MAX

    edits = format_query(f"[ {lifts} ]")
    assert edits.splitlines()[:2] == ["[ inet:fqdn=example.com", "    inet:fqdn=example.com"]
    assert edits.splitlines()[-1] == "]"


def test_words_of_a_lookup_stay() -> None:
    assert format_query("  1.2.3.4   foo.com |limit   1", ast.ParseMode.LOOKUP) == "1.2.3.4 foo.com | limit 1"


def test_what_is_no_query_is_refused() -> None:
    with pytest.raises(BadSyntax) as raised:
        format_query("inet:ipv4 +(", STORM)

    assert raised.value.get("column") == 12
