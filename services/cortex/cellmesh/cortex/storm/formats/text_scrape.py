"""Finds indicators in text: addresses, names, hashes and numbers that a graph may know.

Each kind has one pattern without nested repetition, so that a text is gone through in linear time. Texts often have
such things defanged (`hxxp://evil[.]com`); the patterns take the common ways, and `_refang` undoes them. Addresses of
crypto-currencies carry checksums, for which `coin_addresses` looks.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from cellmesh.cortex.storm.formats.coin_addresses import find_addresses
from cellmesh.cortex.storm.formats.file_paths import find_paths
from cellmesh.cortex.storm.formats.top_levels import TOP_LEVELS

_DOT: Final = r"(?:\.|\\\.|\[\.\]|\[\.|\.\]|\(\.\)|\[dot\]|\(dot\)|[\u3002\uff0e\uff61])"
_LABEL: Final = r"[\w\-]{1,64}"
_END: Final = r"(?![\w@])"

_FANGS: Final = (
    (re.compile(r"\\\.|\[\.\]|\[\.|\.\]|\(\.\)|\[dot\]|\(dot\)|[\u3002\uff0e\uff61]", re.IGNORECASE), "."),
    (re.compile(r"\[:\]|\(:\)"), ":"),
    (re.compile(r"\[://\]"), "://"),
    (re.compile(r"\[@\]|\[at\]|\(at\)", re.IGNORECASE), "@"),
    (re.compile(r"^(?:hxxp|meow)(?=s?:)", re.IGNORECASE), "http"),
    (re.compile(r"^fxp(?=s?:)", re.IGNORECASE), "ftp"),
    (re.compile(r"^(https?|ftp):\\\\", re.IGNORECASE), r"\1://"),
)
_SCHEMES: Final = (
    r"acap|adiumxtra|afp|afs|aim|bitcoin|blob|cap|chrome|cid|coap|coaps|crid|cvs|data|dav|dict|dns|ed2k|"
    r"facetime|feed|file|finger|fish|ftp|ftps|fxp|fxps|geo|gg|git|gopher|h323|http|https|hxxp|hxxps|imap|"
    r"ipfs|ipp|irc|irc6|ircs|iris|jabber|jms|ldap|ldaps|mailto|mms|mongodb|msrp|mysql|news|nfs|nntp|"
    r"opaquelocktoken|pop|postgresql|proxy|redis|rediss|rmi|rsync|rtmp|rtsp|rtsps|service|sftp|sip|sips|"
    r"smb|sms|smtp|snmp|socks4|socks5|spotify|ssh|stun|svn|tcp|teamspeak|tel|telnet|tftp|turn|udp|urn|vnc|"
    r"ventrilo|webcal|ws|wss|wtai|xmpp"
)
_SCHEME_LENGTH_MAX: Final = len("opaquelocktoken")
_SCHEME: Final = re.compile(rf"(?<![a-z])(?:{_SCHEMES})\Z", re.IGNORECASE)
_SCHEME_END: Final = re.compile(r"(?:\[:\]|\(:\)|:)(?://|\\\\)|\[://\]")
_URL_REST: Final = re.compile(r"[^ \t\r\n\f\v'\"]+")
_CLOSERS: Final = {"(": ")", "[": "]", "{": "}", "<": ">", "\u201c": "\u201d", "\u2018": "\u2019"}
"""What stands behind a URL that stands behind the other."""

_SHARE_HOST: Final = r"\w[\w.\-]{0,254}+(?:@SSL)?(?:@[0-9]{1,5}+)?\\(?![\\\s])"
_SHARE: Final = re.compile(
    # In double quotes a path may have spaces.
    rf"\\\\(?:(?<=\"\\\\){_SHARE_HOST}[^\"\n]{{1,1024}}|(?<![:\\]\\\\){_SHARE_HOST}[^\s\"'<>|]{{1,1024}})"
)
_IPV6_LITERAL: Final = ".ipv6-literal.net"

_DASH: Final = re.compile(r"[\u2011-\u2014]")

_FANGED: Final = re.compile(r"[\[\]()\\\u3002\uff0e\uff61]|^(?:hxxp|meow|fxp)", re.IGNORECASE)
"""What is in every text that one of `_FANGS` changes: most texts have none of it."""


@dataclass(frozen=True, slots=True)
class Found:
    """Something found.

    Attributes:
        form: What it is.
        value: Its text, fangs put back; for the address of a crypto-currency, the coin and the address.
        match: The text as it stands.
        offset: Where it stands, in characters.
    """

    form: str
    value: str | tuple[str, str]
    match: str
    offset: int


@dataclass(frozen=True, slots=True)
class _Kind:
    form: str
    pattern: re.Pattern[str]
    accepts: Callable[[str], bool] = lambda value: True
    plain: Callable[[str], str] = lambda value: value


def _is_ipv4(value: str) -> bool:
    return all(int(part) < 256 for part in value.split("."))


def _is_ipv6(value: str) -> bool:
    try:
        ipaddress.IPv6Address(value)
    except ValueError:
        return False
    return True


def _is_server(value: str) -> bool:
    host, _, port = value.rpartition(":")
    if int(port) > 65535:
        return False
    return _is_ipv6(host[1:-1]) if host.startswith("[") else _is_ipv4(host)


def _urls(text: str) -> Iterator[tuple[str, int]]:
    """Yield URLs and where they stand. What ends a scheme is rarer than what begins one, so that it is looked for."""
    at = 0
    while (end := _SCHEME_END.search(text, at)) is not None:
        at = end.end()
        low = max(0, end.start() - _SCHEME_LENGTH_MAX - 1)
        scheme = _SCHEME.search(text[low : end.start()])
        if scheme is None or (end[0][-1] == "\\" and scheme[0].lower().rstrip("s") not in _BACKSLASHED):
            continue
        rest = _URL_REST.match(text, at)
        if rest is None:
            continue
        at, start = rest.end(), low + scheme.start()
        yield _trimmed(text[start:at], text, start), start


_BACKSLASHED: Final = ("http", "hxxp", "ftp", "fxp")
"""Schemes behind which backslashes stand for slashes, without the s."""


def _shares(text: str) -> Iterator[tuple[str, str, int]]:
    r"""Yield shares (`\\\\host\\share\\path`) as URLs, with their text and where they stand."""
    for match in _SHARE.finditer(text):
        start = match.start()
        raw = match[0]
        raw = _trimmed(raw.rstrip("\\"), text, start)
        host, _, path = raw[2:].partition("\\")
        name, *options = host.split("@")
        scheme = "https" if options and options[0] == "SSL" else "smb"
        if name.lower().endswith(_IPV6_LITERAL):
            name = f"[{name[: -len(_IPV6_LITERAL)].replace('-', ':')}]"
        port = f":{options[-1]}" if options and options[-1] != "SSL" else ""
        if path:
            yield f"{scheme}://{name}{port}/{path.replace(chr(92), '/')}", raw, start


def _kinds(top_levels: frozenset[str]) -> tuple[_Kind, ...]:
    def is_name(value: str) -> bool:
        labels = value.lower().split(".")
        try:
            last = (
                labels[-1].encode("ascii").decode()
                if labels[-1].isascii()
                else labels[-1].encode("idna").decode()
            )
        except UnicodeError:
            return False
        return len(labels) > 1 and all(labels) and last in top_levels

    def is_email(value: str) -> bool:
        return is_name(value.rpartition("@")[2])

    number = r"(?:[0-9]{1,3})"
    # The characters before stand behind the first digit, so that the search skips to digits.
    ipv4 = rf"[0-9](?<![0-9].)(?<![0-9]\..)(?<!::.)(?<!::ffff:.)[0-9]{{0,2}}(?:{_DOT}{number}){{3}}"
    name = rf"{_LABEL}(?:{_DOT}{_LABEL}){{1,20}}"
    port = r"(?:\[:\]|:)[1-9][0-9]{0,4}"
    flags = re.IGNORECASE

    def hexadecimal(form: str, size: int) -> _Kind:
        # The character before stands behind the first digit, so that the search skips to digits.
        digits = rf"[0-9a-f](?<![0-9a-z].)[0-9a-f]{{{size - 1}}}(?![0-9a-z])"
        return _Kind(form, re.compile(digits, flags | re.DOTALL))

    return (
        _Kind(
            "inet:email",
            re.compile(rf"[\w.+\-]{{1,64}}(?:@|\[@\]|\[at\]|\(at\)){name}(?![\w@])", flags),
            is_email,
        ),
        _Kind(
            "inet:server",
            re.compile(rf"{ipv4}{port}(?!\.?[0-9])", flags | re.DOTALL),
            _is_server,
        ),
        _Kind("inet:server", re.compile(rf"\[[0-9a-f:.]{{2,45}}+\]{port}(?![0-9])", flags), _is_server),
        _Kind(
            "inet:ipv4",
            re.compile(rf"{ipv4}(?!\.?[0-9])", flags | re.DOTALL),
            _is_ipv4,
        ),
        _Kind(
            "inet:ipv6",
            re.compile(
                r"(?<![\w:])[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}(?:(?:\.[0-9]{1,3}){3})?(?![\w:])", flags
            ),
            _is_ipv6,
        ),
        _Kind("inet:fqdn", re.compile(rf"(?<![\w.]){name}{_END}", flags), is_name),
        hexadecimal("hash:md5", 32),
        hexadecimal("hash:sha1", 40),
        hexadecimal("hash:sha256", 64),
        # Text processors make other dashes of hyphens.
        _Kind(
            "it:sec:cve",
            re.compile(
                r"CVE(?<![0-9a-z]...)[\-\u2011-\u2014][0-9]{4}[\-\u2011-\u2014][0-9]{4,}+(?![0-9a-z])",
                flags | re.DOTALL,
            ),
            plain=lambda value: _DASH.sub("-", value),
        ),
        _Kind("it:sec:cwe", re.compile(r"CWE(?<!\w...)-[0-9]{1,8}(?![\w])", flags | re.DOTALL)),
        _Kind(
            "it:sec:cpe",
            re.compile(
                r"cpe:2\.3:[aho*\-](?::(?:[\w?*.\-~%]|\\(?![\-_])[!-~]){1,256}+){10}", flags | re.ASCII
            ),
        ),
    )


class Scraper:
    """Finds indicators.

    Args:
        top_levels: The last labels that domain names may have, in ASCII.
    """

    def __init__(self, top_levels: frozenset[str]) -> None:
        self._kinds = _kinds(top_levels)

    def find(self, text: str, *, refang: bool = True, forms: frozenset[str] | None = None) -> Iterator[Found]:
        """Yield what is found, kind by kind, in the order of the text; the same thing as often as it stands there.

        Paths of files and URLs come first, addresses of crypto-currencies last.

        Args:
            text: The text.
            refang: Whether to find what is defanged.
            forms: Only these forms, or all.
        """
        if forms is None or "file:path" in forms:
            for raw, start in find_paths(text):
                yield Found("file:path", raw, raw, start)
        if forms is None or "inet:url" in forms:
            for raw, start in _urls(text):
                value = _refanged(raw)
                if value == raw or refang:
                    yield Found("inet:url", value, raw, start)
            for value, raw, start in _shares(text):
                yield Found("inet:url", value, raw, start)
        for kind in self._kinds:
            if forms is not None and kind.form not in forms:
                continue
            for match in kind.pattern.finditer(text):
                raw = match[0]
                value = _refanged(raw)
                if value != raw and not refang:
                    continue
                if kind.accepts(value):
                    yield Found(kind.form, kind.plain(value), raw, match.start())
        if forms is None or "crypto:currency:address" in forms:
            for found in find_addresses(text):
                yield Found("crypto:currency:address", (found.coin, found.address), found.match, found.offset)


def _trimmed(raw: str, text: str, start: int) -> str:
    """Return a URL without what belongs to the sentence around it."""
    raw = raw.rstrip(".,")
    closer = _CLOSERS.get(text[start - 1]) if start > 0 else None
    return raw if closer is None else raw.rstrip(closer)


def _refanged(text: str) -> str:
    if _FANGED.search(text) is None:
        return text
    for pattern, plain in _FANGS:
        text = pattern.sub(plain, text)
    return text


SCRAPER: Final = Scraper(TOP_LEVELS)
