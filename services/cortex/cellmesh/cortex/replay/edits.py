"""Applies edits of nodes. A record's nodes that are fresh are written in bulk, as a feed writes them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from cellmesh.common.changelog import ChangeRecord, ContentSource
from cellmesh.common.errors import BadName, StorageCorrupt
from cellmesh.common.storage import WriteTxn
from cellmesh.cortex.layers.layer import DETACHED, find_layer
from cellmesh.cortex.layers.names import Names
from cellmesh.cortex.layers.writer import LayerWriter
from cellmesh.cortex.replay.fresh import FreshNodes
from cellmesh.cortex.values.changes import (
    COMPRESSED_TYPE_NAME,
    TYPE_NAME,
    decode_layer_edits,
    decode_node_edits,
    split_layer_edits,
    unpack,
)
from cellmesh.cortex.views.graph import Graph

LAYERS_MAX: Final = 16
"""Fragments are kept for so many layers."""


class EditsApplier:
    """Applies change records that hold LayerEdits."""

    type_names: Final[Collection[str]] = (TYPE_NAME, COMPRESSED_TYPE_NAME)

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._fresh: dict[bytes, FreshNodes] = {}
        self._adopted: list[tuple[Names, str]] = []

    def prepare(self, records: Sequence[ChangeRecord], source: ContentSource | None) -> None:
        """Nothing is to be fetched."""

    def apply(self, txn: WriteTxn, record: ChangeRecord) -> None:
        """Apply one record.

        Raises:
            StorageCorrupt: it does not read, its layer is not here, or a name has another number here.
        """
        try:
            self._apply(txn, record)
        except (IndexError, UnicodeDecodeError) as error:
            raise StorageCorrupt(f"record {record.offset} of the change log does not read back") from error

    def _apply(self, txn: WriteTxn, record: ChangeRecord) -> None:
        graph = self._graph
        nodes, rest = split_layer_edits(unpack(record.type_name, record.payload))
        about = decode_layer_edits(rest)
        # One that is being imported is detached until it is whole.
        layer = find_layer(txn, about.layer_id) or find_layer(txn, about.layer_id, DETACHED)
        if layer is None:
            raise StorageCorrupt(
                f"record {record.offset} of the change log edits a layer that is not there",
                iden=about.layer_id,
            )
        try:
            graph.names.adopt(txn, about.names)
        except BadName as error:
            raise StorageCorrupt(
                f"record {record.offset} of the change log numbers names otherwise: {error}"
            ) from error
        self._apply_nodes(txn, layer.key, nodes)
        self._adopted += graph.names.take_stored()
        graph.names.drop_op()

    def _apply_nodes(self, txn: WriteTxn, layer: bytes, nodes: Sequence[bytes]) -> None:
        graph = self._graph
        fresh = self._fresh_of(layer)
        left = fresh.begin(txn, nodes)
        fresh.write(txn)
        if left:
            writer = LayerWriter(txn, layer, graph.catalog, graph.names, graph.nids)
            writer.apply(map(decode_node_edits, left))

    def _fresh_of(self, layer: bytes) -> FreshNodes:
        found = self._fresh.get(layer)
        if found is None:
            if len(self._fresh) >= LAYERS_MAX:
                self._fresh.clear()
            found = self._fresh[layer] = FreshNodes(self._graph, layer)
        return found

    def committed(self) -> None:
        """The names adopted are there for good."""
        adopted, self._adopted = self._adopted, []
        for names, name in adopted:
            names.confirm(name)

    def rolled_back(self) -> None:
        """Forget the names adopted, and what was made with their numbers."""
        adopted, self._adopted = self._adopted, []
        for names, name in adopted:
            names.forget(name)
        self._graph.names.drop_op()
        self._fresh.clear()


__all__ = ["EditsApplier"]
