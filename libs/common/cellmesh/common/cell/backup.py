"""Backups of a running cell: one consistent copy of its storage and the files that make it this cell.

    DIR/backups/NAME/backup.json      what it is; written last
    DIR/backups/NAME/slab/data.mdb    the storage at one moment
    DIR/backups/NAME/...              cell.json, cell.toml, certs/ and what else the kind of cell names

A backup is made under another name and renamed when all of it is on disk, so what is listed is whole. What a
killed process left is removed at the next start.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cellmesh.api.common.v1 import backup_service_pb2
from cellmesh.common.backup.manifest import (
    FORMAT_VERSION,
    MANIFEST_FILE,
    SLAB_FILE,
    check_name,
    manifest_text,
    read_manifest,
)
from cellmesh.common.changelog import LogKeeper, first_offset, next_offset
from cellmesh.common.errors import BackupAlreadyRunning, BadDataValu, DupName, LowSpace, NoSuchName
from cellmesh.common.failpoints import failpoint
from cellmesh.common.files import make_folder, sync_folder, write_atomically
from cellmesh.common.mirror.schema import TERMS
from cellmesh.common.rpc.streams import CancelToken
from cellmesh.common.storage import ReadTxn, Slab
from cellmesh.common.storage.codecs import UINT64
from cellmesh.common.storage.copying import CHUNK_SIZE, SlabCopy
from cellmesh.common.storage.slab import free_space_bytes
from cellmesh.common.telemetry.logs import get_logger

BACKUPS_FOLDER: Final = "backups"
UNFINISHED_PREFIX: Final = ".unfinished-"
DROPPED_PREFIX: Final = ".dropped-"

SYNC_SIZE: Final = 8 << 20
"""Written to disk at least this often, so that a commit never waits for a long queue of the backup's pages."""

HOLD_S: Final = 86400.0
"""How long the change log is kept for whoever gets a backup under a hold of its own."""

PROGRESS_S: Final = 0.25
STABLE_ATTEMPTS_MAX: Final = 10

_log = get_logger(__name__)


@dataclass(slots=True)
class _Moment:
    """What is told of the state that is copied.

    Attributes:
        time_ns: When it was the newest one.
        change_offset: Where its change log ends.
        first_offset: Where it begins.
        term: The mirrors' term of its last change.
    """

    keeps_log: bool
    time_ns: int = 0
    change_offset: int = 0
    first_offset: int = 0
    term: int = 0

    def look(self, txn: ReadTxn) -> None:
        """Note it, in a transaction of the state."""
        self.time_ns = time.time_ns()
        if self.keeps_log:
            self.change_offset, self.first_offset = next_offset(txn), first_offset(txn)
        if txn.has_database(TERMS):
            last = txn.last(TERMS)
            self.term = 0 if last is None else UINT64.decode(last[0])


@dataclass(frozen=True, slots=True)
class BackedUp:
    """What a backup says of its cell, and what it takes besides the storage.

    Attributes:
        cell_id: The cell's identifier.
        kind: The kind of cell.
        cell_name: Its name in the mesh, or empty.
        version: The version of Cellmesh.
        storage_version: That of the layout.
        keeps_log: Whether its storage has a change log.
        paths: Files and folders of the cell's folder that go along, where they are there.
        seed_paths: Those that a follower gets with the storage.
    """

    cell_id: str
    kind: str
    cell_name: str
    version: str
    storage_version: int
    keeps_log: bool
    paths: Sequence[str]
    seed_paths: Sequence[str] = ()


Piece = backup_service_pb2.BackupFile | bytes | backup_service_pb2.Backup
"""The start of a file; some of its data; the end of all."""


class Backups:
    """The backups of one cell. All methods block.

    Args:
        folder: The cell's folder.
        slab: Its storage.
        about: What is told of it.
        keeper: Keeps its change log while a backup is made, so that a follower made of it can go on from there.
    """

    def __init__(self, folder: Path, slab: Slab, about: BackedUp, keeper: LogKeeper | None = None) -> None:
        self._folder = folder
        self._backups = folder / BACKUPS_FOLDER
        self._slab = slab
        self._about = about
        self._keeper = keeper
        self._making: set[str] = set()

    def sweep(self) -> int:
        """Remove what a killed process left; returns how many folders. For the start, before any is made."""
        found = [
            path for path in self._entries() if path.name.startswith((UNFINISHED_PREFIX, DROPPED_PREFIX))
        ]
        for path in found:
            shutil.rmtree(path, ignore_errors=True)
        return len(found)

    def list_all(self) -> list[backup_service_pb2.Backup]:
        """The finished backups, oldest first. A damaged description is logged and left out."""
        found = []
        for path in self._entries():
            if path.name.startswith("."):
                continue
            try:
                found.append(read_manifest(path))
            except BadDataValu as error:
                _log.warning("backup_unreadable", name=path.name, reason=error.message)
        return sorted(found, key=lambda backup: (backup.create_time.ToNanoseconds(), backup.name))

    def delete(self, name: str) -> None:
        """Remove a backup.

        Raises:
            BadName: no backup can have this name.
            NoSuchName: none has it.
        """
        dropped = self._backups / f"{DROPPED_PREFIX}{check_name(name)}"
        try:
            # One step, so that a kill never leaves half a backup in the list.
            (self._backups / name).rename(dropped)
        except FileNotFoundError as error:
            raise NoSuchName(f"there is no backup {name}", name=name) from error
        # Or a power cut could bring back the name without the files.
        sync_folder(self._backups)
        shutil.rmtree(dropped)

    def create(
        self, name: str, token: CancelToken, *, keep_count: int = 0
    ) -> Iterator[backup_service_pb2.CreateBackupResponse]:
        """Make a backup in the cell's folder, telling how far it is.

        Args:
            name: What it is called; empty: by the time.
            token: Ends it.
            keep_count: When it is finished, the oldest are removed until so many are left; 0: none is.

        Raises:
            BadName: it cannot be called so.
            DupName: there is one of this name.
            BackupAlreadyRunning: another copy is being made.
            LowSpace: the disk has no room for it.
            Retry: the database had to grow.
        """
        name = check_name(name or _time_name())
        if (self._backups / name).exists():
            raise DupName(f"there is a backup {name} already", name=name)
        if name in self._making:
            raise BackupAlreadyRunning(f"the backup {name} is being made already", name=name)
        self._making.add(name)
        part = self._backups / f"{UNFINISHED_PREFIX}{name}"
        try:
            make_folder(self._backups, mode=0o700)
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(mode=0o700)
            moment = _Moment(self._about.keeps_log)
            with self._log_kept(name, moment) as looked, self._slab.copy(moment.look) as copy:
                looked()
                yield from self._write(part, copy, self._pieces(name, moment, copy, token))
            failpoint("backup_before_finish")
            part.rename(self._backups / name)
            sync_folder(self._backups)
            removed = self._retire(keep_count) if keep_count else []
            yield backup_service_pb2.CreateBackupResponse(
                backup=read_manifest(self._backups / name), removed=removed
            )
        finally:
            self._making.discard(name)
            shutil.rmtree(part, ignore_errors=True)

    def stream(
        self,
        name: str,
        token: CancelToken,
        *,
        storage_only: bool = False,
        hold_name: str = "",
        hold_s: float = HOLD_S,
    ) -> Iterator[Piece]:
        """Make a backup and hand it over piece by piece, 256 KiB of data at most.

        Args:
            name: What it is called; empty takes the time.
            token: Ends it.
            storage_only: Whether it is a seed: the storage, without certificates and settings.
            hold_name: Under what name the change log is kept from the copied state on; empty: only while it is
                sent.
            hold_s: For how long, in seconds.

        Raises:
            BadName: it cannot be called so.
            BackupAlreadyRunning: another copy is being made.
            TimeOut: nothing was taken for too long.
            Retry: the database had to grow.
        """
        name = check_name(name or _time_name())
        moment = _Moment(self._about.keeps_log)
        kept = self._log_kept(name, moment, hold_name, hold_s if hold_name else None)
        with kept as looked, self._slab.copy(moment.look) as copy:
            looked()
            yield from self._pieces(name, moment, copy, token, storage_only=storage_only)

    def _write(
        self, part: Path, copy: SlabCopy, pieces: Iterator[Piece]
    ) -> Iterator[backup_service_pb2.CreateBackupResponse]:
        self._check_room(part, copy.size_bytes)
        progress = backup_service_pb2.BackupProgress(size_bytes=copy.size_bytes)
        told_s = float("-inf")
        out: int | None = None
        unsynced = 0
        try:
            for piece in pieces:
                if isinstance(piece, bytes):
                    assert out is not None
                    _write_all(out, piece)
                    progress.written_bytes += len(piece)
                    unsynced += len(piece)
                    if unsynced >= SYNC_SIZE:
                        failpoint("backup_part_written")
                        os.fdatasync(out)
                        unsynced = 0
                        self._check_room(part, 0)
                    if time.monotonic() - told_s >= PROGRESS_S:
                        told_s = time.monotonic()
                        yield backup_service_pb2.CreateBackupResponse(progress=progress)
                    continue
                if out is not None:
                    os.fsync(out)
                    os.close(out)
                    out = None
                if isinstance(piece, backup_service_pb2.BackupFile):
                    path = part / piece.path
                    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                    out = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, piece.mode)
                else:
                    write_atomically(part / MANIFEST_FILE, manifest_text(piece), mode=0o600)
            for folder, _, _ in os.walk(part, topdown=False):
                sync_folder(Path(folder))
        finally:
            if out is not None:
                os.close(out)

    def _retire(self, keep_count: int) -> list[str]:
        """Remove the oldest backups until so many are left; returns the names."""
        removed = []
        for old in self.list_all()[:-keep_count]:
            try:
                self.delete(old.name)
            except NoSuchName:
                continue
            removed.append(old.name)
        return removed

    @contextmanager
    def _log_kept(
        self, name: str, moment: _Moment, hold_name: str = "", lifetime_s: float | None = None
    ) -> Iterator[Callable[[], None]]:
        """Keep the change log from the copied state on; until the end of the block, or longer under a name.

        Gives the function to call when the moment is known.
        """
        keeper = self._keeper
        if keeper is None or not self._about.keeps_log:
            yield lambda: None
            return
        hold = hold_name or f"backup/{name}"
        with self._slab.view() as txn:
            offset = next_offset(txn)
        keeper.hold(hold, offset, lifetime_s=lifetime_s, durable=bool(hold_name))
        try:
            yield lambda: keeper.advance(hold, moment.change_offset)
        finally:
            if not hold_name:
                keeper.release(hold)

    def _check_room(self, path: Path, needed: int) -> None:
        free, keep = free_space_bytes(path), self._slab.space_min_bytes
        if free - needed < keep:
            raise LowSpace(
                f"the disk has {free} bytes left; the backup needs {needed} more, and {keep} stay free",
                name=str(self._backups),
                free=free,
                need=needed + keep,
                hint="make room, or fetch a backup to another machine with `cellmesh backup fetch`",
            )

    def _pieces(
        self, name: str, moment: _Moment, copy: SlabCopy, token: CancelToken, *, storage_only: bool = False
    ) -> Iterator[Piece]:
        about = self._about
        backup = backup_service_pb2.Backup(
            name=name,
            format_version=FORMAT_VERSION,
            cell_id=about.cell_id,
            kind=about.kind,
            cell_name=about.cell_name,
            version=about.version,
            storage_version=about.storage_version,
            change_offset=moment.change_offset,
            first_change_offset=moment.first_offset,
            term=moment.term,
        )
        backup.create_time.FromNanoseconds(moment.time_ns)
        for path, mode, data in self._small_files(
            self._about.seed_paths if storage_only else self._about.paths
        ):
            yield backup_service_pb2.BackupFile(path=path, mode=mode)
            for start in range(0, len(data), CHUNK_SIZE):
                yield data[start : start + CHUNK_SIZE]
            _add_file(backup, path, mode, len(data), hashlib.sha256(data).digest())
        yield backup_service_pb2.BackupFile(path=SLAB_FILE, mode=0o600)
        digest = hashlib.sha256()
        size = 0
        for chunk in copy.chunks():
            token.check()
            failpoint("backup_chunk")
            digest.update(chunk)
            size += len(chunk)
            yield chunk
        _add_file(backup, SLAB_FILE, 0o600, size, digest.digest())
        yield backup

    def _small_files(self, names: Sequence[str]) -> list[tuple[str, int, bytes]]:
        """Path, mode and content of what goes along, as it was at one time.

        A certificate that is being renewed consists of several files, so they are read again if one changed.
        """
        for _ in range(STABLE_ATTEMPTS_MAX):
            before = self._signature(names)
            found = [(path, mode & 0o777, (self._folder / path).read_bytes()) for path, mode, _, _ in before]
            if self._signature(names) == before:
                return found
            time.sleep(0.01)
        return found

    def _signature(self, names: Sequence[str]) -> list[tuple[str, int, int, int]]:
        found = []
        for name in names:
            top = self._folder / name
            for path in [top] if top.is_file() else sorted(top.rglob("*")):
                if path.is_file() and not path.name.startswith("."):
                    status = path.stat()
                    relative = str(path.relative_to(self._folder))
                    found.append((relative, status.st_mode, status.st_mtime_ns, status.st_ino))
        return found

    def _entries(self) -> list[Path]:
        return sorted(self._backups.iterdir()) if self._backups.is_dir() else []


def _time_name() -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())


def _add_file(backup: backup_service_pb2.Backup, path: str, mode: int, size: int, sha256: bytes) -> None:
    backup.files.append(backup_service_pb2.BackupFile(path=path, mode=mode, size_bytes=size, sha256=sha256))
    backup.size_bytes += size


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
