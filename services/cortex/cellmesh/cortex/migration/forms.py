"""A form's nodes under its new name.

A node is what its form and value say it is, so one whose form has another name is another node, with a nid of its own. The
same goes for nodes whose value names such a form. In each layer, what is said of the one from before becomes what is said of
the new one, in three rounds over all layers; each may be cut short anywhere, and done again:

    1  records: the new node gets all that the record of the one from before says; other values that name the form follow
    2  links: edges and data go over to the new node, and edges that point to the one from before point to the new one
    3  the records from before go

Until the third, the record of each node from before tells which one it is now.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cellmesh.common.errors import CellError
from cellmesh.common.storage import ReadTxn, SubDb
from cellmesh.cortex.layers import keys
from cellmesh.cortex.layers.records import Record, node_form, node_value, parse_record
from cellmesh.cortex.layers.schema import EDGE_MASKS, EDGES_OUT, NODE_DATA, NODES
from cellmesh.cortex.migration.renamed import FormNames
from cellmesh.cortex.model.registry import Form, Prop
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
)
from cellmesh.cortex.values.ids import buid_of
from cellmesh.cortex.values.wire import decode_value, encode_value
from cellmesh.cortex.views.graph import Graph
from cellmesh.cortex.views.sharing import link_edits, name_of, record_edits
from cellmesh.cortex.views.wipe import any_value, emptying_edits, unlinking_edits

LOGGER: Final = logging.getLogger("cellmesh.cortex.migration")


@dataclass(frozen=True, slots=True)
class Round:
    """One way through all layers.

    Attributes:
        dbs: Which nodes of a layer are looked at: those with keys there.
        edits: Gives the edits of some of them; in the transaction in which they will be applied.
        is_counted: Whether the nodes edited count as changed by the step.
    """

    dbs: tuple[SubDb, ...]
    edits: Callable[[ReadTxn, bytes, Sequence[bytes]], list[NodeEdits]]
    is_counted: bool = True


class FormRename:
    """The rename of a form.

    Args:
        graph: The graph, whose model has the form under its new name, or under one that it got later.
        old, new: The names.
    """

    def __init__(self, graph: Graph, old: str, new: str) -> None:
        self._graph = graph
        self._catalog = graph.catalog
        self._model = graph.model
        self._old = old
        self._new = new
        self._names = FormNames(graph.catalog, old, new)
        self._carriers: dict[str, bool] = {}

    def rounds(self) -> tuple[Round, ...]:
        """Return what is to be done, in order."""
        return (
            Round((NODES,), self._records),
            Round((EDGES_OUT, EDGE_MASKS, NODE_DATA), self._links, is_counted=False),
            Round((NODES,), self._leave, is_counted=False),
        )

    # Which node is which.

    def _may_move(self, form_name: str, form: Form) -> bool:
        """Whether nodes of a form may be others now: those of the form itself, and those whose value may name it."""
        if form_name == self._old:
            return True
        found = self._carriers.get(form.name)
        if found is None:
            found = self._carriers[form.name] = self._names.may_hold(form.type)
        return found

    def _moved(self, form_name: str, value: Any) -> tuple[str, Any] | None:
        """Return the form and value that a node has now; None for one that stays what it is."""
        form = self._catalog.form_now(form_name)
        if form is None or not self._may_move(form_name, form):
            return None
        fresh = self._names.value(form.type, value)
        name = self._new if form_name == self._old else form_name
        return None if fresh is value and form_name == name else (name, fresh)

    def _moved_nid(self, txn: ReadTxn, nid: bytes, known: dict[bytes, int | None]) -> int | None:
        """Return the nid that a node has now; None for one that stays, or that no layer knows any more."""
        if nid in known:
            return known[nid]
        form_name = name_of(self._graph.names.forms, txn, keys.unpack_form(nid, 6))
        found: int | None = None
        form = self._catalog.form_now(form_name)
        if form is not None and self._may_move(form_name, form):
            value = any_value(self._graph, txn, nid)
            moved = None if value is None else self._moved(form_name, value[0])
            if moved is not None:
                found = self._graph.nids.find(txn, buid_of(*moved))
        known[nid] = found
        return found

    # The first round.

    def _records(self, txn: ReadTxn, layer: bytes, nids: Sequence[bytes]) -> list[NodeEdits]:
        graph = self._graph
        made: list[NodeEdits] = []
        fresh: dict[bytes, int] = {}
        for nid in nids:
            stored = txn.get(NODES, layer + nid)
            if stored is None or self._names.mark not in stored:
                continue
            record = parse_record(stored)
            form_name, value = node_form(record.head), node_value(record.head)
            form = self._catalog.form_now(form_name)
            if form is None:
                continue
            changed = self._changed_props(form, form_name, record)
            changed_tags = self._changed_tag_props(record)
            moved = self._moved(form_name, value)
            if moved is None:
                edits = [*_set_props(record, changed), *_set_tag_props(record, changed_tags)]
                if edits:
                    made.append(NodeEdits(keys.unpack_nid(nid), form_name, value, tuple(edits)))
                continue
            if moved[1] is not value:
                self._follow(form.value_prop, moved[1], record, changed)
            buid = buid_of(*moved)
            number = graph.nids.find(txn, buid) or fresh.get(buid)
            if number is None:
                number = fresh[buid] = graph.nids.fresh(graph.names.forms.reserve(txn, moved[0]))
            there = txn.get(NODES, layer + keys.pack_nid(number))
            known = None if there is None else parse_record(there)
            edits = [
                _with_value(edit, changed, changed_tags)
                for edit in record_edits(record)
                if not _is_said(edit, known)
            ]
            if edits:
                made.append(NodeEdits(number, *moved, tuple(edits)))
        return made

    def _changed_props(self, form: Form, form_name: str, record: Record) -> dict[str, Any]:
        """Return the properties of a record that hold the name from before, with what they hold now."""
        changed: dict[str, Any] = {}
        for name, encoded in record.props.items():
            if self._names.mark not in encoded:
                continue
            old = decode_value(encoded)
            # The property may be one that gets another name, or type, by a later step.
            for type_ in self._catalog.types_of(form_name, name):
                fresh = self._names.value(type_, old)
                if fresh is not old:
                    changed[name] = fresh
                    prop = form.props.get(name)
                    if prop is not None:
                        self._follow(prop, fresh, record, changed)
                    break
        return changed

    def _follow(self, prop: Prop, value: Any, record: Record, changed: dict[str, Any]) -> None:
        """Add the properties that parts of a value fill, such as `n1:form`, as far as the record has them."""
        if not self._model.is_form(self._new):
            # The name of today comes with a later step.
            return
        try:
            for name, part in prop.type.normalize(value).subs:
                sub = prop.sub_prop(name)
                if sub is not None and sub.name in record.props:
                    stored = sub.type.norm(part)
                    if encode_value(stored) != record.props[sub.name]:
                        changed.setdefault(sub.name, stored)
        except CellError as error:
            LOGGER.warning("what follows from %s=%r stays as it is: %s", prop.full_name, value, error)

    def _changed_tag_props(self, record: Record) -> dict[tuple[str, str], Any]:
        changed: dict[tuple[str, str], Any] = {}
        for tag, props in record.tag_props.items():
            for name, encoded in props.items():
                tag_prop = self._model.tagprop(self._catalog.former_tag_props.get(name, name))
                if tag_prop is not None and self._names.mark in encoded:
                    old = decode_value(encoded)
                    fresh = self._names.value(tag_prop.type, old)
                    if fresh is not old:
                        changed[tag, name] = fresh
        return changed

    # The second round.

    def _links(self, txn: ReadTxn, layer: bytes, nids: Sequence[bytes]) -> list[NodeEdits]:
        graph = self._graph
        known: dict[bytes, int | None] = {}
        made: list[NodeEdits] = []
        for nid in nids:
            own = self._moved_nid(txn, nid, known)
            if own is not None:
                gone = tuple(unlinking_edits(graph, txn, layer + nid))
                edits = tuple(self._linked(txn, layer, nid, own, known))
            else:
                gone, edits = (), tuple(self._pointed(txn, layer, nid, known))
            if not gone and not edits:
                continue
            value = any_value(graph, txn, nid)
            if value is None:
                LOGGER.warning("edges of a node that no layer knows stay as they are: %s", nid.hex())
                continue
            form_name = name_of(graph.names.forms, txn, keys.unpack_form(nid, 6))
            if own is None:
                made.append(NodeEdits(keys.unpack_nid(nid), form_name, value[0], edits))
                continue
            made.append(NodeEdits(keys.unpack_nid(nid), form_name, value[0], gone))
            moved = self._moved(form_name, value[0])
            if moved is not None and edits:
                made.append(NodeEdits(own, *moved, edits))
        return made

    def _linked(
        self, txn: ReadTxn, layer: bytes, nid: bytes, own: int, known: dict[bytes, int | None]
    ) -> Iterator[NodeEdit]:
        """Yield the edits that give the new node what the one from before has of edges and data."""
        key = layer + keys.pack_nid(own)
        for edit in link_edits(self._graph, txn, layer + nid):
            match edit:
                case EdgeAdd(verb, to) | EdgeDelete(verb, to):
                    target = self._target(txn, to, known)
                    if target is not None:
                        yield from self._edge(txn, key, verb, target, is_add=isinstance(edit, EdgeAdd))
                case NodeDataSet(name) | NodeDataDelete(name):
                    number = self._graph.names.data.find(txn, name)
                    if number is None or txn.get(NODE_DATA, key + keys.pack_number(number)) is None:
                        yield edit
                case _:
                    raise AssertionError("links are edges and data")

    def _pointed(
        self, txn: ReadTxn, layer: bytes, nid: bytes, known: dict[bytes, int | None]
    ) -> Iterator[NodeEdit]:
        """Yield the edits that have edges of a node point to what nodes are now."""
        key = layer + nid
        for db, is_add in ((EDGES_OUT, True), (EDGE_MASKS, False)):
            for edge in txn.values(db, key):
                number, to = keys.split_edge(edge)
                target = self._target(txn, to, known)
                if target == to:
                    continue
                verb = name_of(self._graph.names.verbs, txn, number)
                if not is_add:
                    # A mask is lifted by making what it hides.
                    yield EdgeAdd(verb, to)
                yield EdgeDelete(verb, to)
                if target is not None:
                    yield from self._edge(txn, key, verb, target, is_add=is_add)

    def _target(self, txn: ReadTxn, to: int, known: dict[bytes, int | None]) -> int | None:
        """Return what an edge points to now; None if it points to a node from before that is no more."""
        packed = keys.pack_nid(to)
        moved = self._moved_nid(txn, packed, known)
        if moved is not None:
            return moved
        form_name = name_of(self._graph.names.forms, txn, keys.unpack_form(packed, 6))
        return None if form_name == self._old else to

    def _edge(self, txn: ReadTxn, key: bytes, verb: str, to: int, *, is_add: bool) -> Iterator[NodeEdit]:
        """Yield the edit that makes or hides an edge, unless the layer says something of it."""
        number = self._graph.names.verbs.find(txn, verb)
        edge = b"" if number is None else keys.edge(number, to)
        if not (txn.has(EDGES_OUT, key, edge) or txn.has(EDGE_MASKS, key, edge)):
            yield EdgeAdd(verb, to) if is_add else EdgeDelete(verb, to)

    # The third round.

    def _leave(self, txn: ReadTxn, layer: bytes, nids: Sequence[bytes]) -> list[NodeEdits]:
        made: list[NodeEdits] = []
        for nid in nids:
            stored = txn.get(NODES, layer + nid)
            if stored is None or self._names.mark not in stored:
                continue
            record = parse_record(stored)
            form_name, value = node_form(record.head), node_value(record.head)
            if self._moved(form_name, value) is None:
                continue
            edits = list(emptying_edits(record))
            if record.is_added:
                edits.append(NodeDelete())
            made.append(NodeEdits(keys.unpack_nid(nid), form_name, value, tuple(edits)))
        return made


def _set_props(record: Record, changed: dict[str, Any]) -> Iterator[NodeEdit]:
    for name, value in changed.items():
        yield PropSet(name, value, decode_value(record.props[name]))


def _set_tag_props(record: Record, changed: dict[tuple[str, str], Any]) -> Iterator[NodeEdit]:
    for (tag, name), value in changed.items():
        yield TagPropSet(tag, name, value, decode_value(record.tag_props[tag][name]))


def _with_value(edit: NodeEdit, props: dict[str, Any], tag_props: dict[tuple[str, str], Any]) -> NodeEdit:
    match edit:
        case PropSet(name) if name in props:
            return PropSet(name, props[name])
        case TagPropSet(tag, name) if (tag, name) in tag_props:
            return TagPropSet(tag, name, tag_props[tag, name])
        case _:
            return edit


def _is_said(edit: NodeEdit, known: Record | None) -> bool:
    """Whether a layer says something already of what an edit is about."""
    if known is None:
        return False
    match edit:
        case NodeAdd() | NodeDelete():
            return known.is_added or known.is_mask
        case PropSet(name) | PropDelete(name):
            return name in known.props or name in known.prop_masks
        case TagSet(name) | TagDelete(name):
            return name in known.tags or name in known.tag_masks
        case TagPropSet(tag, name) | TagPropDelete(tag, name):
            return name in known.tag_props.get(tag, ()) or (tag, name) in known.tag_prop_masks
        case _:
            return False
