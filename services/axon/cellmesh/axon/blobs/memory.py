"""A store of blobs in memory: what `store` must agree with, and for tests of what uses blobs."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence

from cellmesh.axon.blobs.hashing_writer import check_sha256, check_upload_id
from cellmesh.axon.blobs.store import DELETE_COUNT_MAX, PUT_COUNT_MAX, PUT_SIZE_MAX
from cellmesh.axon.blobs.values import NO_LIMITS, Arrival, BlobHashes, BlobInfo, Damage, Limits, Metrics
from cellmesh.common.changelog.writer import system_now_us
from cellmesh.common.errors import BadArg, HashMismatch, IsFini, NoSuchFile
from cellmesh.common.hashing import HashSet


class MemoryBlobs:
    """Blobs in memory; `Blobs` of `interface`. Used by any number of threads.

    Args:
        limits: What it may hold.
        now_us: The time, in microseconds since 1970.
    """

    def __init__(self, *, limits: Limits = NO_LIMITS, now_us: Callable[[], int] = system_now_us) -> None:
        self._limits = limits
        self._now_us = now_us
        self._lock = threading.RLock()
        self._contents: dict[bytes, tuple[bytes, BlobHashes, int]] = {}
        self._arrivals: list[Arrival] = []
        self._uploads: dict[bytes, bytearray] = {}

    def put(self, contents: Sequence[bytes]) -> list[BlobInfo]:
        """See Blobs."""
        if sum(map(len, contents)) > PUT_SIZE_MAX or len(contents) > PUT_COUNT_MAX:
            raise BadArg("the contents are too large for one call", name="contents")
        with self._lock:
            hashed = [(_hash(content), content) for content in contents]
            fresh = {
                hashes.sha256: hashes.size for hashes, _ in hashed if hashes.sha256 not in self._contents
            }
            self._limits.check(self.metrics(), len(fresh), sum(fresh.values()))
            for hashes, content in hashed:
                self._add(hashes, content)
        return [BlobInfo(hashes.sha256, hashes.size) for hashes, _ in hashed]

    def upload(self, expected_sha256: bytes = b"") -> MemoryUpload:
        """See Blobs."""
        return MemoryUpload(self, bytearray(), expected_sha256)

    def resume(self, upload_id: bytes, expected_sha256: bytes = b"") -> MemoryUpload:
        """See Blobs."""
        with self._lock:
            taken = self._uploads.setdefault(check_upload_id(upload_id), bytearray())
        return MemoryUpload(self, taken, expected_sha256, lambda: self._uploads.pop(upload_id, None))

    def drop_upload(self, upload_id: bytes) -> bool:
        """See Blobs."""
        with self._lock:
            return bool(self._uploads.pop(check_upload_id(upload_id), None))

    def has(self, sha256s: Sequence[bytes]) -> list[bool]:
        """See Blobs."""
        with self._lock:
            return [check_sha256(sha256) in self._contents for sha256 in sha256s]

    def missing(self, sha256s: Sequence[bytes]) -> list[bytes]:
        """See Blobs."""
        return [sha256 for sha256, present in zip(sha256s, self.has(sha256s)) if not present]

    def info(self, sha256: bytes) -> BlobInfo:
        """See Blobs."""
        return BlobInfo(sha256, self.hashes(sha256).size)

    def hashes(self, sha256: bytes) -> BlobHashes:
        """See Blobs."""
        return self._find(sha256)[1]

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
                    row = self._arrivals[found[2]]
                    self._arrivals[found[2]] = Arrival(row.offset, row.blob, row.time_us, deleted=True)
        return deleted

    def arrivals(self, offset: int = 0, count_max: int | None = None) -> Iterator[Arrival]:
        """See Blobs."""
        end = None if count_max is None else offset + count_max
        return iter(self._arrivals[offset:end])

    def history(self, tick_us: int, tock_us: int | None = None) -> Iterator[Arrival]:
        """See Blobs."""
        with self._lock:
            rows = list(self._arrivals)
        return (row for row in rows if tick_us <= row.time_us and (tock_us is None or row.time_us < tock_us))

    def verify(self, sha256: bytes) -> Damage | None:
        """See Blobs."""
        found = hashlib.sha256(self._find(sha256)[0])
        return None if found.digest() == sha256 else Damage(self.info(sha256), "its SHA-256 is another")

    def metrics(self) -> Metrics:
        """See Blobs."""
        with self._lock:
            return Metrics(len(self._contents), sum(hashes.size for _, hashes, _ in self._contents.values()))

    def finish(self, content: bytes, expected_sha256: bytes) -> BlobHashes:
        """Make a content visible. For `MemoryUpload`."""
        hashes = _hash(content)
        if expected_sha256 and expected_sha256 != hashes.sha256:
            raise HashMismatch("the content is not what was announced", expected=expected_sha256.hex())
        with self._lock:
            if hashes.sha256 not in self._contents:
                self._limits.check(self.metrics(), 1, hashes.size)
            self._add(hashes, content)
        return hashes

    def _find(self, sha256: bytes) -> tuple[bytes, BlobHashes, int]:
        with self._lock:
            found = self._contents.get(check_sha256(sha256))
        if found is None:
            raise NoSuchFile("no blob has this hash", sha256=sha256.hex())
        return found

    def _add(self, hashes: BlobHashes, content: bytes) -> None:
        if hashes.sha256 in self._contents:
            return
        offset = len(self._arrivals)
        time_us = max(self._now_us(), self._arrivals[-1].time_us if offset else 0)
        self._contents[hashes.sha256] = content, hashes, offset
        self._arrivals.append(Arrival(offset, BlobInfo(hashes.sha256, hashes.size), time_us))


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
        self._expected = expected_sha256
        self._forget = forget
        self._done = False

    @property
    def size(self) -> int:
        """See BlobUpload."""
        return len(self._taken)

    def add(self, data: Sequence[bytes]) -> bytes | None:
        """See BlobUpload."""
        self._taken += b"".join(data)
        return None

    def store(self, part: bytes) -> None:
        """See BlobUpload. There are no parts."""

    def suspend(self) -> None:
        """See BlobUpload."""

    def finish(self) -> BlobHashes:
        """See BlobUpload."""
        if self._done:
            raise IsFini("the upload was aborted", name="upload")
        self.abort()
        return self._blobs.finish(bytes(self._taken), self._expected)

    def abort(self) -> None:
        """See BlobUpload."""
        self._done = True
        self._forget()


def _hash(content: bytes) -> BlobHashes:
    hashes = HashSet()
    hashes.update(content)
    return BlobHashes.of(hashes)


__all__ = ["MemoryBlobs", "MemoryUpload"]
