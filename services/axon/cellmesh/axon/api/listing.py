"""The order of arrival, listed in batches, and waited for without a thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

from cellmesh.axon.blobs.interface import Blobs
from cellmesh.axon.blobs.values import ArrivalRow
from cellmesh.common.rpc.workers import Workers

LISTED_COUNT_MAX: Final = 4096
"""Blobs in one message."""


class Listing:
    """Lists blobs.

    Args:
        store: The blobs.
        workers: Threads for blocking work.
    """

    def __init__(self, store: Blobs, workers: Workers) -> None:
        self._store = store
        self._workers = workers

    async def run(
        self,
        offset: int,
        wait: bool = False,
        timeout_s: float | None = None,
        skip_deleted: bool = False,
        offset_max: int | None = None,
    ) -> AsyncIterator[bytes]:
        """Yield serialized ListBlobsResponse messages; ListBlobHistoryResponse has the same form.

        Args:
            offset: Where to begin.
            wait: Go on with what comes later.
            timeout_s: End when nothing has come for so long; None waits for good.
            skip_deleted: Leave out what was deleted.
            offset_max: Where to end, excluded.

        Raises:
            ShuttingDown: the cell stops while this waits.
        """
        while True:
            came = self._store.growth.future() if wait else None
            count_max = LISTED_COUNT_MAX if offset_max is None else min(LISTED_COUNT_MAX, offset_max - offset)
            if count_max <= 0:
                return
            message, count, next_offset = await self._workers.run(self._pack, offset, count_max, skip_deleted)
            if message:
                yield message
            if count:
                offset = next_offset
            if count == count_max:
                continue
            if came is None:
                return
            try:
                await asyncio.wait_for(asyncio.shield(came), timeout_s)
            except TimeoutError:
                return

    def _pack(self, offset: int, count_max: int, skip_deleted: bool) -> tuple[bytes, int, int]:
        """A message, how many rows were read for it, and where to go on."""
        rows = self._store.arrival_rows(offset, count_max)
        if not rows:
            return b"", 0, offset
        shown = [row for row in rows if not row[4]] if skip_deleted else rows
        return encode_rows(shown), len(rows), rows[-1][0] + 1


def encode_rows(rows: Sequence[ArrivalRow]) -> bytes:
    """Each row as a ListedBlob, field 1 of a message, serialized by hand: there are many of them.

    What follows the SHA-256 is the same for many rows, as those stored together have one time; it is made once for each kind.
    """
    tails: dict[tuple[int, int, int], tuple[bytes, bytes]] = {}
    heads: dict[int, bytes] = {}
    parts: list[bytes] = []
    low = _LOW
    for offset, sha256, size, time_us, deleted in rows:
        kind = (size, time_us, deleted)
        found = tails.get(kind)
        if found is None:
            found = tails[kind] = _tail(*kind)
        blob, tail = found
        if offset < 0x80:
            place = _ONE_BYTE[offset]
        else:
            high = offset >> 7
            head = heads.get(high)
            if head is None:
                head = heads[high] = _varint(high)
            place = low[offset & 0x7F] + head
        # 0x0a: this field; 0x08: offset; `blob`: what begins the blob, up to its SHA-256.
        parts.append(
            b"\x0a%c\x08%b%b%b%b" % (1 + len(place) + len(blob) + 32 + len(tail), place, blob, sha256, tail)
        )
    return b"".join(parts)


def _tail(size: int, time_us: int, deleted: int) -> tuple[bytes, bytes]:
    """What is before the SHA-256 of a blob, and what is after it."""
    size_bytes = _varint(size)
    tail = b"\x10%b%b\x20%b" % (size_bytes, b"\x18\x01" if deleted else b"", _varint(time_us))
    return b"\x12%c\x0a\x20" % (35 + len(size_bytes)), tail


def _varint(value: int) -> bytes:
    made = bytearray()
    while value >= 0x80:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)


_ONE_BYTE: Final = tuple(bytes((value,)) for value in range(0x80))
_LOW: Final = tuple(bytes((value | 0x80,)) for value in range(0x80))
