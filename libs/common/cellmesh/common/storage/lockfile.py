"""One process a folder: an flock on a file that also names its holder for people."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from cellmesh.common.errors import StorageLocked


class FolderLock:
    """The lock on a slab's folder, held from creation to `release`; the system drops it at process end."""

    def __init__(self, folder: Path) -> None:
        self._descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            pid = os.read(self._descriptor, 32).decode(errors="replace").strip()
            os.close(self._descriptor)
            own = pid == str(os.getpid())
            raise StorageLocked(
                f"{folder} is in use by {'this same process' if own else f'process {pid}' if pid else 'another process'}",
                name=str(folder),
                pid=pid,
                hint="close the slab first" if own else "stop that process, or use another folder",
            ) from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let another process have the folder."""
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)
