"""A layer's edits and content for elsewhere: from the change log, or all that the layer holds, without nids of this Cortex."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from cellmesh.common.errors import CellError
from cellmesh.common.storage import ReadTxn
from cellmesh.common.storage.walking import walk
from cellmesh.cortex.layers import keys
from cellmesh.cortex.layers.reader import node_data
from cellmesh.cortex.layers.records import Record, node_buid, node_form, node_value, parse_record
from cellmesh.cortex.layers.schema import EDGE_MASKS, EDGES_OUT, NIDS, NODES
from cellmesh.cortex.values.changes import decode_record, is_layer_edits
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
from cellmesh.cortex.values.ids import form_number_of
from cellmesh.cortex.values.shared import SharedEdge, SharedEdit, SharedNode
from cellmesh.cortex.values.wire import decode_interval, decode_value, encode_value
from cellmesh.cortex.views.activity import layer_of
from cellmesh.cortex.views.merge import changed_nids

if TYPE_CHECKING:
    from cellmesh.common.changelog.record import ChangeRecord
    from cellmesh.cortex.layers.layer import Layer
    from cellmesh.cortex.layers.names import Names
    from cellmesh.cortex.model.registry import Model
    from cellmesh.cortex.views.graph import Graph

KNOWN_COUNT_MAX: Final = 50_000
"""Nodes at the ends of edges that are remembered."""

SCAN_COUNT: Final = 10_000


@dataclass(frozen=True, slots=True)
class SharedRecord:
    """The edits of one transaction on one layer.

    Attributes:
        offset: That of the record in the change log of the Cortex.
        layer_id: The layer.
        user: Who asked for them.
        time_ms: When, in milliseconds since 1970.
        nodes: What changed.
        origin: The layer that it was made in first, if it came from another one.
    """

    offset: int
    layer_id: str
    user: str
    time_ms: int
    nodes: tuple[SharedNode, ...]
    origin: str = ""


class Sharing:
    """Makes edits fit to leave a Cortex. Used by one thread."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._known: dict[int, tuple[bytes, str, object]] = {}

    def record(self, record: ChangeRecord, layer_ids: frozenset[str] | None = None) -> SharedRecord | None:
        """Return the edits of a change record; None if it holds none, or none of these layers."""
        if not is_layer_edits(record.type_name):
            return None
        layer_id = layer_of(record)
        if layer_id is None or (layer_ids is not None and layer_id not in layer_ids):
            return None
        edits = decode_record(record.type_name, record.payload)
        nodes = [node for node in edits.nodes if node.edits]
        return SharedRecord(
            record.offset, edits.layer_id, edits.user, edits.time_ms, tuple(self.nodes(nodes)), edits.origin
        )

    def nodes(self, nodes: Sequence[NodeEdits]) -> list[SharedNode]:
        """Return edits of nodes as they leave the Cortex."""
        if self._graph.catalog.has_former:
            nodes = self._without_former(nodes)
        ends = {
            edit.to_nid for node in nodes for edit in node.edits if isinstance(edit, EdgeAdd | EdgeDelete)
        }
        known = self._find(ends)
        return [
            SharedNode(
                node.form, node.value, tuple(shared for edit in node.edits if (shared := _edit(edit, known)))
            )
            for node in nodes
        ]

    def _without_former(self, nodes: Sequence[NodeEdits]) -> list[NodeEdits]:
        """Leave out what was logged under names, or as values of types, that the model has no longer.

        What it came to was logged anew when the data were brought in line with the model.
        """
        catalog, names, model = self._graph.catalog, self._graph.names.forms, self._graph.model
        former = catalog.former_forms
        with self._graph.slab.view() as txn:
            numbers = {number for name in former if (number := names.find(txn, name)) is not None}

        def is_current(form: str, edit: NodeEdit) -> bool:
            match edit:
                case EdgeAdd(_, to) | EdgeDelete(_, to):
                    return form_number_of(to) not in numbers
                case PropSet(name, value):
                    if catalog.is_former(form, name) and not _is_of_today(model, form, name, value):
                        return False
                    return not _names_any(value, former, model)
                case TagPropSet(_, name, value):
                    return name not in catalog.former_tag_props and not _names_any(value, former, model)
                case _:
                    return True

        kept = (
            replace(node, edits=tuple(edit for edit in node.edits if is_current(node.form, edit)))
            for node in nodes
            if node.form not in former and not _names_any(node.value, former, model)
        )
        return [node for node in kept if node.edits]

    def _find(self, nids: Iterable[int]) -> dict[int, tuple[bytes, str, object]]:
        if len(self._known) > KNOWN_COUNT_MAX:
            self._known.clear()
        missing = {nid for nid in nids if nid not in self._known}
        if not missing:
            return self._known
        with self._graph.slab.view() as txn:
            for nid in sorted(missing):
                found = _anywhere(self._graph, txn, keys.pack_nid(nid))
                if found is not None:
                    self._known[nid] = found
            missing = {nid for nid in missing if nid not in self._known}
            if missing:
                self._known.update(_gone(txn, missing))
        return self._known

    def buids(
        self, nids: set[int], read: Callable[[Callable[[ReadTxn], dict[int, bytes]]], dict[int, bytes]]
    ) -> dict[int, bytes]:
        """Return the buids of nodes, in the state that `read` reads."""

        def find(txn: ReadTxn) -> dict[int, bytes]:
            found = {nid: _anywhere(self._graph, txn, keys.pack_nid(nid)) for nid in nids}
            known = {nid: one[0] for nid, one in found.items() if one is not None}
            missing = nids - known.keys()
            return {**known, **{nid: one[0] for nid, one in _gone(txn, missing)}} if missing else known

        return read(find)

    # All that a layer holds.

    def content(
        self, layer: Layer, after: bytes, count_max: int = SCAN_COUNT
    ) -> tuple[list[SharedNode], bytes]:
        """Return the next nodes that a layer says anything of, as the edits that say it.

        Args:
            layer: The layer.
            after: What the call before returned; empty to begin with.
            count_max: At most so many nodes.

        Returns:
            The nodes, and what to go on with; empty at the end.
        """
        with self._graph.slab.view() as txn:
            nids = changed_nids(txn, layer.key, after)[:count_max]
            found = [edits for nid in nids if (edits := content_edits(self._graph, txn, layer.key, nid))]
        return self.nodes(found), nids[-1] if nids else b""


def _is_of_today(model: Model, form_name: str, name: str, value: object) -> bool:
    """Whether a property is one of the model, and a value what its type stores."""
    form = model.form(form_name)
    prop = None if form is None else form.props.get(name)
    try:
        return prop is not None and encode_value(prop.type.norm(value)) == encode_value(value)
    except CellError:
        return False


def _names_any(value: object, former: Mapping[str, str], model: Model) -> bool:
    """Whether a value refers to a node, or a property, of one of some forms."""
    if not isinstance(value, tuple | list):
        return False
    for item in value:
        if not isinstance(item, str):
            if _names_any(item, former, model):
                return True
        elif item in former:
            return True
        elif item.startswith(tuple(f"{name}{mark}" for name in former for mark in ":.")):
            # Longer names of other forms begin so, too.
            return model.prop(item) is None
    return False


def _edit(edit: object, known: dict[int, tuple[bytes, str, object]]) -> SharedEdit | None:
    if isinstance(edit, EdgeAdd | EdgeDelete):
        found = known.get(edit.to_nid)
        if found is None:
            return None
        buid, form, value = found
        return SharedEdge(edit.verb, buid, form, value, isinstance(edit, EdgeAdd))
    return edit  # type: ignore[return-value]


def _anywhere(graph: Graph, txn: ReadTxn, nid: bytes) -> tuple[bytes, str, object] | None:
    for layer in graph.layers.values():
        stored = txn.get(NODES, layer.key + nid)
        if stored is not None:
            head = parse_record(stored).head
            return node_buid(head), node_form(head), node_value(head)
    return None


def _gone(txn: ReadTxn, nids: set[int]) -> Iterator[tuple[int, tuple[bytes, str, object]]]:
    """Yield the buids of nodes that no layer says anything of any more. Rare: the table is the other way round."""
    for buid, packed in walk(txn, NIDS, count=SCAN_COUNT):
        nid = keys.unpack_nid(packed)
        if nid in nids:
            yield nid, (buid, "", None)


def content_edits(graph: Graph, txn: ReadTxn, layer: bytes, nid: bytes) -> NodeEdits | None:
    """Return the edits that make an empty layer say of a node what this one says; None if it says nothing."""
    stored = txn.get(NODES, layer + nid)
    edits: list[SharedEdit] = []
    if stored is not None:
        record = parse_record(stored)
        form, value = node_form(record.head), node_value(record.head)
        edits += record_edits(record)
    else:
        found = _anywhere(graph, txn, nid)
        if found is None:
            return None
        _, form, value = found
    edits += link_edits(graph, txn, layer + nid)
    return NodeEdits(keys.unpack_nid(nid), form, value, tuple(edits)) if edits else None  # type: ignore[arg-type]


def record_edits(record: Record) -> Iterator[NodeEdit]:
    """Yield the edits that make an empty record say what this one says."""
    if record.is_mask:
        yield NodeDelete()
    if record.is_added:
        yield NodeAdd()
    for name, encoded in record.props.items():
        yield PropSet(name, decode_value(encoded))
    for tag, packed in record.tags.items():
        yield TagSet(tag, decode_interval(packed[2:]) if packed else None)
    for tag, props in record.tag_props.items():
        for name, encoded in props.items():
            yield TagPropSet(tag, name, decode_value(encoded))
    for name in sorted(record.prop_masks):
        yield PropDelete(name)
    for tag in sorted(record.tag_masks):
        yield TagDelete(tag)
    for tag, name in sorted(record.tag_prop_masks):
        yield TagPropDelete(tag, name)


def link_edits(graph: Graph, txn: ReadTxn, nid_key: bytes) -> Iterator[NodeEdit]:
    """Yield the edits that make a layer without them hold, or hide, a node's edges and data as this one does.

    Args:
        nid_key: The layer's key and the nid.
    """
    for edge in txn.values(EDGES_OUT, nid_key):
        number, to = keys.split_edge(edge)
        yield EdgeAdd(name_of(graph.names.verbs, txn, number), to)
    for edge in txn.values(EDGE_MASKS, nid_key):
        number, to = keys.split_edge(edge)
        yield EdgeDelete(name_of(graph.names.verbs, txn, number), to)
    for name, value in node_data(graph.names.data, txn, nid_key):
        yield NodeDataSet(name, decode_value(value)) if value else NodeDataDelete(name)


def name_of(names: Names, txn: ReadTxn, number: int) -> str:
    """Return what a number in a key stands for."""
    name = names.name_of(txn, number)
    assert name is not None, "a key holds a number that stands for no name"
    return name
