"""Which queries ask for a number that an index has, and are answered by the thread that has them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.runtime.messages import Error, Print
from cellmesh.cortex.storm.runtime.options import QueryOptions
from storm_kit import open_engine

MADE = (
    "for $i in $lib.range(300) { [ inet:ipv4=$i :asn=($i / 10) .seen=2020 ] if ($i < 40) { [ +#t.a ] } }",
    "[ ps:person=* :names=(ann, bob) ] [ inet:fqdn=www.a.com ]",
)

# Each with what stands in front of `| count`, and how many nodes that gives.
QUICK = {
    "inet:ipv4": 300,
    "reverse(inet:ipv4)": 300,
    "inet:ipv4:asn": 300,
    "inet:ipv4:asn=7": 10,
    "inet:ipv4=5": 1,
    "inet:ipv4=0.0.0.9": 1,
    "inet:ipv4#t": 40,
    "#t.a": 40,
    "inet:ipv4 +:asn=3": 10,
    "inet:ipv4 -:asn=3": 290,
    "inet:ipv4 +:asn": 300,
    "inet:ipv4 -#t.a": 260,
    "inet:asn=9999999": 0,
    ".seen": 300,
}
NOT_QUICK = (
    "inet:ipv4=0.0.0.0/24",
    "inet:ipv4:asn>7",
    "inet:ipv4:asn=$n",
    "inet:fqdn=*.com",
    "inet:ipv4.seen=2020",
    "inet:ipv4 +.seen=2020",
    "inet:ipv4 -.seen=2020",
    "inet:ipv4 +inet:ipv4",
    "inet:ipv4 +:asn=3 +#t.a",
    "inet:ipv4 inet:asn",
    "inet:ip*",
    "ps:person:names*[=ann]",
    "[ inet:ipv4=7 ]",
    "inet:ipv4 | limit 3",
    "syn:form",
    "no:such",
    "inet:ipv4=nope",
    "inet:ipv4 -> inet:asn",
)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterable[Engine]:
    with open_engine(tmp_path_factory.mktemp("counts")) as engine:
        for text in MADE:
            assert not [message for message in engine.storm(text) if isinstance(message, Error)]
        yield engine


def counted(engine: Engine, text: str) -> list[str]:
    return [message.text for message in engine.storm(text) if isinstance(message, Print)]


@pytest.mark.parametrize("text", QUICK)
def test_these_are_quick(filled: Engine, text: str) -> None:
    assert filled.start(f"{text} | count").is_quick()
    assert filled.start(text).is_quick(by_call=True)
    assert counted(filled, f"{text} | count") == [f"Counted {QUICK[text]} nodes."]
    assert filled.count(text) == QUICK[text]
    # Without the index: `limit` has the nodes counted one by one.
    assert filled.count(text, QueryOptions(limit=10_000)) == QUICK[text]


@pytest.mark.parametrize("text", NOT_QUICK)
def test_these_are_not(filled: Engine, text: str) -> None:
    options = QueryOptions(vars={"n": 7})
    assert not filled.start(f"{text} | count", options).is_quick()
    assert not filled.start(text, options).is_quick(by_call=True)


@pytest.mark.parametrize("text", ["inet:ipv4", "inet:ipv4 | count | count", "inet:ipv4 | count --yield", "x | count", "| count", "inet:ipv4 | count // " + "x" * 256])  # fmt: skip
def test_what_is_no_count_or_long_is_not(filled: Engine, text: str) -> None:
    assert not filled.start(text).is_quick()


@pytest.mark.parametrize(
    "options",
    [{"limit": 1}, {"profile": True}, {"mode": "lookup"}, {"ndefs": (("inet:ipv4", 1),)}, {"view": "00" * 16}],
)  # fmt: skip
def test_options_that_ask_for_more_are_not(filled: Engine, options: dict[str, Any]) -> None:
    assert not filled.start("inet:ipv4 | count", QueryOptions(**options)).is_quick()


def test_several_layers_are_not_as_they_are_counted_by_lifting(filled: Engine) -> None:
    fork = filled.call("return($lib.view.get().fork().iden)")
    options = QueryOptions(view=fork)
    assert not filled.start("inet:ipv4 | count", options).is_quick()
    assert not filled.start("inet:ipv4", options).is_quick(by_call=True)
    assert filled.count("inet:ipv4", options) == 300


def test_a_node_is_quick_to_look_up(filled: Engine) -> None:
    assert filled.start("inet:ipv4=5").is_quick()
