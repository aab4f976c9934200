"""One op's intended edits. What is there is read, rules are kept, NodeEdits come out, then they are applied.

An editor lives inside one write op. Its first half only reads, so that a broken rule leaves nothing behind;
`commit` is its second half. Nodes it works on are drafts: what the layers hold, with the edits on top.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import CantDelNode, ReadOnlyProp, StorageCorrupt
from cellmesh.common.storage import SubDb, WriteTxn
from cellmesh.cortex.layers import keys
from cellmesh.cortex.layers.catalog import index_name
from cellmesh.cortex.layers.records import NODE_START, Record, node_value
from cellmesh.cortex.layers.schema import (
    BY_ARRAY,
    BY_PROP,
    BY_TAG,
    EDGE_MASKS,
    EDGES_IN,
    EDGES_OUT,
    NODE_DATA,
    NODES,
)
from cellmesh.cortex.layers.writer import LayerWriter
from cellmesh.cortex.model.registry import Form, Prop
from cellmesh.cortex.values.changes import encode_layer_edits
from cellmesh.cortex.values.edits import (
    MISSING,
    EdgeAdd,
    EdgeDelete,
    Interval,
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
)
from cellmesh.cortex.values.wire import decode_interval, decode_value, encode_value
from cellmesh.cortex.views.hooks import NEW_NODE_PROPS, PROP_CHANGED
from cellmesh.cortex.views.overlay import FORM, Held
from cellmesh.cortex.views.plans import NodePlan, PropPlan

if TYPE_CHECKING:
    from cellmesh.cortex.views.session_base import SessionBase

CREATED: Final = ".created"
REDIRECTS_MAX: Final = 64
_UNSET: Final = object()


class Draft:
    """A node being edited.

    Attributes:
        nid, key: Its number, and that in 8 bytes.
        form, value: What it is.
        top: What the layer written to says of it, before the edits.
        below: What the layers below show of it.
        is_new: Whether the view had no such node.
        edits: The edits so far.
    """

    __slots__ = ("_props", "_tags", "below", "edits", "form", "is_new", "key", "nid", "top", "value")

    def __init__(self, nid: int, form: Form, value: Any, top: Record | None, below: Record | None) -> None:
        self.nid = nid
        self.key = keys.pack_nid(nid)
        self.form = form
        self.value = value
        self.top = top
        self.below = None if top is not None and top.is_mask else below
        self.is_new = not ((top is not None and top.is_added) or self.below is not None)
        self.edits: list[NodeEdit] = []
        self._props: dict[str, Any] = {}
        self._tags: dict[str, Any] = {}

    def get(self, name: str) -> Any:
        """Return a property as it is after the edits so far, or None."""
        value = self._props.get(name, _UNSET)
        if value is not _UNSET:
            return value
        encoded = self.encoded(name)
        return None if encoded is None else decode_value(encoded)

    def encoded(self, name: str) -> bytes | None:
        """Return a property as it was before the edits."""
        top, below = self.top, self.below
        if top is not None:
            found = top.props.get(name)
            if found is not None or name in top.prop_masks:
                return found
        return below.props.get(name) if below is not None else None

    def has_tag(self, name: str) -> bool:
        """Whether it has a tag after the edits so far."""
        return self.tag(name) is not MISSING

    def tag(self, name: str) -> Any:
        """Return a tag's interval after the edits so far, None without one; MISSING without the tag."""
        found = self._tags.get(name, _UNSET)
        if found is not _UNSET:
            return found
        for record in (self.top, self.below):
            if record is not None:
                if name in record.tags:
                    encoded = record.tags[name]
                    return decode_interval(encoded[2:]) if encoded else None
                if name in record.tag_masks:
                    break
        return MISSING

    def tag_names(self) -> set[str]:
        """The tags it has after the edits so far."""
        names = set(self.top.tags) if self.top is not None else set()
        if self.below is not None:
            masks = self.top.tag_masks if self.top is not None else set()
            names |= self.below.tags.keys() - masks
        for name, interval in self._tags.items():
            if interval is MISSING:
                names.discard(name)
            else:
                names.add(name)
        return names

    def set(self, name: str, value: Any) -> None:
        """Add the edit that sets a property."""
        old: Any = MISSING
        if name in self._props:
            old = self._props[name] if self._props[name] is not None else MISSING
        elif self.top is not None and name in self.top.props:
            old = decode_value(self.top.props[name])
        self.edits.append(PropSet(name, value, old))
        self._props[name] = value

    def drop(self, name: str) -> None:
        """Add the edits that remove a property from the view."""
        pending = self._props.get(name)
        if pending is not None:
            self.edits.append(PropDelete(name, pending))
        elif self.top is not None and name in self.top.props:
            self.edits.append(PropDelete(name, decode_value(self.top.props[name])))
        if (
            self.below is not None
            and name in self.below.props
            and not (self.top and name in self.top.prop_masks)
        ):
            self.edits.append(PropDelete(name))
        self._props[name] = None

    def set_tag(self, name: str, interval: Interval) -> None:
        """Add the edit that puts a tag on, or changes its interval."""
        old = self.tag(name)
        in_top = name in self._tags or (self.top is not None and name in self.top.tags)
        if old is MISSING or not in_top:
            self.edits.append(TagSet(name, interval))
        else:
            self.edits.append(TagSet(name, interval, True, old))
        self._tags[name] = interval

    def drop_tag(self, name: str) -> None:
        """Add the edits that take a tag, with its properties, off the view."""
        top, below = self.top, self.below
        for record in (top, below):
            for prop, value in (record.tag_props.get(name, {}) if record is not None else {}).items():
                if record is top:
                    self.edits.append(TagPropDelete(name, prop, decode_value(value)))
                elif top is None or (name, prop) not in top.tag_prop_masks:
                    self.edits.append(TagPropDelete(name, prop))
        pending = self._tags.get(name, MISSING)
        if pending is not MISSING:
            self.edits.append(TagDelete(name, pending))
        elif top is not None and name in top.tags:
            self.edits.append(TagDelete(name, self.tag(name)))
        if below is not None and name in below.tags and not (top is not None and name in top.tag_masks):
            self.edits.append(TagDelete(name))
        self._tags[name] = MISSING


class Editor:
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
            known = self.drafts.get(keys.pack_nid(nid))
            if known is not None:
                return known
            top, below = self.stack.parsed(self.txn, keys.pack_nid(nid))
            draft = Draft(nid, plan.form, plan.value, top, below)
        if draft.is_new:
            # Known as new before the nodes it implies are made: those may imply it in turn.
            self.fresh[plan.buid] = draft
            for implied in plan.implied:
                self.node(implied)
            self._start(draft, plan)
        self.drafts[draft.key] = draft
        return draft

    def _start(self, draft: Draft, plan: NodePlan) -> None:
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
            top, below = self.stack.parsed(self.txn, key)
            draft = Draft(nid, form, value, top, below)
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
        for key in list(self._holders(BY_PROP, prop, value, None)):
            data = self.stack.node(self.txn, key)
            if data is None:
                raise StorageCorrupt("an index entry has no node", prop=prop_name)
            draft = self.draft(keys.unpack_nid(key), prop.form, node_value(data))
            if draft is not None:
                yield draft

    # Properties.

    def apply_prop(self, draft: Draft, plan: PropPlan, *, only_new: bool = False) -> bool:
        """Set a property with what it implies; returns whether it changed.

        Raises:
            ReadOnlyProp: it has another value already, and may not change.
        """
        prop, value = plan.prop, plan.value
        old = draft.get(prop.name)
        if old is not None:
            if only_new:
                return False
            value = prop.type.merge(old, value)
            if value == old and type(value) is type(old):
                return False
            if prop.read_only:
                raise read_only(draft.form.name, plan)
        for implied in plan.implied:
            self.node(implied)
        draft.set(prop.name, value)
        for sub, sub_value in plan.subs:
            self.put(draft, sub.name, sub_value)
        changed = PROP_CHANGED.get((draft.form.name, prop.name))
        if changed is not None:
            changed(self, draft, prop)
        return True

    def put(self, draft: Draft, name: str, value: Any) -> None:
        """Set a property, if it differs, without asking whether it may be."""
        if draft.get(name) != value:
            draft.set(name, value)

    def drop(self, draft: Draft, name: str) -> None:
        """Remove a property, if it is set, without asking whether it may be."""
        if draft.get(name) is not None:
            draft.drop(name)

    def pop_prop(self, draft: Draft, prop: Prop) -> bool:
        """Remove a property; returns whether it was set.

        Raises:
            ReadOnlyProp: it may not be removed.
        """
        if prop.read_only:
            raise ReadOnlyProp(f"{prop.full_name} cannot be removed", form=draft.form.name, prop=prop.name)
        if draft.get(prop.name) is None:
            return False
        draft.drop(prop.name)
        return True

    # Tags.

    def add_tag(self, draft: Draft, tag: str, interval: Interval) -> str:
        """Put a tag with those above it on; returns its name after redirects. Intervals widen."""
        tag = self.redirected(tag)
        words = tag.split(".")
        for depth in range(1, len(words)):
            above = ".".join(words[:depth])
            if not draft.has_tag(above):
                draft.set_tag(above, None)
        old = draft.tag(tag)
        if old is MISSING:
            self.node(self.session.planner.stored_node(self.session.tag_form, tag))
            draft.set_tag(tag, interval)
        elif interval is not None:
            wide = interval if old is None else (min(old[0], interval[0]), max(old[1], interval[1]))
            if wide != old:
                draft.set_tag(tag, wide)
        return tag

    def redirected(self, tag: str) -> str:
        """Return what a tag is called now: `:isnow` of a syn:tag redirects it and the tags below."""
        if not self.session.has_redirects(self.txn):
            return tag
        seen = {tag}
        for _ in range(REDIRECTS_MAX):
            fresh = self._redirect(tag)
            if fresh is None or fresh in seen:
                return tag
            seen.add(fresh)
            tag = fresh
        return tag

    def _redirect(self, tag: str) -> str | None:
        words = tag.split(".")
        for depth in range(len(words), 0, -1):
            draft = self.existing("syn:tag", ".".join(words[:depth]))
            target = draft.get("isnow") if draft is not None else None
            if target:
                return ".".join((target, *words[depth:]))
        return None

    def del_tag(self, draft: Draft, tag: str) -> bool:
        """Take a tag and those below it off; returns whether there was any."""
        below = tag + "."
        names = sorted(
            (name for name in draft.tag_names() if name == tag or name.startswith(below)), reverse=True
        )
        for name in names:
            draft.drop_tag(name)
        return bool(names)

    def set_tag_prop(
        self, draft: Draft, tag: str, name: str, value: Any, merge: Callable[[Any, Any], Any]
    ) -> None:
        """Set a property of a tag, putting the tag on first."""
        tag = self.add_tag(draft, tag, None)
        old = self._tag_prop(draft, tag, name)
        if old is not None:
            value = merge(old, value)
            if value == old:
                return
        in_top = draft.top is not None and name in draft.top.tag_props.get(tag, ())
        draft.edits.append(TagPropSet(tag, name, value, old if in_top else MISSING))

    def del_tag_prop(self, draft: Draft, tag: str, name: str) -> bool:
        """Remove a property of a tag; returns whether it was set."""
        if self._tag_prop(draft, tag, name) is None:
            return False
        top, below = draft.top, draft.below
        if top is not None and name in top.tag_props.get(tag, ()):
            draft.edits.append(TagPropDelete(tag, name, decode_value(top.tag_props[tag][name])))
        if below is not None and name in below.tag_props.get(tag, ()):
            draft.edits.append(TagPropDelete(tag, name))
        return True

    def _tag_prop(self, draft: Draft, tag: str, name: str) -> Any:
        for edit in reversed(draft.edits):
            if isinstance(edit, TagPropSet) and (edit.tag, edit.name) == (tag, name):
                return edit.value
        for record in (draft.top, draft.below):
            if record is not None:
                found = record.tag_props.get(tag, {}).get(name)
                if found is not None:
                    return decode_value(found)
                if (tag, name) in record.tag_prop_masks:
                    return None
        return None

    # Edges and data.

    def add_edge(self, draft: Draft, verb: str, to: bytes) -> bool:
        """Make a light edge; returns whether it is new."""
        number = self.names.verbs.find(self.txn, verb)
        if number is not None and self.stack.has_edge(self.txn, draft.key, keys.pack_number(number) + to):
            return False
        draft.edits.append(EdgeAdd(verb, keys.unpack_nid(to)))
        return True

    def del_edge(self, draft: Draft, verb: str, to: bytes) -> bool:
        """Remove a light edge; returns whether it was there."""
        number = self.names.verbs.find(self.txn, verb)
        if number is None:
            return False
        edge = keys.pack_number(number) + to
        if not self.stack.has_edge(self.txn, draft.key, edge):
            return False
        self._drop_edge(draft, verb, edge)
        return True

    def _drop_edge(self, draft: Draft, verb: str, edge: bytes) -> None:
        to = keys.unpack_nid(edge, keys.NUMBER_SIZE)
        if self.txn.has(EDGES_OUT, self.stack.top + draft.key, edge):
            draft.edits.append(EdgeDelete(verb, to))
        if any(
            self.txn.has(EDGES_OUT, layer + draft.key, edge) for layer in self.stack.layers[1:]
        ) and not self.txn.has(EDGE_MASKS, self.stack.top + draft.key, edge):
            draft.edits.append(EdgeDelete(verb, to))

    def set_data(self, draft: Draft, name: str, value: Any) -> None:
        """Attach data."""
        number = self.names.data.find(self.txn, name)
        old: Any = MISSING
        if number is not None:
            stored = self.txn.get(NODE_DATA, self.stack.top + draft.key + keys.pack_number(number))
            if stored:
                old = decode_value(stored)
        draft.edits.append(NodeDataSet(name, value, old))

    def has_data(self, draft: Draft, name: str, value: Any) -> bool:
        """Whether a node has just this data."""
        number = self.names.data.find(self.txn, name)
        return number is not None and self.stack.data(self.txn, draft.key, number) == encode_value(value)

    def pop_data(self, draft: Draft, name: str) -> bytes | None:
        """Remove data; returns what it was, serialized."""
        number = self.names.data.find(self.txn, name)
        if number is None:
            return None
        found = self.stack.data(self.txn, draft.key, number)
        if found is None:
            return None
        suffix = draft.key + keys.pack_number(number)
        own = self.txn.get(NODE_DATA, self.stack.top + suffix)
        if own:
            draft.edits.append(NodeDataDelete(name, decode_value(own)))
        if any(self.txn.get(NODE_DATA, layer + suffix) for layer in self.stack.layers[1:]):
            draft.edits.append(NodeDataDelete(name))
        return found

    # Deletion.

    def delete(self, draft: Draft, *, force: bool) -> None:
        """Remove a node with all it has.

        Raises:
            CantDelNode: other nodes refer to it and `force` is not set.
        """
        if not force:
            self.check_unused(draft)
        for name in sorted(draft.tag_names(), reverse=True):
            self._drop_own_tag(draft, name)
        top = draft.top
        if top is not None:
            draft.edits.extend(PropDelete(name, decode_value(value)) for name, value in top.props.items())
            draft.edits.extend(
                TagPropDelete(tag, name, decode_value(value))
                for tag, props in top.tag_props.items()
                if tag not in top.tags
                for name, value in props.items()
            )
        self._delete_edges_and_data(draft)
        if top is not None and top.is_added:
            draft.edits.append(NodeDelete())
        if draft.below is not None:
            draft.edits.append(NodeDelete())

    def _drop_own_tag(self, draft: Draft, name: str) -> None:
        top = draft.top
        if top is not None and name in top.tags:
            draft.edits.extend(
                TagPropDelete(name, prop, decode_value(value))
                for prop, value in top.tag_props.get(name, {}).items()
            )
            draft.edits.append(TagDelete(name, draft.tag(name)))

    def _delete_edges_and_data(self, draft: Draft) -> None:
        prefix = self.stack.top + draft.key
        for edge in self.txn.values(EDGES_OUT, prefix):
            number, to = keys.split_edge(edge)
            verb = self.names.verbs.name_of(self.txn, number)
            assert verb is not None, "an edge's verb has no name"
            draft.edits.append(EdgeDelete(verb, to))
        position = None
        while True:
            chunk = self.txn.scan(NODE_DATA, prefix, keys.end_of(prefix), count_max=1000, after=position)
            for key, value in chunk.items:
                name = self.names.data.name_of(self.txn, keys.unpack_number(key, len(prefix)))
                assert name is not None, "data has no name"
                if value:
                    draft.edits.append(NodeDataDelete(name, decode_value(value)))
            position = chunk.resume
            if position is None:
                return

    def check_unused(self, draft: Draft) -> None:
        """Refuse to go on if nodes refer to a node: by an edge, a property, or as their tag."""
        form, model = draft.form, self.graph.model
        for edge in self.stack.edges_in(self.txn, draft.key):
            if self.stack.node(self.txn, edge[keys.NUMBER_SIZE :]) is not None:
                raise _in_use(draft, "light edges point to it")
        if form.name == "syn:tag" and self._is_tag_used(draft.value):
            raise _in_use(draft, "nodes have it as a tag")
        for db, props in (
            (BY_PROP, model.props_by_type(form.name)),
            (BY_ARRAY, model.array_props_by_type(form.name)),
        ):
            for prop in props:
                if prop.is_form and prop.form is form:
                    continue
                if next(self._holders(db, prop, draft.value, draft.key), None) is not None:
                    raise _in_use(draft, f"{prop.full_name} refers to it")

    def _is_tag_used(self, tag: str) -> bool:
        number = self.names.tags.find(self.txn, tag)
        if number is None:
            return False
        held = Held("tag", tag)
        for depth, layer in enumerate(self.stack.layers):
            prefix = keys.tag_prefix(layer, number)
            for nid in self._scan(BY_TAG, prefix, keys.end_of(prefix)):
                if self.stack.is_single or self.stack.is_seen(self.txn, nid, held, depth):
                    return True
        return False

    def _holders(self, db: SubDb, prop: Prop, value: Any, but: bytes | None) -> Iterator[bytes]:
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
            for nid in self._scan(db, low, low + b"\x00"):
                if nid != but and (self.stack.is_single or self.stack.is_seen(self.txn, nid, held, depth)):
                    yield nid

    def _scan(self, db: SubDb, low: bytes, high: bytes | None) -> Iterator[bytes]:
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
        return sum(len(node.edits) for node in nodes)

    def _write(self, nodes: Sequence[NodeEdits]) -> None:
        layer = self.session.view.layers[0]
        edits = LayerEdits(layer.id, tuple(nodes), self.session.user, self.now_ms)
        payload = encode_layer_edits(edits)
        writer = LayerWriter(self.txn, layer.key, self.graph.catalog, self.names, self.nids)
        writer.apply(nodes, {draft.nid: draft.top for draft in self.drafts.values() if draft.edits})
        self.written = writer.written
        self.graph.log_edits(self.txn, payload, user=self.session.user, now_ms=self.now_ms)


def read_only(form: str, plan: PropPlan) -> ReadOnlyProp:
    """Make the error for a property that has another value and may not change."""
    return ReadOnlyProp(
        f"{plan.prop.full_name} cannot be changed", form=form, prop=plan.prop.name, valu=plan.value
    )


def _in_use(draft: Draft, reason: str) -> CantDelNode:
    return CantDelNode(
        f"{draft.form.name} cannot be deleted: {reason}", form=draft.form.name, iden=draft_iden(draft)
    )


def draft_iden(draft: Draft) -> str:
    """Return the iden of a draft's node."""
    from cellmesh.cortex.values.ids import buid_of

    return buid_of(draft.form.name, draft.value).hex()


__all__ = ["CREATED", "EDGES_IN", "NODES", "Draft", "Editor", "Mapping"]
