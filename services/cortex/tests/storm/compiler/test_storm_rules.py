"""Each planner rule against the same query without it."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from cellmesh.cortex.storm.compiler import dispatch
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.parser import parse_query
from cellmesh.cortex.storm.planner.hints import PropHint, TagHint, hint_of
from cellmesh.cortex.storm.planner.purity import is_pure
from cellmesh.cortex.storm.runtime.messages import Error, NodeRow

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
