"""Words at the head of a text in lookup, autoadd and search mode."""

from __future__ import annotations

import time
from typing import Any

import pytest
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.runtime.messages import Error, NodeRow
from cellmesh.cortex.storm.runtime.options import QueryOptions

MADE = """
    [ inet:fqdn=foo.com inet:ipv4=1.2.3.4 inet:url="http://foo.com/bar" it:sec:cve=CVE-2020-1234
      inet:email=bob@foo.com inet:server="1.2.3.4:80" ]
"""


@pytest.fixture
def made(engine: Engine) -> Engine:
    assert not [message for message in engine.storm(MADE) if isinstance(message, Error)]
    return engine


def _forms(engine: Engine, text: str, mode: str) -> list[Any]:
    messages = list(engine.storm(text, QueryOptions(mode=mode)))
    assert not [message for message in messages if isinstance(message, Error)]
    return [message.node.form.name for message in messages if isinstance(message, NodeRow)]


@pytest.mark.parametrize(
    ("text", "forms"),
    [
        ("see foo.com.", ["inet:fqdn"]),
        ("(1.2.3.4) and bob@foo.com;CVE-2020-1234", ["inet:ipv4", "inet:email"]),
        ("a,foo.com,1.2.3.4", ["inet:ipv4"]),
        ('"foo.com 1.2.3.4"', ["inet:ipv4"]),
        ("<CVE-2020-1234>", ["it:sec:cve"]),
        ("[1.2.3.4:80]", ["inet:server"]),
        ("hxxp://foo[.]com/bar", ["inet:url"]),
        ("foo.com foo.com", ["inet:fqdn", "inet:fqdn"]),
        ("nosuch 1.2.3.4.5 foo.com-x", []),
    ],
)
def test_a_word_may_have_a_value_in_it(made: Engine, text: str, forms: list[str]) -> None:
    assert _forms(made, text, "lookup") == forms


def test_autoadd_makes_what_words_mention(engine: Engine) -> None:
    assert _forms(engine, "new.example.org, (5.6.7.8).", "autoadd") == ["inet:fqdn", "inet:ipv4"]
    assert engine.count("inet:fqdn=new.example.org") == 1


def test_search_finds_nothing_and_the_query_behind_it_runs(made: Engine) -> None:
    assert _forms(made, "foo.com", "search") == []
    assert _forms(made, "foo.com | inet:ipv4=1.2.3.4", "search") == ["inet:ipv4"]


def test_a_long_word_takes_no_long_time(engine: Engine) -> None:
    begun = time.thread_time()
    for unit in ("a.", "1.", "a@", "1.2.3.4", "a-", "(", "ab.cd,", "0"):
        _forms(engine, unit * (20_000 // len(unit)), "lookup")
    assert time.thread_time() - begun < 20
