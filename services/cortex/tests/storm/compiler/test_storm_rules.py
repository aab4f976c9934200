"""Each planner rule against the same query without it."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from cellmesh.cortex.storm.compiler import dispatch
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.parser import parse_query
from cellmesh.cortex.storm.planner.counting import counted_steps
from cellmesh.cortex.storm.planner.hints import PropHint, TagHint, hint_of
from cellmesh.cortex.storm.planner.purity import is_pure
from cellmesh.cortex.storm.runtime.messages import Error, NodeRow, Print
from cellmesh.cortex.storm.runtime.options import QueryOptions

FILL = """
for $i in $lib.range(60) {
    [ ( inet:ipv4=$i :asn=($i % 7) :loc=`us.{$i % 3}` ) ]
    if (($i % 4) = 0) { [ +#t.a=2020 ] }
    [ ( inet:dns:a=(`h{$i % 9}.vertex.link`, $i) ) ]
    spin
}
"""

LIFTS = ("inet:ipv4", "inet:dns:a", "inet:*", "inet:asn", "reverse(inet:ipv4)", "inet:ipv4:asn", "#t")
FILTERS = ("+:asn", "+:asn=3", "+:asn>2", "-:asn=1", "+#t", "+#t.a@=2020", "+(:loc and :asn<5)", "+:loc^=us.1", "+:asn!=2",
           "+:fqdn", "+:nosuch", "+{ -> inet:asn }", "+inet:ipv4", "-#t +:asn")  # fmt: skip
PIVOTS = (
    "-> *",
    "<- *",
    "-> inet:asn",
    "-> inet:dns:a",
    "-+> *",
    "-> (inet:ipv4, inet:fqdn)",
    "-> #",
    "--> *",
)


def rows(engine: Engine, text: str) -> tuple[list[Any], str | None]:
    found: list[Any] = []
    error: str | None = None
    for message in engine.storm(text):
        if isinstance(message, NodeRow):
            found.append(message.node.ndef)
        elif isinstance(message, Error):
            error = message.error.name
    return found, error


def queries(count: int, seed: int) -> list[str]:
    choose = random.Random(seed)
    made = []
    for _ in range(count):
        parts = [choose.choice(LIFTS)]
        parts += [
            choose.choice(FILTERS if choose.random() < 0.6 else PIVOTS) for _ in range(choose.randrange(4))
        ]
        made.append(" ".join(parts))
    return made


@pytest.fixture
def filled(engine: Engine) -> Engine:
    assert rows(engine, FILL)[1] is None
    return engine


def test_batches_give_the_same_rows_in_the_same_order(
    filled: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = queries(120, seed=1)
    with_rule = [rows(filled, text) for text in texts]
    # An assignment makes a query impure and changes nothing else.
    without = [rows(filled, f"$unused=1 {text}") for text in texts]
    assert [text for text, a, b in zip(texts, with_rule, without) if a != b] == []


def test_hints_give_the_same_rows(filled: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = queries(120, seed=2)
    with_rule = [rows(filled, text) for text in texts]
    monkeypatch.setattr(dispatch, "hint_of", lambda following: None)
    without = [rows(filled, f"{text} // without") for text in texts]
    for text, (found, error), (plain, plain_error) in zip(texts, with_rule, without):
        if error == plain_error is None:
            assert Counter(map(repr, found)) == Counter(map(repr, plain)), text


COUNTED = (
    "inet:ipv4", "inet:ipv4:asn", "inet:ipv4:asn=3", "inet:ipv4:asn='2'", "inet:ipv4=0.0.0.5", "inet:ipv4=0.0.0.0/29",
    "inet:fqdn='*.link'", "#t", "#t.a", "#nosuch", "inet:ipv4#t.a", "inet:fqdn#t", "inet:nosuch", "inet:*", "syn:form",
    "inet:ipv4.created", "reverse(inet:ipv4)", "inet:ipv4:asn=nosuch", "inet:fqdn:zone=vertex.link", "inet:ipv4:loc=us",
)  # fmt: skip
COUNTED_FILTERS = (
    "", "", ":asn", ":asn=3", ":asn=(3)", ":asn>3", ":asn*=3", ":loc=us.1", ":loc=us", ":loc^=us", ":nosuch", ":asn=nosuch",
    ".created", "#t", "#t.a", "#nosuch", "#t.*", "#t.a@=2020", ":asn::name=x", "inet:ipv4", ":fqdn", ":fqdn='*.link'",
    ":fqdn=h1.vertex.link", ":host=h1", ":issuffix=0", ":ipv4=0.0.0.5", ":ipv4=0.0.0.0/29", "$x", ":asn=$x",
)  # fmt: skip


def printed(engine: Engine, text: str) -> list[str]:
    """What a query prints, or the name of its error."""
    return [
        message.text if isinstance(message, Print) else message.error.name
        for message in engine.storm(text, QueryOptions(vars={"x": 3}))
        if isinstance(message, Print | Error)
    ]


def test_counts_from_indexes_are_those_of_the_rows(filled: Engine) -> None:
    """An assignment in between keeps the rule away and changes nothing else."""
    count = 0
    for lift in COUNTED:
        for sign in "+-":
            for condition in COUNTED_FILTERS:
                head = f"{lift} {sign}{condition}" if condition else lift
                quick = printed(filled, f"{head} | count")
                plain = printed(filled, f"{head} $unused=1 | count")
                assert quick == plain, head
                count += "Counted" in "".join(quick)
    assert count > 300


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("inet:ipv4 | count", 1),
        ("inet:ipv4 +:asn=5 | count", 2),
        ("inet:ipv4 -#a | count | count", 2),
        ("inet:ipv4=1.2.3.4 | count", 1),
        ("inet:ipv4=1.2.3.4 +:asn | count", 0),
        ("inet:ipv4 +:asn +:loc | count", 0),
        ("inet:ipv4 | count --yield", 0),
        ("inet:ipv4 | limit 5 | count", 0),
        ("inet:ipv4 +(:asn or :loc) | count", 0),
        ("inet:ipv4 -> inet:asn | count", 0),
        ("count", 0),
    ],
)
def test_which_heads_of_queries_may_be_counted(text: str, size: int) -> None:
    assert counted_steps(parse_query(text).operations) == size


def test_rows_that_come_in_are_counted_too(filled: Engine) -> None:
    assert printed(filled, "inet:asn=3 inet:ipv4 | count") == ["Counted 61 nodes."]
    assert printed(filled, "inet:asn | limit 2 | { inet:ipv4 | count }") == ["Counted 61 nodes."] * 2
    assert printed(filled, "inet:asn | limit 2 | { inet:ipv4 +#t | count }") == ["Counted 15 nodes."] * 2
    assert printed(filled, "[ inet:ipv4=9.9.9.9 :asn=1 ] | spin | inet:ipv4 +:asn=1 | count") == [
        "Counted 10 nodes."
    ]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("inet:ipv4 +:asn=5", PropHint),
        ("inet:ipv4 -#a +#b.c", TagHint),
        ("inet:ipv4 +(#a and :asn)", TagHint),
        ("inet:ipv4 +(#a or :asn)", None),
        ("inet:ipv4 +#a.*", None),
        ("inet:ipv4 $x=1 +:asn", None),
        ("ou:org +:names*[=x]", None),
    ],
)
def test_which_filters_give_hints(text: str, kind: type | None) -> None:
    hint = hint_of(parse_query(text).operations[1:])
    assert (type(hint) if hint is not None else None) is kind


@pytest.mark.parametrize(
    ("text", "pure"),
    [
        ("inet:ipv4 -> inet:asn +:name | limit 5", True),
        ("inet:ipv4 +{ -> inet:asn }", True),
        ("inet:ipv4 -> inet:asn [ +#a ]", False),
        ("inet:ipv4 { -> inet:asn [ +#a ] }", False),
        ("inet:ipv4 $x=:asn -> inet:asn", False),
        ("inet:ipv4 -> inet:asn $lib.print(x)", False),
        ("inet:ipv4 -> inet:asn | delnode", False),
    ],
)
def test_which_queries_are_pure(text: str, pure: bool) -> None:
    assert is_pure(parse_query(text)) is pure
