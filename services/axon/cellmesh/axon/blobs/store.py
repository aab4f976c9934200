"""The store of blobs over one slab. Plain blocking code: the API calls it from worker threads."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from cellmesh.axon import schema
from cellmesh.axon.blobs import digests, steps
from cellmesh.axon.blobs.adding import Adding
from cellmesh.axon.blobs.changes import blob_deleted
from cellmesh.axon.blobs.growth import Growth
from cellmesh.axon.blobs.hashing_writer import Upload, check_sha256, check_upload_id, remove_upload
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
)
from cellmesh.common.changelog import ChangeWriter
from cellmesh.common.changelog.writer import system_now_us
from cellmesh.common.errors import BadArg, NoSuchFile, StorageCorrupt
from cellmesh.common.failpoints import failpoint
from cellmesh.common.rpc.streams import CancelToken
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

DELETE_COUNT_MAX: Final = 10_000
"""Blobs deleted in one transaction."""

RECLAIM_COUNT: Final = 256
"""Deleted blobs whose chunks are removed in one transaction, if they are small."""

KEPT_COUNT_MAX: Final = 10_000
"""Contents that are not visible, looked at for one upload."""


class BlobStore:
    """Blobs of one slab.

    Args:
        slab: Open, with the databases of `schema`.
        changes: Writes the change log.
        chunk_size: Of the blobs stored from now on, in bytes. Stored blobs keep theirs.
        limits: What it may hold.
        now_us: The time, in microseconds since 1970.

    Attributes:
        growth: Who waits for blobs to come.
        now_us: The time.
    """

    def __init__(
        self,
        slab: Slab,
        changes: ChangeWriter,
        *,
        chunk_size: int = CHUNK_SIZE_DEFAULT,
        limits: Limits = NO_LIMITS,
        now_us: Callable[[], int] = system_now_us,
    ) -> None:
        self._slab = slab
        self._changes = changes
        self._chunk_size = chunk_size
        self._limits = limits
        self.now_us = now_us
        self.growth = Growth()

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
            Name and size of each content, in order; content that was there already is left as it is.

        Raises:
            BadArg: they are more than PUT_COUNT_MAX or PUT_SIZE_MAX together.
            HitLimit: the store may not hold them; none is stored.
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
        blobs = [BlobInfo(hashlib.sha256(content).digest(), len(content)) for content in contents]

        append_change = self._changes.begin()
        now_us = self.now_us()

        def op(txn: WriteTxn) -> None:
            adding = Adding(txn, append_change, self._chunk_size, now_us, self._limits)
            adding.check_limits(blobs)
            for blob, content in zip(blobs, contents):
                adding.add(blob, steps.split_chunks(content, self._chunk_size))
            adding.close()

        if blobs:
            self._slab.write(op)
            self.growth.notify()
        return blobs

    def upload(self, expected_sha256: bytes = b"") -> Upload:
        """Begin to store a content of any size.

        Raises:
            BadArg: the expected hash is neither empty nor 32 bytes long.
        """
        return self._upload(expected_sha256, steps.MARK, self._chunk_size)

    def resume(self, upload_id: bytes, expected_sha256: bytes = b"") -> Upload:
        """Begin to store a content that is kept when its caller goes away, or go on with one.

        What an earlier process stored of it is read and hashed, which may take long.

        Args:
            upload_id: 16 bytes that the caller chose.
            expected_sha256: As for `upload`.

        Raises:
            BadArg: an id or a hash of a wrong length.
        """
        found = self._kept_upload(upload_id)
        if found is None:
            mark = schema.Resumable(upload_id, self.now_us(), self._chunk_size)
            return self._upload(expected_sha256, mark.encode(), self._chunk_size)
        number, kept = found
        upload = self._upload(expected_sha256, kept.encode(), kept.chunk_size)
        upload.go_on(number)
        return upload

    def _upload(self, expected_sha256: bytes, mark: bytes, chunk_size: int) -> Upload:
        if expected_sha256:
            check_sha256(expected_sha256)
        return Upload(
            self._slab,
            self._changes,
            chunk_size=chunk_size,
            expected_sha256=expected_sha256,
            mark=mark,
            now_us=self.now_us,
            limits=self._limits,
            grown=self.growth.notify,
        )

    def kept_uploads(self) -> list[KeptUpload]:
        """The uploads on disk that may be gone on with."""
        return [KeptUpload(kept.upload_id, kept.time_us) for _, kept in self._kept_uploads()]

    def has_upload(self, upload_id: bytes) -> bool:
        """Whether there is one of this id. Raises BadArg: it does not have 16 bytes."""
        return self._kept_upload(upload_id) is not None

    def _kept_uploads(self) -> list[tuple[int, schema.Resumable]]:
        with self._slab.view() as txn:
            found = txn.scan(schema.UPLOADS, count_max=KEPT_COUNT_MAX).items
        return [
            (schema.number_of(key), schema.Resumable.decode(mark))
            for key, mark in found
            if schema.is_resumable(mark)
        ]

    def _kept_upload(self, upload_id: bytes) -> tuple[int, schema.Resumable] | None:
        check_upload_id(upload_id)
        return next((found for found in self._kept_uploads() if found[1].upload_id == upload_id), None)

    def drop_upload(self, upload_id: bytes) -> bool:
        """Remove what is kept of an upload that nobody goes on with now; whether there was any."""
        found = self._kept_upload(upload_id)
        if found is not None:
            remove_upload(self._slab, found[0])
        return found is not None

    def delete(self, sha256s: Sequence[bytes]) -> list[bool]:
        """Delete blobs; durable when this returns. Who reads one of them meanwhile gets NoSuchFile.

        Returns:
            Whether each was there, in order; of one named twice, the second is not.

        Raises:
            BadArg: one of the hashes does not have 32 bytes, or there are more than DELETE_COUNT_MAX.
        """
        if len(sha256s) > DELETE_COUNT_MAX:
            raise BadArg(
                "too many blobs in one call", name="sha256s", count=len(sha256s), count_max=DELETE_COUNT_MAX
            )
        for sha256 in sha256s:
            check_sha256(sha256)
        append_change = self._changes.begin()

        def op(txn: WriteTxn) -> tuple[list[bool], list[int]]:
            totals = steps.read_totals(txn)
            deleted: list[bool] = []
            numbers: list[int] = []
            for sha256 in sha256s:
                gone = steps.delete_blob(txn, sha256)
                deleted.append(gone is not None)
                if gone is None:
                    continue
                arrival, size, number = gone
                append_change(txn, blob_deleted(sha256, arrival))
                totals = schema.Totals(totals.blob_count - 1, totals.size - size, totals.next_arrival)
                if number is not None:
                    numbers.append(number)
            if any(deleted):
                steps.write_totals(txn, totals)
            return deleted, numbers

        if not sha256s:
            return []
        deleted, numbers = self._slab.write(op)
        failpoint("axon_blobs_deleted")
        self.reclaim(numbers)
        return deleted

    def reclaim(self, numbers: Sequence[int]) -> None:
        """Remove the chunks of blobs that were deleted, in bounded transactions."""
        for start in range(0, len(numbers), RECLAIM_COUNT):
            waiting = numbers[start : start + RECLAIM_COUNT]
            large = self._slab.write(lambda txn: steps.remove_small(txn, waiting), privileged=True)  # noqa: B023
            for number in large:
                remove_upload(self._slab, number)

    def has(self, sha256s: Sequence[bytes]) -> list[bool]:
        """Whether each blob is there, with its content, in order.

        Raises:
            BadArg: one of the hashes does not have 32 bytes.
        """
        if set(map(len, sha256s)) - {schema.SHA256_SIZE}:
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

    def hashes(self, sha256: bytes, token: CancelToken | None = None) -> BlobHashes:
        """All digests of a blob. The first time they are made, for which the content is read.

        Raises:
            NoSuchFile: it is not there, or was deleted meanwhile.
            BadArg: the hash does not have 32 bytes.
            StorageCorrupt: the content is damaged.
            Cancelled: whatever the token raises.
        """
        with self._slab.view() as txn:
            record = _record(txn, sha256)
            found = digests.kept(txn, sha256, record)
        if found is None:
            found = digests.make(self.read(sha256), sha256, token)
            digests.keep(self._slab, record.arrival, found)
        return found

    def _record(self, sha256: bytes) -> schema.Record:
        with self._slab.view() as txn:
            return _record(txn, sha256)

    def wanted(self, arrival: int = 0, count_max: int = LIST_COUNT) -> list[tuple[int, BlobInfo]]:
        """The next blobs, from an arrival on, whose content is not here, each with its arrival."""
        with self._slab.view() as txn:
            keys = txn.scan_keys(schema.WANTED, schema.number_key(arrival), count_max=count_max).items
            rows = txn.get_many(schema.ARRIVALS, keys)
        return [
            (schema.number_of(key), BlobInfo(arrived.sha256, arrived.size))
            for key, arrived in ((key, schema.Arrived.decode(row)) for key, row in zip(keys, rows) if row)
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
            NoSuchFile: too, when it is deleted meanwhile.
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
                if chunk is None:
                    self._require_unchanged(sha256, record)
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

    def _require_unchanged(self, sha256: bytes, record: schema.Record) -> None:
        """Raise NoSuchFile when a blob was deleted, also if it was stored again since."""
        with self._slab.view() as txn:
            if _record(txn, sha256).arrival != record.arrival:
                raise NoSuchFile("the blob was deleted while it was read", sha256=sha256.hex())

    def arrivals(self, offset: int = 0, count_max: int | None = None) -> Iterator[Arrival]:
        """Blobs in the order in which they came, from this offset on, with what comes meanwhile.

        Those that were deleted are among them.

        Args:
            offset: Where to begin.
            count_max: At most so many; None for all.
        """
        left = count_max
        while left is None or left > 0:
            wanted = LIST_COUNT if left is None else min(LIST_COUNT, left)
            with self._slab.view() as txn:
                found = txn.scan(schema.ARRIVALS, schema.number_key(offset), None, count_max=wanted)
            for key, value in found.items:
                offset = schema.number_of(key)
                row = schema.Arrived.decode(value)
                yield Arrival(offset, BlobInfo(row.sha256, row.size), row.time_us, row.deleted)
            if found.resume is None:
                return
            left = None if left is None else left - len(found.items)
            offset += 1

    def arrival_rows(self, offset: int, count_max: int) -> list[ArrivalRow]:
        """The same as plain tuples, at most so many; there are no gaps between their offsets."""
        with self._slab.view() as txn:
            found = txn.scan_values(
                schema.ARRIVALS, schema.number_key(offset), None, count_max=count_max
            ).items
        rows = schema.ARRIVED_STRUCT.iter_unpack(b"".join(found))
        return [(number, *row) for number, row in enumerate(rows, offset)]

    def next_arrival(self) -> int:
        """The offset that the next blob gets in the order of arrival."""
        with self._slab.view() as txn:
            return steps.read_totals(txn).next_arrival

    def offset_at(self, time_us: int) -> int:
        """The offset of the first blob that came at a time or later, in microseconds since 1970."""
        with self._slab.view() as txn:
            low, high = 0, steps.read_totals(txn).next_arrival
            while low < high:
                middle = (low + high) // 2
                found = txn.get(schema.ARRIVALS, schema.number_key(middle))
                assert found is not None, "the order of arrival has a gap"
                if schema.Arrived.decode(found).time_us < time_us:
                    low = middle + 1
                else:
                    high = middle
            return low

    def history(self, tick_us: int, tock_us: int | None = None) -> Iterator[Arrival]:
        """Blobs that came from `tick_us` on and before `tock_us`, in microseconds since 1970; None is until now.

        Those that were deleted since are among them.
        """
        first, last = self.offsets_between(tick_us, tock_us)
        return self.arrivals(first, max(0, last - first))

    def offsets_between(self, tick_us: int, tock_us: int | None = None) -> tuple[int, int]:
        """The offsets of what `history` tells: the first, and the one behind the last."""
        first = self.offset_at(tick_us)
        return first, self.next_arrival() if tock_us is None else self.offset_at(tock_us)

    def verify(self, sha256: bytes, token: CancelToken | None = None) -> Damage | None:
        """Read a content and compare it with its name; what is wrong with it, or None.

        Raises:
            NoSuchFile: it is not there, or was deleted meanwhile.
            StreamEnded: whatever the token raises.
        """
        info = self.info(sha256)
        digest = hashlib.sha256()
        size = 0
        try:
            for piece in self.read(sha256):
                if token is not None:
                    token.check()
                digest.update(piece)
                size += len(piece)
        except StorageCorrupt as error:
            return Damage(info, f"{error.message}: {error.get('name')} {error.get('key')}")
        if digest.digest() != sha256:
            return Damage(info, f"its {size} bytes have the SHA-256 {digest.hexdigest()}")
        return None

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
