"""What a store of blobs is, whatever keeps the contents: LMDB (`store`), memory (`memory`), another one day.

The tests run one suite over all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from cellmesh.axon.blobs.values import Arrival, BlobHashes, BlobInfo, Damage, Metrics


class BlobUpload(Protocol):
    """One content on its way in. Used by one caller at a time."""

    @property
    def size(self) -> int:
        """How much was taken, in bytes."""
        ...

    def add(self, data: Sequence[bytes]) -> bytes | None:
        """Take the next bytes; returns a part, once there is enough for one, to be handed to `store`."""
        ...

    def store(self, part: bytes) -> None:
        """Store a part that `add` returned."""
        ...

    def suspend(self) -> None:
        """Keep what was taken, as far as can be, over the end of the process."""
        ...

    def finish(self) -> BlobHashes:
        """Make the content visible. Raises HashMismatch, HitLimit, IsFini."""
        ...

    def abort(self) -> None:
        """Drop everything; after `finish`, do nothing."""
        ...


class Blobs(Protocol):
    """Contents by their SHA-256, in the order in which they came."""

    def put(self, contents: Sequence[bytes]) -> list[BlobInfo]:
        """Store small contents, all or none. Raises BadArg, HitLimit."""
        ...

    def upload(self, expected_sha256: bytes = b"") -> BlobUpload:
        """Begin to store a content of any size. Raises BadArg."""
        ...

    def resume(self, upload_id: bytes, expected_sha256: bytes = b"") -> BlobUpload:
        """Begin one that is kept when it breaks, or go on with it. Raises BadArg."""
        ...

    def drop_upload(self, upload_id: bytes) -> bool:
        """Remove what is kept of an upload; whether there was any. Raises BadArg."""
        ...

    def has(self, sha256s: Sequence[bytes]) -> list[bool]:
        """Whether each is there. Raises BadArg."""
        ...

    def missing(self, sha256s: Sequence[bytes]) -> list[bytes]:
        """Those that are not there. Raises BadArg."""
        ...

    def info(self, sha256: bytes) -> BlobInfo:
        """Size of one. Raises NoSuchFile, BadArg."""
        ...

    def hashes(self, sha256: bytes) -> BlobHashes:
        """Digests of one. Raises NoSuchFile, BadArg."""
        ...

    def read(self, sha256: bytes, offset: int = 0, size: int | None = None) -> Iterator[bytes]:
        """A content or a range of it; nothing past the end. Raises NoSuchFile, BadArg, StorageCorrupt."""
        ...

    def delete(self, sha256s: Sequence[bytes]) -> list[bool]:
        """Delete; whether each was there. Raises BadArg."""
        ...

    def arrivals(self, offset: int = 0, count_max: int | None = None) -> Iterator[Arrival]:
        """In order of arrival, deleted ones marked; one that was stored again comes again."""
        ...

    def history(self, tick_us: int, tock_us: int | None = None) -> Iterator[Arrival]:
        """What came from `tick_us` on and before `tock_us`."""
        ...

    def verify(self, sha256: bytes) -> Damage | None:
        """What is wrong with a content. Raises NoSuchFile."""
        ...

    def metrics(self) -> Metrics:
        """The totals."""
        ...


__all__ = ["BlobUpload", "Blobs"]
