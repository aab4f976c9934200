"""BackupService and ChangeLogService: what every cell with storage answers about its data as a whole."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

from cellmesh.api.common.v1 import backup_service_pb2, change_log_service_pb2
from cellmesh.common.cell.backup import Backups, Piece
from cellmesh.common.changelog import ChangeLog, ChangeRecord
from cellmesh.common.errors import ShuttingDown
from cellmesh.common.rpc.permissions import COMMON_PERMISSIONS
from cellmesh.common.rpc.service import Service
from cellmesh.common.rpc.streams import CancelToken
from cellmesh.common.rpc.workers import Workers
from cellmesh.common.storage import Slab

FOLLOW_CHECK_S: Final = 0.25
"""How often a stream that follows the log looks whether its caller is there and the cell goes on."""


class BackupServicer:
    """Serves cellmesh.api.common.v1.BackupService.

    Args:
        backups: The cell's.
        workers: Threads for blocking work.
    """

    def __init__(self, backups: Backups, workers: Workers) -> None:
        self._backups = backups
        self._workers = workers

    async def CreateBackup(
        self, request: backup_service_pb2.CreateBackupRequest, context: Any
    ) -> AsyncIterator[backup_service_pb2.CreateBackupResponse]:
        """See the proto."""
        stream = self._workers.stream(
            lambda token: self._backups.create(request.name, token), pack=_pack_step, count_max=1
        )
        async for message in stream:
            yield message

    async def ListBackups(
        self, request: backup_service_pb2.ListBackupsRequest, context: Any
    ) -> backup_service_pb2.ListBackupsResponse:
        """See the proto."""
        return backup_service_pb2.ListBackupsResponse(backups=await self._workers.run(self._backups.list_all))

    async def DeleteBackup(
        self, request: backup_service_pb2.DeleteBackupRequest, context: Any
    ) -> backup_service_pb2.DeleteBackupResponse:
        """See the proto."""
        await self._workers.run(self._backups.delete, request.name)
        return backup_service_pb2.DeleteBackupResponse()

    async def StreamBackup(
        self, request: backup_service_pb2.StreamBackupRequest, context: Any
    ) -> AsyncIterator[backup_service_pb2.StreamBackupResponse]:
        """See the proto."""
        stream = self._workers.stream(
            lambda token: self._backups.stream(request.name, token, storage_only=request.storage_only),
            pack=_pack_piece,
            count_max=1,
        )
        async for message in stream:
            yield message


def _pack_step(
    items: list[backup_service_pb2.BackupProgress | backup_service_pb2.Backup],
) -> backup_service_pb2.CreateBackupResponse:
    (item,) = items
    if isinstance(item, backup_service_pb2.Backup):
        return backup_service_pb2.CreateBackupResponse(backup=item)
    return backup_service_pb2.CreateBackupResponse(progress=item)


def _pack_piece(items: list[Piece]) -> backup_service_pb2.StreamBackupResponse:
    (item,) = items
    if isinstance(item, bytes):
        return backup_service_pb2.StreamBackupResponse(data=item)
    if isinstance(item, backup_service_pb2.BackupFile):
        return backup_service_pb2.StreamBackupResponse(file=item)
    return backup_service_pb2.StreamBackupResponse(backup=item)


class ChangeLogServicer:
    """Serves cellmesh.api.common.v1.ChangeLogService.

    Args:
        slab: The cell's storage, with a change log.
        workers: Threads for blocking work.
        is_stopping: Whether the cell stops: who follows the log would hold it up.
    """

    def __init__(self, slab: Slab, workers: Workers, is_stopping: Callable[[], bool]) -> None:
        self._slab = slab
        self._log = ChangeLog(slab)
        self._workers = workers
        self._is_stopping = is_stopping

    async def ReadChanges(
        self, request: change_log_service_pb2.ReadChangesRequest, context: Any
    ) -> AsyncIterator[change_log_service_pb2.ReadChangesResponse]:
        """See the proto."""
        offset = request.offset if request.HasField("offset") else None
        stream = self._workers.stream(
            lambda token: self._records(offset, request.count_max, request.follow, token),
            pack=_pack_records,
            size_of=lambda record: len(record.payload),
        )
        async for message in stream:
            yield message

    def _records(
        self, offset: int | None, count_max: int, follow: bool, token: CancelToken
    ) -> Iterator[ChangeRecord]:
        left = count_max or None
        if offset is None:
            with self._slab.view() as txn:
                offset = self._log.first_offset(txn)
        while True:
            chunk = self._log.read(offset)
            offset = chunk.next_offset
            for record in chunk.records if left is None else chunk.records[:left]:
                token.check()
                yield record
            if left is not None:
                left -= len(chunk.records)
                if left <= 0:
                    return
            if chunk.records:
                continue
            if not follow:
                return
            while not self._log.wait(offset, FOLLOW_CHECK_S):
                token.check()
                if self._is_stopping():
                    raise ShuttingDown("the cell is stopping; read on from where you are when it is back")


def _pack_records(records: list[ChangeRecord]) -> change_log_service_pb2.ReadChangesResponse:
    return change_log_service_pb2.ReadChangesResponse(records=[record.to_proto() for record in records])


def backup_service(backups: Backups, workers: Workers) -> Service:
    """The BackupService of a cell."""
    descriptor = backup_service_pb2.DESCRIPTOR.services_by_name["BackupService"]
    return Service(descriptor, BackupServicer(backups, workers), COMMON_PERMISSIONS)


def change_log_service(slab: Slab, workers: Workers, is_stopping: Callable[[], bool]) -> Service:
    """The ChangeLogService of a cell that keeps a change log."""
    descriptor = change_log_service_pb2.DESCRIPTOR.services_by_name["ChangeLogService"]
    return Service(descriptor, ChangeLogServicer(slab, workers, is_stopping), COMMON_PERMISSIONS)
