"""`.nodes`: packed nodes in msgpack, as Cortexes of the peer and `$lib.export.toaxon` write them.

Each is `((form, value), facts)`; of the facts, `props`, `tags`, `tagprops`, `nodedata` and `edges` are used. Edges name
the node at their other end by its iden (64 hexadecimal digits), or by form and value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, Final

import msgpack
from cellmesh.cli.exchange.links import Links
from cellmesh.cli.exchange.records import Record, Unusable, add_edge, excerpt_of, make_node, set_value
from cellmesh.cli.exchange.sources import CHUNK_SIZE, Malformed

ITEM_SIZE_MAX: Final = 64 * 1024 * 1024
"""Bytes of one packed node."""


def unpacked(stream: BinaryIO) -> Iterator[tuple[int, Any]]:
    """Yield values with the byte at which each begins.

    Raises:
        Malformed: it is no msgpack, ends within a value, or has one beyond the bounds.
    """
    unpacker = msgpack.Unpacker(
        raw=False,
        strict_map_key=False,
        use_list=True,
        max_buffer_size=ITEM_SIZE_MAX,
        unicode_errors="surrogatepass",
    )
    fed = 0
    begin = 0
    while data := stream.read(CHUNK_SIZE):
        try:
            unpacker.feed(data)
        except msgpack.exceptions.BufferFull:
            raise Malformed(f"byte {begin:,}", f"one node has more than {ITEM_SIZE_MAX:,} bytes") from None
        fed += len(data)
        while True:
            try:
                value = unpacker.unpack()
            except msgpack.exceptions.OutOfData:
                break
            except (ValueError, TypeError, msgpack.exceptions.UnpackException, RecursionError) as error:
                reason = str(error) or type(error).__name__
                raise Malformed(f"byte {begin:,}", f"no msgpack: {reason}") from None
            yield begin, value
            begin = unpacker.tell()
    if begin != fed:
        raise Malformed(f"byte {begin:,}", "the file ends within a node")


def packed_records(stream: BinaryIO, links: Links) -> Iterator[Record]:
    """Yield the records of a file, then its edges.

    Raises:
        Malformed: as `unpacked`.
    """
    number = 0
    for at, item in unpacked(stream):
        if number == 0 and isinstance(item, Mapping):
            # Some writers begin with what they tell about themselves.
            continue
        number += 1
        place = f"node {number:,} at byte {at:,}"
        try:
            yield Record(place, [_node(item, links, place)])
        except Unusable as problem:
            yield Record(place, problems=[str(problem)], what=excerpt_of(item))
    yield from links.records()


def is_packed(item: Any) -> bool:
    """Whether a value looks like a packed node."""
    return (
        isinstance(item, list)
        and len(item) == 2
        and isinstance(item[0], list)
        and len(item[0]) == 2
        and isinstance(item[0][0], str)
        and isinstance(item[1], Mapping)
    )


def _node(item: Any, links: Links, place: str) -> Any:
    if not is_packed(item):
        raise Unusable("no packed node: a pair of form and value, and a dictionary")
    (form, value), facts = item
    props = {name: given for name, given in _facts(facts, "props").items() if name != ".created"}
    made = make_node(form, value)
    for name, given in props.items():
        set_value(made.props[str(name)], given, str(name))
    for tag, interval in _facts(facts, "tags").items():
        is_open = interval is None or all(part is None for part in interval)
        set_value(made.tags[tag], None if is_open else interval, f"#{tag}")
    for tag, given in _facts(facts, "tagprops").items():
        for name, one in dict(given).items():
            set_value(made.tag_props[tag].props[name], one, f"#{tag}:{name}")
    for name, given in _facts(facts, "nodedata").items():
        set_value(made.node_data[name], given, name)
    iden = facts.get("iden")
    if isinstance(iden, str):
        links.name(iden, form, value)
    for edge in facts.get("edges") or ():
        if not isinstance(edge, list) or len(edge) != 2 or not isinstance(edge[0], str):
            raise Unusable("an edge is a verb and a node")
        verb, target = edge
        if isinstance(target, str) and isinstance(iden, str):
            links.link(iden, verb, target, place)
        elif isinstance(target, list) and len(target) == 2 and isinstance(target[0], str):
            add_edge(made, verb, target[0], target[1])
        else:
            raise Unusable("an edge's node is an iden, or form and value")
    return made


def _facts(facts: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = facts.get(name) or {}
    if not isinstance(found, Mapping):
        raise Unusable(f"{name} is no dictionary")
    return found
