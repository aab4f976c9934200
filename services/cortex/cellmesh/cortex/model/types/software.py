"""Versions and product names: it:semver, it:sec:cpe, and CVSS vectors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote, unquote

from cellmesh.cortex.model.types.base import Normed
from cellmesh.cortex.model.types.numbers import IntType
from cellmesh.cortex.model.types.strings import TextType

PART_BITS = 20
PART_MASK = (1 << PART_BITS) - 1
SEMVER_MAX = (1 << 3 * PART_BITS) - 1

_PRE = r"(?:0|[1-9]\d*|\d*[a-z-][0-9a-z-]*)"  # a number without leading zeros, or what has a letter
_SEMVER = re.compile(
    r"v?(?P<major>\d+)\.(?P<minor>\d+)\.(?P<patch>\d+)"
    rf"(?:-(?P<pre>{_PRE}(?:\.{_PRE})*))?(?:\+(?P<build>[0-9a-z-]+(?:\.[0-9a-z-]+)*))?",
    re.IGNORECASE,
)


class SemVerType(IntType):
    """A version, packed into an integer: 20 bits each for major, minor and patch.

    Sub-values: `major`, `minor`, `patch`, and `pre` and `build` if there are any.
    """

    def compile(self) -> None:
        super().compile()
        self.lowest, self.highest = 0, SEMVER_MAX

    def normalize(self, value: object) -> Normed:
        if isinstance(value, str):
            return self.of_text(value)
        number = self.to_number(value)
        if not 0 <= number <= SEMVER_MAX:
            raise self.bad(f"must be from 0 to {SEMVER_MAX}", value)
        major, minor, patch = unpack_semver(number)
        return Normed(number, (("major", major), ("minor", minor), ("patch", patch)))

    def of_text(self, value: str) -> Normed:
        """Read a version written by the rules of semver.org, or else its leading numbers."""
        text = value.strip()
        match = _SEMVER.fullmatch(text)
        if match is not None:
            major, minor, patch = (int(match[name]) for name in ("major", "minor", "patch"))
            rest = tuple((name, match[name]) for name in ("pre", "build") if match[name])
        else:
            major, minor, patch = self.leading_numbers(text, value)
            rest = ()
        subs = (("major", major), ("minor", minor), ("patch", patch), *rest)
        return Normed(pack_semver(major, minor, patch), subs)

    def leading_numbers(self, text: str, value: object) -> tuple[int, int, int]:
        """Return up to three numbers a version starts with; those it lacks are 0."""
        numbers: list[int] = []
        bare = re.sub(r"^[a-z]+", "", text, flags=re.IGNORECASE)
        for part in [part for part in re.split(r"[.\-_+]", bare) if part][:3]:
            if not part.isdecimal():
                break
            numbers.append(int(part))
        if not numbers:
            raise self.bad("no version", value)
        numbers += [0] * (3 - len(numbers))
        return numbers[0], numbers[1], numbers[2]

    def repr(self, value: Any) -> Any:
        return ".".join(str(part) for part in unpack_semver(value))


def pack_semver(major: int, minor: int, patch: int) -> int:
    """Pack three numbers; what is above 20 bits is lost."""
    return (major & PART_MASK) << 2 * PART_BITS | (minor & PART_MASK) << PART_BITS | (patch & PART_MASK)


def unpack_semver(number: int) -> tuple[int, int, int]:
    """Undo `pack_semver`."""
    return number >> 2 * PART_BITS & PART_MASK, number >> PART_BITS & PART_MASK, number & PART_MASK


CPE_PARTS = (
    "part",
    "vendor",
    "product",
    "version",
    "update",
    "edition",
    "language",
    "sw_edition",
    "target_sw",
    "target_hw",
    "other",
)
CPE23_PREFIX = "cpe:2.3:"
CPE22_PREFIX = "cpe:/"
CPE22_PART_COUNT = 7
_UNBOUND22 = ("part", "language")  # what a 2.2 name cannot say to be without meaning

# The grammar of NISTIR 7695, figures 6-3 (2.3) and 6-1 (2.2), after lowering.
_CPE23_PART = r"(?:(?:\?*|\*?)(?:[a-z0-9\-._]|\\[\\*?!\"#$%&'()+,/:;<=>@\[\]^`{|}~])+(?:\?*|\*?)|[*\-])"
_CPE_LANGUAGE = r"(?:[a-z]{2,3}(?:-(?:[a-z]{2}|[0-9]{3}))?)"
_CPE23 = re.compile(
    rf"cpe:2\.3:[aho*\-](?::{_CPE23_PART}){{5}}:(?:{_CPE_LANGUAGE}|[*\-])(?::{_CPE23_PART}){{4}}"
)
_CPE22_PLAIN = r"(?:[a-z0-9._\-~]|%2[1-9abcf]|%3[abcdef]|%40|%5[bcde]|%60|%7[bcde])"
_CPE22_WILD = r"(?:(?:%01)+|%02)"
_CPE22_PART = rf"(?:{_CPE22_WILD}?{_CPE22_PLAIN}+{_CPE22_WILD}?)?"
_CPE22 = re.compile(rf"cpe:/[aho]?(?::{_CPE22_PART}){{0,5}}(?::{_CPE_LANGUAGE}?)?")
_CPE_PLAIN = re.compile(r"[a-z0-9_.\-]")


class CpeType(TextType):
    """What names of software share: they are in lower case."""

    def normalize_prefix(self, value: object) -> str:
        return super().normalize_prefix(value).lower()


class Cpe23Type(CpeType):
    """A product name by CPE 2.3; 2.2 names are turned into it. Sub-values: its parts, and `v2_2`."""

    def normalize(self, value: object) -> Normed:
        text = self.to_text(value).lower()
        if text.startswith(CPE23_PREFIX):
            if not _CPE23.fullmatch(text):
                raise self.bad("not a CPE 2.3 name", value)
            raw = _split_escaped(text.removeprefix(CPE23_PREFIX))
            v2_2 = cpe22_of(raw)
        elif text.startswith(CPE22_PREFIX):
            if not _CPE22.fullmatch(text):
                raise self.bad("not a CPE 2.2 name", value)
            raw = cpe23_parts_of(text)
            v2_2 = text
        else:
            raise self.bad(f"starts with neither {CPE23_PREFIX} nor {CPE22_PREFIX}", value)
        subs = [(name, _unescape(part)) for name, part in zip(CPE_PARTS, raw, strict=True)]
        return Normed(CPE23_PREFIX + ":".join(raw), (*subs, ("v2_2", v2_2)))


class Cpe22Type(CpeType):
    """A product name by CPE 2.2.

    Also made of a list of parts, and of a 2.3 name that says the same in 2.2 word for word: nothing escaped,
    and no part of it left open but at the end.
    """

    def normalize(self, value: object) -> Normed:
        if isinstance(value, (list, tuple)):
            return self.of_parts([self.to_text(part) for part in value], value)
        text = self.to_text(value).lower()
        if text.startswith(CPE23_PREFIX) and _CPE23.fullmatch(text):
            return self.of_parts(text.removeprefix(CPE23_PREFIX).split(":"), value, len(CPE_PARTS))
        if not text.startswith(CPE22_PREFIX):
            raise self.bad(f"does not start with {CPE22_PREFIX}", value)
        if not _CPE22.fullmatch(text):
            raise self.bad("not a CPE 2.2 name", value)
        return Normed(text)

    def of_parts(self, parts: list[str], value: object, count_max: int = CPE22_PART_COUNT) -> Normed:
        """Make a name of its parts; those left open at the end are dropped."""
        parts = parts[:count_max]
        while parts and parts[-1] in ("", "*"):
            parts.pop()
        text = (CPE22_PREFIX + ":".join(parts)).lower()
        if not _CPE22.fullmatch(text):
            raise self.bad("not a CPE 2.2 name", value)
        return Normed(text)


def cpe23_parts_of(text: str) -> list[str]:
    """Return the eleven parts that a CPE 2.2 name stands for, escaped as 2.3 wants them."""
    given = text.removeprefix(CPE22_PREFIX).split(":")
    given += [""] * (7 - len(given))
    part, vendor, product, version, update, edition, language = given[:7]
    extended = edition.split("~")
    edition, more = edition, ["", "", "", ""]
    if len(extended) == 6:
        edition, more = extended[1], extended[2:]
    parts = [part, vendor, product, version, update, edition, language, *more]
    return [_escape_unquoted(item) if item else "*" for item in parts]


def _escape_unquoted(text: str) -> str:
    """Turn a part of a 2.2 name into one of 2.3; its two wildcards stay as they are written."""
    return "".join(
        f"\\{piece}" if piece in ("%01", "%02") else _escape(unquote(piece))
        for piece in re.split(r"(%0[12])", text)
    )


def _quote22(text: str) -> str:
    return quote(text, safe="").replace("~", "%7E").lower()


def cpe22_of(parts: list[str]) -> str:
    """Return the CPE 2.2 name of the eleven parts of a 2.3 name."""
    plain = [
        "" if item == "*" or (item == "-" and name in _UNBOUND22) else _quote22(_unescape(item))
        for name, item in zip(CPE_PARTS, parts, strict=True)
    ]
    edition = plain[5]
    if any(plain[7:]):
        edition = "~" + "~".join((plain[5], *plain[7:]))
    listed = [*plain[:5], edition, plain[6]]
    while listed and not listed[-1]:
        listed.pop()
    return CPE22_PREFIX + ":".join(listed)


def _split_escaped(text: str) -> list[str]:
    """Split at colons that no backslash escapes."""
    return re.split(r"(?<!\\):", text)


def _escape(text: str) -> str:
    return "".join(char if _CPE_PLAIN.match(char) else f"\\{char}" for char in text)


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


class CvssType(TextType):
    """A CVSS vector: `name:value` pairs joined by slashes, each name once, in the order of the standard."""

    metrics: ClassVar[Mapping[str, str]]
    required: ClassVar[tuple[str, ...]]

    def normalize(self, value: object) -> Normed:
        text = self.to_text(value).strip()
        text = re.sub(r"^CVSS:\d\.\d/", "", text).strip("()/")
        found: dict[str, str] = {}
        for pair in text.split("/"):
            name, colon, choice = pair.partition(":")
            allowed = self.metrics.get(name)
            if not colon or allowed is None or choice not in allowed.split(","):
                raise self.bad(f"{pair} is no metric of this standard", value)
            if name in found:
                raise self.bad(f"{name} stands twice", value)
            found[name] = choice
        missing = [name for name in self.required if name not in found]
        if missing:
            raise self.bad(f"lacks {', '.join(missing)}", value)
        return Normed("/".join(f"{name}:{found[name]}" for name in self.metrics if name in found))


class Cvss2Type(CvssType):
    """A vector of CVSS 2."""

    required: ClassVar[tuple[str, ...]] = ("AV", "AC", "Au", "C", "I", "A")
    metrics: ClassVar[Mapping[str, str]] = {
        "AV": "L,A,N",
        "AC": "H,M,L",
        "Au": "M,S,N",
        "C": "N,P,C",
        "I": "N,P,C",
        "A": "N,P,C",
        "E": "U,POC,F,H,ND",
        "RL": "OF,TF,W,U,ND",
        "RC": "UC,UR,C,ND",
        "CDP": "N,L,LM,MH,H,ND",
        "TD": "N,L,M,H,ND",
        "CR": "L,M,H,ND",
        "IR": "L,M,H,ND",
        "AR": "L,M,H,ND",
    }


class Cvss3Type(CvssType):
    """A vector of CVSS 3.0 or 3.1."""

    required: ClassVar[tuple[str, ...]] = ("AV", "AC", "PR", "UI", "S", "C", "I", "A")
    metrics: ClassVar[Mapping[str, str]] = {
        "AV": "N,A,L,P",
        "AC": "L,H",
        "PR": "N,L,H",
        "UI": "N,R",
        "S": "U,C",
        "C": "N,L,H",
        "I": "N,L,H",
        "A": "N,L,H",
        "E": "X,U,P,F,H",
        "RL": "X,O,T,W,U",
        "RC": "X,U,R,C",
        "CR": "X,L,M,H",
        "IR": "X,L,M,H",
        "AR": "X,L,M,H",
        "MAV": "X,N,A,L,P",
        "MAC": "X,L,H",
        "MPR": "X,N,L,H",
        "MUI": "X,N,R",
        "MS": "X,U,C",
        "MC": "X,N,L,H",
        "MI": "X,N,L,H",
        "MA": "X,N,L,H",
    }
