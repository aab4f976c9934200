"""Every database of the Axon's slab, and how keys and values are laid out.

A blob has two names: its SHA-256, by which callers know it, and its number, given out once and never
again, under which its content lies in chunks. The key of a chunk is number and index, so a read from any
offset seeks straight to its chunk. All chunks of a blob but the last have `Record.chunk_size` bytes.

A number is visible when a record in `blobs` names it. Until then it belongs to an upload and stands in
`uploads`; what stands there when the cell starts was left by a process that died, and is removed.

`blobs`, `arrivals` and `totals` change in one transaction, together with the entry in the change log.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from cellmesh.common.changelog import DATABASES as CHANGELOG_DATABASES
from cellmesh.common.storage import SubDb

BLOBS: Final = SubDb("blobs", "SHA-256 -> Record")
CHUNKS: Final = SubDb("chunks", "blob number (8 bytes), index (4 bytes) -> content")
ARRIVALS: Final = SubDb("arrivals", "offset (8 bytes) -> SHA-256, size (8 bytes)")
UPLOADS: Final = SubDb("uploads", "number of a blob that is not complete (8 bytes) -> nothing")
TOTALS: Final = SubDb("totals", 'b"totals" -> Totals')

DATABASES: Final = (BLOBS, CHUNKS, ARRIVALS, UPLOADS, TOTALS, *CHANGELOG_DATABASES)

SHA256_SIZE: Final = 32
TOTALS_KEY: Final = b"totals"

_U64 = struct.Struct(">Q")
_CHUNK_KEY = struct.Struct(">QI")
_ARRIVAL = struct.Struct(">32sQ")
_RECORD = struct.Struct(">QQI16s20s64s")
_TOTALS = struct.Struct(">QQQQ")


@dataclass(frozen=True, slots=True)
class Record:
    """What is stored about one blob, beside its SHA-256.

    Attributes:
        number: Under which its chunks lie.
        size: Of the content, in bytes.
        chunk_size: Of every chunk but the last, in bytes.
        md5: 16 bytes.
        sha1: 20 bytes.
        sha512: 64 bytes.
    """

    number: int
    size: int
    chunk_size: int
    md5: bytes
    sha1: bytes
    sha512: bytes

    def encode(self) -> bytes:
        """As stored."""
        return _RECORD.pack(self.number, self.size, self.chunk_size, self.md5, self.sha1, self.sha512)

    @classmethod
    def decode(cls, data: bytes) -> Record:
        """From what is stored."""
        return cls(*_RECORD.unpack(data))


@dataclass(frozen=True, slots=True)
class Totals:
    """The counts of the whole store.

    Attributes:
        blob_count: How many blobs are visible.
        size: The sum of their sizes in bytes.
        next_number: Given to the next blob.
        next_arrival: The offset that the next blob gets in the order of arrival.
    """

    blob_count: int = 0
    size: int = 0
    next_number: int = 0
    next_arrival: int = 0

    def encode(self) -> bytes:
        """As stored."""
        return _TOTALS.pack(self.blob_count, self.size, self.next_number, self.next_arrival)

    @classmethod
    def decode(cls, data: bytes | None) -> Totals:
        """From what is stored; a new store has nothing there."""
        return cls() if data is None else cls(*_TOTALS.unpack(data))


def number_key(number: int) -> bytes:
    """The key of an upload, or of a place in the order of arrival."""
    return _U64.pack(number)


def number_of(key: bytes) -> int:
    """What `number_key` packed."""
    found: int = _U64.unpack(key)[0]
    return found


def chunk_key(number: int, index: int) -> bytes:
    """The key of a chunk."""
    return _CHUNK_KEY.pack(number, index)


def encode_arrival(sha256: bytes, size: int) -> bytes:
    """The value of an arrival."""
    return _ARRIVAL.pack(sha256, size)


def decode_arrival(data: bytes) -> tuple[bytes, int]:
    """SHA-256 and size of an arrival."""
    sha256, size = _ARRIVAL.unpack(data)
    return sha256, size
