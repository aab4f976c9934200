"""One content on its way in: hashed in one pass, stored in bounded transactions, visible at the end.

    take data (any thread) -> a part is full -> store the part (any thread, meanwhile more is taken)
    -> finish: the rest, the record and the change in one transaction

Only the SHA-256 is made here, as it is the name; the other digests, which take eight times as long together, are made
when somebody asks for them (`digests`). Data is not copied on its way from the message to LMDB, but where a chunk
lies across two messages. Memory stays at two parts, whatever the size of the content.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from typing import Final

from cellmesh.axon import schema
from cellmesh.axon.blobs import steps
from cellmesh.axon.blobs.adding import Adding
from cellmesh.axon.blobs.values import NO_LIMITS, BlobInfo, Limits, Metrics, Piece
from cellmesh.common.changelog import ChangeWriter
from cellmesh.common.changelog.writer import system_now_us
from cellmesh.common.errors import BadArg, HashMismatch, IsFini
from cellmesh.common.failpoints import failpoint
from cellmesh.common.storage import Slab, WriteTxn

PART_CHUNK_COUNT: Final = 64
"""Chunks stored in one transaction: some milliseconds of work, so that other writers get their turn."""

PART_CHUNK_COUNT_MAX: Final = 2 * PART_CHUNK_COUNT
"""A part has more chunks than that when the data that made it whole had many; so many are stored together at most."""

REMOVE_CHUNK_COUNT: Final = 256
"""Chunks removed in one transaction."""


class Upload:
    """One content on its way in. Made by `BlobStore.upload` and `BlobStore.resume`.

    `add` and `store` may run at the same time in two threads, but neither beside itself. `abort` may be
    called at any time, from any thread: it waits for what runs, and what comes later does nothing.

    Args:
        slab: Where to.
        changes: Writes the change log.
        chunk_size: Size of a stored chunk in bytes.
        expected_sha256: What the content must hash to, or empty.
        mark: What stands in `uploads` while the content is not visible.
        now_us: The time, in microseconds since 1970.
        limits: What the store may hold.
        grown: Called when the content has become visible.
    """

    def __init__(
        self,
        slab: Slab,
        changes: ChangeWriter,
        *,
        chunk_size: int,
        expected_sha256: bytes = b"",
        mark: bytes = steps.MARK,
        now_us: Callable[[], int] = system_now_us,
        limits: Limits = NO_LIMITS,
        grown: Callable[[], None] = lambda: None,
    ) -> None:
        self._slab = slab
        self._changes = changes
        self._chunk_size = chunk_size
        self._mark = mark
        self._now_us = now_us
        self._limits = limits
        self._grown = grown
        self.expected_sha256 = expected_sha256
        self._digest = hashlib.sha256()
        self._size = 0
        self._chunks: list[Piece] = []
        self._tail: list[Piece] = []
        self._tail_size = 0
        self._number: int | None = None
        self._stored_chunk_count = 0
        # Held while something is stored or removed: a caller that goes away makes the two meet.
        self._lock = threading.Lock()
        self._done = False

    @property
    def size(self) -> int:
        """How much was taken, in bytes."""
        return self._size

    def go_on(self, number: int) -> None:
        """Take what an earlier process stored under a number as the beginning, reading and hashing it."""
        self._number = number
        while True:
            first = self._stored_chunk_count
            keys = [schema.chunk_key(number, first + step) for step in range(PART_CHUNK_COUNT)]
            with self._slab.view() as txn:
                chunks = [chunk for chunk in txn.get_many(schema.CHUNKS, keys) if chunk is not None]
            for chunk in chunks:
                self._digest.update(chunk)
                self._size += len(chunk)
            self._stored_chunk_count += len(chunks)
            if len(chunks) < PART_CHUNK_COUNT:
                return

    def suspend(self) -> None:
        """Store what is whole of what was taken, so that little is lost if the process ends before it goes on."""
        if self._chunks:
            self.store(self._chunks)
            self._chunks = []

    def add(self, data: Sequence[Piece]) -> Sequence[Piece] | None:
        """Take the next bytes of the content, hashing them.

        Args:
            data: Pieces of it, in order.

        Returns:
            A part, once there is enough for one: hand it to `store`, in order, before the next one.
        """
        for piece in data:
            self._digest.update(piece)
            self._size += len(piece)
            self._cut(piece)
        if len(self._chunks) < PART_CHUNK_COUNT:
            return None
        part, self._chunks = self._chunks, []
        return part

    def _cut(self, piece: Piece) -> None:
        """Cut chunks out of it. What is left waits for the next piece."""
        view = memoryview(piece)
        start = 0
        if self._tail_size:
            start = min(self._chunk_size - self._tail_size, len(piece))
            self._tail.append(view[:start])
            self._tail_size += start
            if self._tail_size < self._chunk_size:
                return
            self._chunks.append(b"".join(self._tail))
            self._tail, self._tail_size = [], 0
        end = len(piece) - (len(piece) - start) % self._chunk_size
        self._chunks += [view[at : at + self._chunk_size] for at in range(start, end, self._chunk_size)]
        if end < len(piece):
            self._tail, self._tail_size = [view[end:]], len(piece) - end

    def store(self, part: Sequence[Piece]) -> None:
        """Store a part that `add` returned; it stays invisible. Durable when this returns."""
        for start in range(0, len(part), PART_CHUNK_COUNT_MAX):
            with self._lock:
                if self._done:
                    return
                self._check_write()
                self._check_limits()
                self._store_chunks(part[start : start + PART_CHUNK_COUNT_MAX])
            failpoint("axon_upload_part_stored")

    def _check_write(self) -> None:
        """Find out early when no blob could be added, as on an instance that does not lead any more."""
        gate = self._slab.gate
        if gate is not None:
            gate.check_write()

    def _check_limits(self) -> None:
        """Find out early when the content has become too large; that it is there already is not known yet."""
        if self._limits != NO_LIMITS:
            with self._slab.view() as txn:
                totals = steps.read_totals(txn)
            self._limits.check(Metrics(totals.blob_count, totals.size), 1, self._size)

    def _store_chunks(self, chunks: Sequence[Piece]) -> None:
        def op(txn: WriteTxn) -> int:
            number = steps.begin_upload(txn, self._mark) if self._number is None else self._number
            steps.put_chunks(txn, number, self._stored_chunk_count, chunks)
            return number

        # Nobody else must have what is not visible, so no follower is waited for.
        self._number = self._slab.write(op, privileged=True)
        self._stored_chunk_count += len(chunks)

    def finish(self) -> BlobInfo:
        """Make the content visible; durable when this returns.

        Content that was there already stays as it is, and what was sent is dropped.

        Raises:
            HashMismatch: the content is not the one expected; nothing of it is kept.
            IsFini: the upload was aborted.
        """
        blob = BlobInfo(self._digest.digest(), self._size)
        if self.expected_sha256 and self.expected_sha256 != blob.sha256:
            self.abort()
            raise HashMismatch(
                "the content is not what was announced",
                algorithm="sha256",
                expected=self.expected_sha256.hex(),
                found=blob.sha256.hex(),
            )
        rest = [*self._chunks, b"".join(self._tail)] if self._tail_size else self._chunks
        with self._lock:
            if self._done:
                raise IsFini("the upload was aborted", name="upload")
            self._done = self._make_visible(blob, rest)
        # Nothing is left to drop if the content is visible now; else it was there already.
        self.abort()
        self._grown()
        return blob

    def _make_visible(self, blob: BlobInfo, rest: Sequence[Piece]) -> bool:
        append_change = self._changes.begin()
        now_us = self._now_us()

        def op(txn: WriteTxn) -> bool:
            adding = Adding(txn, append_change, self._chunk_size, now_us, self._limits)
            adding.check_limits((blob,))
            is_used = adding.add(blob, rest, number=self._number, first=self._stored_chunk_count)
            adding.close()
            return is_used

        return self._slab.write(op)

    def abort(self) -> None:
        """Drop everything. What cannot be removed now is removed when the cell starts again."""
        with self._lock:
            if self._done:
                return
            self._done = True
            if self._number is not None:
                remove_upload(self._slab, self._number)


def remove_upload(slab: Slab, number: int) -> None:
    """Remove the chunks of an upload that broke off, in bounded transactions; none if it has become visible."""
    while not slab.write(
        lambda txn: steps.remove_upload_chunks(txn, number, REMOVE_CHUNK_COUNT), privileged=True
    ):
        failpoint("axon_upload_chunks_removed")


def check_sha256(sha256: bytes) -> bytes:
    """Refuse what cannot be a SHA-256.

    Raises:
        BadArg: it does not have 32 bytes.
    """
    if len(sha256) != 32:
        raise BadArg(f"a SHA-256 has 32 bytes, not {len(sha256)}", name="sha256", valu=sha256[:64].hex())
    return sha256


def check_upload_id(upload_id: bytes) -> bytes:
    """Refuse what cannot be the id of an upload.

    Raises:
        BadArg: it does not have 16 bytes.
    """
    if len(upload_id) != schema.UPLOAD_ID_SIZE:
        raise BadArg(f"the id of an upload has 16 bytes, not {len(upload_id)}", name="upload_id")
    return upload_id
