"""The change records of the Axon: what a follower needs to end with the same blobs in the same order."""

from __future__ import annotations

from typing import Final

from cellmesh.api.axon.v1 import blob_pb2, change_pb2
from cellmesh.axon.blobs.values import BlobHashes, BlobInfo

TYPE_NAME: Final = change_pb2.AxonChange.DESCRIPTOR.full_name


def blob_added(blob: BlobInfo, offset: int, time_us: int) -> bytes:
    """The payload that tells that a blob became visible at this offset in the order of arrival, at this time."""
    return change_pb2.AxonChange(
        blob_added=change_pb2.BlobAdded(hashes=name_to_proto(blob), offset=offset, time_us=time_us)
    ).SerializeToString()


def blob_deleted(sha256: bytes, offset: int) -> bytes:
    """The payload that tells that the blob at this offset in the order of arrival was deleted."""
    return change_pb2.AxonChange(
        blob_deleted=change_pb2.BlobDeleted(sha256=sha256, offset=offset)
    ).SerializeToString()


def name_from_proto(message: blob_pb2.BlobHashes) -> BlobInfo:
    """What `name_to_proto` made. Records of older versions have the other digests too, which nobody needs."""
    return BlobInfo(message.sha256, message.size_bytes)


def name_to_proto(blob: BlobInfo) -> blob_pb2.BlobHashes:
    """SHA-256 and size as they travel where nobody has asked for the other digests."""
    return blob_pb2.BlobHashes(sha256=blob.sha256, size_bytes=blob.size)


def hashes_to_proto(hashes: BlobHashes) -> blob_pb2.BlobHashes:
    """Digests and size as they travel."""
    return blob_pb2.BlobHashes(
        md5=hashes.md5,
        sha1=hashes.sha1,
        sha256=hashes.sha256,
        sha512=hashes.sha512,
        size_bytes=hashes.size,
    )
