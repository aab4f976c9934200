"""What is found in text, with its place; and how long it takes."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.formats.text_scrape import SCRAPER
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1]))
from storm_kit import Run


def found(text: str) -> list[tuple[str, str | tuple[str, str]]]:
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
        ("CVE\u20142021\u201444228", "it:sec:cve", "CVE-2021-44228"),
        ("[http://w.com/a]", "inet:url", "http://w.com/a"),
        ("\u201chttp://w.com/a\u201d", "inet:url", "http://w.com/a"),
        ("(http://w.com/a(b)) x", "inet:url", "http://w.com/a(b"),
        ("http://w.com/a! x", "inet:url", "http://w.com/a!"),
        ("http://w.com/a., x", "inet:url", "http://w.com/a"),
        ("http[://]w[.]com", "inet:url", "http://w.com"),
        ("hxxp(:)//w.com", "inet:url", "http://w.com"),
        ("1\\.2\\.3\\.4", "inet:ipv4", "1.2.3.4"),
        ("cpe:2.3:a:ven\\.dor:b:1:*:*:*:*:*:*:*", "it:sec:cpe", "cpe:2.3:a:ven.dor:b:1:*:*:*:*:*:*:*"),
        ("run c:\\windows\\cmd.exe", "file:path", "c:\\windows\\cmd.exe"),
        ('"C:\\Program Files\\a.exe" x', "file:path", "C:\\Program Files\\a.exe"),
        ("C:\\a/b", "file:path", "C:\\a"),
        ("see /etc/passwd and\nmore", "file:path", "/etc/passwd and"),
        ("=///tmp/x", "file:path", "///tmp/x"),
        ("cpe:2.3:a:b:c:1.0\\:2:*:*:*:*:*:*:*, x", "it:sec:cpe", "cpe:2.3:a:b:c:1.0\\:2:*:*:*:*:*:*:*"),
        ("at 1.2.3.4:80/x", "inet:server", "1.2.3.4:80"),
        ("1[.]2.3.4[:]80", "inet:server", "1.2.3.4:80"),
        ("http://[::1]:8080/", "inet:server", "[::1]:8080"),
        ("v1.2.3.4", "inet:ipv4", "1.2.3.4"),
        ("ldap[:]//b.com", "inet:url", "ldap://b.com"),
        ("svn+ssh://x.com/y", "inet:url", "ssh://x.com/y"),
        ("hxxps:\\\\evil[.]com", "inet:url", "https://evil.com"),
        ("open \\\\srv\\c$\\a b", "inet:url", "smb://srv/c$/a"),
        ('"\\\\srv\\share\\a b.txt"', "inet:url", "smb://srv/share/a b.txt"),
        ("\\\\srv@SSL@8443\\x\\y", "inet:url", "https://srv:8443/x/y"),
        ("\\\\srv@8080\\x", "inet:url", "smb://srv:8080/x"),
        ("\\\\2001-db8--1.ipv6-literal.net\\a", "inet:url", "smb://[2001:db8::1]/a"),
        (
            "to 0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed",
            "crypto:currency:address",
            ("eth", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"),
        ),
        ("md5 d41d8cd98f00b204e9800998ecf8427e", "hash:md5", "d41d8cd98f00b204e9800998ecf8427e"),
    ],
)
def test_found(text: str, form: str, value: str | tuple[str, str]) -> None:
    assert (form, value) in found(text)


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.256",
        "1.2.3.4.5",
        "foo.notatld",
        "a..com",
        "12:34:56",
        "deadbeef",
        "foo://x",
        "\\\\srv",
        "\\\\.\\pipe\\x",
        "[zz::1]:80",
        "cpe:2.3:a:b",
        "xCVE-2020-1234",
        "/no/such/root",
        "//etc/x",
        "a/etc/x",
        "/ETC/x",
        "/etc/" + "a" * 4092,
        "C:\\",
        "xC:\\a",
        "C:\\a.",
        "C:\\a\\CON",
    ],
)
def test_not_found(text: str) -> None:
    assert found(text) == []


def test_addresses_of_currencies_become_nodes(engine: Engine) -> None:
    text = (
        "pay 0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed or 1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2 at 1.2.3.4:80"
    )
    nodes = [
        ["btc", "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2"],
        ["eth", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"],
    ]
    run = Run(engine, "scrape --yield --forms crypto:currency:address $given", given=text)
    assert (run.error, run.nodes) == (None, nodes)
    assert Run(engine, "crypto:currency:address:coin=eth").nodes == nodes[1:]
    printed = Run(
        engine,
        "for ($form, $value, $info) in $lib.scrape.context($given) { $lib.print(`{$form} {$info.offset}`) }",
        given=text,
    ).prints
    assert printed == [
        "inet:server 88",
        "inet:ipv4 88",
        "crypto:currency:address 50",
        "crypto:currency:address 4",
    ]


def test_defanged_is_left_out() -> None:
    assert [one.value for one in SCRAPER.find("1[.]2.3.4 and plain.com", refang=False)] == ["plain.com"]


@pytest.mark.parametrize(
    ("text", "port_is_one"),
    [
        ("1.2.3.4:65535", True),
        ("1.2.3.4:65536", False),
        ("1.2.3.4:080", False),
        ("1.2.3.4:0", False),
        ("[::1]:0", False),
    ],
)
def test_servers_have_ports(text: str, port_is_one: bool) -> None:
    assert ("inet:server" in [form for form, _ in found(text)]) == port_is_one


def test_order_of_kinds_and_only_some() -> None:
    text = (
        "/etc/x\n1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2 cpe:2.3:a:b:c:*:*:*:*:*:*:*:* CWE-79 CVE-2020-1234 foo.com ::1"
        " 1.2.3.4:80 a@foo.com \\\\srv\\share http://foo.com"
    )
    forms = list(dict.fromkeys(form for form, _ in found(text)))
    assert forms == [
        "file:path",
        "inet:url",
        "inet:email",
        "inet:server",
        "inet:ipv4",
        "inet:ipv6",
        "inet:fqdn",
        "it:sec:cve",
        "it:sec:cwe",
        "it:sec:cpe",
        "crypto:currency:address",
    ]
    for form in forms:
        assert {one.form for one in SCRAPER.find(text, forms=frozenset({form}))} == {form}


@given(st.text(alphabet="a.1:[]@/-hxp() \\", max_size=200))
def test_matches_stand_where_they_are_said_to(text: str) -> None:
    for one in SCRAPER.find(text):
        assert text[one.offset : one.offset + len(one.match)] == one.match


@pytest.mark.parametrize(
    "piece",
    [
        "a.",
        "1.",
        ":",
        "a@",
        "a-",
        "[.]",
        "http://",
        "a.b@",
        "a://",
        "\\\\",
        "\\\\a\\",
        "[:",
        "1.1.1.1:",
        "cpe:2.3:a:",
        "CVE-1",
    ],
)
def test_time_grows_with_the_size(piece: str) -> None:
    started = time.thread_time()
    for _ in SCRAPER.find(piece * (100_000 // len(piece))):
        pass
    assert time.thread_time() - started < 20
