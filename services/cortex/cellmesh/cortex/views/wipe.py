"""Taking everything out of a layer, as edits: who follows the layer sees them, and what it masked shows again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from cellmesh.common.storage import ReadTxn, WriteTxn
from cellmesh.cortex.layers import keys
from cellmesh.cortex.layers.reader import node_data
from cellmesh.cortex.layers.records import Record, node_value, parse_record
from cellmesh.cortex.layers.schema import EDGE_MASKS, EDGES_OUT, NODES
from cellmesh.cortex.layers.writer import LayerWriter
from cellmesh.cortex.values.edits import (
    EdgeAdd,
    EdgeDelete,
    LayerEdits,
    NodeDataDelete,
    NodeDataSet,
    NodeDelete,
    NodeEdit,
    NodeEdits,
    PropDelete,
    TagDelete,
    TagPropDelete,
    Unmask,
)
from cellmesh.cortex.values.wire import decode_interval, decode_value
from cellmesh.cortex.views.merge import changed_nids
from cellmesh.cortex.views.sharing import name_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from cellmesh.cortex.layers.layer import Layer
    from cellmesh.cortex.views.graph import Graph

BATCH_NODE_COUNT: Final = 256


def wipe_layer(graph: Graph, layer: Layer, user: str, breathe: Callable[[], None] | None = None) -> int:
    """Remove all that a layer holds, a batch at a time, durable on return; returns how many nodes it was about.

    No session of the calling thread may hold the write transaction. One that is cut short may be called again.

    Raises:
        IsReadOnly: the layer takes no edits.
        NoSuchLayer: it was removed.
    """
    count, after = 0, b""
    while True:
        with graph.slab.view() as txn:
            nids = changed_nids(txn, layer.key, after)
        if not nids:
            return count
        for start in range(0, len(nids), BATCH_NODE_COUNT):
            batch = nids[start : start + BATCH_NODE_COUNT]

            def op(txn: WriteTxn, batch: list[bytes] = batch) -> int:
                graph.check_layer(txn, layer)
                nodes = [found for nid in batch if (found := empty_node(graph, txn, layer.key, nid))]
                if nodes:
                    LayerWriter(txn, layer.key, graph.catalog, graph.names, graph.nids).apply(nodes)
                    graph.log_layer_edits(txn, LayerEdits(layer.id, tuple(nodes), user, graph.now_ms()))
                return len(nodes)

            count += graph.slab.write(op)
            if breathe is not None:
                breathe()
        after = nids[-1]


def empty_node(graph: Graph, txn: ReadTxn, layer: bytes, nid: bytes) -> NodeEdits | None:
    """Return the edits after which a layer says nothing of a node any more, or None if it says nothing."""
    stored = txn.get(NODES, layer + nid)
    record = None if stored is None else parse_record(stored)
    edits: list[NodeEdit] = [] if record is None else list(emptying_edits(record))
    edits += unlinking_edits(graph, txn, layer + nid)
    if record is not None and record.is_added:
        edits.append(NodeDelete())
    if not edits:
        return None
    # By name: the model need not have the form any more.
    form = name_of(graph.names.forms, txn, keys.unpack_form(nid, 6))
    # Without a record nothing is kept of the node's value: the writer needs it only to make a record.
    value = None if record is None else node_value(record.head)
    if record is None:
        found = any_value(graph, txn, nid)
        if found is None:
            return None
        value = found[0]
    return NodeEdits(keys.unpack_nid(nid), form, value, tuple(edits))


def any_value(graph: Graph, txn: ReadTxn, nid: bytes) -> tuple[object] | None:
    """Return the value of a node, from whichever layer says anything of it; None if none does."""
    for layer in graph.layers.values():
        stored = txn.get(NODES, layer.key + nid)
        if stored is not None:
            return (node_value(parse_record(stored).head),)
    return None


def emptying_edits(record: Record) -> Iterator[NodeEdit]:
    """Yield the edits that take all out of a record, but the node itself."""
    for tag, props in record.tag_props.items():
        for name, encoded in props.items():
            yield TagPropDelete(tag, name, decode_value(encoded))
    for tag, packed in record.tags.items():
        yield TagDelete(tag, decode_interval(packed[2:]) if packed else None)
    for name, encoded in record.props.items():
        yield PropDelete(name, decode_value(encoded))
    for tag, name in sorted(record.tag_prop_masks):
        yield Unmask(name, tag)
    for tag in sorted(record.tag_masks):
        yield Unmask(tag=tag)
    for name in sorted(record.prop_masks):
        yield Unmask(name)
    if record.is_mask:
        yield Unmask()


def unlinking_edits(graph: Graph, txn: ReadTxn, nid_key: bytes) -> Iterator[NodeEdit]:
    """Yield the edits that take edges from a node, what hides them, and its data out of a layer.

    Args:
        nid_key: The layer's key and the nid.
    """
    for edge in txn.values(EDGES_OUT, nid_key):
        number, to = keys.split_edge(edge)
        yield EdgeDelete(name_of(graph.names.verbs, txn, number), to)
    for edge in txn.values(EDGE_MASKS, nid_key):
        number, to = keys.split_edge(edge)
        verb = name_of(graph.names.verbs, txn, number)
        yield EdgeAdd(verb, to)
        yield EdgeDelete(verb, to)
    for name, value in node_data(graph.names.data, txn, nid_key):
        if value:
            yield NodeDataDelete(name, decode_value(value))
        else:
            yield NodeDataSet(name, None)
            yield NodeDataDelete(name, None)
