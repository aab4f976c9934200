"""Contents fetched from a leader, before the records that name them are applied.

    fetch (outside of transactions) -> use, for each record, in the transaction that applies it -> committed

Small contents are fetched many in one call, and held in memory until they are used, up to a bound. Others are stored
in chunks as they come, under a number that stands in `uploads` with a `Fetch`: what is there after a crash or a lost
connection is hashed again from disk, and the rest is asked for. Nothing is used before its SHA-256 was found right.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import grpc
from cellmesh.api.axon.v1 import blob_pb2, blob_service_pb2_grpc
from cellmesh.axon import schema
from cellmesh.axon.blobs import steps
from cellmesh.axon.blobs.hashing_writer import PART_CHUNK_COUNT, remove_upload
from cellmesh.common.changelog import ContentSource
from cellmesh.common.errors import HashMismatch, ShuttingDown, from_rpc_error
from cellmesh.common.failpoints import failpoint
from cellmesh.common.storage import Slab, WriteTxn
from cellmesh.common.storage.walking import walk_apart
from cellmesh.common.telemetry.logs import get_logger

SMALL_SIZE_MAX: Final = 1 << 20
"""Contents up to this size, in bytes, are fetched many in one call."""

GROUP_SIZE_MAX: Final = 4 << 20
GROUP_COUNT_MAX: Final = 2000
"""Contents fetched in one call, together."""

HELD_SIZE_MAX: Final = 16 << 20
"""Held in memory at most, in bytes; what is more is stored at once."""

PARALLEL_COUNT_MAX: Final = 4
"""Calls at a time. Memory stays at about four parts of 64 chunks for each."""


_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WantedContent:
    """A content that is needed.

    Attributes:
        sha256: Its hash.
        size: In bytes.
        offset: Of the change record that names it.
    """

    sha256: bytes
    size: int
    offset: int


@dataclass(slots=True)
class _Staged:
    """A content, or the beginning of it, that is stored but not visible."""

    number: int
    fetch: schema.Fetch
    is_whole: bool = False


class Fetcher:
    """Fetches contents, and keeps them until they are used. One thread uses it; it uses some itself.

    Args:
        slab: Open, with the databases of `schema`.
        chunk_size: Of what it stores, in bytes.
    """

    def __init__(self, slab: Slab, *, chunk_size: int) -> None:
        self._slab = slab
        self._chunk_size = chunk_size
        self._lock = threading.Lock()
        self._held: dict[bytes, bytes] = {}
        self._held_size = 0
        self._staged = {staged.fetch.sha256: staged for staged in _stored(slab)}
        self._used: list[bytes] = []

    # Fetching. What `_LargeFetch` needs of it is public too.

    @property
    def chunk_size(self) -> int:
        """Of what it stores, in bytes."""
        return self._chunk_size

    def staged(self, sha256: bytes) -> _Staged | None:
        """What is stored of a content."""
        return self._staged.get(sha256)

    def fetch(self, wanted: Sequence[WantedContent], source: ContentSource) -> None:
        """Get what is not at hand yet. What the source has no more is left out.

        Raises:
            HashMismatch: the source sent something else. Nothing of it is kept.
            CellError: what the call ended with; what was stored by then is kept, and not fetched again.
        """
        self._forget_held({item.sha256 for item in wanted})
        jobs = self._plan([item for item in wanted if not self.has(item.sha256)])
        stub = blob_service_pb2_grpc.BlobServiceStub(source.channel)
        call = _Call(stub)
        try:
            if len(jobs) == 1:
                self._run(jobs[0], call)
            elif jobs:
                with ThreadPoolExecutor(min(PARALLEL_COUNT_MAX, len(jobs)), "axon-fetch") as pool:
                    for done in [pool.submit(self._run, job, call) for job in jobs]:
                        done.result()
        except grpc.RpcError as error:
            raise from_rpc_error(error, cell="leader", address=source.url) from None
        finally:
            call.end()

    def has(self, sha256: bytes) -> bool:
        """Whether a content is at hand, whole."""
        staged = self._staged.get(sha256)
        return sha256 in self._held or (staged is not None and staged.is_whole)

    def _plan(self, wanted: Sequence[WantedContent]) -> list[list[WantedContent]]:
        """What to get in one call each: small ones in groups, others alone."""
        unique = {item.sha256: item for item in wanted}
        groups: list[list[WantedContent]] = []
        small: list[WantedContent] = []
        size = 0
        for item in unique.values():
            if item.size > SMALL_SIZE_MAX or item.sha256 in self._staged:
                groups.append([item])
                continue
            if len(small) >= GROUP_COUNT_MAX or size + item.size > GROUP_SIZE_MAX:
                groups.append(small)
                small, size = [], 0
            small.append(item)
            size += item.size
        if small:
            groups.append(small)
        return groups

    def _run(self, job: list[WantedContent], call: _Call) -> None:
        try:
            if job[0].size > SMALL_SIZE_MAX or job[0].sha256 in self._staged:
                self._fetch_large(job[0], call)
            else:
                self._fetch_small(job, call)
        except BaseException:
            # Nobody waits for the rest any more.
            call.end()
            raise

    def _fetch_small(self, job: list[WantedContent], call: _Call) -> None:
        request = blob_pb2.FetchBlobsRequest(blobs=[blob_pb2.WantedBlob(sha256=item.sha256) for item in job])
        pieces: list[bytes] = []
        found: list[tuple[WantedContent, bytes]] = []
        for piece in call.pieces(request):
            item = job[piece.index]
            if piece.missing:
                pieces.clear()
                _log.warning("content_gone", sha256=item.sha256.hex(), offset=item.offset)
                continue
            pieces.append(piece.data)
            if piece.last:
                data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
                pieces.clear()
                _check(item, len(data), hashlib.sha256(data).digest())
                found.append((item, data))
        size = sum(len(data) for _, data in found)
        with self._lock:
            is_held = self._held_size + size <= HELD_SIZE_MAX
            if is_held:
                self._held.update((item.sha256, data) for item, data in found)
                self._held_size += size
        if not is_held:
            self._stage(found)

    def _stage(self, found: Sequence[tuple[WantedContent, bytes]]) -> None:
        """Store whole contents, all in one transaction."""
        fetches = [schema.Fetch(item.sha256, item.offset, self._chunk_size) for item, _ in found]

        def op(txn: WriteTxn) -> list[int]:
            numbers: list[int] = []
            for fetch, (_, data) in zip(fetches, found):
                numbers.append(steps.begin_upload(txn, fetch.encode()))
                steps.put_chunks(txn, numbers[-1], 0, steps.split_chunks(data, self._chunk_size))
            return numbers

        numbers = self._slab.write(op, privileged=True)
        with self._lock:
            for number, fetch in zip(numbers, fetches):
                self._staged[fetch.sha256] = _Staged(number, fetch, is_whole=True)

    def _fetch_large(self, item: WantedContent, call: _Call) -> None:
        with ThreadPoolExecutor(1, "axon-store") as pool:
            _LargeFetch(self, item, pool).run(call)

    def store_part(
        self, item: WantedContent, staged: _Staged | None, index: int, part: bytes
    ) -> tuple[_Staged, int]:
        """Store some chunks, durably; returns what they are part of, and how many they are."""
        fetch = staged.fetch if staged else schema.Fetch(item.sha256, item.offset, self._chunk_size)
        chunks = steps.split_chunks(part, fetch.chunk_size)

        def op(txn: WriteTxn) -> int:
            number = steps.begin_upload(txn, fetch.encode()) if staged is None else staged.number
            steps.put_chunks(txn, number, index, chunks)
            return number

        number = self._slab.write(op, privileged=True)
        if staged is None:
            staged = _Staged(number, fetch)
            with self._lock:
                self._staged[item.sha256] = staged
        failpoint("axon_fetch_part_stored")
        return staged, len(chunks)

    def read_back(self, staged: _Staged, digest: hashlib._Hash) -> tuple[int, int]:
        """Hash what is stored of a content; returns its size, and how many chunks it has."""
        size = index = 0
        while True:
            keys = [schema.chunk_key(staged.number, index + step) for step in range(PART_CHUNK_COUNT)]
            with self._slab.view() as txn:
                chunks = txn.get_many(schema.CHUNKS, keys)
            for chunk in chunks:
                if chunk is None:
                    return size, index
                digest.update(chunk)
                size += len(chunk)
                index += 1

    # Use: in the transaction that applies a record, and after it.

    def use(self, txn: WriteTxn, sha256: bytes, arrival: int) -> None:
        """Make a content that of the blob of an arrival; note it as wanted if it is not at hand."""
        found = self._place(txn, sha256)
        if found is None:
            txn.put(schema.WANTED, schema.number_key(arrival), b"")
        else:
            steps.place(txn, arrival, *found)

    def fill(self, wanted: Sequence[tuple[int, bytes]]) -> int:
        """Give blobs that have waited for their contents those that are at hand; how many those are.

        Args:
            wanted: Arrival and SHA-256 of each.
        """
        ready = [(arrival, sha256) for arrival, sha256 in wanted if self.has(sha256)]

        def op(txn: WriteTxn) -> None:
            for arrival, sha256 in ready:
                if txn.has(schema.WANTED, schema.number_key(arrival)):
                    found = self._place(txn, sha256)
                    assert found is not None, "a content at hand is not there"
                    steps.fill(txn, arrival, *found)

        if ready:
            try:
                self._slab.write(op, privileged=True)
            except BaseException:
                self.rolled_back()
                raise
            self.committed(0)
        return len(ready)

    def _place(self, txn: WriteTxn, sha256: bytes) -> tuple[int, int] | None:
        """Number and chunk size of a content, which is no upload from here on; None if it is not at hand."""
        data = self._held.get(sha256)
        if data is not None:
            number = steps.take_numbers(txn, 1)
            steps.put_chunks(txn, number, 0, steps.split_chunks(data, self._chunk_size))
            self._used.append(sha256)
            return number, self._chunk_size
        staged = self._staged.get(sha256)
        if staged is None or not staged.is_whole:
            return None
        steps.end_upload(txn, staged.number)
        self._used.append(sha256)
        return staged.number, staged.fetch.chunk_size

    def committed(self, next_offset: int) -> None:
        """What was used is in place. Drops what was fetched for records before an offset and was not used."""
        for sha256 in self._used:
            self._held_size -= len(self._held.pop(sha256, b""))
            self._staged.pop(sha256, None)
        self._used.clear()
        self.drop(lambda fetch: fetch.offset < next_offset)

    def rolled_back(self) -> None:
        """What was used was not: it is still at hand."""
        self._used.clear()

    def drop(self, is_over: Callable[[schema.Fetch], bool] = lambda fetch: True) -> int:
        """Remove what is stored and not used, as far as it is over; how much that is."""
        over = [staged for staged in self._staged.values() if is_over(staged.fetch)]
        for staged in over:
            self.remove(staged)
        return len(over)

    def remove(self, staged: _Staged) -> None:
        """Remove what is stored of a content, and forget it."""
        remove_upload(self._slab, staged.number)
        with self._lock:
            self._staged.pop(staged.fetch.sha256, None)

    def _forget_held(self, wanted: set[bytes]) -> None:
        """Free what was held for records that came in another run, or never come."""
        self._held = {sha256: data for sha256, data in self._held.items() if sha256 in wanted}
        self._held_size = sum(map(len, self._held.values()))


class _LargeFetch:
    """One large content on its way: while a part is received and hashed, the one before is stored."""

    def __init__(self, fetcher: Fetcher, item: WantedContent, pool: ThreadPoolExecutor) -> None:
        self._fetcher = fetcher
        self._item = item
        self._pool = pool
        self._staged = fetcher.staged(item.sha256)
        self._index = 0
        self._storing: Future[tuple[_Staged, int]] | None = None
        chunk_size = self._staged.fetch.chunk_size if self._staged else fetcher.chunk_size
        self._part_size = chunk_size * PART_CHUNK_COUNT

    def run(self, call: _Call) -> None:
        """Get all of it. What there is when this fails is kept, unless it is not the content asked for."""
        item = self._item
        digest = hashlib.sha256()
        size = 0
        if self._staged is not None:
            size, self._index = self._fetcher.read_back(self._staged, digest)
        waiting: list[bytes] = []
        waiting_size = 0
        if size < item.size:
            wanted = blob_pb2.WantedBlob(sha256=item.sha256, offset_bytes=size)
            for piece in call.pieces(blob_pb2.FetchBlobsRequest(blobs=[wanted])):
                if piece.missing:
                    _log.warning("content_gone", sha256=item.sha256.hex(), offset=item.offset)
                    self._drop()
                    return
                digest.update(piece.data)
                size += len(piece.data)
                waiting.append(piece.data)
                waiting_size += len(piece.data)
                if waiting_size >= self._part_size:
                    whole = b"".join(waiting)
                    self._store(whole[: self._part_size])
                    waiting = [whole[self._part_size :]]
                    waiting_size = len(waiting[0])
                if size > item.size:
                    break
        try:
            _check(item, size, digest.digest())
        except HashMismatch:
            self._drop()
            raise
        # Also when nothing is left to store: the number is noted with it.
        self._store(b"".join(waiting))
        self._wait()
        assert self._staged is not None
        self._staged.is_whole = True

    def _store(self, part: bytes) -> None:
        self._wait()
        self._storing = self._pool.submit(
            self._fetcher.store_part, self._item, self._staged, self._index, part
        )

    def _wait(self) -> None:
        storing, self._storing = self._storing, None
        if storing is not None:
            self._staged, count = storing.result()
            self._index += count

    def _drop(self) -> None:
        self._wait()
        if self._staged is not None:
            self._fetcher.remove(self._staged)


class _Call:
    """The calls of one `fetch`, which end together."""

    def __init__(self, stub: blob_service_pb2_grpc.BlobServiceStub) -> None:
        self._stub = stub
        self._lock = threading.Lock()
        self._cancels: list[Callable[[], object]] = []
        self._ended = False

    def pieces(self, request: blob_pb2.FetchBlobsRequest) -> Iterator[blob_pb2.BlobPiece]:
        """What comes, piece by piece. Raises RpcError."""
        with self._lock:
            if self._ended:
                raise ShuttingDown("another fetch has failed")
            try:
                responses = self._stub.FetchBlobs(request)
            except ValueError as error:
                # So gRPC tells that the channel was closed: whoever follows ends.
                raise ShuttingDown("the connection to the leader was closed") from error
            self._cancels.append(responses.cancel)
        for response in responses:
            yield from response.pieces

    def end(self) -> None:
        """Cancel what runs."""
        with self._lock:
            self._ended = True
            cancels = list(self._cancels)
        for cancel in cancels:
            cancel()


def _stored(slab: Slab) -> Iterator[_Staged]:
    """What earlier processes have begun to fetch."""
    for key, mark in walk_apart(slab, schema.UPLOADS):
        if schema.is_fetch(mark):
            yield _Staged(schema.number_of(key), schema.Fetch.decode(mark))


def _check(item: WantedContent, size: int, sha256: bytes) -> None:
    if size != item.size or sha256 != item.sha256:
        raise HashMismatch(
            f"the leader sent {size} bytes that are not the content asked for",
            algorithm="sha256",
            expected=item.sha256.hex(),
            found=sha256.hex(),
            size=item.size,
        )


__all__ = ["Fetcher", "WantedContent"]
