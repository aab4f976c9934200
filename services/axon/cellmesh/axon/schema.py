"""Every database of the Axon's slab, and how keys and values are laid out.

A blob has two names: its SHA-256, by which callers know it, and its *arrival*, its place in the order in which blobs
came. `blobs`, `arrivals` and `totals` change in one transaction with the entry in the change log, and are equal on
all replicas at equal offsets.

The content is stored by each replica in its own way. It lies in chunks under a *number*, given out once and never
again by that replica: uploads that overlap or break off make other numbers on the leader than on followers. `places`
tells number and chunk size by arrival. The key of a chunk is number and index, so a read from any offset seeks
straight to its chunk; all chunks of a blob but the last have that size. What must be equal about a content
is its SHA-256, which every replica computes before it stores a place.

A number is visible when a place names it. Until then it stands in `uploads`: with nothing as its value it belongs to
an upload of this process, or a blob that is being deleted, or else is removed when the cell starts; with a `Fetch` it
is content that a follower is fetching from its leader, and goes on with after a restart; with a `Resumable` it is an
upload that its caller may go on with.

A blob that is deleted loses its record, its place and its chunks; its arrival stays, marked as deleted. Stored
again it arrives again.

`digests` has what was asked for beside the SHA-256, of contents of which it was. Each replica makes and keeps its own.

`wanted` has the arrivals of blobs without a place: content that a follower could not get, as the leader had it no more.
The blob is then not told as present, and a later fetch or upload of the content fills the place.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from cellmesh.common.changelog import DATABASES as CHANGELOG_DATABASES
from cellmesh.common.storage import Layout, Migration, SubDb, WriteTxn
from cellmesh.common.storage.walking import walk

BLOBS: Final = SubDb("blobs", "SHA-256 -> Record")
ARRIVALS: Final = SubDb("arrivals", "offset (8 bytes) -> Arrived")
TOTALS: Final = SubDb("totals", 'b"totals" -> Totals')
CHUNKS: Final = SubDb("chunks", "blob number (8 bytes), index (4 bytes) -> content", local=True)
PLACES: Final = SubDb("places", "arrival (8 bytes) -> Place", local=True)
DIGESTS: Final = SubDb("digests", "arrival (8 bytes) -> Digests, once they were asked for", local=True)
UPLOADS: Final = SubDb(
    "uploads", "number of a content that is not visible (8 bytes) -> nothing, Fetch or Resumable", local=True
)
WANTED: Final = SubDb("wanted", "arrival of a blob without content here (8 bytes) -> nothing", local=True)
COUNTERS: Final = SubDb("counters", 'b"number" -> the next blob number (8 bytes)', local=True)

DATABASES: Final = (
    BLOBS,
    ARRIVALS,
    TOTALS,
    CHUNKS,
    PLACES,
    DIGESTS,
    UPLOADS,
    WANTED,
    COUNTERS,
    *CHANGELOG_DATABASES,
)

SHA256_SIZE: Final = 32
TOTALS_KEY: Final = b"totals"
NUMBER_KEY: Final = b"number"

_U64 = struct.Struct(">Q")
_CHUNK_KEY = struct.Struct(">QI")
ARRIVED_STRUCT: Final = struct.Struct(">32sQQB")
_RECORD = struct.Struct(">QQ")
_DIGESTS = struct.Struct(">16s20s64s")
_PLACE = struct.Struct(">QI")
_FETCH = struct.Struct(">32sQI")
_RESUMABLE = struct.Struct(">16sQI")
_TOTALS = struct.Struct(">QQQ")

UPLOAD_ID_SIZE: Final = 16


@dataclass(frozen=True, slots=True)
class Record:
    """What is stored about one blob, beside its SHA-256.

    Attributes:
        arrival: Its offset in the order of arrival.
        size: Of the content, in bytes.
    """

    arrival: int
    size: int

    def encode(self) -> bytes:
        """As stored."""
        return _RECORD.pack(self.arrival, self.size)

    @classmethod
    def decode(cls, data: bytes) -> Record:
        """From what is stored."""
        return cls(*_RECORD.unpack(data))


@dataclass(frozen=True, slots=True)
class Digests:
    """The digests of a content beside its SHA-256.

    Attributes:
        md5: 16 bytes.
        sha1: 20 bytes.
        sha512: 64 bytes.
    """

    md5: bytes
    sha1: bytes
    sha512: bytes

    def encode(self) -> bytes:
        """As stored."""
        return _DIGESTS.pack(self.md5, self.sha1, self.sha512)

    @classmethod
    def decode(cls, data: bytes) -> Digests:
        """From what is stored."""
        return cls(*_DIGESTS.unpack(data))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a content lies: the number of its chunks, and the size of each but the last in bytes."""

    number: int
    chunk_size: int

    def encode(self) -> bytes:
        """As stored."""
        return _PLACE.pack(self.number, self.chunk_size)

    @classmethod
    def decode(cls, data: bytes) -> Place:
        """From what is stored."""
        return cls(*_PLACE.unpack(data))


@dataclass(frozen=True, slots=True)
class Fetch:
    """A content on its way from the leader.

    Attributes:
        sha256: What it must hash to.
        offset: Of the change record that names it. Once the log has passed it, nobody needs what is left here.
        chunk_size: Of its chunks, in bytes.
    """

    sha256: bytes
    offset: int
    chunk_size: int

    def encode(self) -> bytes:
        """As stored."""
        return _FETCH.pack(self.sha256, self.offset, self.chunk_size)

    @classmethod
    def decode(cls, data: bytes) -> Fetch:
        """From what is stored."""
        return cls(*_FETCH.unpack(data))


@dataclass(frozen=True, slots=True)
class Resumable:
    """An upload that its caller may go on with.

    Attributes:
        upload_id: 16 bytes that the caller chose.
        time_us: When it was begun, in microseconds since 1970.
        chunk_size: Of its chunks, in bytes.
    """

    upload_id: bytes
    time_us: int
    chunk_size: int

    def encode(self) -> bytes:
        """As stored."""
        return _RESUMABLE.pack(self.upload_id, self.time_us, self.chunk_size)

    @classmethod
    def decode(cls, data: bytes) -> Resumable:
        """From what is stored."""
        return cls(*_RESUMABLE.unpack(data))


def is_fetch(mark: bytes) -> bool:
    """Whether what stands in `uploads` is a `Fetch`."""
    return len(mark) == _FETCH.size


def is_resumable(mark: bytes) -> bool:
    """Whether what stands in `uploads` is a `Resumable`."""
    return len(mark) == _RESUMABLE.size


@dataclass(frozen=True, slots=True)
class Arrived:
    """A place in the order of arrival.

    Attributes:
        sha256: Of the blob that came.
        size: Of it, in bytes.
        time_us: When it came, in microseconds since 1970; 0 for what came before times were kept. Never less than
            that of the place before.
        deleted: Whether it was deleted since.
    """

    sha256: bytes
    size: int
    time_us: int
    deleted: bool = False

    def encode(self) -> bytes:
        """As stored."""
        return ARRIVED_STRUCT.pack(self.sha256, self.size, self.time_us, self.deleted)

    @classmethod
    def decode(cls, data: bytes) -> Arrived:
        """From what is stored."""
        sha256, size, time_us, deleted = ARRIVED_STRUCT.unpack(data)
        return cls(sha256, size, time_us, bool(deleted))


@dataclass(frozen=True, slots=True)
class Totals:
    """The counts of the whole store.

    Attributes:
        blob_count: How many blobs there are.
        size: The sum of their sizes in bytes.
        next_arrival: The offset that the next blob gets in the order of arrival.
    """

    blob_count: int = 0
    size: int = 0
    next_arrival: int = 0

    def encode(self) -> bytes:
        """As stored."""
        return _TOTALS.pack(self.blob_count, self.size, self.next_arrival)

    @classmethod
    def decode(cls, data: bytes | None) -> Totals:
        """From what is stored; a new store has nothing there."""
        return cls() if data is None else cls(*_TOTALS.unpack(data))


def number_key(number: int) -> bytes:
    """The key of an upload, or of a place in the order of arrival; the value of a counter."""
    return _U64.pack(number)


def number_of(key: bytes) -> int:
    """What `number_key` packed."""
    found: int = _U64.unpack(key)[0]
    return found


def chunk_key(number: int, index: int) -> bytes:
    """The key of a chunk."""
    return _CHUNK_KEY.pack(number, index)


# The way from version 1, where a blob's record told its number instead of its arrival.

_RECORD_1 = struct.Struct(">QQI16s20s64s")
_TOTALS_1 = struct.Struct(">QQQQ")
_RECORD_2 = struct.Struct(">QQ16s20s64s")
_ARRIVAL_2 = struct.Struct(">32sQ")
_STEP_COUNT: Final = 4096


def _part_places(txn: WriteTxn) -> None:
    totals = txn.get(TOTALS, TOTALS_KEY)
    if totals is None:
        return
    blob_count, size, next_number, next_arrival = _TOTALS_1.unpack(totals)
    txn.put(TOTALS, TOTALS_KEY, Totals(blob_count, size, next_arrival).encode())
    txn.put(COUNTERS, NUMBER_KEY, number_key(next_number))
    for key, value in walk(txn, ARRIVALS):
        sha256, _ = _ARRIVAL_2.unpack(value)
        old = txn.get(BLOBS, sha256)
        assert old is not None, "a blob that arrived has no record"
        number, blob_size, chunk_size, md5, sha1, sha512 = _RECORD_1.unpack(old)
        txn.put(BLOBS, sha256, _RECORD_2.pack(number_of(key), blob_size, md5, sha1, sha512))
        txn.put(PLACES, key, Place(number, chunk_size).encode())


# From version 2, where the order of arrival knew no times and nothing was deleted.


def _add_times(txn: WriteTxn) -> None:
    low = b""
    while True:
        chunk = txn.scan(ARRIVALS, low, count_max=_STEP_COUNT)
        txn.put_many(
            ARRIVALS,
            [(key, ARRIVED_STRUCT.pack(*_ARRIVAL_2.unpack(value), 0, False)) for key, value in chunk.items],
        )
        if chunk.resume is None:
            return
        low = chunk.items[-1][0] + b"\x00"


# From version 3, where all digests were made of each content that came, and were part of its record.


def _part_digests(txn: WriteTxn) -> None:
    for key, value in walk(txn, ARRIVALS):
        arrived = Arrived.decode(value)
        old = None if arrived.deleted else txn.get(BLOBS, arrived.sha256)
        if old is not None:
            arrival, size, md5, sha1, sha512 = _RECORD_2.unpack(old)
            txn.put(BLOBS, arrived.sha256, Record(arrival, size).encode())
            txn.put(DIGESTS, key, Digests(md5, sha1, sha512).encode())


LAYOUT: Final = Layout(
    "slab",
    4,
    (
        Migration(2, "where a blob's content lies is parted from what replicas share about it", _part_places),
        Migration(3, "the order of arrival tells times and deletions", _add_times),
        Migration(
            4, "digests that are made when asked for are parted from what replicas share", _part_digests
        ),
    ),
)
