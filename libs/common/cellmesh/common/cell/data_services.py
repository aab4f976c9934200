"""BackupService and ChangeLogService: what every cell with storage answers about its data as a whole."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

from cellmesh.api.common.v1 import backup_service_pb2, change_log_service_pb2
from cellmesh.common.cell.backup import HOLD_S, Backups, Piece
from cellmesh.common.cell.trimming import REST_S
from cellmesh.common.changelog import ChangeLog, ChangeRecord, Hold, LogKeeper
from cellmesh.common.errors import BadName, ShuttingDown
from cellmesh.common.rpc.permissions import COMMON_PERMISSIONS
from cellmesh.common.rpc.service import Service
from cellmesh.common.rpc.streams import CancelToken
from cellmesh.common.rpc.workers import Workers
from cellmesh.common.storage import Slab

OWN_HOLDS: Final = ("follower/", "backup/")
"""How the names begin that the cell gives itself."""

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
            lambda token: self._backups.create(request.name, token, keep_count=request.keep_count),
            pack=_pack_step,
            count_max=1,
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
        hold_s = (
            request.hold_lifetime.ToTimedelta().total_seconds()
            if request.HasField("hold_lifetime")
            else HOLD_S
        )
        stream = self._workers.stream(
            lambda token: self._backups.stream(
                request.name,
                token,
                storage_only=request.storage_only,
                hold_name=request.hold_name,
                hold_s=hold_s,
            ),
            pack=_pack_piece,
            count_max=1,
        )
        async for message in stream:
            yield message


def _pack_step(
    items: list[backup_service_pb2.CreateBackupResponse],
) -> backup_service_pb2.CreateBackupResponse:
    (item,) = items
    return item


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
        keeper: What keeps and trims it.
        workers: Threads for blocking work.
        is_stopping: Whether the cell stops: who follows the log would hold it up.
    """

    def __init__(
        self, slab: Slab, keeper: LogKeeper, workers: Workers, is_stopping: Callable[[], bool]
    ) -> None:
        self._slab = slab
        self._log = ChangeLog(slab)
        self._keeper = keeper
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

    async def GetLogStatus(
        self, request: change_log_service_pb2.GetLogStatusRequest, context: Any
    ) -> change_log_service_pb2.GetLogStatusResponse:
        """See the proto."""
        status = await self._workers.run(self._keeper.status)
        return change_log_service_pb2.GetLogStatusResponse(
            first_offset=status.first_offset,
            next_offset=status.next_offset,
            size_bytes=status.size_bytes,
            storage_bytes=status.storage_bytes,
            holds=map(_pack_hold, status.holds),
        )

    async def TrimChanges(
        self, request: change_log_service_pb2.TrimChangesRequest, context: Any
    ) -> change_log_service_pb2.TrimChangesResponse:
        """See the proto."""
        done = await self._workers.run(
            lambda: self._keeper.trim(
                request.offset if request.HasField("offset") else None, check=self._check, rest_s=REST_S
            )
        )
        return change_log_service_pb2.TrimChangesResponse(
            count=done.count, first_offset=done.first_offset, held_by=done.held_by
        )

    async def HoldChanges(
        self, request: change_log_service_pb2.HoldChangesRequest, context: Any
    ) -> change_log_service_pb2.HoldChangesResponse:
        """See the proto."""
        return change_log_service_pb2.HoldChangesResponse(
            hold=_pack_hold(await self._workers.run(self._hold, request))
        )

    async def ReleaseChanges(
        self, request: change_log_service_pb2.ReleaseChangesRequest, context: Any
    ) -> change_log_service_pb2.ReleaseChangesResponse:
        """See the proto."""
        await self._workers.run(self._keeper.release, request.name)
        return change_log_service_pb2.ReleaseChangesResponse()

    def _hold(self, request: change_log_service_pb2.HoldChangesRequest) -> Hold:
        if request.name.startswith(OWN_HOLDS):
            raise BadName(f"the cell's own holds are called {' and '.join(OWN_HOLDS)}", name=request.name)
        offset = request.offset
        if not request.HasField("offset"):
            with self._slab.view() as txn:
                offset = self._log.next_offset(txn)
        lifetime_s = request.lifetime.ToTimedelta().total_seconds() if request.HasField("lifetime") else None
        return self._keeper.hold(request.name, offset, lifetime_s=lifetime_s)

    def _check(self) -> None:
        if self._is_stopping():
            raise ShuttingDown("the cell is stopping")

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


def _pack_hold(hold: Hold) -> change_log_service_pb2.LogHold:
    message = change_log_service_pb2.LogHold(name=hold.name, offset=hold.offset)
    if hold.expire_us:
        message.expire_time.FromMicroseconds(hold.expire_us)
    return message


def backup_service(backups: Backups, workers: Workers) -> Service:
    """The BackupService of a cell."""
    descriptor = backup_service_pb2.DESCRIPTOR.services_by_name["BackupService"]
    return Service(descriptor, BackupServicer(backups, workers), COMMON_PERMISSIONS)


def change_log_service(
    slab: Slab, keeper: LogKeeper, workers: Workers, is_stopping: Callable[[], bool]
) -> Service:
    """The ChangeLogService of a cell that keeps a change log."""
    descriptor = change_log_service_pb2.DESCRIPTOR.services_by_name["ChangeLogService"]
    return Service(descriptor, ChangeLogServicer(slab, keeper, workers, is_stopping), COMMON_PERMISSIONS)
