"""One content on its way in: hashed in one pass, stored in bounded transactions, visible at the end.

    take data (any thread) -> a part is full -> store the part (any thread, meanwhile more is taken)
    -> finish: the rest, the record and the change in one transaction

Memory stays at two parts, whatever the size of the content.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

from cellmesh.axon.blobs import steps
from cellmesh.axon.blobs.adding import Adding
from cellmesh.axon.blobs.values import BlobHashes
from cellmesh.common.changelog import ChangeWriter
from cellmesh.common.errors import BadArg, HashMismatch, IsFini
from cellmesh.common.failpoints import failpoint
from cellmesh.common.hashing import HashSet
from cellmesh.common.storage import Slab, WriteTxn

PART_CHUNK_COUNT: Final = 64
"""Chunks stored in one transaction: some milliseconds of work, so that other writers get their turn."""

REMOVE_CHUNK_COUNT: Final = 256
"""Chunks removed in one transaction."""


class Upload:
    """One content on its way in. Made by `BlobStore.upload`.

    `add` and `store` may run at the same time in two threads, but neither beside itself. `abort` may be
    called at any time, from any thread: it waits for what runs, and what comes later does nothing.

    Args:
        slab: Where to.
        changes: Writes the change log.
        chunk_size: Size of a stored chunk in bytes.
        expected_sha256: What the content must hash to, or empty.
    """

    def __init__(
        self, slab: Slab, changes: ChangeWriter, *, chunk_size: int, expected_sha256: bytes = b""
    ) -> None:
        self._slab = slab
        self._changes = changes
        self._chunk_size = chunk_size
        self._part_size = chunk_size * PART_CHUNK_COUNT
        self._expected = expected_sha256
        self._hashes = HashSet()
        self._waiting: list[bytes] = []
        self._waiting_size = 0
        self._number: int | None = None
        self._stored_chunk_count = 0
        # Held while something is stored or removed: a caller that goes away makes the two meet.
        self._lock = threading.Lock()
        self._done = False

    def add(self, data: Sequence[bytes]) -> bytes | None:
        """Take the next bytes of the content, hashing them.

        Args:
            data: Pieces of it, in order.

        Returns:
            A part, once there is enough for one: hand it to `store`, in order, before the next one.
        """
        for piece in data:
            self._hashes.update(piece)
            self._waiting.append(piece)
            self._waiting_size += len(piece)
        if self._waiting_size < self._part_size:
            return None
        whole = b"".join(self._waiting)
        size = len(whole) - len(whole) % self._part_size
        rest = whole[size:]
        self._waiting, self._waiting_size = [rest], len(rest)
        return whole[:size]

    def store(self, part: bytes) -> None:
        """Store a part that `add` returned; it stays invisible. Durable when this returns."""
        for start in range(0, len(part), self._part_size):
            chunks = steps.split_chunks(part[start : start + self._part_size], self._chunk_size)
            with self._lock:
                if self._done:
                    return
                self._check_write()
                self._store_chunks(chunks)
            failpoint("axon_upload_part_stored")

    def _check_write(self) -> None:
        """Find out early when no blob could be added, as on an instance that does not lead any more."""
        gate = self._slab.gate
        if gate is not None:
            gate.check_write()

    def _store_chunks(self, chunks: list[bytes]) -> None:
        def op(txn: WriteTxn) -> int:
            number = steps.begin_upload(txn) if self._number is None else self._number
            steps.put_chunks(txn, number, self._stored_chunk_count, chunks)
            return number

        # Nobody else must have what is not visible, so no follower is waited for.
        self._number = self._slab.write(op, privileged=True)
        self._stored_chunk_count += len(chunks)

    def finish(self) -> BlobHashes:
        """Make the content visible; durable when this returns.

        Content that was there already stays as it is, and what was sent is dropped.

        Raises:
            HashMismatch: the content is not the one expected; nothing of it is kept.
            IsFini: the upload was aborted.
        """
        hashes = BlobHashes.of(self._hashes)
        if self._expected and self._expected != hashes.sha256:
            self.abort()
            raise HashMismatch(
                "the content is not what was announced",
                algorithm="sha256",
                expected=self._expected.hex(),
                found=hashes.sha256.hex(),
            )
        rest = steps.split_chunks(b"".join(self._waiting), self._chunk_size)
        with self._lock:
            if self._done:
                raise IsFini("the upload was aborted", name="upload")
            self._done = self._make_visible(hashes, rest)
        # Nothing is left to drop if the content is visible now; else it was there already.
        self.abort()
        return hashes

    def _make_visible(self, hashes: BlobHashes, rest: list[bytes]) -> bool:
        append_change = self._changes.begin()

        def op(txn: WriteTxn) -> bool:
            adding = Adding(txn, append_change, self._chunk_size)
            is_used = adding.add(hashes, rest, number=self._number, first=self._stored_chunk_count)
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
