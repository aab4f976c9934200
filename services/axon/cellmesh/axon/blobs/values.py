"""What is known about blobs."""

from __future__ import annotations

from dataclasses import dataclass

from cellmesh.common.hashing import HashSet


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """A stored blob: its SHA-256 (32 bytes) and its size in bytes."""

    sha256: bytes
    size: int


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
    """A blob and its offset in the order of arrival."""

    offset: int
    blob: BlobInfo


@dataclass(frozen=True, slots=True)
class Metrics:
    """How many blobs are stored, and the sum of their sizes in bytes."""

    blob_count: int
    size: int
