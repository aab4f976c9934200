"""What a store of blobs is, whatever keeps the contents: LMDB (`store`), memory (`memory`), another one day.

All that serves and reads blobs is written to `Blobs`. The tests run one suite over all stores, and the services over all of
them too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from cellmesh.axon.blobs.growth import Growth
from cellmesh.axon.blobs.values import (
    Arrival,
    ArrivalRow,
    BlobHashes,
    BlobInfo,
    Damage,
    KeptUpload,
    Metrics,
    Piece,
)
from cellmesh.common.rpc.streams import CancelToken


class BlobUpload(Protocol):
    """One content on its way in. `add` may run while `store` does, neither beside itself; `abort` at any time.

    Attributes:
        expected_sha256: What the content must hash to, or empty. May be set before `finish`.
    """

    expected_sha256: bytes

    @property
    def size(self) -> int:
        """How much was taken, in bytes."""
        ...

    def add(self, data: Sequence[Piece]) -> Any:
        """Take the next bytes; returns a part, once there is enough for one, to be handed to `store`, else None.

        What a part is, only the store knows.
        """
        ...

    def store(self, part: Any) -> None:
        """Store a part that `add` returned; not visible yet."""
        ...

    def suspend(self) -> None:
        """Keep what was taken, as far as can be, over the end of the process."""
        ...

    def finish(self) -> BlobInfo:
        """Make the content visible. Raises HashMismatch, HitLimit, IsFini."""
        ...

    def abort(self) -> None:
        """Drop everything; after `finish`, do nothing."""
        ...


class Blobs(Protocol):
    """Contents by their SHA-256, in the order in which they came. Blocking; used by any number of threads.

    Attributes:
        growth: Told when something has come.
        now_us: The time, in microseconds since 1970.
    """

    growth: Growth
    now_us: Callable[[], int]

    def put(self, contents: Sequence[bytes]) -> list[BlobInfo]:
        """Store small contents, all or none. Raises BadArg, HitLimit."""
        ...

    def upload(self, expected_sha256: bytes = b"") -> BlobUpload:
        """Begin to store a content of any size. Raises BadArg."""
        ...

    def resume(self, upload_id: bytes, expected_sha256: bytes = b"") -> BlobUpload:
        """Begin one that is kept when it breaks, or go on with it. Raises BadArg."""
        ...

    def has_upload(self, upload_id: bytes) -> bool:
        """Whether anything is kept of an upload. Raises BadArg."""
        ...

    def kept_uploads(self) -> Sequence[KeptUpload]:
        """All uploads of which something is kept."""
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

    def hashes(self, sha256: bytes, token: CancelToken | None = None) -> BlobHashes:
        """Digests of one, for which it may have to be read. Raises NoSuchFile, BadArg, StorageCorrupt, Cancelled."""
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

    def arrival_rows(self, offset: int, count_max: int) -> Sequence[ArrivalRow]:
        """The same as plain tuples, at most so many; there are no gaps between their offsets."""
        ...

    def history(self, tick_us: int, tock_us: int | None = None) -> Iterator[Arrival]:
        """What came from `tick_us` on and before `tock_us`."""
        ...

    def offsets_between(self, tick_us: int, tock_us: int | None = None) -> tuple[int, int]:
        """The offsets of what `history` tells: the first, and the one behind the last."""
        ...

    def verify(self, sha256: bytes, token: CancelToken | None = None) -> Damage | None:
        """What is wrong with a content. Raises NoSuchFile, Cancelled."""
        ...

    def metrics(self) -> Metrics:
        """The totals."""
        ...


__all__ = ["BlobUpload", "Blobs"]
