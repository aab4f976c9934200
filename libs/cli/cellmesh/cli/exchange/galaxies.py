"""MISP galaxy clusters -> records, by the mapping of `cellmesh demo`.

All files of galaxies of one import are taken together: clusters refer to those of other files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from cellmesh.api.cortex.v1 import feed_pb2
from cellmesh.cli.demo import misp
from cellmesh.cli.demo.index import Index
from cellmesh.cli.demo.items import Edge, Item
from cellmesh.cli.demo.items import Unusable as Unidentified
from cellmesh.cli.demo.merge import Merge
from cellmesh.cli.demo.records import RawRecord
from cellmesh.cli.exchange.json_stream import JsonStream
from cellmesh.cli.exchange.records import Record, Unusable, add_edge, excerpt_of, make_node
from cellmesh.cli.exchange.sources import Malformed, Source
from cellmesh.common.hashing import guid

SIZE_MAX: Final = 512 * 1024 * 1024
"""Bytes of all files of galaxies together: their records are kept in memory while they are imported."""


class Galaxies:
    """The clusters of some files.

    Args:
        sources: The files.

    Raises:
        Malformed: one is no galaxy, or they are too large together. Nothing has been imported then.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        if sum(source.size for source in sources) > SIZE_MAX:
            raise Malformed("", f"galaxies of more than {SIZE_MAX:,} bytes are to be imported in parts")
        self._records: dict[str, list[RawRecord]] = {}
        self._faults: dict[str, list[Record]] = {}
        for source in sources:
            self._read(source)
        everything = [record for records in self._records.values() for record in records]
        self._index = Index.over(everything)
        unusable = {(reject.file, reject.record): reject.reason for reject in self._index.rejects}
        self._unusable = unusable
        usable = [record for record in everything if (record.file, misp.name_of(record)) not in unusable]
        self._merge = Merge(usable, lambda record: misp.describe(record, self._index))

    def _read(self, source: Source) -> None:
        facts: dict[str, Any] = {}
        bodies: list[dict[str, Any]] = []
        faults = self._faults[source.name] = []
        with source.open() as stream:
            try:
                for key, value, index in JsonStream(stream).parts(lambda key: key == "values"):
                    if index < 0:
                        facts[key] = value
                    elif fault := _fault_of(value):
                        faults.append(Record(f"values[{index:,}]", problems=[fault], what=excerpt_of(value)))
                    else:
                        bodies.append(value)
            except Malformed as error:
                raise Malformed(f"{source.name}: {error.place}", error.reason) from None
        kind = str(facts.get("type") or "unknown")
        name = f"MISP galaxy: {facts.get('name') or kind}"
        self._records[source.name] = [RawRecord(source.name, "misp", kind, name, body) for body in bodies]

    def records(self, source: Source) -> Iterator[Record]:
        """Yield the records of one of the files."""
        yield from self._faults[source.name]
        for number, raw in enumerate(self._records[source.name]):
            record = Record(f"values[{number:,}] {misp.name_of(raw)}")
            reason = self._unusable.get((raw.file, misp.name_of(raw)))
            if reason is not None:
                record.problems.append(reason)
            else:
                self._fill(record, raw)
            if record.problems:
                record.what = str(raw.body.get("value"))
            yield record

    def _fill(self, record: Record, raw: RawRecord) -> None:
        source = ("meta:source", guid(("meta:source", raw.source)))
        try:
            items = self._merge.items(raw)
            edges, rejects = misp.relate(raw, self._index)
            edges.append(Edge("seen", source, reverse=True))
            edges += [Edge("refs", ("inet:url", url)) for url in misp.references(raw)]
            for position, item in enumerate(items):
                record.nodes.append(_node(item, edges if position == 0 else ()))
            record.nodes.append(
                make_node("meta:source", source[1], {"name": raw.source, "type": "misp.galaxy"})
            )
            record.problems += [f"{reject.what}: {reject.reason}" for reject in rejects]
        except (Unusable, Unidentified) as problem:
            record.problems.append(str(problem))


def _fault_of(body: Any) -> str:
    """What of a cluster is of another kind than clusters have there; empty if nothing is."""
    if not isinstance(body, dict):
        return "no object"
    for name, kind in (
        ("value", str),
        ("uuid", str),
        ("description", str),
        ("meta", dict),
        ("related", list),
    ):
        if body.get(name) is not None and not isinstance(body[name], kind):
            return f"{name} is no {_KIND_NAMES[kind]}"
    if not all(isinstance(one, dict) for one in body.get("related") or ()):
        return "related is no list of objects"
    return ""


_KIND_NAMES: Final[dict[type, str]] = {str: "text", dict: "object", list: "list"}


def _node(item: Item, more: Sequence[Edge]) -> feed_pb2.FeedNode:
    made = make_node(item.form, item.value, item.props, item.tags)
    for edge in (*item.edges, *more):
        form, value = edge.to
        add_edge(made, edge.verb, form, value, is_reverse=edge.reverse)
    return made
