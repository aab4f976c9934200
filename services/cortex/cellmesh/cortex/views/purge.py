"""Takes all that layers say of a property, or of a form, out of every layer, in batches that are logged as edits.

For what is about to leave the model: index entries of values are found by what the model still says. Masks, by which an
upper layer hides what lies below it, stand in no index: the records that have any are gone through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from cellmesh.common.errors import CantDelForm
from cellmesh.common.storage import ReadTxn, WriteTxn
from cellmesh.common.storage.transactions import Position
from cellmesh.common.storage.walking import walk
from cellmesh.cortex.layers import keys
from cellmesh.cortex.layers.catalog import index_name
from cellmesh.cortex.layers.records import NODE_START, Record, node_form, node_value, parse_record
from cellmesh.cortex.layers.schema import BY_PROP, BY_TAG_PROP, NODES
from cellmesh.cortex.layers.stats import read_count
from cellmesh.cortex.layers.writer import LayerWriter
from cellmesh.cortex.model.registry import Form, Prop
from cellmesh.cortex.values.edits import LayerEdits, NodeEdit, NodeEdits, PropDelete, TagPropDelete, Unmask
from cellmesh.cortex.values.wire import decode_value
from cellmesh.cortex.views.merge import changed_nids
from cellmesh.cortex.views.wipe import empty_node

if TYPE_CHECKING:
    from cellmesh.cortex.layers.layer import Layer
    from cellmesh.cortex.views.graph import Graph
    from cellmesh.cortex.views.session import GraphSession

BATCH_NODE_COUNT: Final = 256
SCAN_COUNT: Final = 2000

Find: TypeAlias = Callable[[ReadTxn, bytes], Iterator[bytes]]
"""Yields nids of a layer that may have a value of the property."""

Edits: TypeAlias = Callable[[Record], list[NodeEdit]]
"""The edits that take the property off a record, its masks included."""


def purge_prop(session: GraphSession, prop: Prop) -> int:
    """Remove all values of a property of one form, or of a universal one, and the masks of it; returns how many nodes had any."""
    names = session.graph.names
    form = None if prop.is_universal or prop.form is None else prop.form.name

    def find(txn: ReadTxn, layer: bytes) -> Iterator[bytes]:
        number = names.props.find(txn, index_name(prop))
        if number is not None:
            prefix = keys.prop_prefix(layer, number)
            yield from txn.scan_values(BY_PROP, prefix, keys.end_of(prefix), count_max=BATCH_NODE_COUNT).items

    def edits(record: Record) -> list[NodeEdit]:
        if form is not None and node_form(record.head) != form:
            return []
        made: list[NodeEdit] = [Unmask(prop.name)] if prop.name in record.prop_masks else []
        found = record.props.get(prop.name)
        return made if found is None else [*made, PropDelete(prop.name, decode_value(found))]

    return _purge(session, prop.name, find, edits)


def purge_tag_prop(session: GraphSession, name: str) -> int:
    """Remove all values of a tag property, and the masks of it; returns how many nodes had any, counted once a batch."""
    names = session.graph.names

    def find(txn: ReadTxn, layer: bytes) -> Iterator[bytes]:
        number = names.tag_props.find(txn, name)
        if number is None:
            return
        # Keys are of layer, tag and property: those of one property stand apart.
        wanted = keys.pack_number(number)
        at = len(layer) + keys.NUMBER_SIZE
        for key, nid in walk(txn, BY_TAG_PROP, layer, keys.end_of(layer), count=SCAN_COUNT):
            if key[at : at + keys.NUMBER_SIZE] == wanted:
                yield nid

    def edits(record: Record) -> list[NodeEdit]:
        masked = sorted(tag for tag, masked in record.tag_prop_masks if masked == name)
        made: list[NodeEdit] = [Unmask(name, tag) for tag in masked]
        made += [
            TagPropDelete(tag, name, decode_value(props[name]))
            for tag, props in record.tag_props.items()
            if name in props
        ]
        return made

    return _purge(session, name, find, edits)


def purge_form(session: GraphSession, form: Form) -> int:
    """Remove what layers still say of nodes of a form that no layer holds: masks, and what was added to nodes below.

    Returns:
        How many nodes layers said something of.

    Raises:
        CantDelForm: a layer holds a node of the form, whether a view shows it or not.
    """
    graph = session.graph
    number = session.read(lambda txn: graph.names.forms.find(txn, form.name))
    if number is None:
        return 0
    form_key = keys.pack_form(number)
    for layer in list(graph.layers.values()):
        _check_no_node(session, layer, form, number)
    count = 0
    for layer in list(graph.layers.values()):
        after = b""
        while nids := session.read(partial(changed_nids, layer=layer.key, after=after)):
            after = nids[-1]
            wanted = [nid for nid in nids if nid[6:] == form_key]
            if wanted:
                count += _write(session, layer, partial(_emptied, graph, layer.key, wanted))
            session.breathe()
    return count


def _emptied(graph: Graph, layer: bytes, nids: Sequence[bytes], txn: ReadTxn) -> list[NodeEdits]:
    return [made for nid in nids if (made := empty_node(graph, txn, layer, nid)) is not None]


def _check_no_node(session: GraphSession, layer: Layer, form: Form, form_number: int) -> None:
    def count(txn: ReadTxn) -> int:
        number = session.graph.names.props.find(txn, index_name(form.value_prop))
        return 0 if number is None else read_count(txn, keys.count_key(layer.key, number, form_number))

    if session.read(count):
        raise CantDelForm(f"the layer {layer.id} holds nodes of {form.name}", form=form.name)


def _purge(session: GraphSession, name: str, find: Find, edits: Edits) -> int:
    count = 0
    for layer in list(session.graph.layers.values()):
        while done := _write(session, layer, partial(_without, layer.key, find, edits)):
            count += done
            session.breathe()
        count += _purge_masks(session, layer, name.encode(), edits)
    return count


def _purge_masks(session: GraphSession, layer: Layer, name: bytes, edits: Edits) -> int:
    count = 0
    position: Position | None = None
    while True:
        nids, position = session.read(partial(_masking, layer.key, name, position))
        for start in range(0, len(nids), BATCH_NODE_COUNT):
            batch = nids[start : start + BATCH_NODE_COUNT]

            def find(txn: ReadTxn, layer: bytes, batch: Sequence[bytes] = batch) -> Iterator[bytes]:
                return iter(batch)

            count += _write(session, layer, partial(_without, layer.key, find, edits))
        session.breathe()
        if position is None:
            return count


def _masking(
    layer: bytes, name: bytes, after: Position | None, txn: ReadTxn
) -> tuple[list[bytes], Position | None]:
    """Return nodes of which a layer may hide something of a name, and how to go on.

    Most records hide nothing: their first byte tells.
    """
    chunk = txn.scan(NODES, layer, keys.end_of(layer), count_max=SCAN_COUNT, after=after)
    nids = [key[len(layer) :] for key, stored in chunk.items if stored[0] != NODE_START and name in stored]
    return nids, chunk.resume


def _without(layer: bytes, find: Find, edits: Edits, txn: ReadTxn) -> list[NodeEdits]:
    """Return the edits that take the property off the next nodes."""
    nodes: dict[bytes, NodeEdits] = {}
    for nid in find(txn, layer):
        if nid in nodes:
            continue
        stored = txn.get(NODES, layer + nid)
        if stored is None:
            continue
        record = parse_record(stored)
        found = edits(record)
        if found:
            form, value = node_form(record.head), node_value(record.head)
            nodes[nid] = NodeEdits(keys.unpack_nid(nid), form, value, tuple(found))
        if len(nodes) >= BATCH_NODE_COUNT:
            break
    return list(nodes.values())


def _write(session: GraphSession, layer: Layer, make: Callable[[ReadTxn], Sequence[NodeEdits]]) -> int:
    """Apply the edits that a look at the storage gives, in one op with their record; returns of how many nodes."""
    graph = session.graph

    def op(txn: WriteTxn) -> int:
        nodes = tuple(make(txn))
        if nodes:
            graph.check_layer(txn, layer)
            LayerWriter(txn, layer.key, graph.catalog, graph.names, graph.nids).apply(nodes)
            graph.log_layer_edits(txn, LayerEdits(layer.id, nodes, session.user, graph.now_ms()))
        return len(nodes)

    done = session.write_op(op)
    session.note_edits(done, ())
    return done
