"""What every part of an editor stands on: drafts of nodes, who holds a value, applying the edits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import StorageCorrupt
from cellmesh.common.storage import SubDb, WriteTxn
from cellmesh.cortex.layers import keys
from cellmesh.cortex.layers.catalog import index_name
from cellmesh.cortex.layers.records import NODE_START, node_value
from cellmesh.cortex.layers.schema import (
    BY_ARRAY,
    BY_PROP,
    NODES,
)
from cellmesh.cortex.layers.writer import LayerWriter
from cellmesh.cortex.model.registry import Form, Prop
from cellmesh.cortex.values.changes import encode_layer_edits
from cellmesh.cortex.values.edits import (
    LayerEdits,
    NodeAdd,
    NodeEdits,
)
from cellmesh.cortex.views.draft import Draft
from cellmesh.cortex.views.hooks import NEW_NODE_PROPS
from cellmesh.cortex.views.overlay import FORM, Held
from cellmesh.cortex.views.plans import NodePlan

if TYPE_CHECKING:
    from cellmesh.cortex.views.session_base import SessionBase

CREATED: Final = ".created"


class EditorBase:
    """The edits of one op.

    Args:
        session: Whose edits they are.
        txn: The open write transaction.
    """

    def __init__(self, session: SessionBase, txn: WriteTxn) -> None:
        graph = session.graph
        self.session = session
        self.txn = txn
        self.graph = graph
        self.stack = session.stack
        self.names = graph.names
        self.nids = graph.nids
        self.now_ms = graph.now_ms()
        self.drafts: dict[bytes, Draft] = {}
        self.fresh: dict[bytes, Draft] = {}
        self.written: dict[bytes, bytes] = {}
        self.committed: Sequence[NodeEdits] = ()

    # Drafts.

    def node(self, plan: NodePlan) -> Draft:
        """Return the draft of a node, making the node and those it implies if the view has it not."""
        draft = self.fresh.get(plan.buid)
        if draft is not None:
            return draft
        nid = self.nids.find(self.txn, plan.buid)
        if nid is None:
            draft = Draft(
                self.nids.fresh(self.names.forms.reserve(self.txn, plan.form.name)),
                plan.form,
                plan.value,
                None,
                None,
            )
        else:
            key = keys.pack_nid(nid)
            known = self.drafts.get(key)
            if known is not None:
                return known
            draft = self._read(nid, key, plan.form, plan.value)
        if draft.is_new:
            # Known as new before the nodes it implies are made: those may imply it in turn.
            self.fresh[plan.buid] = draft
            for implied in plan.implied:
                self.node(implied)
            self._start(draft, plan)
        self.drafts[draft.key] = draft
        return draft

    def _read(self, nid: int, key: bytes, form: Form, value: Any) -> Draft:
        """Make a draft of what is stored. Many are only asked whether they are there: nodes that others imply."""
        stack = self.stack
        if stack.is_single:
            stored = self.txn.get(NODES, stack.top + key)
            if stored is not None and stored[0] == NODE_START:
                return Draft.of_stored(nid, form, value, stored)
        return Draft(nid, form, value, *stack.parsed(self.txn, key))

    def _start(self, draft: Draft, plan: NodePlan) -> None:
        if self.graph.rules.locks is not None:
            self.graph.rules.locks.rules.check(plan.form)
        draft.edits.append(NodeAdd())
        draft.set(CREATED, self.now_ms)
        fix = NEW_NODE_PROPS.get(plan.form.name)
        props = plan.props if fix is None else fix(self, plan.props, plan.value)
        for name, value in props.items():
            draft.set(name, value)

    def find(self, plan: NodePlan) -> Draft | None:
        """Return the draft of a node that the view has, or None."""
        fresh = self.fresh.get(plan.buid)
        if fresh is not None:
            return fresh
        nid = self.nids.find(self.txn, plan.buid)
        if nid is None:
            return None
        return self.draft(nid, plan.form, plan.value)

    def draft(self, nid: int, form: Form, value: Any) -> Draft | None:
        """Return the draft of a node by its nid, or None if the view has it not."""
        key = keys.pack_nid(nid)
        draft = self.drafts.get(key)
        if draft is None:
            draft = self._read(nid, key, form, value)
            if draft.is_new:
                return None
            self.drafts[key] = draft
        return draft

    def existing(self, form: str, value: Any) -> Draft | None:
        """Return the draft of a node by form and stored value, or None if the view has it not."""
        return self.find(self.session.planner.stored_node(self.graph.model.require_form(form), value))

    def holders(self, prop_name: str, value: Any) -> Iterator[Draft]:
        """Yield drafts of the nodes that hold a stored value in a property."""
        prop = self.graph.model.require_prop(prop_name)
        assert prop.form is not None
        for key in list(self.nids_holding(BY_PROP, prop, value, None)):
            data = self.stack.node(self.txn, key)
            if data is None:
                raise StorageCorrupt("an index entry has no node", prop=prop_name)
            draft = self.draft(keys.unpack_nid(key), prop.form, node_value(data))
            if draft is not None:
                yield draft

    # Who holds a value.

    def nids_holding(self, db: SubDb, prop: Prop, value: Any, but: bytes | None) -> Iterator[bytes]:
        """Yield the nids, but one, of nodes that hold a stored value in a property or its array."""
        name = index_name(prop)
        number = self.names.props.find(self.txn, name)
        if number is None:
            return
        type_ = prop.type.element if db is BY_ARRAY else prop.type
        assert type_ is not None
        encoded = type_.encode(value)
        held = FORM if prop.is_form else Held("prop", prop.name)
        for depth, layer in enumerate(self.stack.layers):
            low = keys.prop_prefix(layer, number) + encoded
            for nid in self.scan_nids(db, low, low + b"\x00"):
                if nid != but and (self.stack.is_single or self.stack.is_seen(self.txn, nid, held, depth)):
                    yield nid

    def scan_nids(self, db: SubDb, low: bytes, high: bytes | None) -> Iterator[bytes]:
        position = None
        while True:
            chunk = self.txn.scan_values(db, low, high, count_max=64, after=position)
            yield from chunk.items
            position = chunk.resume
            if position is None:
                return

    # The end.

    def node_bytes(self, key: bytes) -> bytes | None:
        """Return a node as it is after `commit`, serialized."""
        if self.stack.is_single:
            fresh = self.written.get(key)
            if fresh is not None and fresh[0] == NODE_START:
                return fresh
        return self.stack.node(self.txn, key)

    def commit(self) -> int:
        """Apply and log the edits of all drafts; returns how many there were. Nothing fails from here on."""
        nodes = tuple(
            NodeEdits(draft.nid, draft.form.name, draft.value, tuple(draft.edits))
            for draft in self.drafts.values()
            if draft.edits
        )
        if not nodes:
            return 0
        self._write(nodes)
        self.committed = nodes
        return sum(len(node.edits) for node in nodes)

    def _write(self, nodes: Sequence[NodeEdits]) -> None:
        layer = self.session.view.layers[0]
        self.graph.check_layer(self.txn, layer)
        together = self.session.together
        payload = b""
        if not together.is_kept:
            edits = LayerEdits(layer.id, tuple(nodes), self.session.user, self.now_ms)
            payload = encode_layer_edits(edits)
        writer = LayerWriter(self.txn, layer.key, self.graph.catalog, self.names, self.nids)
        writer.apply(nodes, {draft.nid: draft.top for draft in self.drafts.values() if draft.edits})
        self.written = writer.written
        if together.is_kept:
            together.nodes += nodes
            together.names += self.names.take_fresh()
        else:
            self.graph.log_edits(self.txn, payload, user=self.session.user, now_ms=self.now_ms)
