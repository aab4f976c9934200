"""The storage of a running cell, over gRPC: figures, compaction, trimming, holds, retention of backups."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import grpc
import pytest
from cellmesh.api.common.v1 import (
    backup_service_pb2,
    backup_service_pb2_grpc,
    change_log_service_pb2,
    change_log_service_pb2_grpc,
    storage_service_pb2,
    storage_service_pb2_grpc,
)
from cellmesh.common.backup import ArchiveWriter, restore_backup
from cellmesh.common.cell import Cell, running
from cellmesh.common.cell.trimming import LogTrimmer
from cellmesh.common.changelog import DATABASES, ChangeWriter, LogKeeper, LogRules
from cellmesh.common.config import CellConfig, load_config
from cellmesh.common.errors import BadName, BadState, LogTrimmed, NoSuchName, from_rpc_error
from cellmesh.common.mirror.schema import TERMS
from cellmesh.common.rpc.channel import open_channel
from cellmesh.common.rpc.workers import Workers
from cellmesh.common.storage import SubDb, WriteTxn

ITEMS = SubDb("items", "number (8 bytes) -> value")


class UpkeepConfig(CellConfig):
    kind: ClassVar[str] = "upkeep"


class UpkeepCell(Cell[UpkeepConfig]):
    """Keeps items, each with its change record."""

    kind = "upkeep"
    databases = (ITEMS, *DATABASES)

    def put(self, *numbers: int, size: int = 1000) -> None:
        append = ChangeWriter(self.changes, "test.Item").begin()

        def op(txn: WriteTxn) -> None:
            for number in numbers:
                key = number.to_bytes(8, "big")
                txn.put(ITEMS, key, bytes(size))
                append(txn, key)

        self.slab.write(op)


def upkeep(folder: Path, **flags: Any) -> UpkeepCell:
    return UpkeepCell(load_config(UpkeepConfig, dir=folder, flags=flags, environ={}))


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[UpkeepCell]:
    with running(upkeep(tmp_path / "cell", log_keep_count=10, log_keep_hours=0)) as made:
        yield made


@pytest.fixture
def channel(cell: UpkeepCell) -> Iterator[grpc.Channel]:
    with open_channel(f"unix:{cell.folder.socket_path}") as opened:
        yield opened


def raised(call: Any) -> Any:
    """A call whose gRPC errors are ours."""
    try:
        return call()
    except grpc.RpcError as error:
        raise from_rpc_error(error) from None


def put_term(term: int, first: int) -> Callable[[WriteTxn], bool]:
    """Note a term of mirrors, as a leader does."""
    return lambda txn: txn.put(TERMS, term.to_bytes(8, "big"), first.to_bytes(8, "big"))


def compact(channel: grpc.Channel) -> storage_service_pb2.CompactResult:
    stub = storage_service_pb2_grpc.StorageServiceStub(channel)
    *steps, last = raised(lambda: list(stub.Compact(storage_service_pb2.CompactRequest())))
    assert all(step.WhichOneof("step") == "progress" for step in steps)
    assert last.WhichOneof("step") == "result"
    result: storage_service_pb2.CompactResult = last.result
    return result


def stats(channel: grpc.Channel) -> storage_service_pb2.GetStorageStatsResponse:
    stub = storage_service_pb2_grpc.StorageServiceStub(channel)
    found: storage_service_pb2.GetStorageStatsResponse = stub.GetStorageStats(
        storage_service_pb2.GetStorageStatsRequest()
    )
    return found


def test_figures_and_compaction(cell: UpkeepCell, channel: grpc.Channel) -> None:
    for start in range(0, 4000, 500):
        cell.put(*range(start, start + 500))
    cell.slab.write(lambda txn: txn.delete_range(ITEMS, b"", (3500).to_bytes(8, "big"), count_max=9999))
    before = stats(channel)
    items = {db.name: db.items for db in before.databases}
    assert (items["items"], items["changelog"]) == (500, 4000)
    assert before.free_bytes > 3_000_000
    assert before.file_size_bytes >= before.used_bytes + before.free_bytes
    result = compact(channel)
    after = stats(channel)
    assert result.after_bytes == after.file_size_bytes < result.before_bytes == before.file_size_bytes
    assert after.free_bytes < 300_000
    assert {db.name: db.items for db in after.databases} == items
    cell.put(5000)


def test_compaction_over_grpc_is_one_at_a_time(cell: UpkeepCell, channel: grpc.Channel) -> None:
    cell.put(*range(100))
    cell.slab.begin_compaction()
    try:
        with pytest.raises(BadState):
            compact(channel)
    finally:
        cell.slab.end_compaction()
    assert compact(channel).before_bytes


def test_trim_holds_and_status(cell: UpkeepCell, channel: grpc.Channel) -> None:
    stub = change_log_service_pb2_grpc.ChangeLogServiceStub(channel)
    cell.put(*range(100))
    hold = raised(
        lambda: stub.HoldChanges(change_log_service_pb2.HoldChangesRequest(name="indexer", offset=40))
    ).hold
    assert (hold.name, hold.offset, hold.HasField("expire_time")) == ("indexer", 40, False)
    done = stub.TrimChanges(change_log_service_pb2.TrimChangesRequest())
    assert (done.count, done.first_offset, done.held_by) == (40, 40, "indexer")
    status = stub.GetLogStatus(change_log_service_pb2.GetLogStatusRequest())
    assert (status.first_offset, status.next_offset, [found.name for found in status.holds]) == (
        40,
        100,
        ["indexer"],
    )
    with pytest.raises(LogTrimmed):
        raised(lambda: stub.HoldChanges(change_log_service_pb2.HoldChangesRequest(name="late", offset=39)))
    for name in ("follower/01", "backup/x", ""):
        with pytest.raises(BadName):
            raised(lambda n=name: stub.HoldChanges(change_log_service_pb2.HoldChangesRequest(name=n)))
    newest = stub.HoldChanges(change_log_service_pb2.HoldChangesRequest(name="new")).hold
    assert newest.offset == 100
    stub.ReleaseChanges(change_log_service_pb2.ReleaseChangesRequest(name="indexer"))
    with pytest.raises(NoSuchName):
        raised(lambda: stub.ReleaseChanges(change_log_service_pb2.ReleaseChangesRequest(name="indexer")))
    done = stub.TrimChanges(change_log_service_pb2.TrimChangesRequest())
    assert (done.first_offset, done.held_by) == (90, ""), "the newest ten are kept"
    done = stub.TrimChanges(change_log_service_pb2.TrimChangesRequest(offset=95))
    assert done.first_offset == 95


def test_the_log_is_trimmed_in_the_background(cell: UpkeepCell) -> None:
    cell.put(*range(500))
    keeper = LogKeeper(cell.slab, LogRules(keep_count=10, keep_s=0))

    async def run() -> None:
        import asyncio

        workers = Workers()
        trimmer = LogTrimmer(keeper, workers, interval_s=0.01)
        await trimmer.start()
        for _ in range(500):
            await asyncio.sleep(0.01)
            if keeper.status().first_offset == 490:
                break
        await trimmer.stop()
        await workers.close()

    import asyncio

    asyncio.run(run())
    assert keeper.status().first_offset == 490


def test_old_backups_are_retired(cell: UpkeepCell, channel: grpc.Channel) -> None:
    stub = backup_service_pb2_grpc.BackupServiceStub(channel)

    def create(name: str, keep_count: int) -> list[str]:
        *_, last = stub.CreateBackup(backup_service_pb2.CreateBackupRequest(name=name, keep_count=keep_count))
        assert last.backup.name == name
        return list(last.removed)

    assert [create(name, 0) for name in ("a", "b", "c")] == [[], [], []]
    assert create("d", 2) == ["a", "b"]
    assert create("e", 2) == ["c"]
    left = stub.ListBackups(backup_service_pb2.ListBackupsRequest()).backups
    assert [backup.name for backup in left] == ["d", "e"]
    assert sorted(path.name for path in (cell.folder.path / "backups").iterdir()) == ["d", "e"]


def test_a_seed_has_its_offsets_and_the_log_is_kept_for_it(
    cell: UpkeepCell, channel: grpc.Channel, tmp_path: Path
) -> None:
    """Writes and trims go on while it is sent: whoever restores it can follow from its offset on."""
    stub = backup_service_pb2_grpc.BackupServiceStub(channel)
    cell.put(*range(3000))
    cell.log_keeper.trim(100)
    for term, first in ((1, 0), (3, 2000)):
        cell.slab.write(put_term(term, first))
    is_done = threading.Event()

    def go_on() -> None:
        number = 10_000
        while not is_done.is_set():
            cell.put(number)
            cell.log_keeper.trim()
            number += 1

    thread = threading.Thread(target=go_on)
    request = backup_service_pb2.StreamBackupRequest(storage_only=True, hold_name="follower/01.upkeep")
    made = None
    thread.start()
    try:
        with ArchiveWriter(tmp_path / "seed.tar") as archive:
            for message in stub.StreamBackup(request):
                made = archive.take(message) or made
    finally:
        is_done.set()
        thread.join()
    assert made is not None
    assert (made.change_offset >= 3000, made.term) == (True, 3)
    cell.put(*range(20_000, 20_100))
    cell.log_keeper.trim()
    assert cell.changes.read(made.change_offset).records[0].offset == made.change_offset
    hold = cell.log_keeper.find("follower/01.upkeep")
    assert hold is not None
    assert hold.expire_us
    restored = restore_backup(tmp_path / "seed.tar", tmp_path / "again")
    with running(upkeep(tmp_path / "again")) as again:
        status = again.log_keeper.status()
        assert (status.first_offset, status.next_offset) == (restored.first_change_offset, made.change_offset)


def test_a_running_backup_holds_the_log_for_as_long_as_it_runs(
    cell: UpkeepCell, channel: grpc.Channel
) -> None:
    stub = backup_service_pb2_grpc.BackupServiceStub(channel)
    # More than is sent before it is taken.
    cell.put(*range(100), size=200_000)
    stream = iter(stub.StreamBackup(backup_service_pb2.StreamBackupRequest(name="now")))
    next(stream)
    assert [(hold.name, hold.offset) for hold in cell.log_keeper.holds()] == [("backup/now", 100)]
    cell.put(*range(200, 300))
    assert cell.log_keeper.trim().first_offset == 100
    assert list(stream)[-1].backup.change_offset == 100
    assert cell.log_keeper.holds() == []
    assert cell.log_keeper.trim().first_offset == 190
