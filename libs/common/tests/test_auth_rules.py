"""Rules: text and back, and what matches."""

from __future__ import annotations

import pytest
from cellmesh.common.auth.rules import Rule, first_match, parse_path, path_text
from cellmesh.common.errors import BadArg
from hypothesis import given
from hypothesis import strategies as st

parts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
paths = st.lists(parts, min_size=1, max_size=6).map(tuple)


@given(st.booleans(), paths)
def test_a_rule_reads_back_from_its_text(allow: bool, path: tuple[str, ...]) -> None:
    rule = Rule(allow, path)
    assert Rule.parse(str(rule)) == rule


@given(st.text(max_size=30))
def test_any_text_is_a_path_that_reads_back_or_is_refused_in_words(text: str) -> None:
    try:
        path = parse_path(text)
    except BadArg:
        return
    assert parse_path(path_text(path)) == path


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("node.add", ("node", "add")),
        ("node.prop.set.inet:ipv4.loc", ("node", "prop", "set", "inet:ipv4", "loc")),
        ('globals.get."a.b"', ("globals", "get", "a.b")),
        (r'x."a\"b\\c"', ("x", 'a"b\\c')),
    ],
)
def test_paths_as_people_write_them(text: str, path: tuple[str, ...]) -> None:
    assert parse_path(text) == path
    assert path_text(path) == text


@pytest.mark.parametrize(
    "text", ["", ".", "a.", ".a", "a..b", "a b", '"', '"a', '"a"b', "a!b", "!", "\ud800"]
)
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(BadArg):
        parse_path(text)


@pytest.mark.parametrize("path", [(), ("",), ("a",) * 65, ("x" * 1025,), ["a"], (1,), ("\ud800",)])
def test_paths_that_cannot_be(path: object) -> None:
    with pytest.raises(BadArg):
        Rule(True, path)  # type: ignore[arg-type]


def test_a_rule_matches_whole_parts_from_the_left_and_the_first_match_decides() -> None:
    rule = Rule.parse("node.add")
    assert rule.matches(("node", "add"))
    assert rule.matches(("node", "add", "inet:fqdn"))
    assert not rule.matches(("node",))
    assert not rule.matches(("node", "addx"))
    rules = [Rule.parse("!node.add.inet:fqdn"), Rule.parse("node.add")]
    assert first_match(rules, ("node", "add", "inet:fqdn")) == rules[0]
    assert first_match(rules[::-1], ("node", "add", "inet:fqdn")) == rules[1]
    assert first_match(rules, ("node", "del")) is None
