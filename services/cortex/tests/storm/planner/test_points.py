"""Which queries look up one node, and that they give the same whichever thread runs them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.runtime.messages import Fini, Init, NodeRow
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
        "#a=5", "inet:fqdn?=a.com", "inet:fqdn^=a", "inet:fqdn=a.com|limit 1", "inet:fqdn=a.com // why", "inet:fqdn=" + "a" * 300,
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
