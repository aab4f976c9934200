"""Edits from elsewhere into a layer: from another Cortex's layer, or given by a query in all detail.

What they say is so afterwards; what is so already is left out, so that edits which two layers send each other come to rest. A
deletion of what the layer does not hold masks what lies below it, if the layer lies upon others in any view. No other nodes are
implied: edits come with all that followed from them where they were made. Triggers run only where they are made in a view.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from cellmesh.common.failpoints import failpoint
from cellmesh.common.storage import WriteTxn
from cellmesh.cortex.layers import keys
from cellmesh.cortex.layers.names import Names
from cellmesh.cortex.layers.offsets import Taken, find_taken, store_taken
from cellmesh.cortex.layers.records import Record, node_head, parse_record
from cellmesh.cortex.layers.schema import EDGE_MASKS, EDGES_OUT, NODE_DATA, NODES
from cellmesh.cortex.layers.writer import LayerWriter
from cellmesh.cortex.values.edits import (
    MISSING,
    EdgeAdd,
    EdgeDelete,
    LayerEdits,
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
from cellmesh.cortex.values.ids import ViewId, buid_of
from cellmesh.cortex.values.shared import SharedEdge, SharedEdit, SharedNode
from cellmesh.cortex.values.wire import decode_interval, decode_value, encode_interval, encode_value, field
from cellmesh.cortex.views.stack_changes import TYPE_NAME as STACK_TYPE_NAME
from cellmesh.cortex.views.stack_changes import encode as encode_steps
from cellmesh.cortex.views.stack_changes import set_layer_offset
from cellmesh.cortex.views.taking_checks import check_edits
from cellmesh.cortex.views.view import View

if TYPE_CHECKING:
    from cellmesh.cortex.layers.layer import Layer
    from cellmesh.cortex.views.graph import Graph

BATCH_NODE_COUNT_MAX: Final = 10_000
"""Nodes of one call."""


def take_edits(
    graph: Graph,
    layer: Layer,
    nodes: Sequence[SharedNode],
    *,
    user: str,
    source: str = "",
    begins: Taken | None = None,
    ends: Taken | None = None,
    with_masks: bool = False,
    origin: str = "",
    view: View | None = None,
    is_stored: bool = False,
) -> tuple[int, Taken | None]:
    """Apply edits from elsewhere to a layer in one transaction, durable on return.

    Args:
        source: What they come from. With one, `begins` and `ends` are stored with the edits: edits that do not begin where
            those before ended are not applied, so that each is applied once, however often it is sent.
        begins: How far the source had been taken when these were read; None for a source that is new.
        ends: How far it is with these.
        with_masks: Whether deletions mask in any case, wherever the layer lies.
        origin: The layer that they were made in first; see `LayerEdits`.
        view: The view that they are made in, if they are: its triggers run.
        is_stored: Whether they were read from a layer, here or of another Cortex, so that their values are normalised.

    Returns:
        How many edits changed anything, and how far the source is taken now.

    Raises:
        NoSuchForm, NoSuchProp, NoSuchTagProp: the model here does not have it.
        BadTypeValu: a value does not normalise here, is not as its type stores it, or cannot be indexed.
        IsReadOnly, NoSuchLayer: the layer takes no edits, or was removed.
    """
    check_edits(graph, nodes, is_stored=is_stored)
    may_mask = with_masks or any(
        layer.id == one.id for view in graph.views.values() for one in view.layers[:-1]
    )
    now_ms = graph.now_ms()
    told: list[NodeEdits] = []

    def run(txn: WriteTxn) -> tuple[int, Taken | None, list[tuple[Names, str]]]:
        graph.check_layer(txn, layer)
        known = find_taken(txn, layer.id, source) if source else None
        if source and known != begins:
            return 0, known, []
        taker = Taker(graph, txn, layer.key, may_mask)
        for node in nodes:
            taker.take(node)
        done = taker.finish()
        if done:
            graph.log_layer_edits(
                txn,
                LayerEdits(layer.id, tuple(done), user, now_ms, tuple(graph.names.take_fresh()), origin),
            )
        if source and ends is not None:
            store_taken(txn, layer.id, source, ends)
            step = set_layer_offset(layer.id, source, ends.offset, ends.after)
            graph.log.append(
                txn,
                time_us=now_ms * 1000,
                actor=user,
                type_name=STACK_TYPE_NAME,
                payload=encode_steps([step]),
            )
        if view is not None and view.id in graph.edit_watchers:
            told.extend(done)
        failpoint("layer_edits_taken")
        return sum(len(node.edits) for node in done), ends, graph.names.take_stored()

    with graph.begin(view or View(ViewId(""), (layer,), layer.name), user=user) as session:
        count, taken, stored = session.write_op(run)
        session.note_edits(count, stored)
        if told:
            session.tell(told)
        session.sync()
    return count, taken


class Taker:
    """Applies edits in one op."""

    def __init__(self, graph: Graph, txn: WriteTxn, layer: bytes, may_mask: bool) -> None:
        self.graph = graph
        self.txn = txn
        self.layer = layer
        self.may_mask = may_mask
        self.done: list[NodeEdits] = []
        self._nids: dict[bytes, int] = {}
        self._waiting: dict[int, NodeEdits] = {}

    def take(self, node: SharedNode) -> None:
        """Take what changes anything of a node's edits."""
        buid = buid_of(node.form, node.value)
        nid = self._nid(buid, node.form)
        if nid in self._waiting:
            self._write()
        key = self.layer + keys.pack_nid(nid)
        stored = self.txn.get(NODES, key)
        record = Record(node_head(node.form, node.value, buid)) if stored is None else parse_record(stored)
        state = _State(self, record, key)
        for edit in node.edits:
            state.take(edit)
        if state.edits:
            self._waiting[nid] = NodeEdits(nid, node.form, node.value, tuple(state.edits))

    def finish(self) -> list[NodeEdits]:
        """Write the rest; returns all that was written."""
        self._write()
        return self.done

    def target(self, edge: SharedEdge) -> int | None:
        """Return the nid of the node that an edge points to; None if nobody knows what node it is."""
        nid = self._nids.get(edge.buid) or self.graph.nids.find(self.txn, edge.buid)
        if nid is None and edge.form and buid_of(edge.form, edge.value) == edge.buid:
            nid = self._nid(edge.buid, edge.form)
            # Without edits: so that its number is stored, here and where the log is replayed.
            self.done.append(NodeEdits(nid, edge.form, edge.value, ()))
            self._writer().apply(self.done[-1:])
        return nid

    def _nid(self, buid: bytes, form: str) -> int:
        nid = self._nids.get(buid) or self.graph.nids.find(self.txn, buid)
        if nid is None:
            nid = self.graph.nids.fresh(self.graph.names.forms.reserve(self.txn, form))
        self._nids[buid] = nid
        return nid

    def _write(self) -> None:
        nodes = list(self._waiting.values())
        self._waiting.clear()
        if nodes:
            self._writer().apply(nodes)
            self.done += nodes

    def _writer(self) -> LayerWriter:
        graph = self.graph
        return LayerWriter(self.txn, self.layer, graph.catalog, graph.names, graph.nids)


class _State:
    """What a layer says of a node while edits of it are taken: what changes nothing is left out."""

    def __init__(self, taker: Taker, record: Record, key: bytes) -> None:
        self.taker = taker
        self.txn = taker.txn
        self.record = record
        self.key = key
        self.edits: list[NodeEdit] = []
        self._edges: dict[tuple[str, int], str] = {}
        self._data: dict[str, bytes | None] = {}

    def take(self, edit: SharedEdit) -> None:
        """Take an edit if it changes anything."""
        match edit:
            case NodeAdd():
                if not self.record.is_added:
                    self.record.is_added = True
                    self.edits.append(edit)
            case NodeDelete():
                self._delete()
            case PropSet():
                self._prop_set(edit)
            case PropDelete():
                self._prop_delete(edit)
            case TagSet():
                self._tag_set(edit)
            case TagDelete():
                self._tag_delete(edit)
            case TagPropSet():
                self._tag_prop_set(edit)
            case TagPropDelete():
                self._tag_prop_delete(edit)
            case SharedEdge():
                self._edge(edit)
            case NodeDataSet():
                self._data_set(edit)
            case NodeDataDelete():
                self._data_delete(edit)
            case Unmask():
                self._unmask(edit)
            case EdgeAdd() | EdgeDelete():
                raise AssertionError("edges from elsewhere name their other end")

    def _delete(self) -> None:
        if self.record.is_added:
            self.record.is_added = False
            self.edits.append(NodeDelete())
        elif self.taker.may_mask and not self.record.is_mask:
            self.record.is_mask = True
            self.edits.append(NodeDelete())

    def _prop_set(self, edit: PropSet) -> None:
        props, encoded = self.record.props, encode_value(edit.value)
        old = props.get(edit.name)
        if old != encoded:
            self.edits.append(PropSet(edit.name, edit.value, MISSING if old is None else decode_value(old)))
            props[edit.name] = encoded
            self.record.prop_masks.discard(edit.name)

    def _prop_delete(self, edit: PropDelete) -> None:
        old = self.record.props.pop(edit.name, None)
        if old is not None:
            self.edits.append(PropDelete(edit.name, decode_value(old)))
        elif edit.old_value is MISSING and self.taker.may_mask and edit.name not in self.record.prop_masks:
            self.record.prop_masks.add(edit.name)
            self.edits.append(PropDelete(edit.name))

    def _tag_set(self, edit: TagSet) -> None:
        tags = self.record.tags
        packed = b"" if edit.interval is None else field(0x0A, encode_interval(edit.interval))
        old = tags.get(edit.name)
        if old == packed:
            return
        if old is None:
            self.edits.append(TagSet(edit.name, edit.interval))
        else:
            self.edits.append(
                TagSet(edit.name, edit.interval, True, decode_interval(old[2:]) if old else None)
            )
        tags[edit.name] = packed
        self.record.tag_masks.discard(edit.name)

    def _tag_delete(self, edit: TagDelete) -> None:
        old = self.record.tags.pop(edit.name, None)
        if old is not None:
            self.edits.append(TagDelete(edit.name, decode_interval(old[2:]) if old else None))
        elif self.taker.may_mask and edit.name not in self.record.tag_masks:
            self.record.tag_masks.add(edit.name)
            self.edits.append(TagDelete(edit.name))

    def _tag_prop_set(self, edit: TagPropSet) -> None:
        props = self.record.tag_props.setdefault(edit.tag, {})
        encoded = encode_value(edit.value)
        old = props.get(edit.name)
        if old != encoded:
            old_value = MISSING if old is None else decode_value(old)
            self.edits.append(TagPropSet(edit.tag, edit.name, edit.value, old_value))
            props[edit.name] = encoded
            self.record.tag_prop_masks.discard((edit.tag, edit.name))

    def _tag_prop_delete(self, edit: TagPropDelete) -> None:
        old = self.record.tag_props.get(edit.tag, {}).pop(edit.name, None)
        name = (edit.tag, edit.name)
        if old is not None:
            self.edits.append(TagPropDelete(*name, decode_value(old)))
        elif edit.old_value is MISSING and self.taker.may_mask and name not in self.record.tag_prop_masks:
            self.record.tag_prop_masks.add(name)
            self.edits.append(TagPropDelete(*name))

    def _unmask(self, edit: Unmask) -> None:
        record = self.record
        if edit.prop and edit.tag:
            is_masked = (edit.tag, edit.prop) in record.tag_prop_masks
            record.tag_prop_masks.discard((edit.tag, edit.prop))
        elif edit.prop or edit.tag:
            masks = record.prop_masks if edit.prop else record.tag_masks
            is_masked = (edit.prop or edit.tag) in masks
            masks.discard(edit.prop or edit.tag)
        else:
            is_masked, record.is_mask = record.is_mask, False
        if is_masked:
            self.edits.append(edit)

    def _edge(self, edge: SharedEdge) -> None:
        to = self.taker.target(edge)
        if to is None:
            return
        key = (edge.verb, to)
        now = self._edges.get(key)
        if now is None:
            now = self._stored_edge(edge.verb, to)
        if edge.is_add:
            if now != "held":
                self.edits.append(EdgeAdd(edge.verb, to))
                now = "held"
        elif now == "held":
            self.edits.append(EdgeDelete(edge.verb, to))
            now = "none"
        elif now == "none" and self.taker.may_mask:
            self.edits.append(EdgeDelete(edge.verb, to))
            now = "masked"
        self._edges[key] = now

    def _stored_edge(self, verb: str, to: int) -> str:
        number = self.taker.graph.names.verbs.find(self.txn, verb)
        if number is None:
            return "none"
        packed = keys.edge(number, to)
        if self.txn.has(EDGES_OUT, self.key, packed):
            return "held"
        return "masked" if self.txn.has(EDGE_MASKS, self.key, packed) else "none"

    def _stored_data(self, name: str) -> bytes | None:
        if name in self._data:
            return self._data[name]
        number = self.taker.graph.names.data.find(self.txn, name)
        return None if number is None else self.txn.get(NODE_DATA, self.key + keys.pack_number(number))

    def _data_set(self, edit: NodeDataSet) -> None:
        old, encoded = self._stored_data(edit.name), encode_value(edit.value)
        if old != encoded:
            self.edits.append(NodeDataSet(edit.name, edit.value, decode_value(old) if old else MISSING))
            self._data[edit.name] = encoded

    def _data_delete(self, edit: NodeDataDelete) -> None:
        old = self._stored_data(edit.name)
        if old:
            self.edits.append(NodeDataDelete(edit.name, decode_value(old)))
            self._data[edit.name] = None
        elif old is None and self.taker.may_mask:
            self.edits.append(NodeDataDelete(edit.name))
            self._data[edit.name] = b""
