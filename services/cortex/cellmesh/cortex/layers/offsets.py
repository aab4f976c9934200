"""Up to where a layer has taken the edits of others: rows of the `graph` database, written with the edits."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from cellmesh.common.storage import ReadTxn, WriteTxn
from cellmesh.cortex.layers.keys import end_of
from cellmesh.cortex.layers.schema import GRAPH

OFFSET: Final = b"o"
SOURCE_COUNT_MAX: Final = 1000
"""Sources of one layer."""

_OFFSET: Final = struct.Struct(">Q")


@dataclass(frozen=True, slots=True)
class Taken:
    """How far the edits of a source were taken.

    Attributes:
        offset: Where to read on, an offset of the source's change log.
        after: The last node taken, as bytes of the source's choosing, while the layer's content is taken as a whole
            before its edits from `offset` on; empty when the content is complete.
    """

    offset: int
    after: bytes = b""


def find_taken(txn: ReadTxn, layer_id: str, source: str) -> Taken | None:
    """Return how far the edits of a source were taken; None for one that is not known."""
    found = txn.get(GRAPH, _key(layer_id, source))
    return None if found is None else Taken(_OFFSET.unpack_from(found)[0], found[8:])


def store_taken(txn: WriteTxn, layer_id: str, source: str, taken: Taken | None) -> None:
    """Store how far the edits of a source were taken; None forgets the source."""
    if taken is None:
        txn.delete(GRAPH, _key(layer_id, source))
    else:
        txn.put(GRAPH, _key(layer_id, source), _OFFSET.pack(taken.offset) + taken.after)


def drop_taken(txn: WriteTxn, layer_id: str) -> None:
    """Forget all sources of a layer that is removed."""
    low = _key(layer_id, "")
    txn.delete_range(GRAPH, low, end_of(low), count_max=SOURCE_COUNT_MAX)


def _key(layer_id: str, source: str) -> bytes:
    return OFFSET + layer_id.encode() + b"/" + source.encode()
