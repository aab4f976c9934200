"""Writes many fresh nodes to a layer at once.

What the records and index entries hold is the same as with `writer`, but entries are gathered over the whole
batch and put in the order of their keys, which is what LMDB is fastest with, and the bytes that repeat from
node to node (a property's value, a tag) are made once and kept as fragments.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from cellmesh.common.storage import SubDb, WriteTxn
from cellmesh.cortex.layers import keys
from cellmesh.cortex.layers.catalog import Form, IndexCatalog, PropIndex
from cellmesh.cortex.layers.names import Names, NameTables
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
from cellmesh.cortex.values.wire import decode_value, encode_interval, encode_value, field

NumberOf: TypeAlias = Callable[[Names, str], int]
"""Gives the number of a name: one that there is already, or, in a write transaction, a new one."""


# Not frozen, as that doubles what making one costs; never changed all the same.
@dataclass(slots=True, eq=False)
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


@dataclass(frozen=True, slots=True, eq=False)
class TagFragment:
    """What one tag puts into a record, the log and the index of nodes of one form."""

    name: str
    entry: bytes
    edit: bytes
    key: bytes


@dataclass(frozen=True, slots=True, eq=False)
class FormParts:
    """What the nodes of a form have in common.

    Attributes:
        name: The form.
        number: Its number.
        prefix: What its keys in `by_prop` and `by_array` start with.
        count_key: The key in `counts`.
        encode_element: Makes key bytes of an element, if values are arrays.
    """

    name: str
    number: int
    prefix: bytes
    count_key: bytes
    encode_element: Callable[[Any], bytes] | None

    def element_keys(self, value: Any) -> tuple[bytes, ...]:
        """Return the keys in `by_array` of a node's own value."""
        encode = self.encode_element
        return () if encode is None else tuple({self.prefix + encode(item): None for item in value})


@dataclass(frozen=True, slots=True)
class _PropParts:
    """What the fragments of one property have in common."""

    name_field: bytes
    index: PropIndex | None
    prefix: bytes
    count_key: bytes


class Fragments:
    """Makes fragments for one layer, and keeps what they have in common."""

    def __init__(self, layer: bytes, catalog: IndexCatalog, names: NameTables) -> None:
        self.layer = layer
        self.catalog = catalog
        self.names = names
        self._parts: dict[tuple[str, str], _PropParts] = {}
        self._forms: dict[str, FormParts] = {}

    def clear(self) -> None:
        """Forget everything: the model has changed."""
        self._parts.clear()
        self._forms.clear()

    def form(self, number_of: NumberOf, form: Form) -> FormParts:
        """Return what the nodes of a form have in common."""
        found = self._forms.get(form.name)
        if found is None:
            index = self.catalog.prop(form.name, "")
            assert index is not None, "a form has its own value"
            number = number_of(self.names.forms, form.name)
            prop_number = number_of(self.names.props, form.name)
            found = self._forms[form.name] = FormParts(
                form.name,
                number,
                keys.prop_prefix(self.layer, prop_number),
                keys.count_key(self.layer, prop_number, number),
                index.encode_element,
            )
        return found

    def prop(self, number_of: NumberOf, form: FormParts, name: str, value: Any) -> PropFragment:
        """Make the fragment of a property's value."""
        parts = self._parts.get((form.name, name))
        if parts is None:
            parts = self._make_parts(number_of, form, name)
        # The same bytes are an entry of Node.props and a PropSet.
        both = parts.name_field + field(0x12, encode_value(value))
        return self._make(parts, name, value, both, field(0x22, field(0x1A, both)))

    def prop_of_bytes(
        self, number_of: NumberOf, form: FormParts, name: str, both: bytes, encoded: bytes
    ) -> PropFragment:
        """Make the fragment of a PropSet as the log has it; what the log got from it is left out.

        Args:
            number_of: What gives the numbers of names.
            form: The node's form.
            name: The property.
            both: The bytes of the PropSet: name and value.
            encoded: The serialized value.
        """
        parts = self._parts.get((form.name, name))
        if parts is None:
            parts = self._make_parts(number_of, form, name)
        value = decode_value(encoded) if parts.index is not None else None
        return self._make(parts, name, value, both, b"")

    def _make(self, parts: _PropParts, name: str, value: Any, both: bytes, edit: bytes) -> PropFragment:
        entry = field(0x22, both)
        index = parts.index
        if index is None:
            return PropFragment(name, value, entry, edit, "", b"", (), b"")
        prefix = parts.prefix
        elements: tuple[bytes, ...] = ()
        encode = index.encode_element
        if encode is not None:
            elements = tuple({prefix + encode(item): None for item in value})
        key = prefix + index.encode(value)
        return PropFragment(name, value, entry, edit, index.name, key, elements, parts.count_key)

    def _make_parts(self, number_of: NumberOf, form: FormParts, name: str) -> _PropParts:
        index = self.catalog.prop(form.name, name)
        prefix = count_key = b""
        if index is not None:
            number = number_of(self.names.props, index.name)
            prefix = keys.prop_prefix(self.layer, number)
            count_key = keys.count_key(self.layer, number, form.number)
        made = _PropParts(field(0x0A, name.encode()), index, prefix, count_key)
        self._parts[form.name, name] = made
        return made

    def tag(self, number_of: NumberOf, form: FormParts, name: str, interval: Interval) -> TagFragment:
        """Make the fragment of a tag on nodes of a form."""
        number = number_of(self.names.tags, name)
        body = b"" if interval is None else field(0x0A, encode_interval(interval))
        edit = field(0x22, encode_edit(TagSet(name, interval)))
        return TagFragment(name, tag_entry(name, body), edit, keys.tag_key(self.layer, number, form.number))


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

    def __init__(self, layer: bytes, names: NameTables) -> None:
        self.layer = layer
        self.names = names
        self.nids: list[tuple[bytes, bytes]] = []
        self.nodes: list[tuple[bytes, bytes]] = []
        self.own: list[tuple[bytes, bytes]] = []
        self.own_elements: list[tuple[bytes, bytes]] = []
        self.forms: defaultdict[FormParts, int] = defaultdict(int)
        self.props: defaultdict[PropFragment, list[bytes]] = defaultdict(list)
        self.tags: defaultdict[TagFragment, list[bytes]] = defaultdict(list)
        self.edges: list[tuple[bytes, bytes, bytes]] = []
        # Whether all nids are above any the layer's indexes hold: then they go to the end of each key's.
        self.is_ascending = True

    def add_edge(self, verb_number: int, verb: str, n1: bytes, n2: bytes) -> bytes:
        """Add a light edge; returns its field in the log."""
        self.edges.append((keys.pack_number(verb_number), n1, n2))
        return field(0x22, encode_edit(EdgeAdd(verb, keys.unpack_nid(n2))))

    def write(self, txn: WriteTxn) -> None:
        """Write everything gathered."""
        self._ensure_names(txn)
        self.nids.sort()
        self.nodes.sort()
        if self.nids:
            txn.put_many(NIDS, self.nids)
        put_at_end(txn, NODES, self.nodes)
        # No property is numbered like a form's own value, so no key is in both.
        self._put_items(txn, BY_PROP, sorted(self.own))
        values: defaultdict[bytes, list[bytes]] = defaultdict(list)
        elements: defaultdict[bytes, list[bytes]] = defaultdict(list)
        counts = CountChanges()
        for key, nid in self.own_elements:
            elements[key].append(nid)
        for form, count in self.forms.items():
            counts.add(form.count_key, count)
        for fragment, nids in self.props.items():
            if fragment.key:
                values[fragment.key] += nids
                counts.add(fragment.count_key, len(nids))
                for key in fragment.element_keys:
                    elements[key] += nids
        tags: defaultdict[bytes, list[bytes]] = defaultdict(list)
        for tag, nids in self.tags.items():
            tags[tag.key] += nids
        self._put_sorted(txn, BY_PROP, values)
        self._put_sorted(txn, BY_ARRAY, elements)
        self._put_sorted(txn, BY_TAG, tags)
        if self.edges:
            layer = self.layer
            txn.put_many(EDGES_OUT, sorted((layer + n1, verb + n2) for verb, n1, n2 in self.edges))
            txn.put_many(EDGES_IN, sorted((layer + n2, verb + n1) for verb, n1, n2 in self.edges))
            txn.put_many(BY_VERB, sorted((layer + verb, n1 + n2) for verb, n1, n2 in self.edges))
        counts.write(txn)

    def _ensure_names(self, txn: WriteTxn) -> None:
        """Make certain that names are stored whose numbers the keys hold."""
        names = self.names
        for form in self.forms:
            names.forms.ensure(txn, form.name)
            names.props.ensure(txn, form.name)
        for name in {fragment.index_name for fragment in self.props if fragment.index_name}:
            names.props.ensure(txn, name)
        for tag in self.tags:
            names.tags.ensure(txn, tag.name)

    def _put_sorted(self, txn: WriteTxn, db: SubDb, entries: dict[bytes, list[bytes]]) -> None:
        items: list[tuple[bytes, bytes]] = []
        for key in sorted(entries):
            nids = entries[key]
            if len(nids) == 1:
                items.append((key, nids[0]))
                continue
            # Nids of one form were given out in order, those of several forms were not.
            nids.sort()
            items += [(key, nid) for nid in nids]
        self._put_items(txn, db, items)

    def _put_items(self, txn: WriteTxn, db: SubDb, items: list[tuple[bytes, bytes]]) -> None:
        if items:
            if not self.is_ascending:
                txn.put_many(db, items)
                return
            txn.touched = True
            with txn.raw.cursor(txn.handle(db)) as cursor:
                consumed, added = cursor.putmulti(items, append=True)
            assert consumed == added, "a fresh nid was below one in the index"
