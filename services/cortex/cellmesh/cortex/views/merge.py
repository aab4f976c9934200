"""Merging a fork into what it was forked from: what its top layer says of nodes goes into the layer below.

A batch of nodes is merged in one transaction with its two change records, one for each layer: nothing is lost or there
twice, whenever the process ends. Deletions are merged as well: what the top layer masks is removed below.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from cellmesh.common.errors import CantMergeView
from cellmesh.common.storage import ReadTxn, SubDb, WriteTxn
from cellmesh.cortex.layers import keys
from cellmesh.cortex.layers.names import Names
from cellmesh.cortex.layers.reader import node_data
from cellmesh.cortex.layers.records import NODE_START, Record, node_value, parse_record
from cellmesh.cortex.layers.schema import EDGE_MASKS, EDGES_OUT, NODE_DATA, NODES
from cellmesh.cortex.layers.writer import LayerWriter
from cellmesh.cortex.model.registry import Form
from cellmesh.cortex.values.changes import encode_node_edits, frame
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
from cellmesh.cortex.values.ids import ViewId
from cellmesh.cortex.values.wire import decode_interval, decode_value
from cellmesh.cortex.views.draft import Draft
from cellmesh.cortex.views.editor import Editor
from cellmesh.cortex.views.graph import Graph
from cellmesh.cortex.views.merge_moves import NodeMoves
from cellmesh.cortex.views.session import GraphSession
from cellmesh.cortex.views.view import View

BATCH_NODE_COUNT: Final = 256
SCAN_COUNT: Final = 512


def _always(name: str) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Choice:
    """What of each node is merged.

    Attributes:
        nodes: Whether new nodes, deletions, properties, edges and data are.
        tags: Whether tags with their properties are.
        tag: Which tags, by name.
        prop: Which properties, by full name.
    """

    nodes: bool = True
    tags: bool = True
    tag: Callable[[str], bool] = _always
    prop: Callable[[str], bool] = _always


ALL: Final = Choice()


def below(view: View) -> View:
    """Return what a fork was forked from, as the view its edits are merged into.

    Raises:
        CantMergeView: the view is no fork.
    """
    if view.parent is None or len(view.layers) == 1:
        raise CantMergeView("only a fork can be merged", view=str(view.id))
    return View(ViewId(view.parent), view.layers[1:], view.name)


def changed_nids(
    txn: ReadTxn,
    layer: bytes,
    after: bytes,
    dbs: Sequence[SubDb] = (NODES, EDGES_OUT, EDGE_MASKS, NODE_DATA),
    count_max: int = SCAN_COUNT,
) -> list[bytes]:
    """Return the next nodes a layer says anything of, in order of their nids; empty at the end.

    Args:
        layer: The layer's key.
        after: The last nid seen, in 8 bytes, or empty.
        dbs: Where it says so; keys are of layer and nid.
        count_max: Rows looked at in each.
    """
    low = layer + after + b"\xff" if after else layer
    high = keys.end_of(layer)
    found: set[bytes] = set()
    reached: bytes | None = None
    for db in dbs:
        chunk = txn.scan_keys(db, low, high, count_max=count_max)
        nids = [key[len(layer) : len(layer) + 8] for key in chunk.items]
        if chunk.resume is not None and nids:
            # Nothing behind the shortest of the chunks is known for certain.
            reached = nids[-1] if reached is None else min(reached, nids[-1])
        found.update(nids)
    return sorted(nid for nid in found if reached is None or nid <= reached)


def merge_nodes(
    graph: Graph, view: View, nids: Sequence[bytes], choice: Choice = ALL, user: str = "root"
) -> int:
    """Merge some nodes of a fork, durable on return; returns how many edits its lower layer got.

    Triggers of the view below are run. No session of the calling thread may hold the write transaction: see
    `GraphSession.pause`.
    """
    with graph.begin(below(view), user=user) as session:
        count = _merge_batches(graph, session, view, nids, choice)
        session.sync()
    return count


def _merge_batches(
    graph: Graph, session: GraphSession, view: View, nids: Sequence[bytes], choice: Choice
) -> int:
    count = 0
    for start in range(0, len(nids), BATCH_NODE_COUNT):
        batch = nids[start : start + BATCH_NODE_COUNT]
        # Who watches is told of edits, which nodes that are moved have none of.
        is_watched = session.view.id in graph.edit_watchers

        def run(
            txn: WriteTxn, batch: Sequence[bytes] = batch, is_watched: bool = is_watched
        ) -> tuple[int, list[tuple[Names, str]], tuple[NodeEdits, ...]]:
            graph.check_layer(txn, view.layers[0])
            # What the top layer has deleted goes first: it may have made the node anew.
            editor = Editor(session, txn)
            NodeMerge(graph, editor, view.layers[0].key, choice).delete_masked(batch)
            done = editor.commit()
            changed = tuple(editor.committed)
            editor = Editor(session, txn)
            moves = NodeMoves(editor, view)
            rest = batch if is_watched or choice is not ALL else moves.take(batch)
            merge = NodeMerge(graph, editor, view.layers[0].key, choice)
            taken = [found for nid in rest if (found := merge.node(nid)) is not None]
            done += editor.commit() + moves.count
            changed += tuple(editor.committed)
            logged = moves.write()
            if taken:
                LayerWriter(txn, view.layers[0].key, graph.catalog, graph.names, graph.nids).apply(taken)
                logged += [encode_node_edits(node) for node in taken]
            if logged:
                payload = frame(view.layers[0].id, logged, session.user, editor.now_ms)
                graph.log_edits(txn, payload, user=session.user, now_ms=editor.now_ms)
            return done, graph.names.take_stored(), changed if is_watched else ()

        done, stored, changed = session.write_op(run)
        session.note_edits(done, stored)
        if changed:
            session.tell(changed)
        session.breathe()
        count += done
    return count


def merge_view(graph: Graph, view: View, choice: Choice = ALL, user: str = "root") -> int:
    """Merge all nodes of a fork, a batch at a time; returns how many edits its lower layer got.

    Durable on return, as is what a batch did once the next has begun and others had their turn.
    """
    layer = view.layers[0].key
    count, after = 0, b""
    with graph.begin(below(view), user=user) as session:
        while True:
            nids = session.read(partial(changed_nids, layer=layer, after=after))
            if not nids:
                session.sync()
                return count
            count += _merge_batches(graph, session, view, nids, choice)
            after = nids[-1]


class NodeMerge:
    """Merges nodes in one op."""

    def __init__(self, graph: Graph, editor: Editor, layer: bytes, choice: Choice) -> None:
        self.graph = graph
        self.editor = editor
        self.txn = editor.txn
        self.layer = layer
        self.choice = choice

    def delete_masked(self, nids: Sequence[bytes]) -> None:
        """Add the edits that delete nodes which the layer masks."""
        if not self.choice.nodes:
            return
        for nid in nids:
            stored = self.txn.get(NODES, self.layer + nid)
            if stored is None or stored[0] == NODE_START:
                continue
            record = parse_record(stored)
            if not record.is_mask:
                continue
            form = self.graph.form_of_key(lambda op: op(self.txn), nid[6:])
            draft = self.editor.draft(keys.unpack_nid(nid), form, node_value(record.head))
            if draft is not None:
                self.editor.delete(draft, force=True)

    def node(self, nid: bytes) -> NodeEdits | None:
        """Add the edits of a node to the editor; returns those that take what was merged out of the top layer."""
        stored = self.txn.get(NODES, self.layer + nid)
        record = parse_record(stored) if stored is not None else None
        form = self.graph.form_of_key(lambda op: op(self.txn), nid[6:])
        number = keys.unpack_nid(nid)
        value = _value(record, self.editor, nid)
        if value is None:
            return None
        draft = self.editor.draft(number, form, value[0])
        taken: list[NodeEdit] = []
        if record is not None and record.is_mask and self.choice.nodes:
            taken.append(Unmask())
        if draft is None:
            if record is None or not record.is_added or not self.choice.nodes:
                return NodeEdits(number, form.name, value[0], tuple(taken)) if taken else None
            draft = self._made(number, form, value[0])
        if record is not None:
            if self.choice.nodes:
                self._props(draft, form, record, taken)
            if self.choice.tags:
                self._tags(draft, record, taken)
        if self.choice.nodes:
            self._edges(draft, nid, taken)
            self._data(draft, nid, taken)
            if record is not None and record.is_added and self._is_bare(record, taken):
                taken.append(NodeDelete())
        return NodeEdits(number, form.name, value[0], tuple(taken)) if taken else None

    def _made(self, nid: int, form: Form, value: Any) -> Draft:
        top, under = self.editor.stack.parsed(self.txn, keys.pack_nid(nid))
        draft = Draft(nid, form, value, top, under)
        draft.edits.append(NodeAdd())
        self.editor.drafts[draft.key] = draft
        return draft

    def _is_bare(self, record: Record, taken: Sequence[NodeEdit]) -> bool:
        """Whether all that the layer says of a node is taken out, so that the node itself can go."""
        props = {edit.name for edit in taken if isinstance(edit, PropDelete)}
        tags = {edit.name for edit in taken if isinstance(edit, TagDelete)}
        return record.props.keys() <= props and record.tags.keys() <= tags

    def _props(self, draft: Draft, form: Form, record: Record, taken: list[NodeEdit]) -> None:
        for name, encoded in record.props.items():
            prop = form.props.get(name)
            if not self.choice.prop(prop.full_name if prop is not None else name):
                continue
            value = decode_value(encoded)
            old = draft.get(name)
            merged = value if old is None or prop is None else prop.type.merge(old, value)
            if name == ".created" and old is not None:
                merged = min(old, value)
            if old is None or merged != old:
                draft.set(name, merged)
            taken.append(PropDelete(name, value))
        for name in record.prop_masks:
            old = draft.get(name)
            if old is not None:
                draft.drop(name)
                # A mask is lifted by setting what it masks.
                taken += (PropSet(name, old), PropDelete(name, old))

    def _tags(self, draft: Draft, record: Record, taken: list[NodeEdit]) -> None:
        tags = sorted({*record.tags, *record.tag_props})
        for tag in tags:
            if not self.choice.tag(tag):
                continue
            for name, encoded in record.tag_props.get(tag, {}).items():
                tag_prop = self.graph.model.tagprop(name)
                value = decode_value(encoded)
                if tag_prop is not None:
                    self.editor.set_tag_prop(draft, tag, name, value, tag_prop.type.merge)
                taken.append(TagPropDelete(tag, name, value))
            if tag in record.tags:
                packed = record.tags[tag]
                interval = decode_interval(packed[2:]) if packed else None
                self.editor.add_tag(draft, tag, interval)
                taken.append(TagDelete(tag, interval))
        for tag, name in record.tag_prop_masks:
            if (
                self.choice.tag(tag)
                and self.editor.del_tag_prop(draft, tag, name)
                and draft.top is not None
                and name in draft.top.tag_props.get(tag, ())
            ):
                old = decode_value(draft.top.tag_props[tag][name])
                taken += (TagPropSet(tag, name, old), TagPropDelete(tag, name, old))
        for tag in sorted(record.tag_masks, reverse=True):
            if self.choice.tag(tag):
                self.editor.del_tag(draft, tag)
                taken += (TagSet(tag), TagDelete(tag))

    def _edges(self, draft: Draft, nid: bytes, taken: list[NodeEdit]) -> None:
        for edge in self.txn.values(EDGES_OUT, self.layer + nid):
            number, to = keys.split_edge(edge)
            verb = self._verb(number)
            self.editor.add_edge(draft, verb, keys.pack_nid(to))
            taken.append(EdgeDelete(verb, to))
        for edge in self.txn.values(EDGE_MASKS, self.layer + nid):
            number, to = keys.split_edge(edge)
            verb = self._verb(number)
            self.editor.del_edge(draft, verb, keys.pack_nid(to))
            taken += (EdgeAdd(verb, to), EdgeDelete(verb, to))

    def _verb(self, number: int) -> str:
        verb = self.graph.names.verbs.name_of(self.txn, number)
        assert verb is not None, "an edge's verb has no name"
        return verb

    def _data(self, draft: Draft, nid: bytes, taken: list[NodeEdit]) -> None:
        for name, stored in node_data(self.graph.names.data, self.txn, self.layer + nid):
            if stored:
                value = decode_value(stored)
                self.editor.set_data(draft, name, value)
                taken.append(NodeDataDelete(name, value))
            else:
                self.editor.pop_data(draft, name)
                taken += (NodeDataSet(name, 0), NodeDataDelete(name, 0))


def _value(record: Record | None, editor: Editor, nid: bytes) -> tuple[Any] | None:
    """Return the value of a node, from what any layer says of it; None if none does."""
    if record is not None:
        return (node_value(record.head),)
    data = editor.stack.node(editor.txn, nid)
    return None if data is None else (node_value(data),)
