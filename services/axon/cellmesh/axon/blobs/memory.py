"""A store of blobs in memory: what `store` must agree with, and for tests of what uses blobs."""

from __future__ import annotations

import hashlib
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence

from cellmesh.axon.blobs import digests
from cellmesh.axon.blobs.growth import Growth
from cellmesh.axon.blobs.hashing_writer import check_sha256, check_upload_id
from cellmesh.axon.blobs.store import DELETE_COUNT_MAX, PUT_COUNT_MAX, PUT_SIZE_MAX
from cellmesh.axon.blobs.values import (
    NO_LIMITS,
    Arrival,
    ArrivalRow,
    BlobHashes,
    BlobInfo,
    Damage,
    KeptUpload,
    Limits,
    Metrics,
    Piece,
)
from cellmesh.common.changelog.writer import system_now_us
from cellmesh.common.errors import BadArg, HashMismatch, IsFini, NoSuchFile
from cellmesh.common.rpc.streams import CancelToken


class MemoryBlobs:
    """Blobs in memory; `Blobs` of `interface`. Used by any number of threads.

    Args:
        limits: What it may hold.
        now_us: The time, in microseconds since 1970.
    """

    def __init__(self, *, limits: Limits = NO_LIMITS, now_us: Callable[[], int] = system_now_us) -> None:
        self._limits = limits
        self.now_us = now_us
        self.growth = Growth()
        self._lock = threading.RLock()
        self._contents: dict[bytes, tuple[bytes, int]] = {}
        self._arrivals: list[Arrival] = []
        self._uploads: dict[bytes, tuple[bytearray, int]] = {}

    def put(self, contents: Sequence[bytes]) -> list[BlobInfo]:
        """See Blobs."""
        if sum(map(len, contents)) > PUT_SIZE_MAX or len(contents) > PUT_COUNT_MAX:
            raise BadArg("the contents are too large for one call", name="contents")
        with self._lock:
            blobs = [_name(content) for content in contents]
            fresh = {blob.sha256: blob.size for blob in blobs if blob.sha256 not in self._contents}
            self._limits.check(self.metrics(), len(fresh), sum(fresh.values()))
            for blob, content in zip(blobs, contents):
                self._add(blob, content)
        self.growth.notify()
        return blobs

    def upload(self, expected_sha256: bytes = b"") -> MemoryUpload:
        """See Blobs."""
        return MemoryUpload(self, bytearray(), expected_sha256)

    def resume(self, upload_id: bytes, expected_sha256: bytes = b"") -> MemoryUpload:
        """See Blobs."""
        with self._lock:
            taken, _ = self._uploads.setdefault(check_upload_id(upload_id), (bytearray(), self.now_us()))
        return MemoryUpload(self, taken, expected_sha256, lambda: self._uploads.pop(upload_id, None))

    def has_upload(self, upload_id: bytes) -> bool:
        """See Blobs."""
        return check_upload_id(upload_id) in self._uploads

    def kept_uploads(self) -> list[KeptUpload]:
        """See Blobs."""
        with self._lock:
            return [KeptUpload(upload_id, time_us) for upload_id, (_, time_us) in self._uploads.items()]

    def drop_upload(self, upload_id: bytes) -> bool:
        """See Blobs."""
        with self._lock:
            taken, _ = self._uploads.pop(check_upload_id(upload_id), (b"", 0))
            return bool(taken)

    def has(self, sha256s: Sequence[bytes]) -> list[bool]:
        """See Blobs."""
        with self._lock:
            return [check_sha256(sha256) in self._contents for sha256 in sha256s]

    def missing(self, sha256s: Sequence[bytes]) -> list[bytes]:
        """See Blobs."""
        return [sha256 for sha256, present in zip(sha256s, self.has(sha256s)) if not present]

    def info(self, sha256: bytes) -> BlobInfo:
        """See Blobs."""
        return BlobInfo(sha256, len(self._find(sha256)[0]))

    def hashes(self, sha256: bytes, token: CancelToken | None = None) -> BlobHashes:
        """See Blobs."""
        return digests.make((self._find(sha256)[0],), sha256, token)

    def read(self, sha256: bytes, offset: int = 0, size: int | None = None) -> Iterator[bytes]:
        """See Blobs."""
        content = self._find(sha256)[0]
        found = content[offset:] if size is None else content[offset : offset + size]
        if found:
            yield found

    def delete(self, sha256s: Sequence[bytes]) -> list[bool]:
        """See Blobs."""
        if len(sha256s) > DELETE_COUNT_MAX:
            raise BadArg("too many blobs in one call", name="sha256s")
        for sha256 in sha256s:
            check_sha256(sha256)
        deleted = []
        with self._lock:
            for sha256 in sha256s:
                found = self._contents.pop(sha256, None)
                deleted.append(found is not None)
                if found is not None:
                    row = self._arrivals[found[1]]
                    self._arrivals[found[1]] = Arrival(row.offset, row.blob, row.time_us, deleted=True)
        return deleted

    def arrivals(self, offset: int = 0, count_max: int | None = None) -> Iterator[Arrival]:
        """See Blobs."""
        end = None if count_max is None else offset + count_max
        return iter(self._arrivals[offset:end])

    def arrival_rows(self, offset: int, count_max: int) -> list[ArrivalRow]:
        """See Blobs."""
        return [
            (row.offset, row.blob.sha256, row.blob.size, row.time_us, int(row.deleted))
            for row in self._arrivals[offset : offset + count_max]
        ]

    def history(self, tick_us: int, tock_us: int | None = None) -> Iterator[Arrival]:
        """See Blobs."""
        first, last = self.offsets_between(tick_us, tock_us)
        return self.arrivals(first, max(0, last - first))

    def offsets_between(self, tick_us: int, tock_us: int | None = None) -> tuple[int, int]:
        """See Blobs."""
        with self._lock:
            times = [row.time_us for row in self._arrivals]
        return bisect_left(times, tick_us), len(times) if tock_us is None else bisect_left(times, tock_us)

    def verify(self, sha256: bytes, token: CancelToken | None = None) -> Damage | None:
        """See Blobs."""
        found = hashlib.sha256(self._find(sha256)[0])
        return None if found.digest() == sha256 else Damage(self.info(sha256), "its SHA-256 is another")

    def metrics(self) -> Metrics:
        """See Blobs."""
        with self._lock:
            return Metrics(len(self._contents), sum(len(content) for content, _ in self._contents.values()))

    def finish(self, content: bytes, expected_sha256: bytes) -> BlobInfo:
        """Make a content visible. For `MemoryUpload`."""
        blob = _name(content)
        if expected_sha256 and expected_sha256 != blob.sha256:
            raise HashMismatch("the content is not what was announced", expected=expected_sha256.hex())
        with self._lock:
            if blob.sha256 not in self._contents:
                self._limits.check(self.metrics(), 1, blob.size)
            self._add(blob, content)
        self.growth.notify()
        return blob

    def _find(self, sha256: bytes) -> tuple[bytes, int]:
        with self._lock:
            found = self._contents.get(check_sha256(sha256))
        if found is None:
            raise NoSuchFile("no blob has this hash", sha256=sha256.hex())
        return found

    def _add(self, blob: BlobInfo, content: bytes) -> None:
        if blob.sha256 in self._contents:
            return
        offset = len(self._arrivals)
        time_us = max(self.now_us(), self._arrivals[-1].time_us if offset else 0)
        self._contents[blob.sha256] = content, offset
        self._arrivals.append(Arrival(offset, blob, time_us))


class MemoryUpload:
    """One content on its way in; `BlobUpload` of `interface`.

    Args:
        blobs: Where to.
        taken: What there is of it.
        expected_sha256: What it must hash to, or empty.
        forget: Called when it is over.
    """

    def __init__(
        self,
        blobs: MemoryBlobs,
        taken: bytearray,
        expected_sha256: bytes,
        forget: Callable[[], object] = lambda: None,
    ) -> None:
        if expected_sha256:
            check_sha256(expected_sha256)
        self._blobs = blobs
        self._taken = taken
        self.expected_sha256 = expected_sha256
        self._forget = forget
        self._done = False

    @property
    def size(self) -> int:
        """See BlobUpload."""
        return len(self._taken)

    def add(self, data: Sequence[Piece]) -> None:
        """See BlobUpload."""
        self._taken += b"".join(data)

    def store(self, part: None) -> None:
        """See BlobUpload. There are no parts."""

    def suspend(self) -> None:
        """See BlobUpload."""

    def finish(self) -> BlobInfo:
        """See BlobUpload."""
        if self._done:
            raise IsFini("the upload was aborted", name="upload")
        self.abort()
        return self._blobs.finish(bytes(self._taken), self.expected_sha256)

    def abort(self) -> None:
        """See BlobUpload."""
        self._done = True
        self._forget()


def _name(content: bytes) -> BlobInfo:
    return BlobInfo(hashlib.sha256(content).digest(), len(content))


__all__ = ["MemoryBlobs", "MemoryUpload"]
