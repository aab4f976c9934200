"""Edits of light edges and node data, and the deletion of nodes, which has to look for both."""

from __future__ import annotations

from typing import Any

from cellmesh.common.errors import CantDelNode
from cellmesh.cortex.layers import keys
from cellmesh.cortex.layers.reader import node_data
from cellmesh.cortex.layers.schema import (
    BY_ARRAY,
    BY_PROP,
    BY_TAG,
    EDGE_MASKS,
    EDGES_OUT,
    NODE_DATA,
)
from cellmesh.cortex.values.edits import (
    MISSING,
    EdgeAdd,
    EdgeDelete,
    NodeDataDelete,
    NodeDataSet,
    NodeDelete,
    PropDelete,
    TagDelete,
    TagPropDelete,
)
from cellmesh.cortex.values.ids import buid_of
from cellmesh.cortex.values.wire import decode_value, encode_value
from cellmesh.cortex.views.draft import Draft
from cellmesh.cortex.views.editor_base import EditorBase
from cellmesh.cortex.views.overlay import Held


class LinkEditor(EditorBase):
    """An editor of edges and data, and of whole nodes."""

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
        for name, value in node_data(self.names.data, self.txn, prefix):
            if value:
                draft.edits.append(NodeDataDelete(name, decode_value(value)))

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
                if next(self.nids_holding(db, prop, draft.value, draft.key), None) is not None:
                    raise _in_use(draft, f"{prop.full_name} refers to it")

    def _is_tag_used(self, tag: str) -> bool:
        number = self.names.tags.find(self.txn, tag)
        if number is None:
            return False
        held = Held("tag", tag)
        for depth, layer in enumerate(self.stack.layers):
            prefix = keys.tag_prefix(layer, number)
            for nid in self.scan_nids(BY_TAG, prefix, keys.end_of(prefix)):
                if self.stack.is_single or self.stack.is_seen(self.txn, nid, held, depth):
                    return True
        return False


def _in_use(draft: Draft, reason: str) -> CantDelNode:
    return CantDelNode(
        f"{draft.form.name} cannot be deleted: {reason}",
        form=draft.form.name,
        iden=buid_of(draft.form.name, draft.value).hex(),
    )
