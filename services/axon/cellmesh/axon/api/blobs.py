"""BlobService over the store: messages in, blocking work in threads, messages out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Final

from cellmesh.api.axon.v1 import blob_pb2
from cellmesh.axon.api.listing import Listing
from cellmesh.axon.api.uploads import Uploads
from cellmesh.axon.api.verifying import VERIFY_COUNT_MAX, blob_to_proto, pack_verified, verified
from cellmesh.axon.blobs.changes import hashes_to_proto, name_to_proto
from cellmesh.axon.blobs.interface import Blobs
from cellmesh.axon.blobs.store import CHUNK_SIZE_DEFAULT
from cellmesh.common.errors import BadArg, NoSuchFile
from cellmesh.common.rpc.streams import BATCH_SIZE_MAX, CancelToken
from cellmesh.common.rpc.workers import Workers

HASH_COUNT_MAX: Final = 100_000
"""Hashes in one HasBlobs or ListMissingBlobs."""

FETCH_COUNT_MAX: Final = 10_000
"""Blobs in one FetchBlobs."""

GET_SIZE_MAX: Final = BATCH_SIZE_MAX - CHUNK_SIZE_DEFAULT
"""A message of GetBlob leaves when it has reached this size: with the last chunk, it has 1 MiB at most."""

PIECE_HEAD_SIZE: Final = 16
"""About so much a piece of a content takes in a message beside its data, in bytes."""

Context = Any


class BlobServicer:
    """Serves cellmesh.api.axon.v1.BlobService.

    Args:
        store: The blobs.
        workers: Threads for blocking work.
        uploads: Those that run and those that may be gone on with.
    """

    def __init__(self, store: Blobs, workers: Workers, uploads: Uploads) -> None:
        self._store = store
        self._workers = workers
        self._uploads = uploads

    async def PutBlobs(
        self, request: blob_pb2.PutBlobsRequest, context: Context
    ) -> blob_pb2.PutBlobsResponse:
        """See the proto."""
        stored = await self._workers.run(self._store.put, list(request.contents))
        return blob_pb2.PutBlobsResponse(blobs=map(blob_to_proto, stored))

    async def UploadBlob(
        self, request_iterator: AsyncIterator[bytes], context: Context
    ) -> blob_pb2.UploadBlobResponse:
        """See the proto. Takes serialized messages."""
        blob = await self._uploads.upload(request_iterator)
        return blob_pb2.UploadBlobResponse(hashes=name_to_proto(blob))

    async def UploadBlobs(
        self, request_iterator: AsyncIterator[blob_pb2.UploadBlobsRequest], context: Context
    ) -> AsyncIterator[blob_pb2.UploadBlobsResponse]:
        """See the proto."""
        async for stored in self._uploads.upload_many(request_iterator):
            yield blob_pb2.UploadBlobsResponse(hashes=map(name_to_proto, stored))

    async def ResumeUpload(
        self, request: blob_pb2.ResumeUploadRequest, context: Context
    ) -> blob_pb2.ResumeUploadResponse:
        """See the proto."""
        offset = await self._uploads.offset(request.upload_id)
        return blob_pb2.ResumeUploadResponse(found=offset is not None, offset_bytes=offset or 0)

    async def DeleteUpload(
        self, request: blob_pb2.DeleteUploadRequest, context: Context
    ) -> blob_pb2.DeleteUploadResponse:
        """See the proto."""
        return blob_pb2.DeleteUploadResponse(found=await self._uploads.drop(request.upload_id))

    async def DeleteBlobs(
        self, request: blob_pb2.DeleteBlobsRequest, context: Context
    ) -> blob_pb2.DeleteBlobsResponse:
        """See the proto."""
        deleted = await self._workers.run(self._store.delete, list(request.sha256s))
        return blob_pb2.DeleteBlobsResponse(deleted=deleted)

    async def GetBlob(self, request: blob_pb2.GetBlobRequest, context: Context) -> AsyncIterator[bytes]:
        """See the proto. Answers with serialized messages."""
        size = request.size_bytes if request.HasField("size_bytes") else None

        def produce(token: CancelToken) -> Iterator[bytes]:
            return self._store.read(request.sha256, request.offset_bytes, size)

        stream = self._workers.stream(
            produce, pack=encode_get_response, size_of=len, size_max_bytes=GET_SIZE_MAX
        )
        async for message in stream:
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

    async def GetBlobHashes(
        self, request: blob_pb2.GetBlobHashesRequest, context: Context
    ) -> blob_pb2.GetBlobHashesResponse:
        """See the proto."""
        hashes = await self._workers.run_long(lambda token: self._store.hashes(request.sha256, token))
        return blob_pb2.GetBlobHashesResponse(hashes=hashes_to_proto(hashes))

    async def ListBlobs(self, request: blob_pb2.ListBlobsRequest, context: Context) -> AsyncIterator[bytes]:
        """See the proto. Answers with serialized messages."""
        timeout_s = None
        if request.HasField("wait_timeout"):
            timeout_s = max(0.0, request.wait_timeout.ToTimedelta().total_seconds())
        listing = Listing(self._store, self._workers)
        stream = listing.run(request.offset, request.wait, timeout_s, request.skip_deleted)
        async for message in stream:
            yield message

    async def ListBlobHistory(
        self, request: blob_pb2.ListBlobHistoryRequest, context: Context
    ) -> AsyncIterator[bytes]:
        """See the proto. Answers with serialized messages."""
        tock_us = request.tock_us if request.HasField("tock_us") else None
        first, last = await self._workers.run(self._store.offsets_between, request.tick_us, tock_us)
        async for message in Listing(self._store, self._workers).run(first, offset_max=last):
            yield message

    async def VerifyBlobs(
        self, request: blob_pb2.VerifyBlobsRequest, context: Context
    ) -> AsyncIterator[blob_pb2.VerifyBlobsResponse]:
        """See the proto."""
        if len(request.sha256s) > VERIFY_COUNT_MAX:
            raise BadArg(
                "too many blobs in one call",
                name="sha256s",
                count=len(request.sha256s),
                count_max=VERIFY_COUNT_MAX,
            )
        wanted = list(request.sha256s)
        stream = self._workers.stream(
            lambda token: verified(self._store, wanted, request.offset, token),
            pack=pack_verified,
            count_max=1,
        )
        async for message in stream:
            yield message

    async def GetAxonMetrics(
        self, request: blob_pb2.GetAxonMetricsRequest, context: Context
    ) -> blob_pb2.GetAxonMetricsResponse:
        """See the proto."""
        metrics = await self._workers.run(self._store.metrics)
        return blob_pb2.GetAxonMetricsResponse(blob_count=metrics.blob_count, size_bytes=metrics.size)


def encode_get_response(pieces: list[bytes]) -> bytes:
    """A serialized GetBlobResponse of some pieces of content, put together with one copy."""
    size = sum(map(len, pieces))
    head = bytearray(b"\x0a")  # GetBlobResponse.data (1, bytes)
    while size >= 0x80:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return b"".join((head, *pieces))


def _fetched(
    store: Blobs, wanted: Sequence[tuple[bytes, int]], token: CancelToken
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
