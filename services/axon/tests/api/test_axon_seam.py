"""The services over any store of blobs: the one of LMDB and the one in memory answer the same."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from cellmesh.api.axon.v1 import blob_pb2, content_pb2
from cellmesh.axon import schema
from cellmesh.axon.api.blobs import BlobServicer
from cellmesh.axon.api.content import ContentServicer
from cellmesh.axon.api.uploads import Uploads
from cellmesh.axon.blobs import BlobStore
from cellmesh.axon.blobs.changes import TYPE_NAME
from cellmesh.axon.blobs.interface import Blobs
from cellmesh.axon.blobs.memory import MemoryBlobs
from cellmesh.common.changelog import ChangeLog, ChangeWriter
from cellmesh.common.errors import NoSuchFile, UploadMoved
from cellmesh.common.rpc.workers import Workers
from cellmesh.common.storage import Slab


@pytest.fixture(params=["lmdb", "memory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Blobs]:
    if request.param == "memory":
        yield MemoryBlobs()
        return
    with Slab.open(tmp_path, schema.DATABASES, sync=False) as slab:
        yield BlobStore(slab, ChangeWriter(ChangeLog(slab), TYPE_NAME, lambda: 1), chunk_size=4096)


class Served:
    """Both services, called as gRPC calls them."""

    def __init__(self, blobs: Blobs) -> None:
        self.workers = Workers()
        self.blobs = BlobServicer(blobs, self.workers, Uploads(blobs, self.workers, 60.0))
        self.contents = ContentServicer(blobs, self.workers)

    async def put(self, *contents: bytes) -> list[bytes]:
        answer = await self.blobs.PutBlobs(blob_pb2.PutBlobsRequest(contents=contents), None)
        return [blob.sha256 for blob in answer.blobs]

    async def upload(self, *parts: blob_pb2.UploadBlobRequest) -> bytes:
        async def messages() -> AsyncIterator[bytes]:
            for part in parts:
                yield part.SerializeToString()

        found: bytes = (await self.blobs.UploadBlob(messages(), None)).hashes.sha256
        return found

    async def get(self, sha256: bytes, **more: int) -> bytes:
        request = blob_pb2.GetBlobRequest(sha256=sha256, **more)
        messages = [message async for message in self.blobs.GetBlob(request, None)]
        return b"".join(blob_pb2.GetBlobResponse.FromString(message).data for message in messages)

    async def listed(self, **more: Any) -> list[tuple[int, bytes, bool]]:
        messages = [m async for m in self.blobs.ListBlobs(blob_pb2.ListBlobsRequest(**more), None)]
        read = map(blob_pb2.ListBlobsResponse.FromString, messages)
        return [(item.offset, item.blob.sha256, item.deleted) for message in read for item in message.blobs]


def run(blobs: Blobs, body: Callable[[Served], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        served = Served(blobs)
        try:
            await body(served)
        finally:
            await served.workers.close()

    asyncio.run(whole())


def test_blobs_are_served_whatever_keeps_them(blobs: Blobs) -> None:
    async def body(served: Served) -> None:
        one, two = await served.put(b"one\nline\n", b"two")
        content = bytes(range(256)) * 4000
        large = await served.upload(
            blob_pb2.UploadBlobRequest(data=content[:500_000]),
            blob_pb2.UploadBlobRequest(data=content[500_000:], last=True),
        )
        assert large == hashlib.sha256(content).digest()
        assert await served.get(large) == content
        assert await served.get(large, offset_bytes=4095, size_bytes=9000) == content[4095:13095]
        hashes = (await served.blobs.GetBlobHashes(blob_pb2.GetBlobHashesRequest(sha256=large), None)).hashes
        assert hashes.sha512 == hashlib.sha512(content).digest()
        deletion = blob_pb2.DeleteBlobsRequest(sha256s=[two])
        assert list((await served.blobs.DeleteBlobs(deletion, None)).deleted) == [True]
        with pytest.raises(NoSuchFile):
            await served.get(two)
        asked = blob_pb2.ListMissingBlobsRequest(sha256s=[one, two, large])
        assert list((await served.blobs.ListMissingBlobs(asked, None)).sha256s) == [two]
        assert await served.listed() == [(0, one, False), (1, two, True), (2, large, False)]
        assert await served.listed(skip_deleted=True, offset=1) == [(2, large, False)]
        reports = [m async for m in served.blobs.VerifyBlobs(blob_pb2.VerifyBlobsRequest(), None)]
        assert (reports[-1].blob_count, len(reports[-1].damaged)) == (2, 0)
        metrics = await served.blobs.GetAxonMetrics(blob_pb2.GetAxonMetricsRequest(), None)
        assert (metrics.blob_count, metrics.size_bytes) == (2, 9 + len(content))
        lines = served.contents.ReadLines(content_pb2.ReadLinesRequest(sha256=one), None)
        assert [line async for message in lines for line in message.lines] == ["one", "line"]

    run(blobs, body)


def test_uploads_go_on_whatever_keeps_them(blobs: Blobs) -> None:
    upload_id = bytes(range(16))
    content = bytes(range(250)) * 2000

    async def body(served: Served) -> None:
        with pytest.raises(UploadMoved):
            await served.upload(
                blob_pb2.UploadBlobRequest(upload_id=upload_id, offset_bytes=7, data=b"more", last=True)
            )
        resume = blob_pb2.ResumeUploadRequest(upload_id=upload_id)
        broken = asyncio.create_task(
            served.upload(blob_pb2.UploadBlobRequest(upload_id=upload_id, data=content[:300_000]))
        )
        await asyncio.wait((broken,))
        assert broken.exception() is not None
        answer = await served.blobs.ResumeUpload(resume, None)
        assert answer.offset_bytes == 300_000
        part = blob_pb2.UploadBlobRequest(
            upload_id=upload_id, offset_bytes=300_000, data=content[300_000:], last=True
        )
        assert await served.get(await served.upload(part)) == content
        assert not (await served.blobs.ResumeUpload(resume, None)).found

    run(blobs, body)


def test_who_waits_is_told_whatever_keeps_them(blobs: Blobs) -> None:
    async def body(served: Served) -> None:
        listing = served.blobs.ListBlobs(blob_pb2.ListBlobsRequest(wait=True), None)
        first = asyncio.ensure_future(anext(listing))
        (name,) = await served.put(b"comes later")
        message = blob_pb2.ListBlobsResponse.FromString(await asyncio.wait_for(first, 30))
        assert [item.blob.sha256 for item in message.blobs] == [name]
        await listing.aclose()

    run(blobs, body)
