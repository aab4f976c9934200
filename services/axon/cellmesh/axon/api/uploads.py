"""Contents on their way in: streams of parts, and what is kept of those that broke.

An upload without an id leaves nothing behind when it breaks. One with an id stays: in memory with the state of its
hashes, as long as there is room for it, and on disk, whence it is read and hashed again when it goes on after a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from cellmesh.api.axon.v1 import blob_pb2
from cellmesh.axon.api.upload_parts import UploadPart, read_part
from cellmesh.axon.blobs import BlobInfo
from cellmesh.axon.blobs.hashing_writer import check_upload_id
from cellmesh.axon.blobs.interface import Blobs, BlobUpload
from cellmesh.axon.blobs.values import Piece
from cellmesh.common.cell import PartHealth
from cellmesh.common.errors import BadArg, Cancelled, CellError, UploadMoved
from cellmesh.common.rpc.workers import Workers
from cellmesh.common.telemetry.logs import get_logger

UPLOAD_DATA_SIZE_MAX: Final = 1024 * 1024
"""Data in one message of an upload, in bytes."""

GATHER_SIZE: Final = 256 * 1024
"""Small messages of an upload are gathered to this size, as each hand-over to a thread has its price."""

BROKEN_OFF_S: Final = 0.1
"""gRPC shows the end of a stream and the death of its caller alike at first; the difference comes within
some milliseconds. So long an upload waits that ends without saying that it is whole."""

IDLE_COUNT_MAX: Final = 16
"""Broken uploads kept in memory, with up to four MiB each. Others are on disk only."""

SWEEP_S: Final = 60.0
"""How often uploads are looked for that nobody has gone on with."""

_log = get_logger(__name__)


class UploadTask:
    """One running upload: while one stretch of data is received, the one before is hashed in a thread, and
    the part before that is stored in another. At most one of each, so memory stays small.

    Args:
        upload: What takes it.
        workers: Threads for blocking work.
    """

    def __init__(self, upload: BlobUpload, workers: Workers) -> None:
        self._upload = upload
        self._workers = workers
        self._hashing: asyncio.Task[Any] | None = None
        self._storing: asyncio.Task[None] | None = None
        self._gathered: list[Piece] = []
        self._gathered_size = 0

    async def add(self, data: Piece) -> None:
        """Take the next bytes. Raises what hashing and storing raise."""
        self._gathered.append(data)
        self._gathered_size += len(data)
        if self._gathered_size >= GATHER_SIZE:
            await self._hash_gathered()

    async def finish(self) -> BlobInfo:
        """Make the content visible. Errors as `Upload.finish`."""
        await self._settle()
        return await self._workers.run(self._upload.finish)

    async def drop(self) -> None:
        """Remove what was stored, even when this very task is cancelled."""
        await asyncio.shield(asyncio.create_task(self._drop()))

    async def suspend(self) -> bool:
        """Keep what was taken; whether the upload is still good."""
        try:
            await self._settle()
            await self._workers.run(self._upload.suspend)
        except CellError as error:
            # Its hashes know more than is stored: what is on disk is what can be gone on with.
            _log.warning("upload_suspended_in_part", error=str(error))
            return False
        return True

    async def _hash_gathered(self) -> None:
        """Have what was gathered hashed, once what came before it is."""
        await self._store_hashed()
        data, self._gathered, self._gathered_size = self._gathered, [], 0
        self._hashing = asyncio.create_task(self._workers.run(self._upload.add, data))

    async def _store_hashed(self) -> None:
        """Wait for the hashing; have the part stored that has become full with it."""
        if self._hashing is None:
            return
        # Shielded: whoever is cancelled here must still find the part, or the hashes would know more than the disk.
        part = await asyncio.shield(self._hashing)
        self._hashing = None
        if part is not None:
            storing, self._storing = (
                self._storing,
                asyncio.create_task(self._store_after(self._storing, part)),
            )
            if storing is not None:
                await asyncio.shield(storing)

    async def _store_after(self, before: asyncio.Task[None] | None, part: Any) -> None:
        if before is not None:
            await before
        await self._workers.run(self._upload.store, part)

    async def _settle(self) -> None:
        await self._hash_gathered()
        await self._store_hashed()
        if self._storing is not None:
            await asyncio.shield(self._storing)

    async def _drop(self) -> None:
        for task in (self._hashing, self._storing):
            if task is not None:
                await asyncio.wait((task,))
                if not task.cancelled() and (error := task.exception()):
                    _log.debug("dropped_upload_failed", error=str(error))
        await self._workers.run(self._upload.abort)


class _Running:
    """An upload that is being sent. It is cancelled once: a second time would break off the keeping of it."""

    def __init__(self, task: asyncio.Task[BlobInfo]) -> None:
        self.task = task
        self._cancelled = False

    async def end(self) -> None:
        """Stop it, and return when what was sent is kept."""
        if not self._cancelled:
            self._cancelled = True
            self.task.cancel()
        if not self.task.done():
            await asyncio.wait((self.task,))


class Uploads:
    """All uploads of the cell: a Part, as those that nobody goes on with are removed after a while.

    Args:
        store: The blobs.
        workers: Threads for blocking work.
        keep_s: How long a broken upload is kept after it was begun.
    """

    name = "uploads"

    def __init__(self, store: Blobs, workers: Workers, keep_s: float) -> None:
        self._store = store
        self._workers = workers
        self._keep_s = keep_s
        self._idle: OrderedDict[bytes, BlobUpload] = OrderedDict()
        self._running: dict[bytes, _Running] = {}
        # One at a time goes on with, or removes, an upload; they are few.
        self._lock = asyncio.Lock()
        self._sweeper: asyncio.Task[None] | None = None

    # Calls.

    async def upload(self, requests: AsyncIterator[bytes]) -> BlobInfo:
        """Take a stream of serialized UploadBlobRequests and make it visible, or keep or drop it when it breaks."""
        message = await anext(aiter(requests), None)
        first = None if message is None else read_part(message)
        if first is None or not first.upload_id:
            return await self._upload_at_once(first, requests)
        upload_id = check_upload_id(first.upload_id)
        async with self._lock:
            await self._end_running(upload_id)
            upload = await self._take(upload_id, first.expected_sha256)
            if upload.size != first.offset_bytes:
                if upload.size:
                    self._keep(upload_id, upload)
                raise _moved(upload_id, upload.size, first.offset_bytes)
            running = _Running(asyncio.create_task(self._run_kept(upload_id, upload, first, requests)))
            self._running[upload_id] = running
            running.task.add_done_callback(lambda task: self._ended(upload_id, task))
        try:
            return await asyncio.shield(running.task)
        except asyncio.CancelledError:
            if running.task.cancelled():
                raise Cancelled("another call goes on with this upload", name=upload_id.hex()) from None
            await running.end()
            raise

    def _ended(self, upload_id: bytes, task: asyncio.Task[BlobInfo]) -> None:
        found = self._running.get(upload_id)
        if found is not None and found.task is task:
            del self._running[upload_id]
        if not task.cancelled():
            # Heard, also when its caller has gone away.
            task.exception()

    async def _upload_at_once(
        self,
        first: UploadPart | None,
        requests: AsyncIterator[bytes],
    ) -> BlobInfo:
        expected = first.expected_sha256 if first is not None else b""
        task = UploadTask(self._store.upload(expected), self._workers)
        try:
            is_whole = first is not None and await self._feed(task, first, requests)
            if not is_whole and not expected:
                # A content of the hash that was announced is whole, whatever became of the caller.
                await asyncio.sleep(BROKEN_OFF_S)
            return await task.finish()
        except BaseException:
            await task.drop()
            raise

    async def _run_kept(
        self,
        upload_id: bytes,
        upload: BlobUpload,
        first: UploadPart,
        requests: AsyncIterator[bytes],
    ) -> BlobInfo:
        task = UploadTask(upload, self._workers)
        try:
            is_whole = await self._feed(task, first, requests)
        except BaseException:
            await self._suspend(upload_id, upload, task)
            raise
        if not is_whole:
            await self._suspend(upload_id, upload, task)
            raise BadArg(
                "the stream ended before the content was whole",
                name="last",
                offset=upload.size,
                hint="go on at this offset, and set `last` in the last message",
            )
        try:
            return await task.finish()
        except BaseException:
            # What it hashes to is known: nobody can make another content of it.
            await task.drop()
            raise

    @staticmethod
    async def _feed(
        task: UploadTask,
        first: UploadPart,
        requests: AsyncIterator[bytes],
    ) -> bool:
        """Hand all data on; whether the caller said that it is whole."""
        part = first
        while True:
            _check_size(len(part.data))
            await task.add(part.data)
            if part.last:
                return True
            message = await anext(aiter(requests), None)
            if message is None:
                return False
            part = read_part(message)

    async def upload_many(
        self, requests: AsyncIterator[blob_pb2.UploadBlobsRequest]
    ) -> AsyncIterator[Sequence[BlobInfo]]:
        """Take a stream of contents; yields name and size of those that are stored."""
        task: UploadTask | None = None
        try:
            async for request in requests:
                _check_size(sum(len(part.data) for part in request.parts))
                small: list[bytes] = []
                for part in request.parts:
                    if task is None and part.last:
                        small.append(part.data)
                        continue
                    if small:
                        yield await self._workers.run(self._store.put, small)
                        small = []
                    if task is None:
                        task = UploadTask(self._store.upload(), self._workers)
                    await task.add(part.data)
                    if part.last:
                        done, task = await task.finish(), None
                        yield (done,)
                if small:
                    yield await self._workers.run(self._store.put, small)
            if task is not None:
                raise BadArg(
                    "the stream ended in the middle of a content",
                    name="last",
                    hint="set `last` in the last part of each content",
                )
        finally:
            if task is not None:
                await task.drop()

    async def offset(self, upload_id: bytes) -> int | None:
        """How far an upload has come, in bytes; None when nothing of it is kept. Who sends it is stopped."""
        check_upload_id(upload_id)
        async with self._lock:
            await self._end_running(upload_id)
            if upload_id not in self._idle and not await self._workers.run(self._store.has_upload, upload_id):
                return None
            upload = await self._take(upload_id, b"")
            self._keep(upload_id, upload)
            return upload.size

    async def drop(self, upload_id: bytes) -> bool:
        """Give an upload up; whether there was any."""
        check_upload_id(upload_id)
        async with self._lock:
            await self._end_running(upload_id)
            upload = self._idle.pop(upload_id, None)
            if upload is not None:
                await self._workers.run(upload.abort)
            return await self._workers.run(self._store.drop_upload, upload_id) or upload is not None

    # What is kept.

    async def _take(self, upload_id: bytes, expected_sha256: bytes) -> BlobUpload:
        upload = self._idle.pop(upload_id, None)
        if upload is None:
            return await self._workers.run(self._store.resume, upload_id, expected_sha256)
        upload.expected_sha256 = expected_sha256 or upload.expected_sha256
        return upload

    def _keep(self, upload_id: bytes, upload: BlobUpload) -> None:
        self._idle[upload_id] = upload
        while len(self._idle) > IDLE_COUNT_MAX:
            self._idle.popitem(last=False)

    async def _suspend(self, upload_id: bytes, upload: BlobUpload, task: UploadTask) -> None:
        """Keep what was sent, however often this is cancelled meanwhile: gRPC and `_Running` may both do so."""
        suspending = asyncio.create_task(task.suspend())
        while not suspending.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait((suspending,))
        if suspending.result():
            self._keep(upload_id, upload)

    async def _end_running(self, upload_id: bytes) -> None:
        running = self._running.get(upload_id)
        if running is not None:
            await running.end()

    # Life.

    async def start(self) -> None:
        """Begin to look for uploads that nobody has gone on with."""
        self._sweeper = asyncio.create_task(self._sweep_for_good())

    async def stop(self) -> None:
        """End that. What is kept stays on disk."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.wait((self._sweeper,))

    def health(self) -> PartHealth:
        """Always well."""
        return PartHealth()

    async def sweep(self) -> int:
        """Remove what was begun too long ago and is not being sent; how many uploads that were."""
        before_us = self._store.now_us() - int(self._keep_s * 1e6)
        count = 0
        for kept in await self._workers.run(self._store.kept_uploads):
            if kept.time_us < before_us and kept.upload_id not in self._running:
                count += await self.drop(kept.upload_id)
        if count:
            _log.info("old_uploads_removed", count=count)
        return count

    async def _sweep_for_good(self) -> None:
        while True:
            try:
                await self.sweep()
            except CellError as error:
                _log.warning("old_uploads_not_removed", error=str(error))
            await asyncio.sleep(SWEEP_S)


def _moved(upload_id: bytes, size: int, offset: int) -> UploadMoved:
    if size:
        return UploadMoved(
            f"the upload goes on at {size}, not at {offset}",
            name=upload_id.hex(),
            offset=size,
            hint="go on there",
        )
    return UploadMoved(
        f"nothing of the upload is kept here, so it begins at 0 again, not at {offset}",
        name=upload_id.hex(),
        offset=0,
        hint="it was begun too long ago, given up, or sent to another instance, which led before this one",
    )


def _check_size(size: int) -> None:
    if size > UPLOAD_DATA_SIZE_MAX:
        raise BadArg(
            "a message of an upload has at most 1 MiB of data",
            name="data",
            size=size,
            size_max=UPLOAD_DATA_SIZE_MAX,
        )


__all__ = ["UploadTask", "Uploads"]
