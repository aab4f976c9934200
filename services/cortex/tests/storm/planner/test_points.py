"""Which queries look up one node, and that they give the same whichever thread runs them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.parser import parse_query
from cellmesh.cortex.storm.runtime.messages import Error, Fini, Init, Message, NodeRow
from cellmesh.cortex.storm.runtime.options import QueryOptions

VARIABLES = {
    "ip": 5,
    "text": "vertex.link",
    "glob": "*.link",
    "block": "1.2.3.0/24",
    "facts": {"name": "x"},
    "many": [1],
}


@pytest.mark.parametrize(
    "text",
    ["inet:fqdn=vertex.link", "inet:ipv4=1.2.3.4", "inet:ipv4=$ip", "inet:fqdn=$text", " inet:asn=5\n", "inet:fqdn='a.com'"],
)  # fmt: skip
def test_these_look_up_one_node(engine: Engine, text: str) -> None:
    assert engine.start(text, QueryOptions(vars=VARIABLES)).is_point()


@pytest.mark.parametrize(
    "text",
    [
        "inet:fqdn", "inet:fqdn=*.link", "inet:fqdn=$glob", "inet:ipv4=1.2.3.0/24", "inet:ipv4=1.2.3.4-1.2.3.9", "inet:ipv4=$block",
        "inet:ipv4:asn=5", "inet:fqdn=$nosuch", "inet:fqdn=vertex.link -> *", "inet:fqdn=a.com inet:fqdn=b.com", "ou:org=$facts",
        "[inet:fqdn=a.com]", "inet:asn=nosuch", "inet:nosuch=5", "syn:form=inet:fqdn", "inet:*=5", "inet:asn=$many", "inet:fqdn=",
        "#a=5", "inet:fqdn?=a.com", "inet:fqdn^=a", "inet:fqdn=a.com|limit 1", "inet:fqdn=" + "a" * 300,
        "inet:ipv4=$lib.cast(int,5)", "$x=5", "count=5", "reverse(inet:ipv4=5)", "inet:ipv4*in=5", "inet:ipv4=", "",
    ],
)  # fmt: skip
def test_these_may_be_longer(engine: Engine, text: str) -> None:
    assert not engine.start(text, QueryOptions(vars=VARIABLES)).is_point()


@pytest.mark.parametrize(
    "options",
    [{"mode": "lookup"}, {"ndefs": (("inet:asn", 5),)}, {"idens": ("00" * 32,)}, {"view": "00" * 16}],
)
def test_options_that_give_more_to_do(engine: Engine, options: dict[str, Any]) -> None:
    assert not engine.start("inet:asn=5", QueryOptions(**options)).is_point()


def test_it_gives_what_it_would_on_another_thread(engine: Engine) -> None:
    list(engine.storm("[ inet:asn=5 :name=x ]"))
    for value, count in ((5, 1), (6, 0)):
        messages = list(engine.start(f"inet:asn={value}").messages())
        assert [type(message) for message in messages] == [Init, *[NodeRow] * count, Fini]


def test_the_rule_changes_no_rows(engine: Engine) -> None:
    """An assignment in front keeps the rule away and changes nothing else."""
    list(engine.storm("[ inet:fqdn=vertex.link inet:ipv4=1.2.3.4 inet:ipv4=5 inet:asn=5 +#a ]"))
    texts = ["inet:fqdn=vertex.link", "inet:fqdn=VERTEX.link", "inet:fqdn=no.link", "inet:ipv4=1.2.3.4", "inet:ipv4=$ip",
             "inet:fqdn=$text", "inet:asn=5", "inet:asn='5'", "inet:asn=0x5", "inet:ipv4=9.9.9.9"]  # fmt: skip
    for text in texts:
        with_rule = engine.start(text, QueryOptions(vars=VARIABLES))
        without = engine.start(f"$unused=1 {text}", QueryOptions(vars=VARIABLES))
        assert with_rule.is_point(), text
        assert not without.is_point()
        found, wanted = (
            [message.node for message in running.messages() if isinstance(message, NodeRow)]
            for running in (with_rule, without)
        )
        assert [(node.ndef, node.props, node.tags) for node in found] == [
            (node.ndef, node.props, node.tags) for node in wanted
        ], text


@pytest.mark.parametrize(
    "text",
    ["inet:fqdn=a.com // why", "// what\n inet:fqdn=a.com", "inet:fqdn = a.com\n// why\n", 'inet:fqdn="a.com" ', "inet:fqdn='a.com'//\n//"],
)  # fmt: skip
def test_comments_and_blanks_around(engine: Engine, text: str) -> None:
    expected = not text.endswith("'//\n//")
    assert engine.start(text).is_point() is expected
    parse_query(text)


FORMS = ("inet:fqdn", "inet:ipv4", "inet:asn", "inet:url", *["it:dev:str"] * 5, "ou:org")
OTHER_NAMES = ("inet:ipv4:asn", "syn:form", "inet:nosuch", "fqdn", "_x:y", "inet:*", ".seen")
OPERATORS = (" = ", "==", "?=", "^=", "*in=", "~=", ">", "@=", " =\n", "= ")
VALUES = (
    "a.com", "A.com", "*.com", "1.2.3.4", "1.2.3.0/24", "5", "0x5", "nosuch", "http://a.com/b?c=d", "http://a.com//x", "ü", "a\\nb", "-5", "?",
    "'a.com'", "'it''s'", "'''a.com'''", "''", '"a.com"', '"a\\tb"', '"a\nb"', '"', "'", "`a.com`", "$name", "$number", "$nosuch", "$many",
    "$'name'", "$lib", "$lib.null", "$name.upper()", "$(5)", "(5)", "{ inet:fqdn }", ":asn", ".seen", "#a", "5//x", "a.com,", "'5'x",
)  # fmt: skip
BLANKS = ("", "", " ", "\n", "\t", "\x1f", "// what\n", " // why", " // a\n", "//", "/* c */", "/*")
BEHIND = ("|", " | limit 1", " +#a", " -> *", ".", ",", "]", ")", "}", " x", "=", " // y\n x")
FUZZ_VARIABLES = {"name": "a.com", "number": 5, "many": ["a.com"], "lib": "a.com"}


def made_up(random: Random) -> str:
    """A text that is a point query, or nearly."""
    name = random.choice(FORMS if random.random() < 0.8 else OTHER_NAMES)
    operator = "=" if random.random() < 0.7 else random.choice(OPERATORS)
    behind = random.choice(BEHIND) if random.random() < 0.2 else ""
    blank, value = random.choice(BLANKS), random.choice(VALUES)
    return f"{blank}{name}{operator}{value}{random.choice(BLANKS)}{behind}{random.choice(BLANKS)}"


def outcome(messages: Iterable[Message]) -> list[object]:
    """Nodes and errors of a query, with the places of those."""
    found: list[object] = []
    for message in messages:
        if isinstance(message, NodeRow):
            found.append(message.node.packed())
        elif isinstance(message, Error):
            found.append((message.error.name, message.error.message, str(message.error.get("at"))))
    return found


def compare_made_up(engine: Engine, count: int, seed: int) -> int:
    """Compare texts answered as points with the same texts run; returns how many there were of those."""
    list(
        engine.storm(
            "[ inet:fqdn=a.com inet:ipv4=1.2.3.4 inet:ipv4=5 inet:asn=5 it:dev:str=a.com it:dev:str=http://a.com//x ]"
        )
    )
    random, points = Random(seed), 0
    options = QueryOptions(vars=FUZZ_VARIABLES, readonly=True)
    for _ in range(count):
        text = made_up(random)
        records = engine.start(text, options).point_records()
        if records is None:
            continue
        points += 1
        assert outcome(engine.storm(text, options)) == records, text
    return points


def test_what_is_told_by_its_text_is_what_the_parser_tells(engine: Engine) -> None:
    assert compare_made_up(engine, 5_000, seed=1) > 200


def test_a_node_is_found_in_a_fork_too(engine: Engine) -> None:
    """Where there are several layers the query is run, by the same thread."""
    list(engine.storm("[ inet:asn=5 ]"))
    fork = engine.call("return($lib.view.get().fork().iden)")
    running = engine.start("inet:asn=5", QueryOptions(view=fork))
    assert running.is_point()
    assert running.point_records() is None
    assert len(outcome(running.messages())) == 1


@pytest.mark.parametrize(
    "options",
    [{"limit": 1}, {"repr": True}, {"show": frozenset({"print"})}, {"path": True}, {"profile": True}, {"row_limit": 1}, {"view": "00" * 16}],
)  # fmt: skip
def test_what_asks_for_more_than_nodes_is_run(engine: Engine, options: dict[str, Any]) -> None:
    assert engine.start("inet:asn=5").point_records() == []
    assert engine.start("inet:asn=5", QueryOptions(**options)).point_records() is None
