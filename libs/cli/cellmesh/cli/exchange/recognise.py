"""What a file is, by what is in it; its name only decides where the content leaves it open."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

import msgpack
from cellmesh.cli.exchange.json_stream import JsonStream
from cellmesh.cli.exchange.packed import is_packed
from cellmesh.cli.exchange.sources import HEAD_SIZE, Malformed, Source
from cellmesh.common.errors import BadArg

FIELDS_READ_MAX: Final = 200
"""Entries of a JSON document that are looked at."""

UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
WARNING_LIST_TYPES: Final = frozenset({"cidr", "hostname", "regex", "string", "substring"})


class Format(Enum):
    """Kinds of files, by the names that `--format` takes."""

    NODES = "nodes"
    STIX = "stix"
    MISP_EVENT = "misp-event"
    MISP_GALAXY = "misp-galaxy"
    MISP_WARNING_LIST = "misp-warninglist"
    CSV = "csv"
    JSONL = "jsonl"
    JSON = "json"


TITLES: Final = {
    Format.NODES: "packed nodes",
    Format.STIX: "a STIX bundle",
    Format.MISP_EVENT: "MISP events",
    Format.MISP_GALAXY: "a MISP galaxy",
    Format.MISP_WARNING_LIST: "a MISP warning list",
    Format.CSV: "CSV",
    Format.JSONL: "JSON Lines",
    Format.JSON: "a JSON list",
}


@dataclass(frozen=True, slots=True)
class Recognised:
    """What a file is.

    Attributes:
        format: Its kind.
        fields: Fields of its first object, where that is JSON of no known kind.
        is_own: Whether its objects are nodes as our own export writes them.
    """

    format: Format
    fields: tuple[str, ...] = field(default=())
    is_own: bool = False


def recognise(source: Source, given: str = "") -> Recognised:
    """Say what a file is.

    Args:
        source: The file.
        given: The kind that the user says it is; empty to find out.

    Raises:
        BadArg: it is of no kind that can be imported.
        Malformed: it cannot be read at all.
    """
    head = source.head()
    wanted = Format(given) if given else None
    if wanted in (Format.NODES, Format.STIX, Format.MISP_EVENT, Format.MISP_GALAXY, Format.MISP_WARNING_LIST):
        return Recognised(wanted)
    found = _by_content(head, source)
    if wanted is None:
        return found
    return Recognised(wanted, found.fields, found.is_own)


def _by_content(head: bytes, source: Source) -> Recognised:
    name = source.name
    if _begins_with_node(head):
        return Recognised(Format.NODES)
    if head.startswith(UTF_16):
        raise BadArg(f"{name} is UTF-16", name=name, hint="change it with: iconv -f UTF-16 -t UTF-8")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if b"\0" in head:
        raise _no_text(head, name)
    if not text:
        raise BadArg(f"{name} has nothing but spaces in it", name=name)
    if text[:1] == b"{":
        return _object(text, name)
    if text[:1] == b"[":
        return _list(head, source)
    if text[:1] == b"<":
        raise BadArg(f"{name} is HTML or XML, which is not read here", name=name)
    return Recognised(Format.CSV)


def _no_text(head: bytes, name: str) -> BadArg:
    """Say what bytes are that are no text."""
    first = head.index(b"\0")
    if first < 2 and len(set(head[first : first + 16 : 2])) == 1:
        return BadArg(
            f"{name} looks like UTF-16 without its mark",
            name=name,
            hint=f"change it with: iconv -f UTF-16{'LE' if first else 'BE'} -t UTF-8",
        )
    if first >= 2 and all(0x20 <= byte != 0x7F or byte in b"\t\r\n" for byte in head[:first]):
        return BadArg(f"{name} has a zero byte at byte {first + 1:,}, which no text has", name=name)
    return BadArg(f"{name} is neither text nor packed nodes; it begins with {head[:8].hex(' ')}", name=name)


def _begins_with_node(head: bytes) -> bool:
    unpacker = msgpack.Unpacker(raw=False, strict_map_key=False, max_buffer_size=HEAD_SIZE * 2)
    try:
        unpacker.feed(head)
        first = unpacker.unpack()
        if isinstance(first, dict):
            first = unpacker.unpack()
        return is_packed(first)
    except msgpack.exceptions.OutOfData:
        # A first node larger than the head: what begins like one is taken for one.
        return head[:2] in (b"\x92\x92", b"\xdc\x00") and head[2:3] >= b"\xa0"
    except (ValueError, TypeError, msgpack.exceptions.UnpackException, RecursionError):
        return False


def _parts(text: bytes, streamed: Any) -> Iterator[tuple[str, Any, int]]:
    """Yield the parts of the begin of a document, as far as it goes."""
    try:
        for count, part in enumerate(JsonStream(io.BytesIO(_whole_characters(text))).parts(streamed)):
            yield part
            if count >= FIELDS_READ_MAX:
                return
    except Malformed:
        return


def _whole_characters(text: bytes) -> bytes:
    """Leave out a character that is cut at the end."""
    for size in range(1, 4):
        if len(text) >= size and text[-size] >= 0xC0:
            return text[:-size]
        if len(text) < size or text[-size] < 0x80:
            break
    return text


def _object(text: bytes, name: str) -> Recognised:
    line, newline, rest = text.partition(b"\n")
    rest = rest.lstrip()
    facts: dict[str, Any] = {}
    for key, value, index in _parts(text, lambda key: key in ("objects", "response", "values", "list")):
        if index < 1:
            facts.setdefault(key, [value] if index == 0 else value)
    if rest[:1] == b"{" and line.rstrip().endswith(b"}"):
        return _line(line, name)
    first = _first(facts)
    if facts.get("type") == "bundle" or "--" in str(_get(_first_of(facts, "objects"), "id")):
        return Recognised(Format.STIX)
    if "Event" in facts or isinstance(_get(_first_of(facts, "response"), "Event"), dict):
        return Recognised(Format.MISP_EVENT)
    # Lists without items leave no trace here; the fields beside them do.
    if "matching_attributes" in facts and facts.get("type") in WARNING_LIST_TYPES:
        return Recognised(Format.MISP_WARNING_LIST)
    if {"authors", "uuid", "type"} <= facts.keys():
        return Recognised(Format.MISP_GALAXY)
    if "values" in facts and _get(_first_of(facts, "values"), "value") is not None:
        return Recognised(Format.MISP_GALAXY)
    if "list" in facts and (facts.get("type") in WARNING_LIST_TYPES or _is_texts(facts["list"])):
        return Recognised(Format.MISP_WARNING_LIST)
    if isinstance(first, dict) and "info" in first and "Orgc" in first:
        raise BadArg(
            f"{name} is the manifest of a MISP feed, which has no attributes",
            name=name,
            hint="import the event files beside it: they are named by UUIDs",
        )
    if "form" in facts and "value" in facts:
        return Recognised(Format.JSONL, tuple(facts), is_own=True)
    if isinstance(facts.get("type"), str) and "--" in str(facts.get("id")):
        raise BadArg(f"{name} is a single object of STIX, no bundle", name=name)
    if not newline or not rest:
        return Recognised(Format.JSONL, tuple(facts))
    return Recognised(Format.JSON, tuple(facts))


def _line(line: bytes, name: str) -> Recognised:
    facts = {key: value for key, value, _ in _parts(line, lambda key: False)}
    is_own = ("form" in facts and "value" in facts) or facts.get("type") in ("init", "node")
    return Recognised(Format.JSONL, tuple(facts), is_own)


def _list(head: bytes, source: Source) -> Recognised:
    name = source.name
    # The first item may be larger than the head: then it is read whole.
    stream = io.BytesIO(head) if len(head) < HEAD_SIZE else source.open()
    try:
        with stream:
            first = next((value for _, value, _ in JsonStream(stream).parts(lambda key: False)), None)
    except Malformed as error:
        raise BadArg(f"{name} cannot be read as JSON: {error}", name=name) from None
    if not isinstance(first, dict):
        if first is None:
            raise BadArg(f"{name} is a list with nothing in it", name=name)
        raise BadArg(f"{name} is a list of something else than objects", name=name)
    if isinstance(first.get("Event"), dict):
        return Recognised(Format.MISP_EVENT)
    if isinstance(first.get("type"), str) and "--" in str(first.get("id")):
        return Recognised(Format.STIX)
    return Recognised(Format.JSON, tuple(first), "form" in first and "value" in first)


def _first_of(facts: dict[str, Any], name: str) -> Any:
    found = facts.get(name)
    return found[0] if isinstance(found, list) and found else None


def _first(facts: dict[str, Any]) -> Any:
    return next(iter(facts.values()), None)


def _get(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], str)
