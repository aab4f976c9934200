"""What is found in text, with its place; and how long it takes."""

from __future__ import annotations

import time

import pytest
from cellmesh.cortex.storm.text_scrape import SCRAPER
from hypothesis import given
from hypothesis import strategies as st


def found(text: str) -> list[tuple[str, str]]:
    return [(one.form, one.value) for one in SCRAPER.find(text)]


@pytest.mark.parametrize(
    ("text", "form", "value"),
    [
        ("see hxxp[:]//bar[.]com/x.", "inet:url", "http://bar.com/x"),
        ("(http://w.com/a)", "inet:url", "http://w.com/a"),
        ("at evil[.]com,", "inet:fqdn", "evil.com"),
        ("mail user@foo.com now", "inet:email", "user@foo.com"),
        ("1[.]2[.]3[.]4", "inet:ipv4", "1.2.3.4"),
        ("[2001:db8::1]", "inet:ipv6", "2001:db8::1"),
        ("cve-2021-44228", "it:sec:cve", "cve-2021-44228"),
        ("md5 d41d8cd98f00b204e9800998ecf8427e", "hash:md5", "d41d8cd98f00b204e9800998ecf8427e"),
    ],
)
def test_found(text: str, form: str, value: str) -> None:
    assert (form, value) in found(text)


@pytest.mark.parametrize("text", ["10.0.0.256", "1.2.3.4.5", "foo.notatld", "a..com", "12:34:56", "deadbeef"])
def test_not_found(text: str) -> None:
    assert found(text) == []


def test_defanged_is_left_out() -> None:
    assert [one.value for one in SCRAPER.find("1[.]2.3.4 and plain.com", refang=False)] == ["plain.com"]


@given(st.text(alphabet="a.1:[]@/-hxp() \\", max_size=200))
def test_matches_stand_where_they_are_said_to(text: str) -> None:
    for one in SCRAPER.find(text):
        assert text[one.offset : one.offset + len(one.match)] == one.match


@pytest.mark.parametrize("piece", ["a.", "1.", ":", "a@", "a-", "[.]", "http://", "a.b@"])
def test_time_grows_with_the_size(piece: str) -> None:
    started = time.thread_time()
    for _ in SCRAPER.find(piece * (100_000 // len(piece))):
        pass
    assert time.thread_time() - started < 20
