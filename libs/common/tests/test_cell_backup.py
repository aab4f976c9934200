"""Backups: live and consistent, whole or absent, checked when restored."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import grpc
import pytest
from cellmesh.api.common.v1 import backup_service_pb2, backup_service_pb2_grpc
from cellmesh.common.backup import MANIFEST_FILE, ArchiveWriter, restore_backup
from cellmesh.common.cell import Cell, running
from cellmesh.common.changelog import DATABASES, ChangeLog, ChangeWriter
from cellmesh.common.config import CellConfig, load_config
from cellmesh.common.errors import (
    AuthDeny,
    BackupAlreadyRunning,
    BadDataValu,
    BadName,
    CellError,
    DupName,
    HashMismatch,
    LowSpace,
    NoSuchName,
    PathExists,
    Retry,
    StorageLocked,
    TimeOut,
    from_rpc_error,
)
from cellmesh.common.failpoints import failing
from cellmesh.common.rpc.channel import open_channel
from cellmesh.common.storage import Slab, SubDb, WriteTxn
from cellmesh.common.tls import certs
from cellmesh.common.tls.folder import IdentityFolder, MeshInfo
from cellmesh.common.tls.identity import CellIdentity, UserIdentity

ITEMS = SubDb("items", "number (8 bytes) -> value")


class KeepConfig(CellConfig):
    kind: ClassVar[str] = "keep"


class KeepCell(Cell[KeepConfig]):
    """Keeps items, each with its change record."""

    kind = "keep"
    databases = (ITEMS, *DATABASES)

    def put(self, number: int, value: bytes) -> None:
        append = ChangeWriter(self.changes, "test.Item").begin()
        key = number.to_bytes(8, "big")

        def op(txn: WriteTxn) -> None:
            txn.put(ITEMS, key, value)
            append(txn, key)

        self.slab.write(op)


def keep(folder: Path, **flags: Any) -> KeepCell:
    return KeepCell(load_config(KeepConfig, dir=folder, flags=flags, environ={}))


class Client:
    """Calls the BackupService of a cell on this machine; errors are ours."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.stub = backup_service_pb2_grpc.BackupServiceStub(channel)

    def create(self, name: str = "") -> backup_service_pb2.Backup:
        call = self.stub.CreateBackup(backup_service_pb2.CreateBackupRequest(name=name))
        *_, last = self._all(call)
        assert last.WhichOneof("step") == "backup"
        return last.backup

    def names(self) -> list[str]:
        response = self.stub.ListBackups(backup_service_pb2.ListBackupsRequest(), timeout=10)
        return [backup.name for backup in response.backups]

    def delete(self, name: str) -> None:
        try:
            self.stub.DeleteBackup(backup_service_pb2.DeleteBackupRequest(name=name), timeout=10)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None

    def fetch(self, path: Path) -> backup_service_pb2.Backup:
        call = self.stub.StreamBackup(backup_service_pb2.StreamBackupRequest())
        with ArchiveWriter(path) as archive:
            for message in self._all(call):
                assert len(message.data) <= 256 * 1024
                done = archive.take(message)
        assert done is not None
        return done

    def _all(self, call: Any) -> Iterator[Any]:
        try:
            yield from call
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[KeepCell]:
    with running(keep(tmp_path / "cell")) as made:
        yield made


@pytest.fixture
def client(cell: KeepCell) -> Iterator[Client]:
    with open_channel(f"unix:{cell.folder.socket_path}") as channel:
        yield Client(channel)


def state_of(folder: Path) -> tuple[set[int], list[int]]:
    """The items of a stopped cell, and what its change log says."""
    with Slab.open(folder / "slab", KeepCell.databases) as slab, slab.view() as txn:
        items = {int.from_bytes(key, "big") for key in txn.scan_keys(ITEMS, count_max=1 << 30).items}
        records = ChangeLog(slab).read(0, count_max=1 << 30, size_max_bytes=1 << 40).records
    assert [record.offset for record in records] == list(range(len(records)))
    return items, [int.from_bytes(record.payload, "big") for record in records]


@pytest.mark.parametrize("way", ["folder", "archive"])
def test_a_backup_under_load_has_all_that_was_acknowledged_and_one_moment(
    cell: KeepCell, client: Client, tmp_path: Path, way: str
) -> None:
    acknowledged: list[int] = []
    stop = threading.Event()
    numbers = iter(range(1 << 30))

    def write() -> None:
        while not stop.is_set():
            number = next(numbers)
            cell.put(number, os.urandom(4000))
            acknowledged.append(number)

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    while len(acknowledged) < 1000:
        time.sleep(0.01)
    before = set(acknowledged)
    source = tmp_path / "copy.tar"
    made = client.create("one") if way == "folder" else client.fetch(source)
    if way == "folder":
        source = cell.folder.path / "backups" / "one"
        assert client.names() == ["one"]
    after_count = len(acknowledged)
    stop.set()
    for thread in threads:
        thread.join()

    told = restore_backup(source, tmp_path / "back")
    assert told == made
    assert (told.kind, told.cell_id, told.storage_version) == ("keep", cell.cell_id, 1)
    items, logged = state_of(tmp_path / "back")
    assert before <= items
    assert items == set(logged)
    assert len(logged) == told.change_offset
    assert len(before) <= len(logged) <= after_count + 3

    with running(keep(tmp_path / "back")) as again:
        assert again.cell_id == cell.cell_id
        assert again.change_offset() == told.change_offset
        again.put(1 << 40, b"goes on")


def test_what_makes_the_cell_itself_goes_along_and_secrets_stay_private(tmp_path: Path) -> None:
    authority, authority_key = certs.make_authority("demo")
    folder = tmp_path / "cell"

    def give(path: Path, identity: CellIdentity | UserIdentity) -> IdentityFolder:
        key = certs.make_key()
        made = IdentityFolder(path)
        certificate = certs.issue(authority, authority_key, key.public_key(), identity)
        made.store(
            certs.to_pem(certificate),
            certs.key_to_pem(key),
            certs.to_pem(authority),
            MeshInfo(identity.name, "demo"),
        )
        return made

    give(folder / "certs", CellIdentity("00", "keep", "demo"))
    (folder / "cell.toml").write_text('log_level = "warning"\n')
    with running(keep(folder)) as cell:
        with open_channel(f"unix:{folder}/cell.sock") as channel:
            made = Client(channel).create("one")
        assert made.cell_name == "00.keep.demo"
        # A member that is no administrator gets none of it.
        alice = give(tmp_path / "alice", UserIdentity("alice", "demo"))
        with open_channel(cell.tcp_address, identity=alice, server_name="00.keep.demo") as channel:
            with pytest.raises(AuthDeny):
                Client(channel).create("two")
            with pytest.raises(AuthDeny):
                Client(channel).fetch(tmp_path / "stolen.tar")
    restore_backup(folder / "backups" / "one", tmp_path / "back")
    for name in ("cell.json", "cell.toml", "certs/cell.crt", "certs/cell.key", "certs/ca.crt"):
        assert (tmp_path / "back" / name).read_bytes() == (folder / name).read_bytes()
    assert (tmp_path / "back").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "back/certs/cell.key").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "back" / "backups").exists()
    with running(keep(tmp_path / "back")) as again:
        assert again.name == "00.keep.demo"
        assert again.config.log_level == "warning"


def test_names_are_checked_and_used_once(cell: KeepCell, client: Client) -> None:
    cell.put(1, b"x")
    for bad in ("..", "a/b", ".hidden", "x" * 101, "a b"):
        with pytest.raises(BadName):
            client.create(bad)
        with pytest.raises(BadName):
            client.delete(bad)
    client.create("one")
    with pytest.raises(DupName):
        client.create("one")
    with pytest.raises(NoSuchName):
        client.delete("two")
    named_by_time = client.create().name
    assert client.names() == ["one", named_by_time]
    client.delete("one")
    assert client.names() == [named_by_time]


def test_one_copy_at_a_time_and_one_whose_caller_left_is_removed(cell: KeepCell, client: Client) -> None:
    for number in range(40):
        cell.put(number, os.urandom(1 << 20))
    with failing("backup_part_written", "sleep:200"):
        call = client.stub.CreateBackup(backup_service_pb2.CreateBackupRequest(name="one"))
        next(call)
        with pytest.raises(BackupAlreadyRunning):
            client.create("two")
        call.cancel()
    assert eventually(lambda: list((cell.folder.path / "backups").iterdir()) == [])
    assert client.create("one").name == "one"


def eventually(condition: Any) -> bool:
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return bool(condition())


def test_a_backup_that_would_fill_the_disk_is_refused(cell: KeepCell, client: Client) -> None:
    cell.put(1, b"x")
    cell.slab._space_min_bytes = 1 << 60
    with pytest.raises(LowSpace, match="stay free"):
        client.create("one")
    assert list((cell.folder.path / "backups").iterdir()) == []


def test_writes_that_need_the_map_to_grow_stop_a_copy_and_go_on(tmp_path: Path) -> None:
    with Slab.open(tmp_path, KeepCell.databases, map_size_bytes=64 << 20) as slab:
        for number in range(24):
            slab.write(lambda txn, number=number: txn.put(ITEMS, b"a%d" % number, os.urandom(1 << 20)))
        before = slab.stats().map_size_bytes
        with slab.copy() as copy:
            chunks = copy.chunks()
            next(chunks)
            full = 0
            for number in range(200):
                try:
                    slab.write(
                        lambda txn, number=number: txn.put(ITEMS, b"b%d" % number, os.urandom(1 << 20))
                    )
                except CellError:
                    full += 1
            assert full == 1
            with pytest.raises(Retry, match="had to grow"):
                list(chunks)
        assert slab.stats().map_size_bytes > before
        slab.backup(tmp_path / "copy")


def test_a_copy_that_nobody_takes_ends_by_itself(tmp_path: Path) -> None:
    with Slab.open(tmp_path, KeepCell.databases) as slab:
        for number in range(16):
            slab.write(lambda txn, number=number: txn.put(ITEMS, b"a%d" % number, os.urandom(1 << 20)))
        with slab.copy(stall_max_s=1) as copy:
            assert eventually(lambda: not copy.is_running)
            with pytest.raises(TimeOut):
                list(copy.chunks())


SERVE = """
import sys
from cellmesh.common.cell import run_cell
from test_cell_backup import keep
from pathlib import Path
sys.exit(run_cell(keep(Path(sys.argv[1]))))
"""


def serve(folder: Path, failpoints: str = "") -> subprocess.Popen[str]:
    environ = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parent),
        "CELLMESH_FAILPOINTS": failpoints,
    }
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(folder)], stdout=subprocess.PIPE, text=True, env=environ
    )
    assert process.stdout is not None
    assert "serving at" in process.stdout.readline()
    return process


@pytest.mark.parametrize(
    "point", ["backup_chunk=3>kill", "backup_part_written=kill", "backup_before_finish=kill"]
)
def test_a_kill_during_a_backup_leaves_the_cell_well_and_no_half_backup(tmp_path: Path, point: str) -> None:
    folder = tmp_path / "cell"
    with running(keep(folder)) as cell:
        for number in range(20):
            cell.put(number, os.urandom(1 << 20))
    process = serve(folder, point)
    with open_channel(f"unix:{folder}/cell.sock") as channel, pytest.raises(CellError):
        Client(channel).create("one")
    assert process.wait(timeout=10) == -signal.SIGKILL
    assert [path.name for path in (folder / "backups").iterdir()] == [".unfinished-one"]
    with running(keep(folder)) as cell, open_channel(f"unix:{folder}/cell.sock") as channel:
        client = Client(channel)
        assert client.names() == []
        assert list((folder / "backups").iterdir()) == []
        assert client.create("one").change_offset == cell.change_offset() == 20
    assert state_of(folder)[0] == set(range(20))


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def test_damaged_backups_are_refused_and_leave_nothing(
    cell: KeepCell, client: Client, tmp_path: Path
) -> None:
    cell.put(1, os.urandom(50_000))
    client.create("one")
    archive = tmp_path / "copy.tar"
    client.fetch(archive)
    whole = archive.read_bytes()
    target = tmp_path / "back"
    folder = cell.folder.path / "backups" / "one"

    flip(archive, len(whole) // 2)
    with pytest.raises(HashMismatch, match=r"data\.mdb of the backup is damaged"):
        restore_backup(archive, target)
    for size in (0, 100, len(whole) // 2, len(whole) - 4096):
        archive.write_bytes(whole[:size])
        with pytest.raises(BadDataValu):
            restore_backup(archive, target)
    flip(folder / "slab" / "data.mdb", 30_000)
    with pytest.raises(HashMismatch):
        restore_backup(folder, target)
    manifest = folder / MANIFEST_FILE
    text = manifest.read_text()
    manifest.write_text(text.replace('"slab/data.mdb"', '"../../data.mdb"'))
    with pytest.raises(BadDataValu, match="a file it cannot have"):
        restore_backup(folder, target)
    manifest.write_text(text[: len(text) // 2])
    with pytest.raises(BadDataValu, match="damaged"):
        restore_backup(folder, target)
    manifest.unlink()
    with pytest.raises(BadDataValu, match="is no backup"):
        restore_backup(folder, target)
    assert not target.exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    archive.write_bytes(whole)
    assert restore_backup(archive, target).change_offset == 1


def test_a_folder_with_anything_in_it_is_never_restored_into(
    cell: KeepCell, client: Client, tmp_path: Path
) -> None:
    client.create("one")
    source = cell.folder.path / "backups" / "one"
    with pytest.raises(StorageLocked, match=f"process {os.getpid()}"):
        restore_backup(source, cell.folder.path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(PathExists, match="not empty"):
        restore_backup(source, tmp_path / "full")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]
    (tmp_path / "empty").mkdir()
    restore_backup(source, tmp_path / "empty")
    assert json.loads((tmp_path / "empty/cell.json").read_text())["cell_id"] == cell.cell_id


def test_an_archive_is_a_plain_tar_with_its_name_only_when_whole(
    cell: KeepCell, client: Client, tmp_path: Path
) -> None:
    cell.put(1, b"x" * 300_000)
    archive = tmp_path / "copy.tar"
    made = client.fetch(archive)
    listed = subprocess.run(["tar", "tf", archive], capture_output=True, text=True, check=True).stdout.split()
    assert listed == ["cell.json", "slab/data.mdb", MANIFEST_FILE]
    assert archive.stat().st_mode & 0o777 == 0o600
    assert sum(file.size_bytes for file in made.files) == made.size_bytes
    with pytest.raises(PathExists):
        client.fetch(archive)
    with failing("backup_chunk", "error"), pytest.raises(CellError):
        client.fetch(tmp_path / "other.tar")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cell", "copy.tar"]
