"""Finds indicators in text: addresses, names, hashes and numbers that a graph may know.

Each kind has one pattern without nested repetition, so that a text is gone through in linear time. Texts often have
such things defanged (`hxxp://evil[.]com`); the patterns take the common ways, and `_refang` undoes them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from cellmesh.cortex.storm.top_levels import TOP_LEVELS

_DOT: Final = r"(?:\.|\[\.\]|\[\.|\.\]|\(\.\)|\[dot\]|\(dot\)|[\u3002\uff0e\uff61])"
_LABEL: Final = r"[\w\-]{1,64}"
_END: Final = r"(?![\w@])"

_FANGS: Final = (
    (re.compile(r"\[\.\]|\[\.|\.\]|\(\.\)|\[dot\]|\(dot\)|[\u3002\uff0e\uff61]", re.IGNORECASE), "."),
    (re.compile(r"\[:\]"), ":"),
    (re.compile(r"\[@\]|\[at\]|\(at\)", re.IGNORECASE), "@"),
    (re.compile(r"^(?:hxxp|meow)(?=s?:)", re.IGNORECASE), "http"),
    (re.compile(r"^fxp(?=s?:)", re.IGNORECASE), "ftp"),
    (re.compile(r"^(https?|ftp):\\\\", re.IGNORECASE), r"\1://"),
)
_FANGED: Final = re.compile(r"[\[\]()\\\u3002\uff0e\uff61]|^(?:hxxp|meow|fxp)", re.IGNORECASE)
"""What is in every text that one of `_FANGS` changes: most texts have none of it."""


@dataclass(frozen=True, slots=True)
class Found:
    """Something found.

    Attributes:
        form: What it is.
        value: Its text, fangs put back.
        match: The text as it stands.
        offset: Where it stands, in characters.
    """

    form: str
    value: str
    match: str
    offset: int


@dataclass(frozen=True, slots=True)
class _Kind:
    form: str
    pattern: re.Pattern[str]
    accepts: Callable[[str], bool] = lambda value: True


def _is_ipv4(value: str) -> bool:
    return all(int(part) < 256 for part in value.split("."))


def _is_ipv6(value: str) -> bool:
    try:
        ipaddress.IPv6Address(value)
    except ValueError:
        return False
    return True


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
    ipv4 = rf"{number}(?:{_DOT}{number}){{3}}"
    name = rf"{_LABEL}(?:{_DOT}{_LABEL}){{1,20}}"
    flags = re.IGNORECASE

    def hexadecimal(form: str, size: int) -> _Kind:
        return _Kind(form, re.compile(rf"(?<![0-9a-z])[0-9a-f]{{{size}}}(?![0-9a-z])", flags))

    return (
        _Kind(
            "inet:url",
            re.compile(
                r"(?<![a-z])(?:hxxps?|https?|ftps?|fxps?|tcp|udp)(?:\[:\]|:)(?://|\\\\)[^\s'\"<>]+", flags
            ),
        ),
        _Kind(
            "inet:email",
            re.compile(rf"[\w.+\-]{{1,64}}(?:@|\[@\]|\[at\]|\(at\)){name}(?![\w@])", flags),
            is_email,
        ),
        _Kind("inet:ipv4", re.compile(rf"(?<![\w.]){ipv4}(?!\.?[\w])", flags), _is_ipv4),
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
        _Kind("it:sec:cve", re.compile(r"(?<![\w])CVE-[0-9]{4}-[0-9]{4,}(?![\w])", flags)),
        _Kind("it:sec:cwe", re.compile(r"(?<![\w])CWE-[0-9]{1,8}(?![\w])", flags)),
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

        Args:
            text: The text.
            refang: Whether to find what is defanged.
            forms: Only these forms, or all.
        """
        for kind in self._kinds:
            if forms is not None and kind.form not in forms:
                continue
            for match in kind.pattern.finditer(text):
                raw = match[0]
                if kind.form == "inet:url":
                    raw = _trimmed(raw, text, match.start())
                value = _refanged(raw)
                if value != raw and not refang:
                    continue
                if kind.accepts(value):
                    yield Found(kind.form, value, raw, match.start())


def _trimmed(raw: str, text: str, start: int) -> str:
    """Return a URL without what belongs to the sentence around it."""
    raw = raw.rstrip(".,;:!?")
    if raw.endswith(")") and start > 0 and text[start - 1] == "(":
        raw = raw[:-1].rstrip(".,;:!?")
    return raw


def _refanged(text: str) -> str:
    if _FANGED.search(text) is None:
        return text
    for pattern, plain in _FANGS:
        text = pattern.sub(plain, text)
    return text


SCRAPER: Final = Scraper(TOP_LEVELS)
