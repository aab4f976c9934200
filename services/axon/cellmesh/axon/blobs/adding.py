"""Blobs added in one transaction, with their change records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cellmesh.axon import schema
from cellmesh.axon.blobs import steps
from cellmesh.axon.blobs.changes import blob_added
from cellmesh.axon.blobs.values import NO_LIMITS, BlobInfo, Limits, Metrics, Piece
from cellmesh.common.changelog import AppendChange
from cellmesh.common.storage import WriteTxn


class Adding:
    """Adds blobs in one transaction. `close` comes after the last one, in the same transaction.

    Args:
        txn: The write transaction.
        append_change: See `AppendChange`.
        chunk_size: Of the chunks, in bytes.
        now_us: The time, in microseconds since 1970.
        limits: What the store may hold.
    """

    def __init__(
        self,
        txn: WriteTxn,
        append_change: AppendChange,
        chunk_size: int,
        now_us: int,
        limits: Limits = NO_LIMITS,
    ) -> None:
        self._txn = txn
        self._append_change = append_change
        self._chunk_size = chunk_size
        self._time_us = now_us
        self._limits = limits
        self._totals: schema.Totals | None = None

    def check_limits(self, blobs: Iterable[BlobInfo]) -> None:
        """Refuse blobs that would be too many or too large, before any is added. Raises HitLimit."""
        if self._limits == NO_LIMITS:
            return
        fresh = {item.sha256: item.size for item in blobs if not self._txn.has(schema.BLOBS, item.sha256)}
        totals = steps.read_totals(self._txn)
        if fresh:
            self._limits.check(Metrics(totals.blob_count, totals.size), len(fresh), sum(fresh.values()))

    def add(
        self, blob: BlobInfo, chunks: Sequence[Piece], *, number: int | None = None, first: int = 0
    ) -> bool:
        """Store the last chunks of a content and make it a blob, unless there is a blob with that content.

        Args:
            blob: Name and size of the whole content.
            chunks: What is not stored yet.
            number: The upload's number, or None when nothing of it is stored yet.
            first: The index of the first of `chunks`.

        Returns:
            Whether the content was used. If not, nothing was changed, and the chunks of the upload remain.
        """
        txn = self._txn
        wanted: int | None = None
        if txn.has(schema.BLOBS, blob.sha256):
            wanted = steps.wanted_arrival(txn, blob.sha256)
            if wanted is None:
                return False
        if number is None:
            number = steps.take_numbers(txn, 1)
        else:
            steps.end_upload(txn, number)
        steps.put_chunks(txn, number, first, chunks)
        if wanted is not None:
            # What replicas share has it already.
            steps.fill(txn, wanted, number, self._chunk_size)
            return True
        totals = self._totals
        if totals is None:
            totals = steps.read_totals(txn)
            # A clock that was set back makes no blob older than the one before: the order is one of time as well.
            self._time_us = max(self._time_us, steps.last_time(txn, totals))
        steps.place(txn, totals.next_arrival, number, self._chunk_size)
        self._append_change(txn, blob_added(blob, totals.next_arrival, self._time_us))
        self._totals = steps.add_blob(txn, blob, totals, self._time_us)
        return True

    def close(self) -> None:
        """Write the counts."""
        if self._totals is not None:
            steps.write_totals(self._txn, self._totals)


__all__ = ["Adding"]
