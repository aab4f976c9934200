"""About how much room each layer takes in the file.

The databases hold all layers, and LMDB knows the pages of a database, not those of a range of keys. So the pages of each
database are shared out among the layers by what is counted in them: nodes and properties, tags, light edges. One layer
alone gets all of them exactly; where records of layers differ much in size, theirs is only about right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from threading import Lock
from typing import Final

from cellmesh.common.storage import ReadTxn, Slab, SubDb
from cellmesh.cortex.layers.keys import end_of
from cellmesh.cortex.layers.layer import Layer
from cellmesh.cortex.layers.schema import (
    BY_ARRAY,
    BY_PROP,
    BY_TAG,
    BY_TAG_PROP,
    BY_VERB,
    COUNTS,
    EDGE_MASKS,
    EDGES_IN,
    EDGES_OUT,
    NODE_DATA,
    NODES,
)
from cellmesh.cortex.layers.stats import sum_counts

BY_COUNTS: Final = (NODES, BY_PROP, BY_ARRAY, NODE_DATA, COUNTS)
BY_TAGS: Final = (BY_TAG, BY_TAG_PROP)
BY_EDGES: Final = (EDGES_OUT, EDGES_IN, BY_VERB, EDGE_MASKS)

KEY_COUNT_MAX: Final = 1000
"""Keys of a layer in one database whose entries are counted: what has more tags and forms is estimated by these."""


class LayerSizes:
    """The sizes of all layers, worked out anew when something was committed since."""

    def __init__(self, slab: Slab) -> None:
        self._slab = slab
        self._lock = Lock()
        self._known: tuple[int, Mapping[str, int]] = (-1, {})

    def of(self, layer: Layer, layers: Iterable[Layer]) -> int:
        """Return about how many bytes a layer takes, of all that there are."""
        with self._lock:
            count, sizes = self._known
            now = self._slab.commit_count
            if count != now or str(layer.id) not in sizes:
                with self._slab.view() as txn:
                    sizes = _sizes(txn, tuple(layers))
                self._known = (now, sizes)
            return sizes.get(str(layer.id), 0)


def _sizes(txn: ReadTxn, layers: Sequence[Layer]) -> dict[str, int]:
    sizes = dict.fromkeys((str(layer.id) for layer in layers), 0.0)
    for databases, weigh in ((BY_COUNTS, _counted), (BY_TAGS, _tagged), (BY_EDGES, _linked)):
        weights = {str(layer.id): weigh(txn, layer.key) for layer in layers}
        total = sum(weights.values())
        if total:
            room = sum(txn.size_bytes(db) for db in databases)
            for layer_id, weight in weights.items():
                sizes[layer_id] += room * weight / total
    return {layer_id: round(size) for layer_id, size in sizes.items()}


def _counted(txn: ReadTxn, layer: bytes) -> int:
    # A layer that only adds tags, masks or data to nodes below counts nothing.
    return sum_counts(txn, layer) or len(
        txn.scan_keys(NODES, layer, end_of(layer), count_max=KEY_COUNT_MAX).items
    )


def _tagged(txn: ReadTxn, layer: bytes) -> int:
    return _entries(txn, BY_TAG, layer)


def _linked(txn: ReadTxn, layer: bytes) -> int:
    return _entries(txn, BY_VERB, layer)


def _entries(txn: ReadTxn, db: SubDb, layer: bytes) -> int:
    """Count entries by their keys, as LMDB knows how many each key has."""
    low, high, total = layer, end_of(layer), 0
    for _ in range(KEY_COUNT_MAX):
        first = txn.first(db, low, high)
        if first is None:
            break
        total += txn.count(db, first[0])
        low = first[0] + b"\x00"
    return total


__all__ = ["LayerSizes"]
