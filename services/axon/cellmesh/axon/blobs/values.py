"""What is known about blobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cellmesh.common.errors import HitLimit
from cellmesh.common.hashing import HashSet


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """A stored blob: its SHA-256 (32 bytes) and its size in bytes."""

    sha256: bytes
    size: int


Piece = bytes | memoryview
"""Bytes of a content."""


@dataclass(frozen=True, slots=True)
class BlobHashes:
    """The digests of one content, and its size in bytes."""

    md5: bytes
    sha1: bytes
    sha256: bytes
    sha512: bytes
    size: int

    @classmethod
    def of(cls, hashes: HashSet) -> BlobHashes:
        """What a hash set has seen so far."""
        return cls(size=hashes.size, **hashes.digests())


@dataclass(frozen=True, slots=True)
class Arrival:
    """A place in the order of arrival.

    Attributes:
        offset: The place.
        blob: What came.
        time_us: When, in microseconds since 1970; 0 for what came before times were kept.
        deleted: Whether the blob was deleted since.
    """

    offset: int
    blob: BlobInfo
    time_us: int = 0
    deleted: bool = False


ArrivalRow = tuple[int, bytes, int, int, int]
"""What an `Arrival` tells, for who takes many of them: offset, SHA-256, size, time in microseconds, 1 if deleted."""


@dataclass(frozen=True, slots=True)
class KeptUpload:
    """An upload that may be gone on with: the id that its caller chose (16 bytes), and when it was begun, in
    microseconds since 1970.
    """

    upload_id: bytes
    time_us: int


@dataclass(frozen=True, slots=True)
class Metrics:
    """How many blobs are stored, and the sum of their sizes in bytes."""

    blob_count: int
    size: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What a store may hold at most; None is no limit.

    Attributes:
        blob_count: Blobs.
        size: The sum of their sizes, in bytes.
    """

    blob_count: int | None = None
    size: int | None = None

    def check(self, metrics: Metrics, count: int, size: int) -> None:
        """Refuse what would be too much.

        Args:
            metrics: What is stored.
            count: Blobs to be added.
            size: Of them, in bytes.

        Raises:
            HitLimit: it would.
        """
        for name, limit, found in (
            ("blob_count_max", self.blob_count, metrics.blob_count + count),
            ("size_max_bytes", self.size, metrics.size + size),
        ):
            if limit is not None and found > limit:
                raise HitLimit(
                    f"the Axon would hold more than its setting {name} allows",
                    name=name,
                    limit=limit,
                    hint="delete blobs, or raise the setting",
                )


NO_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class Damage:
    """A blob whose content is not what its name says, and why."""

    blob: BlobInfo
    problem: str
