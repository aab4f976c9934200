"""Nodes of a layer's file into the layer that is made of it, a batch a transaction.

Most nodes are new, with properties and tags that are set once. Those are written from their bytes, as a follower writes what is
new to it: an edit that repeats from node to node is read and checked once. All else goes the way of edits from elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from cellmesh.api.cortex.v1 import node_edit_pb2
from cellmesh.common.errors import BadMesgFormat, CellError, StorageCorrupt
from cellmesh.common.failpoints import failpoint
from cellmesh.cortex.layers import keys
from cellmesh.cortex.layers.schema import NODES
from cellmesh.cortex.layers.writer import LayerWriter
from cellmesh.cortex.values.changes import (
    NODE_ADD,
    decode_node_edits,
    encode_edit,
    encode_node_edits,
    frame,
    read_edit,
)
from cellmesh.cortex.values.edits import PropSet, TagSet
from cellmesh.cortex.values.ids import ViewId, buid_of
from cellmesh.cortex.values.shared import SharedNode, shared_from_proto
from cellmesh.cortex.values.wire import decode_value, encode_value, read_varint, varint
from cellmesh.cortex.views.taking import Taker
from cellmesh.cortex.views.taking_checks import check_edits
from cellmesh.cortex.views.view import View
from google.protobuf.message import DecodeError

if TYPE_CHECKING:
    from cellmesh.common.storage import WriteTxn
    from cellmesh.cortex.layers.layer import Layer
    from cellmesh.cortex.layers.names import Names
    from cellmesh.cortex.values.edits import NodeEdit
    from cellmesh.cortex.views.graph import Graph

KEPT_COUNT_MAX: Final = 50_000
"""Edits that are known to be good."""

_PROP_SET: Final = 0x1A
_TAG_SET: Final = 0x2A
_FORM_SIZE_MAX: Final = 0x80


class FreshWriter(Protocol):
    """Writes fresh nodes from their bytes; see `FreshNodes` of replay."""

    def begin(self, txn: WriteTxn, nodes: Sequence[bytes]) -> list[bytes]:
        """Take the fresh ones of serialized NodeEdits; returns the others, to be applied after `write`."""
        ...

    def write(self, txn: WriteTxn) -> None:
        """Write what was taken."""
        ...


MakeFreshWriter = Callable[["Graph", bytes], FreshWriter]


class ImportBatches:
    """Takes the nodes of a file. Used by one thread.

    Attributes:
        node_count: How many nodes there were.
        edit_count: How many edits they had.
    """

    def __init__(
        self,
        graph: Graph,
        layer: Layer,
        user: str,
        check: Callable[[WriteTxn], None],
        make_writer: MakeFreshWriter,
    ) -> None:
        self._graph = graph
        self._layer = layer
        self._user = user
        self._check = check
        self._writer = make_writer(graph, layer.key)
        self._good: set[tuple[str, bytes]] = set()
        self._model_version = graph.model.version
        self._last = b""
        self.node_count = self.edit_count = 0

    def take(self, nodes: Sequence[bytes]) -> None:
        """Take serialized NodeEdits without nids, in one transaction, durable on return.

        Raises:
            NoSuchForm, NoSuchProp, NoSuchTagProp, BadTypeValu, BadArg, BadMesgFormat: one cannot be used.
        """
        if self._model_version != self._graph.model.version or len(self._good) > KEPT_COUNT_MAX:
            self._model_version = self._graph.model.version
            self._good.clear()
        simple: list[tuple[bytes, str, bytes]] = []
        others: list[SharedNode] = []
        for node in nodes:
            found = self._simple(node)
            if found is not None:
                buid = found[0]
                simple.append((*found, node))
            else:
                shared = _shared(node)
                buid = buid_of(shared.form, shared.value)
                others.append(shared)
                self.edit_count += len(shared.edits)
            # The parts of a node stand behind each other.
            self.node_count += buid != self._last
            self._last = buid
        check_edits(self._graph, others, is_stored=True)
        self._write(simple, others)

    # What is simple.

    def _simple(self, node: bytes) -> tuple[bytes, str] | None:
        """Return the buid and form of a node that is made, with properties and tags; None if it is another one."""
        try:
            if node[0] != 0x12 or node[1] >= _FORM_SIZE_MAX:
                return None
            at = 2 + node[1]
            form = node[2:at].decode()
            if node[at] != 0x1A:
                return None
            size, start = read_varint(node, at + 1)
            at = start + size
            if node[at : at + 4] != NODE_ADD:
                return None
            encoded = node[start:at]
            value = decode_value(encoded)
            found = self._graph.model.form(form)
            if found is None or found.is_runtime or encode_value(value) != encoded:
                return None
            found.type.encode(value)
            count = self._edits(form, value, node, at + 4)
        except (
            IndexError,
            ValueError,
            TypeError,
            AttributeError,
            OverflowError,
            LookupError,
            CellError,
            DecodeError,
        ):
            # The other way says what is wrong with it.
            return None
        if not count:
            return None
        self.edit_count += count
        return buid_of(form, value), form

    def _edits(self, form: str, value: object, node: bytes, at: int) -> int:
        """Return how many edits a node has, which all are simple and good, or 0."""
        count, end = 1, len(node)
        good = self._good
        while at < end:
            if node[at] != 0x22:
                return 0
            size, at = read_varint(node, at + 1)
            edit = node[at : at + size]
            at += size
            if at > end:
                return 0
            if (form, edit) not in good:
                if edit[0] not in (_PROP_SET, _TAG_SET):
                    return 0
                read: NodeEdit = read_edit(node_edit_pb2.NodeEdit.FromString(edit))
                # Bytes that are stored as they are must be those that this program would have written.
                if not isinstance(read, PropSet | TagSet) or encode_edit(read) != edit:
                    return 0
                check_edits(self._graph, [SharedNode(form, value, (read,))], is_stored=True)
                good.add((form, edit))
            count += 1
        return count

    # Writing.

    def _write(self, simple: Sequence[tuple[bytes, str, bytes]], others: Sequence[SharedNode]) -> None:
        graph, layer = self._graph, self._layer
        now_ms = graph.now_ms()
        buids = [buid for buid, _, _ in simple]

        def run(txn: WriteTxn) -> list[tuple[Names, str]]:
            self._check(txn)
            made: list[bytes] = []
            again: list[SharedNode] = []
            seen: set[bytes] = set()
            for (buid, form, node), nid in zip(simple, graph.nids.find_many(txn, buids), strict=True):
                if buid in seen or (nid is not None and txn.has(NODES, layer.key + keys.pack_nid(nid))):
                    again.append(_shared(node))
                    continue
                seen.add(buid)
                if nid is None:
                    nid = graph.nids.fresh(graph.names.forms.reserve(txn, form))
                made.append(b"\x08" + varint(nid) + node)
            left = self._writer.begin(txn, made)
            self._writer.write(txn)
            if left:
                writer = LayerWriter(txn, layer.key, graph.catalog, graph.names, graph.nids)
                writer.apply(map(decode_node_edits, left))
            taker = Taker(graph, txn, layer.key, may_mask=True)
            for shared in (*again, *others):
                taker.take(shared)
            made += map(encode_node_edits, taker.finish())
            if made:
                payload = frame(str(layer.id), made, self._user, now_ms)
                graph.log_edits(txn, payload, user=self._user, now_ms=now_ms)
            failpoint("layer_edits_taken")
            return graph.names.take_stored()

        with graph.begin(View(ViewId(""), (layer,), layer.name), user=self._user) as session:
            stored = session.write_op(run)
            session.note_edits(len(simple) + len(others), stored)
            session.sync()


def split_nodes(body: bytes) -> list[bytes]:
    """Split a serialized LayerFileNodes into its NodeEdits; raises BadMesgFormat."""
    nodes: list[bytes] = []
    at, end = 0, len(body)
    try:
        while at < end and body[at] == 0x0A:
            size, at = read_varint(body, at + 1)
            nodes.append(body[at : at + size])
            at += size
    except (IndexError, StorageCorrupt):
        at = -1
    if at != end:
        raise BadMesgFormat("it holds something else than nodes", name="layer file")
    return nodes


def _shared(node: bytes) -> SharedNode:
    try:
        message: Any = node_edit_pb2.NodeEdits.FromString(node)
    except DecodeError as error:
        raise BadMesgFormat("a node does not read", name="layer file") from error
    return shared_from_proto(message)


__all__ = ["ImportBatches", "MakeFreshWriter", "split_nodes"]
