"""StorageService: the database file of a cell, its figures and its compaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from cellmesh.api.common.v1 import storage_service_pb2
from cellmesh.common.rpc.permissions import COMMON_PERMISSIONS
from cellmesh.common.rpc.service import Service
from cellmesh.common.rpc.streams import CancelToken
from cellmesh.common.rpc.workers import Workers
from cellmesh.common.storage import Compacted, CompactionProgress, Slab, compact_online
from cellmesh.common.storage.slab import DATA_FILE, free_space_bytes
from cellmesh.common.telemetry.logs import get_logger

_log = get_logger(__name__)


class StorageServicer:
    """Serves cellmesh.api.common.v1.StorageService.

    Args:
        slab: The cell's storage.
        workers: Threads for blocking work.
    """

    def __init__(self, slab: Slab, workers: Workers) -> None:
        self._slab = slab
        self._workers = workers

    async def GetStorageStats(
        self, request: storage_service_pb2.GetStorageStatsRequest, context: Any
    ) -> storage_service_pb2.GetStorageStatsResponse:
        """See the proto."""
        return await self._workers.run(self._stats)

    async def Compact(
        self, request: storage_service_pb2.CompactRequest, context: Any
    ) -> AsyncIterator[storage_service_pb2.CompactResponse]:
        """See the proto."""
        stream = self._workers.stream(self._compact, pack=_pack_step, count_max=1)
        async for message in stream:
            yield message

    def _stats(self) -> storage_service_pb2.GetStorageStatsResponse:
        slab = self._slab
        stats = slab.stats()
        with slab.view() as txn:
            databases = [
                storage_service_pb2.DatabaseStats(
                    name=db.name, items=txn.entries(db), size_bytes=txn.size_bytes(db)
                )
                for db in slab.databases
            ]
        data_bytes = sum(database.size_bytes for database in databases)
        return storage_service_pb2.GetStorageStatsResponse(
            file_size_bytes=(slab.path / DATA_FILE).stat().st_size,
            used_bytes=data_bytes,
            free_bytes=max(0, stats.used_bytes - data_bytes),
            disk_free_bytes=free_space_bytes(slab.path),
            map_size_bytes=stats.map_size_bytes,
            databases=sorted(databases, key=lambda database: (-database.size_bytes, database.name)),
            commits=stats.commits,
        )

    def _compact(self, token: CancelToken) -> Iterator[CompactionProgress | Compacted]:
        for step in compact_online(self._slab, token.check):
            if isinstance(step, Compacted):
                _log.info(
                    "storage_compacted",
                    before_bytes=step.before_bytes,
                    after_bytes=step.after_bytes,
                    pause_us=step.pause_us,
                )
            yield step


def _pack_step(items: list[CompactionProgress | Compacted]) -> storage_service_pb2.CompactResponse:
    (step,) = items
    if isinstance(step, Compacted):
        return storage_service_pb2.CompactResponse(
            result=storage_service_pb2.CompactResult(
                before_bytes=step.before_bytes, after_bytes=step.after_bytes, pause_us=step.pause_us
            )
        )
    return storage_service_pb2.CompactResponse(
        progress=storage_service_pb2.CompactProgress(
            written_bytes=step.written_bytes, size_bytes=step.size_bytes, rounds=step.rounds
        )
    )


def storage_service(slab: Slab, workers: Workers) -> Service:
    """The StorageService of a cell."""
    descriptor = storage_service_pb2.DESCRIPTOR.services_by_name["StorageService"]
    return Service(descriptor, StorageServicer(slab, workers), COMMON_PERMISSIONS)
