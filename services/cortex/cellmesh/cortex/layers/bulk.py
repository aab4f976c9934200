"""Writes many fresh nodes to a layer at once.

What the records and index entries hold is the same as with `writer`, but entries are gathered over the whole
batch and put in the order of their keys, which is what LMDB is fastest with, and the bytes that repeat from
node to node (a property's value, a tag) are made once and kept as fragments.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from cellmesh.common.storage import SubDb, WriteTxn
from cellmesh.cortex.layers import keys
from cellmesh.cortex.layers.catalog import Form, IndexCatalog, PropIndex
from cellmesh.cortex.layers.names import NameTables
from cellmesh.cortex.layers.records import tag_entry
from cellmesh.cortex.layers.schema import (
    BY_ARRAY,
    BY_PROP,
    BY_TAG,
    BY_VERB,
    EDGES_IN,
    EDGES_OUT,
    NIDS,
    NODES,
)
from cellmesh.cortex.layers.stats import CountChanges
from cellmesh.cortex.values.changes import encode_edit
from cellmesh.cortex.values.edits import EdgeAdd, Interval, TagSet
from cellmesh.cortex.values.wire import encode_interval, encode_value, field


@dataclass(frozen=True, slots=True)
class PropFragment:
    """What one property's value puts into a record, the log and the indexes.

    Attributes:
        name: The property.
        value: Its stored value.
        entry: The record's field.
        edit: The log's field: a PropSet of a property that was not set.
        index_name: Under which the index keys hold it; empty if it is not indexed.
        key: The key in `by_prop`.
        element_keys: The keys in `by_array`.
        count_key: The key in `counts`.
    """

    name: str
    value: Any
    entry: bytes
    edit: bytes
    index_name: str
    key: bytes
    element_keys: tuple[bytes, ...]
    count_key: bytes


@dataclass(frozen=True, slots=True)
class TagFragment:
    """What one tag puts into a record, the log and the index of nodes of one form."""

    name: str
    entry: bytes
    edit: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class _PropParts:
    """What the fragments of one property have in common."""

    name_field: bytes
    index: PropIndex | None
    prefix: bytes
    count_key: bytes


class Fragments:
    """Makes fragments for one layer. Numbers in keys are those of names that the op has ensured."""

    def __init__(self, layer: bytes, catalog: IndexCatalog, names: NameTables) -> None:
        self.layer = layer
        self.catalog = catalog
        self.names = names
        self._parts: dict[tuple[str, str], _PropParts] = {}
        self._version = catalog.model.version

    def prop(self, txn: WriteTxn, form: str, form_number: int, name: str, value: Any) -> PropFragment:
        """Make the fragment of a property's value; an empty name is the form's own value."""
        parts = self._parts.get((form, name))
        if parts is None or self._version != self.catalog.model.version:
            parts = self._make_parts(txn, form, form_number, name)
        entry = edit = b""
        if name:
            # The same bytes are an entry of Node.props and a PropSet.
            both = parts.name_field + field(0x12, encode_value(value))
            entry = field(0x22, both)
            edit = field(0x22, field(0x1A, both))
        index = parts.index
        if index is None:
            return PropFragment(name, value, entry, edit, "", b"", (), b"")
        self.names.props.ensure(txn, index.name)
        prefix = parts.prefix
        elements: tuple[bytes, ...] = ()
        encode = index.encode_element
        if encode is not None:
            elements = tuple({prefix + encode(item): None for item in value})
        return PropFragment(
            name, value, entry, edit, index.name, prefix + index.encode(value), elements, parts.count_key
        )

    def own(
        self, txn: WriteTxn, form: Form, form_number: int, value: Any
    ) -> tuple[bytes, tuple[bytes, ...], bytes]:
        """Return the keys of a node's own value, in `by_prop`, `by_array` and `counts`."""
        parts = self._parts.get((form.name, ""))
        if parts is None or self._version != self.catalog.model.version:
            parts = self._make_parts(txn, form.name, form_number, "")
        assert parts.index is not None, "a form has its own value"
        self.names.props.ensure(txn, form.name)
        encode = parts.index.encode_element
        elements = () if encode is None else tuple({parts.prefix + encode(item): None for item in value})
        return parts.prefix + form.type.encode(value), elements, parts.count_key

    def _make_parts(self, txn: WriteTxn, form: str, form_number: int, name: str) -> _PropParts:
        if self._version != self.catalog.model.version:
            self._parts.clear()
            self._version = self.catalog.model.version
        index = self.catalog.prop(form, name)
        prefix = count_key = b""
        if index is not None:
            number = self.names.props.ensure(txn, index.name)
            prefix = keys.prop_prefix(self.layer, number)
            count_key = keys.count_key(self.layer, number, form_number)
        made = _PropParts(field(0x0A, name.encode()), index, prefix, count_key)
        self._parts[form, name] = made
        return made

    def tag(self, txn: WriteTxn, form_number: int, name: str, interval: Interval) -> TagFragment:
        """Make the fragment of a tag on nodes of a form."""
        number = self.names.tags.ensure(txn, name)
        body = b"" if interval is None else field(0x0A, encode_interval(interval))
        edit = field(0x22, encode_edit(TagSet(name, interval)))
        return TagFragment(name, tag_entry(name, body), edit, keys.tag_key(self.layer, number, form_number))


def put_at_end(txn: WriteTxn, db: SubDb, items: list[tuple[bytes, bytes]]) -> None:
    """Write sorted items; if they come behind all others, pages are filled to the brim, not split in half."""
    if not items:
        return
    txn.touched = True
    with txn.raw.cursor(txn.handle(db)) as cursor:
        is_end = not cursor.last() or cursor.key() < items[0][0]
        cursor.putmulti(items, append=is_end)


class BulkWriter:
    """Gathers the entries of fresh nodes and writes them in order of their keys."""

    def __init__(self, layer: bytes) -> None:
        self.layer = layer
        self.nids: list[tuple[bytes, bytes]] = []
        self.nodes: list[tuple[bytes, bytes]] = []
        self.props: defaultdict[bytes, list[bytes]] = defaultdict(list)
        self.arrays: defaultdict[bytes, list[bytes]] = defaultdict(list)
        self.tags: defaultdict[bytes, list[bytes]] = defaultdict(list)
        self.edges: list[tuple[bytes, bytes, bytes]] = []
        self.counts = CountChanges()
        self._counted: defaultdict[bytes, int] = defaultdict(int)
        # Whether all nids are above any the layer's indexes hold: then they go to the end of each key's.
        self.is_ascending = True

    def add_prop(self, nid: bytes, fragment: PropFragment) -> None:
        """Index a property of a node."""
        if fragment.key:
            self.props[fragment.key].append(nid)
            self._counted[fragment.count_key] += 1
            for key in fragment.element_keys:
                self.arrays[key].append(nid)

    def add_own(self, nid: bytes, key: bytes, element_keys: tuple[bytes, ...], count_key: bytes) -> None:
        """Index a node's own value."""
        self.props[key].append(nid)
        for element_key in element_keys:
            self.arrays[element_key].append(nid)
        self._counted[count_key] += 1

    def add_edge(self, verb_number: int, verb: str, n1: bytes, n2: bytes) -> bytes:
        """Add a light edge; returns its field in the log."""
        self.edges.append((keys.pack_number(verb_number), n1, n2))
        return field(0x22, encode_edit(EdgeAdd(verb, keys.unpack_nid(n2))))

    def write(self, txn: WriteTxn) -> None:
        """Write everything gathered."""
        self.nids.sort()
        self.nodes.sort()
        if self.nids:
            txn.put_many(NIDS, self.nids)
        put_at_end(txn, NODES, self.nodes)
        self._put_sorted(txn, BY_PROP, self.props)
        self._put_sorted(txn, BY_ARRAY, self.arrays)
        self._put_sorted(txn, BY_TAG, self.tags)
        if self.edges:
            layer = self.layer
            txn.put_many(EDGES_OUT, sorted((layer + n1, verb + n2) for verb, n1, n2 in self.edges))
            txn.put_many(EDGES_IN, sorted((layer + n2, verb + n1) for verb, n1, n2 in self.edges))
            txn.put_many(BY_VERB, sorted((layer + verb, n1 + n2) for verb, n1, n2 in self.edges))
        for key, count in self._counted.items():
            self.counts.add(key, count)
        self.counts.write(txn)

    def _put_sorted(self, txn: WriteTxn, db: SubDb, entries: dict[bytes, list[bytes]]) -> None:
        if entries:
            # Nids of one form were given out in order, those of several forms were not.
            items = [(key, nid) for key in sorted(entries) for nid in sorted(entries[key])]
            if not self.is_ascending:
                txn.put_many(db, items)
                return
            txn.touched = True
            with txn.raw.cursor(txn.handle(db)) as cursor:
                consumed, added = cursor.putmulti(items, append=True)
            assert consumed == added, "a fresh nid was below one in the index"
