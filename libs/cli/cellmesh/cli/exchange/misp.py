"""MISP events and warning lists -> records."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from cellmesh.cli.exchange.json_stream import JsonStream
from cellmesh.cli.exchange.misp_values import Found, guess, host, network, nodes_of
from cellmesh.cli.exchange.records import Record, Unusable, add_edge, excerpt_of, make_node, tag_segment
from cellmesh.cli.exchange.sources import Malformed
from cellmesh.common.hashing import guid

REPORT: Final = "media:news"
"""What an event is: somebody's report about something."""

_TAG_PARTS: Final = re.compile(r'[:=]"?|"')


def event_records(stream: BinaryIO) -> Iterator[Record]:
    """Yield the records of a file of events: one, a list of them, or what an instance answers to a search.

    Raises:
        Malformed: it is no JSON, or ends early.
    """
    number = 0
    for key, item, _ in JsonStream(stream).parts(lambda key: key == "response"):
        if key not in ("", "response", "Event"):
            continue
        body = item.get("Event", item) if isinstance(item, dict) and key != "Event" else item
        place = f"event {number:,}"
        number += 1
        if not isinstance(body, dict):
            yield Record(place, problems=["no event"], what=excerpt_of(item))
            continue
        yield from _event(body, place)


def _event(body: dict[str, Any], place: str) -> Iterator[Record]:
    uuid = str(body.get("uuid") or "")
    place = f"{place} ({uuid})" if uuid else place
    digits = uuid.replace("-", "").lower()
    if not re.fullmatch(r"[0-9a-f]{32}", digits):
        yield Record(place, problems=["an event has a uuid"], what=excerpt_of(body))
        return
    maker = body.get("Orgc")
    props = {
        "title": body.get("info"),
        "published": body.get("date"),
        "publisher:name": maker.get("name") if isinstance(maker, dict) else None,
        "type": "misp.event",
        "ext:id": uuid,
    }
    record = Record(place)
    try:
        record.nodes.append(make_node(REPORT, digits, props, _tags(body)))
    except Unusable as problem:
        record.problems.append(str(problem))
    yield record
    for index, one in enumerate(_list(body, "Attribute")):
        yield _attribute(digits, one, f"{place} Attribute[{index:,}]")
    for number, thing in enumerate(_list(body, "Object")):
        if isinstance(thing, dict):
            for index, one in enumerate(_list(thing, "Attribute")):
                yield _attribute(digits, one, f"{place} Object[{number:,}].Attribute[{index:,}]")


def _attribute(event: str, body: Any, place: str) -> Record:
    record = Record(place)
    try:
        if not isinstance(body, dict) or not isinstance(body.get("type"), str):
            raise Unusable("no attribute: it has no type")
        tags = [*_tags(body), *(["misp.ids"] if body.get("to_ids") is True else [])]
        for form, value, props in nodes_of(body["type"], str(body.get("value") or "")):
            node = make_node(form, value, props, tags)
            add_edge(node, "refs", REPORT, event, is_reverse=True)
            record.nodes.append(node)
    except Unusable as problem:
        record.problems.append(str(problem))
        record.what = excerpt_of(body)
    return record


def _tags(body: dict[str, Any]) -> list[str]:
    """Tags of an event or attribute: `tlp:amber` is misp.tlp.amber."""
    found = []
    for tag in _list(body, "Tag"):
        name = tag.get("name") if isinstance(tag, dict) else None
        if isinstance(name, str) and name.strip():
            parts = [part for part in _TAG_PARTS.split(name) if part.strip()]
            found.append(".".join(("misp", *map(tag_segment, parts))))
    return list(dict.fromkeys(found))


def _list(body: dict[str, Any], name: str) -> list[Any]:
    found = body.get(name)
    return found if isinstance(found, list) else []


def warning_list_records(head: BinaryIO, stream: BinaryIO) -> Iterator[Record]:
    """Yield the records of a warning list: its source, then a node for each entry.

    Args:
        head: The file, of which all but the entries is read first: what they are may stand behind them.
        stream: The file once more.

    Raises:
        Malformed: it is no JSON, or ends early.
    """
    facts: dict[str, Any] = {}
    for key, value, index in JsonStream(head).parts(lambda key: key == "list"):
        if index < 0:
            facts[key] = value
    name, kind = facts.get("name"), facts.get("type")
    if not isinstance(name, str) or not isinstance(kind, str):
        raise Malformed("", "a warning list has a name and a type")
    kinds = frozenset(text for text in _list(facts, "matching_attributes") if isinstance(text, str))
    source = guid(("meta:source", f"MISP warning list: {name}"))
    tags = [f"misp.warninglist.{tag_segment(name)}"]
    props = {"name": f"MISP warning list: {name}", "type": "misp.warninglist"}
    yield Record("the list", [make_node("meta:source", source, props)])
    for key, entry, index in JsonStream(stream).parts(lambda key: key == "list"):
        if key != "list" or index < 0:
            continue
        record = Record(f"list[{index:,}]")
        try:
            form, value, more = _entry(entry, kind, kinds)
            node = make_node(form, value, more, tags)
            add_edge(node, "seen", "meta:source", source, is_reverse=True)
            record.nodes.append(node)
        except Unusable as problem:
            record.problems.append(str(problem))
            record.what = excerpt_of(entry)
        yield record


def _entry(entry: Any, kind: str, kinds: frozenset[str]) -> Found:
    if not isinstance(entry, str) or not entry.strip():
        raise Unusable("no text")
    if kind == "cidr":
        return network(entry)
    if kind == "hostname":
        return host(entry)
    if kind == "regex":
        raise Unusable("a pattern stands for no node")
    return guess(entry, kinds)
