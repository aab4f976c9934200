"""Messages of an upload, read from their bytes: their data is not copied on its way to LMDB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cellmesh.api.axon.v1 import blob_pb2
from cellmesh.axon.blobs.values import Piece
from cellmesh.common.errors import BadArg
from google.protobuf.message import DecodeError

DATA_TAG: Final = 0x0A
"""Begins UploadBlobRequest.data (1, bytes)."""

LAST: Final = b"\x18\x01"
"""UploadBlobRequest.last (3, bool), true."""

SIZE_BYTES_MAX: Final = 5
"""Of the size of data of a message, serialized; what is larger is left to protobuf."""


@dataclass(frozen=True, slots=True)
class UploadPart:
    """What an UploadBlobRequest holds; see there."""

    data: Piece
    last: bool = False
    expected_sha256: bytes = b""
    upload_id: bytes = b""
    offset_bytes: int = 0


def read_part(message: bytes) -> UploadPart:
    """Read a serialized UploadBlobRequest.

    Most hold data and nothing else, or `last` after it. All others are read by protobuf.

    Raises:
        BadArg: it is none.
    """
    if message and message[0] == DATA_TAG:
        size = shift = 0
        for at in range(1, min(len(message), 1 + SIZE_BYTES_MAX)):
            size |= (message[at] & 0x7F) << shift
            shift += 7
            if message[at] < 0x80:
                start, end = at + 1, at + 1 + size
                if end == len(message):
                    return UploadPart(memoryview(message)[start:])
                if end + len(LAST) == len(message) and message[end:] == LAST:
                    return UploadPart(memoryview(message)[start:end], last=True)
                break
    try:
        read = blob_pb2.UploadBlobRequest.FromString(message)
    except DecodeError as error:
        raise BadArg("a message of an upload does not read", name="request") from error
    return UploadPart(read.data, read.last, read.expected_sha256, read.upload_id, read.offset_bytes)


__all__ = ["UploadPart", "read_part"]
