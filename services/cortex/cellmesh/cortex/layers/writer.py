"""Applies node edits to one layer, in an open write transaction: records, indexes, counts.

Edits are taken at their word: what they say was so before is not checked, only what index entries must go
is read from the record. The same edits applied to the same layer give the same bytes, which is what replay
and mirrors rest on. Nothing here fails for reasons of content: values were normalised and names checked
before, as a failure after the first put rolls back everybody's work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cellmesh.common.storage import WriteTxn
from cellmesh.cortex.layers import keys
from cellmesh.cortex.layers.bulk import put_at_end
from cellmesh.cortex.layers.catalog import WRONG_KIND, IndexCatalog, PropIndex
from cellmesh.cortex.layers.names import NameTables
from cellmesh.cortex.layers.nids import Nids
from cellmesh.cortex.layers.records import Record, node_head, parse_record
from cellmesh.cortex.layers.schema import (
    BY_ARRAY,
    BY_PROP,
    BY_TAG,
    BY_TAG_PROP,
    BY_VERB,
    EDGE_MASKS,
    EDGES_IN,
    EDGES_OUT,
    NODE_DATA,
    NODES,
)
from cellmesh.cortex.layers.stats import CountChanges
from cellmesh.cortex.values.edits import (
    EdgeAdd,
    EdgeDelete,
    NodeAdd,
    NodeDataDelete,
    NodeDataSet,
    NodeDelete,
    NodeEdit,
    NodeEdits,
    PropDelete,
    PropSet,
    TagDelete,
    TagPropDelete,
    TagPropSet,
    TagSet,
    Unmask,
)
from cellmesh.cortex.values.ids import buid_of, form_number_of
from cellmesh.cortex.values.wire import decode_value, encode_interval, encode_value, field


class LayerWriter:
    """One op's writing to one layer. `finish` comes last."""

    def __init__(
        self, txn: WriteTxn, layer: bytes, catalog: IndexCatalog, names: NameTables, nids: Nids
    ) -> None:
        self.txn = txn
        self.layer = layer
        self.catalog = catalog
        self.names = names
        self.nids = nids
        self.counts = CountChanges()
        self.written: dict[bytes, bytes] = {}

    def apply(self, nodes: Iterable[NodeEdits], known: Mapping[int, Record | None] | None = None) -> None:
        """Apply the edits of some nodes, in order, and what they change of counts.

        Args:
            nodes: What to apply.
            known: Records of the layer that this op has read already, by nid; None stands for none. They are
                changed, and belong to the writer from now on.
        """
        for node in nodes:
            _NodeWriter(self, node).run(known)
        self.counts.write(self.txn)


class _NodeWriter:
    """Applies the edits of one node."""

    __slots__ = ("form", "form_number", "nid", "nid_key", "node", "owner", "record", "txn")

    def __init__(self, owner: LayerWriter, node: NodeEdits) -> None:
        self.owner = owner
        self.txn = owner.txn
        self.node = node
        self.form = node.form
        self.form_number = form_number_of(node.nid)
        self.nid = keys.pack_nid(node.nid)
        self.nid_key = owner.layer + self.nid
        self.record: Record

    def run(self, known: Mapping[int, Record | None] | None) -> None:
        txn, node = self.txn, self.node
        if known is not None and node.nid in known:
            found = known[node.nid]
        else:
            stored = txn.get(NODES, self.nid_key)
            found = None if stored is None else parse_record(stored)
        if found is None:
            buid = buid_of(node.form, node.value)
            self.record = Record(node_head(node.form, node.value, buid))
            self.owner.names.forms.adopt(txn, node.form, self.form_number)
            self.owner.nids.store(txn, buid, node.nid)
        else:
            self.record = found
        for edit in node.edits:
            _HANDLERS[type(edit)](self, edit)
        if self.record.is_empty:
            txn.delete(NODES, self.nid_key)
        else:
            fresh = self.record.to_bytes()
            if found is None:
                put_at_end(txn, NODES, [(self.nid_key, fresh)])
            else:
                txn.put(NODES, self.nid_key, fresh)
            self.owner.written[self.nid] = fresh

    # Nodes.

    def node_add(self, edit: NodeAdd) -> None:
        if not self.record.is_added:
            self.record.is_added = True
            index = self.owner.catalog.prop(self.form, "")
            if index is not None:
                self.put_prop(index, self.node.value)

    def node_delete(self, edit: NodeDelete) -> None:
        record = self.record
        if not record.is_added:
            record.is_mask = True
            return
        record.is_added = False
        index = self.owner.catalog.prop(self.form, "")
        if index is not None:
            self.drop_prop(index, self.node.value)

    # Properties.

    def prop_set(self, edit: PropSet) -> None:
        encoded = encode_value(edit.value)
        props = self.record.props
        old = props.get(edit.name)
        if old == encoded:
            return
        index = self.owner.catalog.prop(self.form, edit.name)
        if index is not None:
            if old is not None:
                self.drop_prop(index, decode_value(old))
            self.put_prop(index, edit.value)
        props[edit.name] = encoded
        self.record.prop_masks.discard(edit.name)

    def prop_delete(self, edit: PropDelete) -> None:
        old = self.record.props.pop(edit.name, None)
        if old is None:
            self.record.prop_masks.add(edit.name)
            return
        index = self.owner.catalog.prop(self.form, edit.name)
        if index is not None:
            self.drop_prop(index, decode_value(old))

    def put_prop(self, index: PropIndex, value: Any) -> None:
        owner, txn = self.owner, self.txn
        number = owner.names.props.ensure(txn, index.name)
        prefix = keys.prop_prefix(owner.layer, number)
        txn.put(BY_PROP, prefix + index.encode(value), self.nid)
        if index.encode_element is not None:
            for item in value:
                txn.put(BY_ARRAY, prefix + index.encode_element(item), self.nid)
        owner.counts.add(keys.count_key(owner.layer, number, self.form_number), 1)

    def drop_prop(self, index: PropIndex, value: Any) -> None:
        owner, txn = self.owner, self.txn
        number = owner.names.props.ensure(txn, index.name)
        prefix = keys.prop_prefix(owner.layer, number)
        if index.former:
            self.drop_former(index, prefix, value)
            owner.counts.add(keys.count_key(owner.layer, number, self.form_number), -1)
            return
        txn.delete(BY_PROP, prefix + index.encode(value), self.nid)
        if index.encode_element is not None:
            for item in value:
                txn.delete(BY_ARRAY, prefix + index.encode_element(item), self.nid)
        owner.counts.add(keys.count_key(owner.layer, number, self.form_number), -1)

    def drop_former(self, index: PropIndex, prefix: bytes, value: Any) -> None:
        """Remove the entries of a value that may be from when the property had another type."""
        for encode, encode_element in index.former:
            try:
                found = [(BY_PROP, encode(value))]
                if encode_element is not None:
                    found += [(BY_ARRAY, encode_element(item)) for item in value]
            except WRONG_KIND:
                # It is no value of this type.
                continue
            for db, key in found:
                self.txn.delete(db, prefix + key, self.nid)

    # Tags.

    def tag_set(self, edit: TagSet) -> None:
        record, name = self.record, edit.name
        if name not in record.tags:
            number = self.owner.names.tags.ensure(self.txn, name)
            self.txn.put(BY_TAG, keys.tag_key(self.owner.layer, number, self.form_number), self.nid)
            record.tag_masks.discard(name)
        record.tags[name] = b"" if edit.interval is None else field(0x0A, encode_interval(edit.interval))

    def tag_delete(self, edit: TagDelete) -> None:
        record, name = self.record, edit.name
        if record.tags.pop(name, None) is None:
            record.tag_masks.add(name)
            return
        number = self.owner.names.tags.ensure(self.txn, name)
        self.txn.delete(BY_TAG, keys.tag_key(self.owner.layer, number, self.form_number), self.nid)

    def tag_prop_set(self, edit: TagPropSet) -> None:
        record = self.record
        encoded = encode_value(edit.value)
        props = record.tag_props.setdefault(edit.tag, {})
        old = props.get(edit.name)
        if old == encoded:
            return
        if old is not None:
            self.index_tag_prop(edit.tag, edit.name, decode_value(old), put=False)
        self.index_tag_prop(edit.tag, edit.name, edit.value, put=True)
        props[edit.name] = encoded
        record.tag_prop_masks.discard((edit.tag, edit.name))

    def tag_prop_delete(self, edit: TagPropDelete) -> None:
        record = self.record
        props = record.tag_props.get(edit.tag, {})
        old = props.pop(edit.name, None)
        if old is None:
            record.tag_prop_masks.add((edit.tag, edit.name))
            return
        self.index_tag_prop(edit.tag, edit.name, decode_value(old), put=False)
        if not props:
            record.tag_props.pop(edit.tag, None)

    def index_tag_prop(self, tag: str, name: str, value: Any, *, put: bool) -> None:
        owner = self.owner
        index = owner.catalog.tag_prop(name)
        if index is None:
            return
        tag_number = owner.names.tags.ensure(self.txn, tag)
        number = owner.names.tag_props.ensure(self.txn, name)
        prefix = keys.tag_prop_prefix(owner.layer, tag_number, number)
        if put:
            self.txn.put(BY_TAG_PROP, prefix + index.encode(value), self.nid)
            return
        if not index.former:
            self.txn.delete(BY_TAG_PROP, prefix + index.encode(value), self.nid)
            return
        for encode in index.former:
            try:
                key = encode(value)
            except WRONG_KIND:
                # It is no value of this type.
                continue
            self.txn.delete(BY_TAG_PROP, prefix + key, self.nid)

    # Edges.

    def edge_add(self, edit: EdgeAdd) -> None:
        owner, txn = self.owner, self.txn
        verb = owner.names.verbs.ensure(txn, edit.verb)
        to = keys.pack_nid(edit.to_nid)
        packed_verb = keys.pack_number(verb)
        if txn.put(EDGES_OUT, self.nid_key, packed_verb + to):
            txn.put(EDGES_IN, owner.layer + to, packed_verb + self.nid)
            txn.put(BY_VERB, owner.layer + packed_verb, self.nid + to)
        txn.delete(EDGE_MASKS, self.nid_key, packed_verb + to)

    def edge_delete(self, edit: EdgeDelete) -> None:
        owner, txn = self.owner, self.txn
        verb = owner.names.verbs.ensure(txn, edit.verb)
        to = keys.pack_nid(edit.to_nid)
        packed_verb = keys.pack_number(verb)
        if txn.delete(EDGES_OUT, self.nid_key, packed_verb + to):
            txn.delete(EDGES_IN, owner.layer + to, packed_verb + self.nid)
            txn.delete(BY_VERB, owner.layer + packed_verb, self.nid + to)
        else:
            txn.put(EDGE_MASKS, self.nid_key, packed_verb + to)

    # Data.

    def data_set(self, edit: NodeDataSet) -> None:
        number = self.owner.names.data.ensure(self.txn, edit.name)
        self.txn.put(NODE_DATA, self.nid_key + keys.pack_number(number), encode_value(edit.value))

    def data_delete(self, edit: NodeDataDelete) -> None:
        number = self.owner.names.data.ensure(self.txn, edit.name)
        key = self.nid_key + keys.pack_number(number)
        if self.txn.get(NODE_DATA, key):
            self.txn.delete(NODE_DATA, key)
        else:
            self.txn.put(NODE_DATA, key, b"")

    # Masks.

    def unmask(self, edit: Unmask) -> None:
        record = self.record
        if edit.prop and edit.tag:
            record.tag_prop_masks.discard((edit.tag, edit.prop))
        elif edit.prop:
            record.prop_masks.discard(edit.prop)
        elif edit.tag:
            record.tag_masks.discard(edit.tag)
        else:
            record.is_mask = False


_HANDLERS: dict[type[NodeEdit], Callable[[_NodeWriter, Any], None]] = {
    NodeAdd: _NodeWriter.node_add,
    NodeDelete: _NodeWriter.node_delete,
    PropSet: _NodeWriter.prop_set,
    PropDelete: _NodeWriter.prop_delete,
    TagSet: _NodeWriter.tag_set,
    TagDelete: _NodeWriter.tag_delete,
    TagPropSet: _NodeWriter.tag_prop_set,
    TagPropDelete: _NodeWriter.tag_prop_delete,
    EdgeAdd: _NodeWriter.edge_add,
    EdgeDelete: _NodeWriter.edge_delete,
    NodeDataSet: _NodeWriter.data_set,
    NodeDataDelete: _NodeWriter.data_delete,
    Unmask: _NodeWriter.unmask,
}
