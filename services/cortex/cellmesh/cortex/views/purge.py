"""Takes all values of a property out of every layer, in batches that are logged as edits.

For properties that are about to leave the model: their index entries are found by what the model still says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, TypeAlias

from cellmesh.common.storage import ReadTxn, WriteTxn
from cellmesh.cortex.layers import keys
from cellmesh.cortex.layers.catalog import index_name
from cellmesh.cortex.layers.records import Record, node_value, parse_record
from cellmesh.cortex.layers.schema import BY_PROP, BY_TAG_PROP, NODES
from cellmesh.cortex.layers.writer import LayerWriter
from cellmesh.cortex.model.registry import Prop
from cellmesh.cortex.values.edits import LayerEdits, NodeEdit, NodeEdits, PropDelete, TagPropDelete
from cellmesh.cortex.values.wire import decode_value

if TYPE_CHECKING:
    from cellmesh.cortex.layers.layer import Layer
    from cellmesh.cortex.views.session import GraphSession

BATCH_NODE_COUNT: Final = 256
SCAN_COUNT: Final = 2000

Find: TypeAlias = Callable[[ReadTxn, bytes], Iterator[bytes]]
"""Yields nids of a layer that may have the property."""

Edits: TypeAlias = Callable[[Record], list[NodeEdit]]
"""The edits that take the property off a record."""


def purge_prop(session: GraphSession, prop: Prop) -> int:
    """Remove all values of a property of one form, or of a universal one; returns how many nodes had one."""
    names = session.graph.names

    def find(txn: ReadTxn, layer: bytes) -> Iterator[bytes]:
        number = names.props.find(txn, index_name(prop))
        if number is not None:
            prefix = keys.prop_prefix(layer, number)
            yield from txn.scan_values(BY_PROP, prefix, keys.end_of(prefix), count_max=BATCH_NODE_COUNT).items

    def edits(record: Record) -> list[NodeEdit]:
        found = record.props.get(prop.name)
        return [] if found is None else [PropDelete(prop.name, decode_value(found))]

    return _purge(session, find, edits)


def purge_tag_prop(session: GraphSession, name: str) -> int:
    """Remove all values of a tag property; returns how many nodes had one, counted once a batch."""
    names = session.graph.names

    def find(txn: ReadTxn, layer: bytes) -> Iterator[bytes]:
        number = names.tag_props.find(txn, name)
        if number is None:
            return
        # Keys are of layer, tag and property: those of one property stand apart.
        wanted = keys.pack_number(number)
        position = None
        while True:
            chunk = txn.scan(BY_TAG_PROP, layer, keys.end_of(layer), count_max=SCAN_COUNT, after=position)
            for key, nid in chunk.items:
                at = len(layer) + keys.NUMBER_SIZE
                if key[at : at + keys.NUMBER_SIZE] == wanted:
                    yield nid
            position = chunk.resume
            if position is None:
                return

    def edits(record: Record) -> list[NodeEdit]:
        return [
            TagPropDelete(tag, name, decode_value(props[name]))
            for tag, props in record.tag_props.items()
            if name in props
        ]

    return _purge(session, find, edits)


def _purge(session: GraphSession, find: Find, edits: Edits) -> int:
    count = 0
    for layer in list(session.graph.layers.values()):
        while done := _batch(session, layer, find, edits):
            count += done
            session.breathe()
    return count


def _batch(session: GraphSession, layer: Layer, find: Find, edits: Edits) -> int:
    graph = session.graph

    def op(txn: WriteTxn) -> int:
        graph.check_layer(txn, layer)
        nodes: dict[bytes, NodeEdits] = {}
        for nid in find(txn, layer.key):
            if nid in nodes:
                continue
            stored = txn.get(NODES, layer.key + nid)
            if stored is None:
                continue
            record = parse_record(stored)
            found = edits(record)
            if found:
                form = graph.form_of_key(lambda read: read(txn), nid[6:])
                nodes[nid] = NodeEdits(keys.unpack_nid(nid), form.name, node_value(record.head), tuple(found))
            if len(nodes) >= BATCH_NODE_COUNT:
                break
        if nodes:
            taken = tuple(nodes.values())
            LayerWriter(txn, layer.key, graph.catalog, graph.names, graph.nids).apply(taken)
            graph.log_layer_edits(txn, LayerEdits(layer.id, taken, session.user, graph.now_ms()))
        return len(nodes)

    done = session.write_op(op)
    session.note_edits(done, ())
    return done
