"""BlobService over the store: messages in, blocking work in threads, messages out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Final

from cellmesh.api.axon.v1 import blob_pb2
from cellmesh.axon.blobs import Arrival, BlobHashes, BlobInfo, BlobStore, Upload
from cellmesh.axon.blobs.changes import hashes_to_proto
from cellmesh.common.errors import BadArg, NoSuchFile
from cellmesh.common.rpc.streams import CancelToken
from cellmesh.common.rpc.workers import Workers
from cellmesh.common.telemetry.logs import get_logger

_log = get_logger(__name__)

HASH_COUNT_MAX: Final = 100_000
"""Hashes in one HasBlobs or ListMissingBlobs."""

FETCH_COUNT_MAX: Final = 10_000
"""Blobs in one FetchBlobs."""

UPLOAD_DATA_SIZE_MAX: Final = 1024 * 1024
"""Data in one message of an upload, in bytes."""

GATHER_SIZE: Final = 256 * 1024
"""Small messages of an upload are gathered to this size, as each hand-over to a thread has its price."""

PIECE_HEAD_SIZE: Final = 16
"""About so much a piece of a content takes in a message beside its data, in bytes."""

LISTED_COUNT_MAX: Final = 2048

BROKEN_OFF_S: Final = 0.1
"""gRPC shows the end of a stream and the death of its caller alike at first; the difference comes within
some milliseconds. So long an upload waits that ends without saying that it is whole."""

Context = Any


class BlobServicer:
    """Serves cellmesh.api.axon.v1.BlobService.

    Args:
        store: The blobs.
        workers: Threads for blocking work.
    """

    def __init__(self, store: BlobStore, workers: Workers) -> None:
        self._store = store
        self._workers = workers

    async def PutBlobs(
        self, request: blob_pb2.PutBlobsRequest, context: Context
    ) -> blob_pb2.PutBlobsResponse:
        """See the proto."""
        stored = await self._workers.run(self._store.put, list(request.contents))
        return blob_pb2.PutBlobsResponse(blobs=map(blob_to_proto, stored))

    async def UploadBlob(
        self, request_iterator: AsyncIterator[blob_pb2.UploadBlobRequest], context: Context
    ) -> blob_pb2.UploadBlobResponse:
        """See the proto."""
        hashes = await _UploadTask(self._store, self._workers).run(request_iterator)
        return blob_pb2.UploadBlobResponse(hashes=hashes_to_proto(hashes))

    async def GetBlob(self, request: blob_pb2.GetBlobRequest, context: Context) -> AsyncIterator[bytes]:
        """See the proto. Answers with serialized messages."""
        size = request.size_bytes if request.HasField("size_bytes") else None

        def produce(token: CancelToken) -> Iterator[bytes]:
            return self._store.read(request.sha256, request.offset_bytes, size)

        async for message in self._workers.stream(produce, pack=encode_get_response, size_of=len):
            yield message

    async def FetchBlobs(
        self, request: blob_pb2.FetchBlobsRequest, context: Context
    ) -> AsyncIterator[blob_pb2.FetchBlobsResponse]:
        """See the proto."""
        if len(request.blobs) > FETCH_COUNT_MAX:
            raise BadArg(
                "too many blobs in one call",
                name="blobs",
                count=len(request.blobs),
                count_max=FETCH_COUNT_MAX,
            )
        wanted = [(blob.sha256, blob.offset_bytes) for blob in request.blobs]
        stream = self._workers.stream(
            lambda token: _fetched(self._store, wanted, token), pack=_pack_pieces, size_of=_size_of_piece
        )
        async for message in stream:
            yield message

    async def HasBlobs(
        self, request: blob_pb2.HasBlobsRequest, context: Context
    ) -> blob_pb2.HasBlobsResponse:
        """See the proto."""
        sha256s = _bounded(request.sha256s)
        return blob_pb2.HasBlobsResponse(present=await self._workers.run(self._store.has, sha256s))

    async def ListMissingBlobs(
        self, request: blob_pb2.ListMissingBlobsRequest, context: Context
    ) -> blob_pb2.ListMissingBlobsResponse:
        """See the proto."""
        sha256s = _bounded(request.sha256s)
        missing = await self._workers.run(self._store.missing, sha256s)
        return blob_pb2.ListMissingBlobsResponse(sha256s=missing)

    async def GetBlobInfo(
        self, request: blob_pb2.GetBlobInfoRequest, context: Context
    ) -> blob_pb2.GetBlobInfoResponse:
        """See the proto."""
        info = await self._workers.run(self._store.info, request.sha256)
        return blob_pb2.GetBlobInfoResponse(blob=blob_to_proto(info))

    async def ListBlobs(
        self, request: blob_pb2.ListBlobsRequest, context: Context
    ) -> AsyncIterator[blob_pb2.ListBlobsResponse]:
        """See the proto."""
        stream = self._workers.stream(
            lambda token: self._store.arrivals(request.offset),
            pack=_pack_arrivals,
            count_max=LISTED_COUNT_MAX,
        )
        async for message in stream:
            yield message

    async def GetAxonMetrics(
        self, request: blob_pb2.GetAxonMetricsRequest, context: Context
    ) -> blob_pb2.GetAxonMetricsResponse:
        """See the proto."""
        metrics = await self._workers.run(self._store.metrics)
        return blob_pb2.GetAxonMetricsResponse(blob_count=metrics.blob_count, size_bytes=metrics.size)


class _UploadTask:
    """One running upload: while one stretch of data is received, the one before is hashed in a thread, and
    the part before that is stored in another. At most one of each, so memory stays small.
    """

    def __init__(self, store: BlobStore, workers: Workers) -> None:
        self._store = store
        self._workers = workers
        self._upload: Upload | None = None
        self._hashing: asyncio.Task[bytes | None] | None = None
        self._storing: asyncio.Task[None] | None = None
        self._gathered: list[bytes] = []
        self._gathered_size = 0
        self._is_whole = False
        self._is_proven = False

    async def run(self, requests: AsyncIterator[blob_pb2.UploadBlobRequest]) -> BlobHashes:
        """Take everything and make it visible; whatever happens before that, nothing stays."""
        try:
            async for request in requests:
                await self._take(request)
                if self._is_whole:
                    break
            if not (self._is_whole or self._is_proven):
                await asyncio.sleep(BROKEN_OFF_S)
            upload = self._begin(b"")
            await self._hash_gathered(upload)
            await self._store_hashed(upload)
            if self._storing is not None:
                await self._storing
            return await self._workers.run(upload.finish)
        except BaseException:
            await self._drop()
            raise

    async def _take(self, request: blob_pb2.UploadBlobRequest) -> None:
        upload = self._begin(request.expected_sha256)
        self._is_whole = request.last
        size = len(request.data)
        if size > UPLOAD_DATA_SIZE_MAX:
            raise BadArg(
                "a message of an upload has at most 1 MiB of data",
                name="data",
                size=size,
                size_max=UPLOAD_DATA_SIZE_MAX,
            )
        self._gathered.append(request.data)
        self._gathered_size += size
        if self._gathered_size >= GATHER_SIZE:
            await self._hash_gathered(upload)

    def _begin(self, expected_sha256: bytes) -> Upload:
        if self._upload is None:
            self._upload = self._store.upload(expected_sha256)
            # A content of that hash is whole, whatever became of the caller.
            self._is_proven = bool(expected_sha256)
        return self._upload

    async def _hash_gathered(self, upload: Upload) -> None:
        """Have what was gathered hashed, once what came before it is."""
        await self._store_hashed(upload)
        data, self._gathered, self._gathered_size = self._gathered, [], 0
        self._hashing = asyncio.create_task(self._workers.run(upload.add, data))

    async def _store_hashed(self, upload: Upload) -> None:
        """Wait for the hashing; have the part stored that has become full with it."""
        if self._hashing is None:
            return
        hashing, self._hashing = self._hashing, None
        part = await hashing
        if part:
            if self._storing is not None:
                await self._storing
            self._storing = asyncio.create_task(self._workers.run(upload.store, part))

    async def _drop(self) -> None:
        """Remove what was stored, even when this very task is cancelled."""
        if self._upload is not None:
            await asyncio.shield(asyncio.create_task(self._drop_upload(self._upload)))

    async def _drop_upload(self, upload: Upload) -> None:
        for task in (self._hashing, self._storing):
            if task is not None:
                await asyncio.wait((task,))
                if not task.cancelled() and (error := task.exception()):
                    _log.debug("dropped_upload_failed", error=str(error))
        await self._workers.run(upload.abort)


def blob_to_proto(info: BlobInfo) -> blob_pb2.Blob:
    """A blob as it travels."""
    return blob_pb2.Blob(sha256=info.sha256, size_bytes=info.size)


def encode_get_response(pieces: list[bytes]) -> bytes:
    """A serialized GetBlobResponse of some pieces of content, put together with one copy."""
    size = sum(map(len, pieces))
    head = bytearray(b"\x0a")  # GetBlobResponse.data (1, bytes)
    while size >= 0x80:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return b"".join((head, *pieces))


def _pack_arrivals(arrivals: list[Arrival]) -> blob_pb2.ListBlobsResponse:
    return blob_pb2.ListBlobsResponse(
        blobs=[blob_pb2.ListedBlob(offset=item.offset, blob=blob_to_proto(item.blob)) for item in arrivals]
    )


def _fetched(
    store: BlobStore, wanted: Sequence[tuple[bytes, int]], token: CancelToken
) -> Iterator[blob_pb2.BlobPiece]:
    for index, (sha256, offset) in enumerate(wanted):
        token.check()
        # One piece is held back, as the last one is told as such.
        before: bytes | None = None
        try:
            for data in store.read(sha256, offset):
                if before is not None:
                    yield blob_pb2.BlobPiece(index=index, data=before)
                before = data
        except NoSuchFile:
            yield blob_pb2.BlobPiece(index=index, missing=True)
            continue
        yield blob_pb2.BlobPiece(index=index, data=before or b"", last=True)


def _size_of_piece(piece: blob_pb2.BlobPiece) -> int:
    return len(piece.data) + PIECE_HEAD_SIZE


def _pack_pieces(pieces: list[blob_pb2.BlobPiece]) -> blob_pb2.FetchBlobsResponse:
    return blob_pb2.FetchBlobsResponse(pieces=pieces)


def _bounded(sha256s: Any) -> list[bytes]:
    if len(sha256s) > HASH_COUNT_MAX:
        raise BadArg(
            "too many hashes in one call",
            name="sha256s",
            count=len(sha256s),
            count_max=HASH_COUNT_MAX,
        )
    return list(sha256s)
