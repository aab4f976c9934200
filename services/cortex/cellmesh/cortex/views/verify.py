"""Comparing a layer's records with what follows from them, and putting right what does not agree.

Records are taken as true; index entries, counts, the two other forms of an edge, and where the sequence of nids goes on
follow from them. What is compared is one state of the storage. Repairs are of one instance's storage and not in the change log: its mirrors have their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import CellError
from cellmesh.common.storage import ReadTxn, SubDb, WriteTxn
from cellmesh.common.storage.walking import walk
from cellmesh.cortex.layers import keys
from cellmesh.cortex.layers.nids import NEXT_KEY
from cellmesh.cortex.layers.records import Record, node_buid, node_form, node_value, parse_record
from cellmesh.cortex.layers.schema import (
    BY_ARRAY,
    BY_PROP,
    BY_TAG,
    BY_TAG_PROP,
    BY_VERB,
    COUNTS,
    EDGE_MASKS,
    EDGES_IN,
    EDGES_OUT,
    NAMES,
    NAMES_BY_NUMBER,
    NIDS,
    NODE_DATA,
    NODES,
    SEQUENCES,
)
from cellmesh.cortex.values.ids import NID_SEQUENCE_MAX, NID_SIZE, buid_of, make_nid, sequence_of
from cellmesh.cortex.values.wire import decode_interval, decode_value
from google.protobuf.message import DecodeError

if TYPE_CHECKING:
    from cellmesh.cortex.layers.layer import Layer
    from cellmesh.cortex.views.graph import Graph

SCAN_COUNT: Final = 1000
REPAIR_COUNT: Final = 1000

_MISSING_KINDS: Final = {
    BY_PROP.name: "NoPropIndex",
    BY_ARRAY.name: "NoArrayIndex",
    BY_TAG.name: "NoTagIndex",
    BY_TAG_PROP.name: "NoTagPropIndex",
    EDGES_IN.name: "NoEdgeInIndex",
    BY_VERB.name: "NoEdgeVerbIndex",
    NIDS.name: "NoNid",
}
_EXTRA_KINDS: Final = {
    BY_PROP.name: "NoNodeForPropIndex",
    BY_ARRAY.name: "NoNodeForArrayIndex",
    BY_TAG.name: "NoNodeForTagIndex",
    BY_TAG_PROP.name: "NoNodeForTagPropIndex",
    EDGES_IN.name: "NoEdgeForInIndex",
    BY_VERB.name: "NoEdgeForVerbIndex",
}

_UNREADABLE: Final = (CellError, ValueError, LookupError, TypeError, AssertionError, DecodeError)

Entry = tuple[SubDb, bytes, bytes]
"""A row that follows from a record: database, key, value."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that does not agree.

    Attributes:
        kind: What: "NoPropIndex", "NoNodeForTagIndex", "BadCount", "BadRecord", "BadNidSequence" and others.
        db: The database whose row is wrong.
        key: The row's key.
        value: The row's value, as it should be, or for a row too many as it is.
        is_extra: Whether the row is one too many.
    """

    kind: str
    db: SubDb
    key: bytes
    value: bytes
    is_extra: bool = False

    def fields(self) -> dict[str, Any]:
        """Return what is told of it."""
        return {"database": self.db.name, "key": self.key.hex(), "value": self.value.hex()}


def check_layer(graph: Graph, layer: Layer, tick: Callable[[], None]) -> Iterator[Fault]:
    """Yield what does not agree in a layer, in one state of the storage.

    Args:
        tick: Called now and then; ends the work by raising.
    """
    with graph.slab.view() as txn:
        yield from _Check(graph, txn, layer.key, tick).run()


def repair_layer(graph: Graph, layer: Layer, tick: Callable[[], None]) -> int:
    """Put right what does not agree in a layer; returns how many rows. Edits may go on meanwhile.

    A record or data that do not read cannot be put right, and stay: `check_layer` tells of them again. Index rows of such a
    record stay as well: they may be all that is left of it.
    """
    faults = [fault for fault in check_layer(graph, layer, tick) if fault.db not in (NODES, NODE_DATA)]
    names = [fault for fault in faults if fault.db in (NAMES, NAMES_BY_NUMBER)]
    if names:
        # What rows mean is known only with the names of their numbers.
        count = graph.slab.write(partial(_repair_names, faults=names))
        return count + repair_layer(graph, layer, tick)
    count = 0
    for start in range(0, len(faults), REPAIR_COUNT):
        tick()
        batch = faults[start : start + REPAIR_COUNT]
        count += graph.slab.write(partial(_repair, graph, layer=layer.key, faults=batch))
    return count


def _repair_names(txn: WriteTxn, *, faults: list[Fault]) -> int:
    for fault in faults:
        txn.put(fault.db, fault.key, fault.value)
    return len(faults)


def _repair(graph: Graph, txn: WriteTxn, *, layer: bytes, faults: list[Fault]) -> int:
    """Put rows right, if they are still wrong."""
    check = _Check(graph, txn, layer, lambda: None)
    count = 0
    for fault in faults:
        if fault.db is SEQUENCES:
            # In memory as well. It only goes forward: meanwhile it may have.
            graph.nids.advance(txn, make_nid(1, keys.unpack_nid(fault.value) - 1))
        elif fault.db is COUNTS:
            now = check.count(fault.key)
            if now:
                txn.put(COUNTS, fault.key, keys.pack_count(now))
            else:
                txn.delete(COUNTS, fault.key)
        elif check.follows(fault.db, fault.key, fault.value):
            txn.put(fault.db, fault.key, fault.value)
        elif fault.is_extra:
            txn.delete(fault.db, fault.key, fault.value)
        else:
            continue
        count += 1
    return count


def _greatest(nids: Iterable[bytes]) -> int:
    """Return the greatest sequence of some nids; what is no nid does not count."""
    found = (sequence_of(keys.unpack_nid(nid)) for nid in nids if len(nid) == NID_SIZE)
    return max((sequence for sequence in found if sequence < NID_SEQUENCE_MAX), default=0)


class _Check:
    """Compares one layer in one transaction."""

    def __init__(self, graph: Graph, txn: ReadTxn, layer: bytes, tick: Callable[[], None]) -> None:
        self.graph = graph
        self.txn = txn
        self.layer = layer
        self.tick = tick
        self.totals: Counter[str] = Counter()
        self.counts: Counter[bytes] = Counter()
        self.has_bad_record = False

    def run(self) -> Iterator[Fault]:
        """Yield what does not agree."""
        names = list(self._names())
        if names:
            # What rows mean is known only with the names of their numbers; the rest is compared when they are right.
            yield from names
            return
        yield from self._sequence()
        yield from self._records()
        yield from self._edges()
        yield from self._data()
        yield from self._extra()
        yield from self._counts()

    def _rows(self, db: SubDb, *, of_layer: bool = True) -> Iterator[tuple[bytes, bytes]]:
        low, high = (self.layer, keys.end_of(self.layer)) if of_layer else (b"", None)
        for at, row in enumerate(walk(self.txn, db, low, high, count=SCAN_COUNT)):
            if not at % SCAN_COUNT:
                self.tick()
            yield row

    def _names(self) -> Iterator[Fault]:
        """Names are shared by all layers: each has a number, and each number a name."""
        for key, name in self._rows(NAMES_BY_NUMBER, of_layer=False):
            if self.txn.get(NAMES, key[:1] + name) is None:
                yield Fault("NoNumberOfName", NAMES, key[:1] + name, key[1:])
        for key, number in self._rows(NAMES, of_layer=False):
            if self.txn.get(NAMES_BY_NUMBER, key[:1] + number) is None:
                yield Fault("NoNameOfNumber", NAMES_BY_NUMBER, key[:1] + number, key[1:])

    def _sequence(self) -> Iterator[Fault]:
        """The sequence of nids, which all layers share, goes on above each nid there is: else a new node gets that of another."""
        greatest = 0
        position = None
        while True:
            self.tick()
            chunk = self.txn.scan(NIDS, b"", None, count_max=SCAN_COUNT, after=position)
            greatest = max(greatest, _greatest(nid for _, nid in chunk.items))
            position = chunk.resume
            if position is None:
                break
        for db in (NODES, EDGES_OUT, EDGES_IN, EDGE_MASKS, NODE_DATA):
            # Keys sort by nid behind the layer.
            last = self.txn.last(db, self.layer, keys.end_of(self.layer))
            if last is not None:
                start = len(self.layer)
                greatest = max(greatest, _greatest((last[0][start : start + NID_SIZE],)))
        if greatest and self.graph.nids.first_unused(self.txn) <= greatest:
            yield Fault("BadNidSequence", SEQUENCES, NEXT_KEY, keys.pack_nid(greatest + 1))

    def _data(self) -> Iterator[Fault]:
        for key, stored in self._rows(NODE_DATA):
            try:
                # Nothing: what hides data of a layer below.
                decode_value(stored)
            except _UNREADABLE:
                yield Fault("BadNodeData", NODE_DATA, key, stored[:64])

    def _records(self) -> Iterator[Fault]:
        for key, stored in self._rows(NODES):
            nid = key[len(self.layer) :]
            try:
                record = parse_record(stored)
                entries = list(self.entries(nid, record))
                for tag in record.tags.values():
                    decode_interval(tag[2:])
            except _UNREADABLE:
                self.has_bad_record = True
                yield Fault("BadRecord", NODES, key, stored[:64])
                continue
            buid = node_buid(record.head)
            if self.txn.get(NIDS, buid) != nid:
                yield Fault("NoNid", NIDS, buid, nid)
            if buid != buid_of(node_form(record.head), node_value(record.head)):
                yield Fault("BadRecord", NODES, key, stored[:64])
            for db, entry, value in entries:
                if self.txn.has(db, entry, value):
                    self.totals[db.name] += 1
                else:
                    yield Fault(_MISSING_KINDS[db.name], db, entry, value)

    def _edges(self) -> Iterator[Fault]:
        for key, edge in self._rows(EDGES_OUT):
            for db, entry, value in self._edge_entries(key[len(self.layer) :], edge):
                if self.txn.has(db, entry, value):
                    self.totals[db.name] += 1
                else:
                    yield Fault(_MISSING_KINDS[db.name], db, entry, value)

    def _edge_entries(self, nid: bytes, edge: bytes) -> tuple[Entry, Entry]:
        verb, to = edge[:4], edge[4:]
        return (EDGES_IN, self.layer + to, verb + nid), (BY_VERB, self.layer + verb, nid + to)

    def _extra(self) -> Iterator[Fault]:
        for db in (BY_PROP, BY_ARRAY, BY_TAG, BY_TAG_PROP, EDGES_IN, BY_VERB):
            total = sum(1 for _ in self._rows(db))
            if total == self.totals[db.name]:
                # All that follow from records are there, and no others.
                continue
            for key, value in self._rows(db):
                if not self.follows(db, key, value):
                    yield Fault(_EXTRA_KINDS[db.name], db, key, value, is_extra=True)

    def _counts(self) -> Iterator[Fault]:
        stored = {key: keys.unpack_nid(value) for key, value in self._rows(COUNTS)}
        for key in sorted(stored.keys() | self.counts.keys()):
            count = self.counts[key]
            if self.has_bad_record and stored.get(key, 0) != count:
                # Its rows are left as they are, and count.
                count = self.count(key)
            if stored.get(key, 0) != count:
                yield Fault("BadCount", COUNTS, key, keys.pack_count(count))

    # What follows from records.

    def follows(self, db: SubDb, key: bytes, value: bytes) -> bool:
        """Whether a row follows from the records there are now."""
        if db is EDGES_IN:
            return self.txn.has(EDGES_OUT, self.layer + value[4:], value[:4] + key[len(self.layer) :])
        if db is BY_VERB:
            return self.txn.has(EDGES_OUT, self.layer + value[:8], key[len(self.layer) :] + value[8:])
        nid = value
        stored = self.txn.get(NODES, self.layer + nid)
        if stored is None:
            return False
        try:
            record = parse_record(stored)
            if db is NIDS:
                return node_buid(record.head) == key
            return (db, key, value) in list(self.entries(nid, record))
        except _UNREADABLE:
            # Not known: what the record was may be told by these rows alone.
            return True

    def count(self, key: bytes) -> int:
        """Count the nodes that a row of counts is about, by the index."""
        prefix, form = key[:-2], key[-2:]
        total, position = 0, None
        while True:
            chunk = self.txn.scan_values(
                BY_PROP, prefix, keys.end_of(prefix), count_max=SCAN_COUNT, after=position
            )
            total += sum(nid[6:] == form for nid in chunk.items)
            position = chunk.resume
            if position is None:
                return total

    def entries(self, nid: bytes, record: Record) -> Iterator[Entry]:
        """Yield the index entries that follow from a record, each once."""
        form = node_form(record.head)
        if record.is_added:
            yield from self._prop(nid, form, "", node_value(record.head))
        for name, encoded in record.props.items():
            yield from self._prop(nid, form, name, decode_value(encoded))
        names, txn, form_number = self.graph.names, self.txn, keys.unpack_form(nid, 6)
        for tag in record.tags:
            number = names.tags.find(txn, tag)
            if number is not None:
                yield (BY_TAG, keys.tag_key(self.layer, number, form_number), nid)
        for tag, props in record.tag_props.items():
            tag_number = names.tags.find(txn, tag)
            for name, encoded in props.items():
                index = self.graph.catalog.tag_prop(name)
                number = names.tag_props.find(txn, name)
                if index is not None and number is not None and tag_number is not None:
                    prefix = keys.tag_prop_prefix(self.layer, tag_number, number)
                    yield (BY_TAG_PROP, prefix + index.encode(decode_value(encoded)), nid)

    def _prop(self, nid: bytes, form: str, name: str, value: Any) -> Iterator[Entry]:
        index = self.graph.catalog.prop(form, name)
        if index is None:
            return
        number = self.graph.names.props.find(self.txn, index.name)
        if number is None:
            return
        prefix = keys.prop_prefix(self.layer, number)
        self.counts[keys.count_key(self.layer, number, keys.unpack_form(nid, 6))] += 1
        yield (BY_PROP, prefix + index.encode(value), nid)
        if index.encode_element is not None:
            # Equal elements have one entry.
            for element in {index.encode_element(item) for item in value}:
                yield (BY_ARRAY, prefix + element, nid)
