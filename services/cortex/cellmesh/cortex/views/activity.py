"""When each layer was edited last: learned from the change log, a part at a time, as it is asked."""

from __future__ import annotations

import threading
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cellmesh.common.errors import LogTrimmed
from cellmesh.cortex.values.changes import COMPRESSED_TYPE_NAME, TYPE_NAME

if TYPE_CHECKING:
    from cellmesh.common.changelog import ChangeLog
    from cellmesh.common.changelog.record import ChangeRecord
    from cellmesh.common.storage import Slab

HEAD_SIZE: Final = 2 + 128
"""Bytes of serialized LayerEdits that hold its first field, the layer's id."""


@dataclass(frozen=True, slots=True)
class Activity:
    """A layer's last edit.

    Attributes:
        offset: That of its record in the change log.
        time_ms: When, in milliseconds since 1970.
    """

    offset: int
    time_ms: int


class Activities:
    """The last edit of each layer, as far as the change log tells. Threads may share it."""

    def __init__(self, slab: Slab, log: ChangeLog) -> None:
        self._slab = slab
        self._log = log
        self._lock = threading.Lock()
        self._next = 0
        self._by_layer: dict[str, Activity] = {}

    def of_layer(self, layer_id: str) -> Activity | None:
        """Return a layer's last edit; None if the log knows of none."""
        with self._lock:
            self._follow()
            return self._by_layer.get(layer_id)

    def _follow(self) -> None:
        while True:
            with self._slab.view() as txn:
                end, first = self._log.next_offset(txn), self._log.first_offset(txn)
            self._next = max(self._next, first)
            if self._next >= end:
                return
            try:
                chunk = self._log.read(self._next)
            except LogTrimmed:
                continue
            for record in chunk.records:
                layer_id = layer_of(record)
                if layer_id is not None:
                    self._by_layer[layer_id] = Activity(record.offset, record.time_us // 1000)
            self._next = chunk.next_offset


def layer_of(record: ChangeRecord) -> str | None:
    """Return the layer that a change record edits, from the head of its payload; None for other records."""
    if record.type_name == TYPE_NAME:
        head = record.payload[:HEAD_SIZE]
    elif record.type_name == COMPRESSED_TYPE_NAME:
        head = zlib.decompressobj().decompress(record.payload, HEAD_SIZE)
    else:
        return None
    if len(head) < 2 or head[0] != 0x0A:
        return None
    return head[2 : 2 + head[1]].decode()
