"""A layer as a file, of one state of the storage.

What a record holds goes into the file as it is stored, without being decoded: the fields of a record and those of the
edits that set them are the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from cellmesh.api.cortex.v1 import layer_file_pb2
from cellmesh.common.storage.walking import walk
from cellmesh.common.values import to_value
from cellmesh.cortex.layers import keys
from cellmesh.cortex.layers.file_format import FileWriter
from cellmesh.cortex.layers.layer import load_layers
from cellmesh.cortex.layers.reader import node_data
from cellmesh.cortex.layers.records import Record, head_size, parse_record
from cellmesh.cortex.layers.schema import BY_TAG_PROP, COUNTS, EDGE_MASKS, EDGES_OUT, NODES
from cellmesh.cortex.model.extensions import Extensions
from cellmesh.cortex.values.changes import NODE_ADD
from cellmesh.cortex.values.wire import field
from cellmesh.cortex.views.merge import changed_nids
from cellmesh.cortex.views.sharing import name_of

if TYPE_CHECKING:
    from cellmesh.common.storage import ReadTxn
    from cellmesh.common.storage.snapshot import Snapshot
    from cellmesh.cortex.layers.layer import Layer
    from cellmesh.cortex.views.graph import Graph

CHUNK_NODE_COUNT: Final = 500
"""Nodes that are read at once; between two such parts the snapshot may be ended."""

BLOCK_SIZE: Final = 256 << 10
"""A block is written when its nodes have so many bytes, or a node's part has."""

KNOWN_COUNT_MAX: Final = 50_000
"""Nodes at the ends of edges that are remembered."""

_EDITS: Final = 0x22
_PROP_SET: Final = 0x1A
_PROP_DELETE: Final = 0x22
_TAG_SET: Final = 0x2A
_TAG_DELETE: Final = 0x32
_TAG_PROP_SET: Final = 0x3A
_TAG_PROP_DELETE: Final = 0x42
_EDGE_ADD: Final = 0x4A
_EDGE_DELETE: Final = 0x52
_DATA_SET: Final = 0x5A
_DATA_DELETE: Final = 0x62
_NODE_DELETE: Final = b"\x22\x02\x12\x00"


@dataclass(frozen=True, slots=True)
class FilePart:
    """A part of the file.

    Attributes:
        data: The bytes.
        node_count: Nodes in the file so far.
        expected_count: In the first part, how many nodes the layer has made.
        dropped_edge_count: In the last part, how many edges are left out, as nobody knows what they point to.
    """

    data: bytes
    node_count: int
    expected_count: int = 0
    dropped_edge_count: int = 0


@dataclass(slots=True)
class _Facts:
    """What the header says."""

    forms: list[str]
    props: list[str]
    tag_props: list[str]
    made_count: int


def export_layer(
    graph: Graph, layer: Layer, *, cell_id: str, program_version: str, tick: Callable[[], None]
) -> Iterator[FilePart]:
    """Yield a layer as a file, whatever is edited meanwhile.

    Raises:
        BadState: another export of the layer runs.
        Retry: the database had to grow, which ends the state.
        TimeOut: the caller took nothing for too long.
    """
    offsets: list[int] = []

    def look(txn: ReadTxn) -> None:
        offsets.append(graph.log.next_offset(txn))

    with graph.slab.snapshot(f"export of layer {layer.id}", look) as snapshot:
        export = _Export(graph, layer, snapshot)
        facts = snapshot.read(export.facts)
        header = layer_file_pb2.LayerFileHeader(
            layer_id=str(layer.id),
            name=layer.name,
            facts=json.dumps(dict(layer.facts), sort_keys=True),
            program_version=program_version,
            time_ms=graph.now_ms(),
            cell_id=cell_id,
            offset=offsets[0],
            forms=facts.forms,
            props=facts.props,
            tag_props=facts.tag_props,
            extended_model=to_value(Extensions(graph.model).dump()),
        )
        writer = FileWriter()
        yield FilePart(writer.begin(header), 0, facts.made_count)
        for block, count in export.blocks(tick):
            yield FilePart(writer.nodes(block), count)
        trailer = layer_file_pb2.LayerFileTrailer(
            node_count=export.node_count,
            edit_count=export.edit_count,
            dropped_edge_count=export.dropped_edge_count,
        )
        yield FilePart(writer.end(trailer), export.node_count, 0, export.dropped_edge_count)


class _Export:
    def __init__(self, graph: Graph, layer: Layer, snapshot: Snapshot) -> None:
        self.graph = graph
        self.key = layer.key
        self.snapshot = snapshot
        self.node_count = self.edit_count = self.dropped_edge_count = 0
        # Those of the state, as one that was removed since may have been the only one to hold a node.
        self._layers = snapshot.read(lambda txn: [one.key for one in load_layers(txn).values()])
        self._known: dict[bytes, bytes | None] = {}

    def facts(self, txn: ReadTxn) -> _Facts:
        """Look up what the layer has, in counts and indexes."""
        names, forms, props, made = self.graph.names, set[str](), set[str](), 0
        for key, value in walk(txn, COUNTS, self.key, keys.end_of(self.key)):
            count = keys.unpack_nid(value)
            if count:
                prop = name_of(names.props, txn, keys.unpack_number(key, len(self.key)))
                form = name_of(names.forms, txn, keys.unpack_form(key, len(self.key) + keys.NUMBER_SIZE))
                if prop == form:
                    made += count
                else:
                    props.add(prop)
                forms.add(form)
        return _Facts(sorted(forms), sorted(props), self._tag_props(txn), made)

    def _tag_props(self, txn: ReadTxn) -> list[str]:
        found: set[str] = set()
        low, high = self.key, keys.end_of(self.key)
        while (first := txn.first(BY_TAG_PROP, low, high)) is not None:
            prefix = first[0][: keys.TAG_PROP_PREFIX_SIZE]
            number = keys.unpack_number(prefix, keys.LAYER_SIZE + keys.NUMBER_SIZE)
            found.add(name_of(self.graph.names.tag_props, txn, number))
            end = keys.end_of(prefix)
            if end is None:
                break
            low = end
        return sorted(found)

    def blocks(self, tick: Callable[[], None]) -> Iterator[tuple[bytes, int]]:
        """Yield serialized LayerFileNodes, each with how many nodes there were so far."""
        parts: list[bytes] = []
        size = 0
        after = b""
        nids: list[bytes] = []
        while True:
            tick()
            if not nids:
                nids = self.snapshot.read(partial(changed_nids, layer=self.key, after=after))
                if not nids:
                    break
            now, nids = nids[:CHUNK_NODE_COUNT], nids[CHUNK_NODE_COUNT:]
            after = now[-1]
            for part in self._read(now):
                parts.append(field(0x0A, part))
                size += len(part)
                if size >= BLOCK_SIZE:
                    yield b"".join(parts), self.node_count
                    parts.clear()
                    size = 0
        if parts:
            yield b"".join(parts), self.node_count

    def _read(self, nids: list[bytes]) -> Iterator[bytes]:
        """Yield parts of nodes; about a block's worth of them is in memory, or one node."""
        at = 0
        while at < len(nids):

            def read(txn: ReadTxn, start: int = at) -> tuple[list[bytes], int]:
                made: list[bytes] = []
                size = 0
                for index in range(start, len(nids)):
                    parts = _Parts(self, txn, nids[index])
                    for part in parts.all():
                        made.append(part)
                        size += len(part)
                    self.node_count += parts.has_any
                    if size >= BLOCK_SIZE:
                        return made, index + 1
                return made, len(nids)

            made, at = self.snapshot.read(read)
            yield from made

    def end(self, txn: ReadTxn, nid: bytes) -> bytes | None:
        """Return a node as edges name it, a serialized NodeKey; None if no layer has it."""
        known = self._known
        try:
            return known[nid]
        except KeyError:
            pass
        if len(known) >= KNOWN_COUNT_MAX:
            known.clear()
        for layer in self._layers:
            stored = txn.get(NODES, layer + nid)
            if stored is not None:
                form, value, buid = _head(parse_record(stored).head)
                known[nid] = b"\x0a\x20" + buid + b"\x12" + form[1:] + b"\x1a" + value[1:]
                return known[nid]
        known[nid] = None
        return None


class _Parts:
    """What a layer says of one node, as serialized NodeEdits: mostly one, more if it is much."""

    def __init__(self, export: _Export, txn: ReadTxn, nid: bytes) -> None:
        self.export = export
        self.txn = txn
        self.nid = nid
        self.key = export.key + nid
        self.has_any = False

    def all(self) -> Iterator[bytes]:
        """Yield the parts."""
        stored = self.txn.get(NODES, self.key)
        record = None if stored is None else parse_record(stored)
        if record is not None:
            form, value, _ = _head(record.head)
            # NodeEdits.form and NodeEdits.value.
            head = b"\x12" + form[1:] + b"\x1a" + value[1:]
        else:
            found = self.export.end(self.txn, self.nid)
            if found is None:
                self.export.dropped_edge_count += self.txn.count(EDGES_OUT, self.key)
                return
            # NodeKey has form and value under the same numbers as NodeEdits.
            head = found[34:]
        edits: list[bytes] = []
        size = 0
        for edit in self._edits(record):
            edits.append(edit)
            size += len(edit)
            if size >= BLOCK_SIZE:
                yield self._part(head, edits)
                size = 0
        if edits:
            yield self._part(head, edits)

    def _part(self, head: bytes, edits: list[bytes]) -> bytes:
        self.has_any = True
        self.export.edit_count += len(edits)
        part = head + b"".join(edits)
        edits.clear()
        return part

    def _edits(self, record: Record | None) -> Iterator[bytes]:
        if record is not None:
            yield from _record_edits(record)
        yield from self._links()

    def _links(self) -> Iterator[bytes]:
        export, txn, key = self.export, self.txn, self.key
        names = export.graph.names
        for db, kind in ((EDGES_OUT, _EDGE_ADD), (EDGE_MASKS, _EDGE_DELETE)):
            for edge in txn.values(db, key):
                number, _ = keys.split_edge(edge)
                to = export.end(txn, edge[keys.NUMBER_SIZE :])
                if to is None:
                    export.dropped_edge_count += 1
                    continue
                verb = name_of(names.verbs, txn, number).encode()
                yield field(_EDITS, field(kind, field(0x0A, verb) + field(0x1A, to)))
        for data_name, value in node_data(names.data, txn, key, count=100):
            name = field(0x0A, data_name.encode())
            if value:
                yield field(_EDITS, field(_DATA_SET, name + field(0x12, value)))
            else:
                yield field(_EDITS, field(_DATA_DELETE, name))


def _head(head: bytes) -> tuple[bytes, bytes, bytes]:
    """Split the head of a record into the fields form and value, with tags and sizes, and the buid."""
    end = head_size(head)
    form_end = 2 + head[1]
    return head[:form_end], head[form_end : end - 34], head[end - 32 : end]


def _record_edits(record: Record) -> Iterator[bytes]:
    if record.is_mask:
        yield _NODE_DELETE
    if record.is_added:
        yield NODE_ADD
    for name, encoded in record.props.items():
        yield field(_EDITS, field(_PROP_SET, field(0x0A, name.encode()) + field(0x12, encoded)))
    for tag, packed in record.tags.items():
        # A Tag holds nothing but the interval, in a field of its own.
        interval = field(0x12, packed[2:]) if packed else b""
        yield field(_EDITS, field(_TAG_SET, field(0x0A, tag.encode()) + interval))
    for tag, props in record.tag_props.items():
        for name, encoded in props.items():
            body = field(0x0A, tag.encode()) + field(0x12, name.encode()) + field(0x1A, encoded)
            yield field(_EDITS, field(_TAG_PROP_SET, body))
    for name in sorted(record.prop_masks):
        yield field(_EDITS, field(_PROP_DELETE, field(0x0A, name.encode())))
    for tag in sorted(record.tag_masks):
        yield field(_EDITS, field(_TAG_DELETE, field(0x0A, tag.encode())))
    for tag, name in sorted(record.tag_prop_masks):
        yield field(_EDITS, field(_TAG_PROP_DELETE, field(0x0A, tag.encode()) + field(0x12, name.encode())))


__all__ = ["FilePart", "export_layer"]
