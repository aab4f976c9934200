"""The store of blobs over one slab. Plain blocking code: the API calls it from worker threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from cellmesh.axon import schema
from cellmesh.axon.blobs import steps
from cellmesh.axon.blobs.adding import Adding
from cellmesh.axon.blobs.hashing_writer import Upload, check_sha256, remove_upload
from cellmesh.axon.blobs.values import Arrival, BlobHashes, BlobInfo, Metrics
from cellmesh.common.changelog import ChangeWriter
from cellmesh.common.errors import BadArg, NoSuchFile, StorageCorrupt
from cellmesh.common.hashing import HashSet
from cellmesh.common.storage import ReadTxn, Slab, WriteTxn

CHUNK_SIZE_DEFAULT: Final = 16 * 4096 - 16
"""64 KiB less the head that LMDB puts before a large value, so that a chunk fills whole pages."""

PUT_SIZE_MAX: Final = 3 * 1024 * 1024
"""Contents of one `put`, together: what fits in one write transaction and in one gRPC message."""

PUT_COUNT_MAX: Final = 10_000
READ_SIZE: Final = 1024 * 1024
"""What a range read takes out of one read transaction, in bytes."""

LIST_COUNT: Final = 2048
"""Arrivals read in one transaction."""

HAS_COUNT: Final = 4096
"""Hashes looked up in one transaction."""


class BlobStore:
    """Blobs of one slab.

    Args:
        slab: Open, with the databases of `schema`.
        changes: Writes the change log.
        chunk_size: Of the blobs stored from now on, in bytes. Stored blobs keep theirs.
    """

    def __init__(self, slab: Slab, changes: ChangeWriter, *, chunk_size: int = CHUNK_SIZE_DEFAULT) -> None:
        self._slab = slab
        self._changes = changes
        self._chunk_size = chunk_size

    def remove_broken_uploads(self) -> int:
        """Remove what uploads of an earlier process left behind; how many there were.

        Called once at the start, before there are new uploads. What was being fetched from a leader stays.
        """
        count = 0
        low = b""
        while True:
            with self._slab.view() as txn:
                found = txn.first(schema.UPLOADS, low)
            if found is None:
                return count
            key, mark = found
            if mark == steps.MARK:
                remove_upload(self._slab, schema.number_of(key))
                count += 1
            low = key + b"\x00"

    def put(self, contents: Sequence[bytes]) -> list[BlobInfo]:
        """Store small contents, all in one transaction; durable when this returns.

        Returns:
            What each content is called, in order; content that was there already is left as it is.

        Raises:
            BadArg: they are more than PUT_COUNT_MAX or PUT_SIZE_MAX together.
        """
        size = sum(map(len, contents))
        if size > PUT_SIZE_MAX or len(contents) > PUT_COUNT_MAX:
            raise BadArg(
                "the contents are too large for one call",
                name="contents",
                size=size,
                count=len(contents),
                size_max=PUT_SIZE_MAX,
                count_max=PUT_COUNT_MAX,
                hint="send fewer at a time, or upload large ones one by one",
            )
        hashed = [(_hash(content), content) for content in contents]

        append_change = self._changes.begin()

        def op(txn: WriteTxn) -> None:
            adding = Adding(txn, append_change, self._chunk_size)
            for hashes, content in hashed:
                adding.add(hashes, steps.split_chunks(content, self._chunk_size))
            adding.close()

        if hashed:
            self._slab.write(op)
        return [BlobInfo(hashes.sha256, hashes.size) for hashes, _ in hashed]

    def upload(self, expected_sha256: bytes = b"") -> Upload:
        """Begin to store a content of any size.

        Raises:
            BadArg: the expected hash is neither empty nor 32 bytes long.
        """
        if expected_sha256:
            check_sha256(expected_sha256)
        return Upload(self._slab, self._changes, chunk_size=self._chunk_size, expected_sha256=expected_sha256)

    def has(self, sha256s: Sequence[bytes]) -> list[bool]:
        """Whether each blob is there, with its content, in order.

        Raises:
            BadArg: one of the hashes does not have 32 bytes.
        """
        for sha256 in sha256s:
            check_sha256(sha256)
        found: list[bool] = []
        for start in range(0, len(sha256s), HAS_COUNT):
            asked = sha256s[start : start + HAS_COUNT]
            with self._slab.view() as txn:
                records = txn.get_many(schema.BLOBS, asked)
                if txn.entries(schema.WANTED):
                    records = [
                        None if steps.wanted_arrival(txn, sha256) is not None else record
                        for sha256, record in zip(asked, records)
                    ]
            found += [record is not None for record in records]
        return found

    def missing(self, sha256s: Sequence[bytes]) -> list[bytes]:
        """Those of the blobs that are not there, in order. Errors as `has`."""
        return [sha256 for sha256, present in zip(sha256s, self.has(sha256s)) if not present]

    def info(self, sha256: bytes) -> BlobInfo:
        """What is known about a blob.

        Raises:
            NoSuchFile: it is not there.
            BadArg: the hash does not have 32 bytes.
        """
        return BlobInfo(sha256, self._record(sha256).size)

    def hashes(self, sha256: bytes) -> BlobHashes:
        """All digests of a blob. Errors as `info`."""
        record = self._record(sha256)
        return BlobHashes(record.md5, record.sha1, sha256, record.sha512, record.size)

    def _record(self, sha256: bytes) -> schema.Record:
        with self._slab.view() as txn:
            return _record(txn, sha256)

    def wanted(self, arrival: int = 0, count_max: int = LIST_COUNT) -> list[tuple[int, BlobInfo]]:
        """The next blobs, from an arrival on, whose content is not here, each with its arrival."""
        with self._slab.view() as txn:
            keys = txn.scan_keys(schema.WANTED, schema.number_key(arrival), count_max=count_max).items
            rows = txn.get_many(schema.ARRIVALS, keys)
        return [
            (schema.number_of(key), BlobInfo(*schema.decode_arrival(row)))
            for key, row in zip(keys, rows)
            if row is not None
        ]

    def read(self, sha256: bytes, offset: int = 0, size: int | None = None) -> Iterator[bytes]:
        """The content of a blob, or a range of it, in pieces of at most one chunk.

        No read transaction is held between two pieces.

        Args:
            sha256: The blob.
            offset: Where to begin, in bytes; at the end or past it nothing comes.
            size: At most this many bytes; None means to the end.

        Raises:
            NoSuchFile: the blob is not there, or its content is not.
            BadArg: the hash does not have 32 bytes.
            StorageCorrupt: a chunk is missing or has the wrong size.
        """
        with self._slab.view() as txn:
            record = _record(txn, sha256)
            place = _place(txn, sha256, record)
        end = record.size if size is None else min(record.size, offset + size)
        if offset >= end:
            return
        chunk_size = place.chunk_size
        step = max(1, READ_SIZE // chunk_size)
        last = (end - 1) // chunk_size
        for first in range(offset // chunk_size, last + 1, step):
            indexes = range(first, min(first + step, last + 1))
            keys = [schema.chunk_key(place.number, index) for index in indexes]
            with self._slab.view() as txn:
                chunks = txn.get_many(schema.CHUNKS, keys)
            for index, chunk in zip(indexes, chunks):
                start = index * chunk_size
                if chunk is None or len(chunk) != min(chunk_size, record.size - start):
                    raise StorageCorrupt(
                        "a chunk of the blob is missing or cut",
                        name=schema.CHUNKS.name,
                        key=schema.chunk_key(place.number, index).hex(),
                        sha256=sha256.hex(),
                    )
                if start < offset or start + len(chunk) > end:
                    chunk = chunk[max(0, offset - start) : end - start]
                yield chunk

    def arrivals(self, offset: int = 0) -> Iterator[Arrival]:
        """Blobs in the order in which they came, from this offset on, with what comes meanwhile."""
        while True:
            with self._slab.view() as txn:
                found = txn.scan(schema.ARRIVALS, schema.number_key(offset), None, count_max=LIST_COUNT)
            for key, value in found.items:
                offset = schema.number_of(key)
                yield Arrival(offset, BlobInfo(*schema.decode_arrival(value)))
            if found.resume is None:
                return
            offset += 1

    def metrics(self) -> Metrics:
        """The totals."""
        with self._slab.view() as txn:
            totals = steps.read_totals(txn)
        return Metrics(totals.blob_count, totals.size)


def _record(txn: ReadTxn, sha256: bytes) -> schema.Record:
    found = txn.get(schema.BLOBS, check_sha256(sha256))
    if found is None:
        raise NoSuchFile("no blob has this hash", sha256=sha256.hex())
    return schema.Record.decode(found)


def _place(txn: ReadTxn, sha256: bytes, record: schema.Record) -> schema.Place:
    key = schema.number_key(record.arrival)
    found = txn.get(schema.PLACES, key)
    if found is not None:
        return schema.Place.decode(found)
    if txn.has(schema.WANTED, key):
        raise NoSuchFile(
            "the blob is known, but its content could not be had from the leader",
            sha256=sha256.hex(),
            hint="store it again, and it is there",
        )
    raise StorageCorrupt(
        "the content of a blob has no place", name=schema.PLACES.name, key=key.hex(), sha256=sha256.hex()
    )


def _hash(content: bytes) -> BlobHashes:
    hashes = HashSet()
    hashes.update(content)
    return BlobHashes.of(hashes)
