"""Seeding: a new follower's storage out of a live backup of its leader, before the storage is opened.

DIR/seed.json     the storage here cannot follow and must be replaced; says why. Removed at the end
DIR/.seeding/     what arrives, until it is whole and checked
DIR/replaced-*/   storage that was put aside, with what only it had. Kept: people decide
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

import grpc
from cellmesh.api.common.v1 import backup_service_pb2, backup_service_pb2_grpc
from cellmesh.common.backup.manifest import SLAB_FILE
from cellmesh.common.errors import BadDataValu, BadStorageVersion, HashMismatch, from_rpc_error
from cellmesh.common.failpoints import failpoint, load_environment
from cellmesh.common.files import sync_folder, write_atomically
from cellmesh.common.mirror.leading import hold_name
from cellmesh.common.mirror.schema import Facts, write_facts
from cellmesh.common.rpc.channel import open_channel
from cellmesh.common.storage import Layout, Slab, SubDb
from cellmesh.common.telemetry.logs import get_logger
from cellmesh.common.tls.folder import IdentityFolder

MARKER_FILE: Final = "seed.json"
ARRIVING_FOLDER: Final = ".seeding"
REPLACED_PREFIX: Final = "replaced-"
PROGRESS_S: Final = 5.0
SYNC_SIZE: Final = 16 << 20

_log = get_logger(__name__)


def ask_for_seed(folder: Path, reason: str) -> None:
    """Note that the storage of a cell must be replaced by a seed at its next start."""
    text = json.dumps({"reason": reason, "time": time.time()}) + "\n"
    write_atomically(folder / MARKER_FILE, text.encode())


def wants_seed(folder: Path, slab: Path) -> bool:
    """Whether a cell needs a seed to follow: it has no storage, or one that cannot follow."""
    return (folder / MARKER_FILE).exists() or not (slab / "data.mdb").exists()


def forget_seed(folder: Path) -> None:
    """The cell leads: its storage stays."""
    (folder / MARKER_FILE).unlink(missing_ok=True)
    shutil.rmtree(folder / ARRIVING_FOLDER, ignore_errors=True)


def seed(
    folder: Path,
    slab_path: Path,
    *,
    kind: str,
    leader: str,
    address: str,
    term: int,
    identity: IdentityFolder,
    databases: Sequence[SubDb],
    layout: Layout | None,
    storage_version: int,
    paths: Sequence[str] = (),
) -> None:
    """Fetch the leader's storage and put it in the place of the cell's own. Blocks; may take long.

    Args:
        folder: The cell's folder, which is locked.
        slab_path: Where its storage is, or will be; not open.
        kind: The kind of cell.
        leader: The name of the leader in the mesh.
        address: Where it serves.
        term: The term in which it leads.
        identity: The cell's own identity.
        databases: Of the cell's storage.
        layout: Of the cell's storage.
        storage_version: The version of the layout that this program has.
        paths: What else of the leader's folder is taken over.

    Raises:
        CellUnreachable, BackupAlreadyRunning, Retry, ...: what the leader answers: try again.
        HashMismatch, BadDataValu: what arrived is not what was sent.
        BadStorageVersion: the leader runs a newer version.
    """
    load_environment()
    arriving = folder / ARRIVING_FOLDER
    shutil.rmtree(arriving, ignore_errors=True)
    arriving.mkdir(mode=0o700)
    channel = open_channel(address, identity=identity, server_name=leader)
    try:
        stub = backup_service_pb2_grpc.BackupServiceStub(channel)
        own = identity.cell_identity()
        # The leader keeps its log from the copied state on, so that the follower finds what comes next.
        request = backup_service_pb2.StreamBackupRequest(
            storage_only=True, hold_name="" if own is None else hold_name(own.name)
        )
        try:
            backup = _receive(stub.StreamBackup(request), arriving, paths)
        except grpc.RpcError as error:
            raise from_rpc_error(error, cell=leader, address=address) from None
    finally:
        channel.close()
    if backup.kind != kind:
        raise BadDataValu(f"{leader} is a {backup.kind}, not a {kind}", name=leader)
    if backup.storage_version > storage_version:
        raise BadStorageVersion(
            f"{leader} has storage layout {backup.storage_version}, this program knows {storage_version}",
            curv=backup.storage_version,
            reqv=storage_version,
            hint="upgrade this instance first: followers before their leader",
        )
    with Slab.open(arriving / "slab", databases, layout=layout) as slab:
        slab.write(lambda txn: write_facts(txn, Facts(term=term, leader=leader)))
    failpoint("mirror_before_seed_swap")
    for name in paths:
        _replace(arriving / name, folder / name)
    _swap(folder, slab_path, arriving)
    _log.info("seeded", leader=leader, offset=backup.change_offset, size_bytes=backup.size_bytes)


def _receive(
    messages: grpc.CallIterator[backup_service_pb2.StreamBackupResponse], arriving: Path, paths: Sequence[str]
) -> backup_service_pb2.Backup:
    """Write what comes into a folder, synced and checked; returns what is told of it."""
    written: dict[str, _Arriving] = {}
    current: _Arriving | None = None
    told_s = time.monotonic()
    try:
        for message in messages:
            match message.WhichOneof("part"):
                case "file":
                    if current is not None:
                        current.close()
                    _check_path(message.file.path, paths)
                    current = written[message.file.path] = _Arriving(arriving / message.file.path)
                case "data":
                    failpoint("mirror_seed_chunk")
                    if current is None:
                        raise BadDataValu("the leader sent data that belong to no file")
                    current.write(message.data)
                    if time.monotonic() - told_s >= PROGRESS_S:
                        told_s = time.monotonic()
                        _log.info("seeding", received_bytes=current.size)
                case "backup":
                    return _checked(message.backup, written)
    finally:
        if current is not None:
            current.close()
    raise BadDataValu("the leader ended before its storage was sent whole")


class _Arriving:
    """A file that is being received."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = path
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._out = os.fdopen(self._handle, "wb")
        self._digest = hashlib.sha256()
        self._unsynced = 0
        self.size = 0

    def write(self, data: bytes) -> None:
        self._out.write(data)
        self._digest.update(data)
        self.size += len(data)
        self._unsynced += len(data)
        if self._unsynced >= SYNC_SIZE:
            self._out.flush()
            os.fdatasync(self._handle)
            self._unsynced = 0

    def close(self) -> None:
        """Have it on disk. Harmless when it was closed already."""
        if self._out.closed:
            return
        self._out.flush()
        os.fsync(self._handle)
        self._out.close()
        sync_folder(self._path.parent)

    @property
    def sha256(self) -> bytes:
        return self._digest.digest()


def _checked(
    backup: backup_service_pb2.Backup, written: Mapping[str, _Arriving]
) -> backup_service_pb2.Backup:
    for file in backup.files:
        found = written.get(file.path)
        if found is None or (found.size, found.sha256) != (file.size_bytes, file.sha256):
            raise HashMismatch(f"{file.path} did not arrive as it was sent", name="sha256")
    if SLAB_FILE not in written:
        raise BadDataValu("the leader sent no storage")
    return backup


def _check_path(path: str, paths: Sequence[str]) -> None:
    parts = PurePosixPath(path).parts
    if path != SLAB_FILE and (not parts or parts[0] not in paths or ".." in parts):
        raise BadDataValu(f"the leader sent {path!r} beside its storage")


def _replace(source: Path, target: Path) -> None:
    """Put what arrived in the place of what was there. Killed in between, it is fetched again."""
    if not source.exists():
        return
    if target.is_dir():
        shutil.rmtree(target)
    source.rename(target)
    sync_folder(target.parent)


def _swap(folder: Path, slab_path: Path, arriving: Path) -> None:
    """Put the old storage aside and the new one in its place. Killed in between, it is seeded again."""
    if slab_path.exists():
        if not (folder / MARKER_FILE).exists():
            ask_for_seed(folder, "being seeded")
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        aside = folder / f"{REPLACED_PREFIX}{stamp}"
        number = 1
        while aside.exists():
            number += 1
            aside = folder / f"{REPLACED_PREFIX}{stamp}-{number}"
        slab_path.rename(aside)
        sync_folder(folder)
        _log.warning("storage_put_aside", path=str(aside))
    (arriving / "slab").rename(slab_path)
    sync_folder(folder)
    (folder / MARKER_FILE).unlink(missing_ok=True)
    sync_folder(folder)
    shutil.rmtree(arriving, ignore_errors=True)
