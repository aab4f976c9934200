"""A backup as one file: a plain .tar with backup.json at its end.

Sizes stand before the data in a .tar but are known only after them in a stream, so each file's header is
written twice. The archive has its name once it is whole and on disk, and before only NAME.part.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from cellmesh.api.common.v1 import backup_service_pb2
from cellmesh.common.backup.manifest import MANIFEST_FILE, manifest_text
from cellmesh.common.errors import HashMismatch, PathExists
from cellmesh.common.files import sync_folder

BLOCK_SIZE: Final = tarfile.BLOCKSIZE
PRIVATE_MODE: Final = 0o600


class ArchiveWriter:
    """Writes what StreamBackup sends. In a `with` block, which removes what was not finished.

    Args:
        path: The file to make; there must be none.

    Raises:
        PathExists: there is one.
    """

    def __init__(self, path: Path) -> None:
        if path.exists():
            raise PathExists(f"{path} is there already", path=str(path))
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._part.unlink(missing_ok=True)
        handle = os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_EXCL, PRIVATE_MODE)
        self._out: io.BufferedRandom = os.fdopen(handle, "w+b")
        self._written: list[backup_service_pb2.BackupFile] = []
        self._info: tarfile.TarInfo | None = None
        self._header_at = 0
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    def take(self, message: backup_service_pb2.StreamBackupResponse) -> backup_service_pb2.Backup | None:
        """Write one message; returns the description when it was the last one and the archive is finished.

        Raises:
            HashMismatch: a file is not what was sent. Nothing is kept.
        """
        part = message.WhichOneof("part")
        if part == "file":
            self._end_file()
            self._begin_file(message.file)
        elif part == "data":
            self._hash.update(message.data)
            self._out.write(message.data)
            assert self._info is not None
            self._info.size += len(message.data)
            self.size_bytes += len(message.data)
        elif part == "backup":
            self._end_file()
            self._finish(message.backup)
            return message.backup
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._out.close()
        self._part.unlink(missing_ok=True)

    def _begin_file(self, file: backup_service_pb2.BackupFile) -> None:
        self._info = tarfile.TarInfo(file.path)
        self._info.mode = file.mode
        self._header_at = self._out.tell()
        self._hash = hashlib.sha256()
        self._out.write(self._info.tobuf(tarfile.GNU_FORMAT))

    def _end_file(self) -> None:
        info, self._info = self._info, None
        if info is None:
            return
        self._written.append(
            backup_service_pb2.BackupFile(
                path=info.name, mode=info.mode, size_bytes=info.size, sha256=self._hash.digest()
            )
        )
        self._out.write(bytes(-info.size % BLOCK_SIZE))
        end = self._out.tell()
        self._out.seek(self._header_at)
        self._out.write(info.tobuf(tarfile.GNU_FORMAT))
        self._out.seek(end)

    def _finish(self, backup: backup_service_pb2.Backup) -> None:
        if list(backup.files) != self._written:
            raise HashMismatch("the files that arrived are not those that were sent", name="sha256")
        text = manifest_text(backup)
        info = tarfile.TarInfo(MANIFEST_FILE)
        info.size, info.mode = len(text), PRIVATE_MODE
        self._out.write(info.tobuf(tarfile.GNU_FORMAT) + text + bytes(-len(text) % BLOCK_SIZE))
        self._out.write(bytes(2 * BLOCK_SIZE))
        self._out.flush()
        os.fsync(self._out.fileno())
        self._part.rename(self._path)
        sync_folder(self._path.absolute().parent)
