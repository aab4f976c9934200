"""From a backup to a cell's folder, checked byte by byte before the folder exists.

Everything is written into a folder beside the one wanted, which gets its name when all hashes are right and
all is on disk. So a restore that fails or is killed leaves nothing that a cell could be started on.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from cellmesh.api.common.v1 import backup_service_pb2
from cellmesh.common.backup.manifest import (
    MANIFEST_FILE,
    MANIFEST_SIZE_MAX,
    SLAB_FILE,
    parse_manifest,
    read_manifest,
)
from cellmesh.common.errors import (
    BadDataValu,
    BadStorageVersion,
    HashMismatch,
    NoSuchPath,
    PathExists,
    StorageLocked,
)
from cellmesh.common.files import sync_folder

PIECE_SIZE: Final = 1 << 20


def restore_backup(source: Path, folder: Path) -> backup_service_pb2.Backup:
    """Make a cell's folder out of a backup.

    Args:
        source: An archive that was fetched, or a backup's folder.
        folder: What the cell's folder shall be: an empty one, or none yet.

    Returns:
        What was restored.

    Raises:
        NoSuchPath: there is no such source.
        StorageLocked: a cell runs on the folder.
        PathExists: the folder holds something.
        BadDataValu: the source is no whole backup.
        HashMismatch: a file of it is damaged.
        BadVersion, BadStorageVersion: a newer program made it.
    """
    folder = folder.absolute()
    if not source.exists():
        raise NoSuchPath(f"there is no {source}", path=str(source))
    _check_free(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = folder.with_name(f".{folder.name}.restore-{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(mode=0o700)
    try:
        with _opened(source) as (backup, contents):
            for file, content in contents:
                _write(beside, file, content)
        _check_storage(beside, backup)
        _sync_tree(beside)
        _move(beside, folder)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    return backup


def _check_free(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise PathExists(f"{folder} is a file", path=str(folder))
    if not any(folder.iterdir()):
        return
    pid = _holder(folder / "lock")
    if pid is not None:
        raise StorageLocked(
            f"a cell runs on {folder}, process {pid}", name=str(folder), pid=pid, hint="give another folder"
        )
    raise PathExists(
        f"{folder} is not empty, and nothing is ever overwritten by a restore",
        path=str(folder),
        hint="give another folder, or move this one away first",
    )


def _holder(path: Path) -> str | None:
    """The process that holds a folder's lock, None if none does."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return os.read(handle, 32).decode(errors="replace").strip()
    finally:
        os.close(handle)
    return None


_Contents = Iterator[tuple[backup_service_pb2.BackupFile, IO[bytes]]]


@contextmanager
def _opened(source: Path) -> Iterator[tuple[backup_service_pb2.Backup, _Contents]]:
    if source.is_dir():
        backup = read_manifest(source)
        yield backup, _folder_contents(source, backup)
        return
    try:
        with tarfile.open(source, "r:") as archive:
            members = {member.name: member for member in archive.getmembers() if member.isfile()}
            found = members.get(MANIFEST_FILE)
            if found is None or found.size > MANIFEST_SIZE_MAX:
                raise BadDataValu(f"{source} is not a whole backup: it has no {MANIFEST_FILE}")
            manifest = archive.extractfile(found)
            assert manifest is not None
            backup = parse_manifest(manifest.read(), str(source))
            yield backup, _archive_contents(source, archive, members, backup)
    except (tarfile.TarError, EOFError) as error:
        raise BadDataValu(f"{source} is not a whole backup: {error}", name=str(source)) from error


def _folder_contents(source: Path, backup: backup_service_pb2.Backup) -> _Contents:
    for file in backup.files:
        try:
            with (source / file.path).open("rb") as content:
                yield file, content
        except FileNotFoundError as error:
            raise BadDataValu(f"{source} lacks {file.path}", name=str(source)) from error


def _archive_contents(
    source: Path,
    archive: tarfile.TarFile,
    members: dict[str, tarfile.TarInfo],
    backup: backup_service_pb2.Backup,
) -> _Contents:
    for file in backup.files:
        member = members.get(file.path)
        content = archive.extractfile(member) if member is not None else None
        if content is None:
            raise BadDataValu(f"{source} lacks {file.path}", name=str(source))
        yield file, content


def _write(folder: Path, file: backup_service_pb2.BackupFile, content: IO[bytes]) -> None:
    path = folder / file.path
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    digest = hashlib.sha256()
    size = 0
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, (file.mode or 0o600) & 0o777)
    with os.fdopen(handle, "wb") as out:
        while piece := content.read(PIECE_SIZE):
            digest.update(piece)
            size += len(piece)
            out.write(piece)
        out.flush()
        os.fsync(out.fileno())
    if size != file.size_bytes or digest.digest() != file.sha256:
        raise HashMismatch(
            f"{file.path} of the backup is damaged",
            name="sha256",
            expected=file.sha256.hex(),
            valu=digest.hexdigest(),
            hint="use another backup; nothing was restored",
        )


def _check_storage(folder: Path, backup: backup_service_pb2.Backup) -> None:
    """Open the restored database and see that it is the one described."""
    if not (folder / SLAB_FILE).exists():
        raise BadDataValu(f"the backup {backup.name} has no {SLAB_FILE}")
    # Here, as whoever only fetches backups needs no storage engine.
    from cellmesh.common.changelog import DATABASES, next_offset
    from cellmesh.common.storage import layout_version, peek

    with peek(folder / SLAB_FILE) as txn:
        version = layout_version(txn) if txn is not None else 0
    if version != backup.storage_version:
        raise BadStorageVersion(
            f"the storage has layout {version}, the backup says {backup.storage_version}",
            curv=version,
            reqv=backup.storage_version,
        )
    with peek(folder / SLAB_FILE, DATABASES) as txn:
        offset = next_offset(txn) if txn is not None else 0
    if offset != backup.change_offset:
        raise BadDataValu(f"the change log ends at {offset}, the backup says {backup.change_offset}")


def _sync_tree(folder: Path) -> None:
    for path, _, _ in os.walk(folder, topdown=False):
        sync_folder(Path(path))


def _move(beside: Path, folder: Path) -> None:
    try:
        beside.rename(folder)
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.EXDEV, errno.ENOTEMPTY, errno.EEXIST):
            raise
        raise PathExists(
            f"{folder} cannot be replaced: {error.strerror}",
            path=str(folder),
            hint="a mount point or a folder in use cannot be: restore into a folder inside it",
        ) from error
    sync_folder(folder.parent)
