"""The folder that holds everything a cell keeps.

    DIR/cell.json   which cell this is: id and kind; written when the folder is first used, never changed
    DIR/cell.toml   settings, written by people
    DIR/lock        held while a process runs the cell; names its pid
    DIR/run.json    where the running process serves; gone when it stops
    DIR/cell.sock   the unix socket
    DIR/certs/      the cell's identity
    DIR/slab/       its storage
    DIR/backups/    backups that were made here

Only its owner may enter it: who can open cell.sock is root.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cellmesh.common.errors import BadConfValu, BadState, StorageLocked
from cellmesh.common.files import make_folder, write_atomically
from cellmesh.common.storage.lockfile import FolderLock
from cellmesh.common.tls.folder import IdentityFolder

CELL_FILE: Final = "cell.json"
RUN_FILE: Final = "run.json"
SOCKET_FILE: Final = "cell.sock"
CERTS_FOLDER: Final = "certs"
SLAB_FOLDER: Final = "slab"


@dataclass(slots=True)
class CellFolder:
    """A cell's folder. `open` makes it if needed, takes its lock and reads who lives there."""

    path: Path
    kind: str
    cell_id: str = ""
    _lock: FolderLock | None = field(default=None, repr=False)

    def open(self) -> None:
        """Make the folder if needed, lock it, and read or make the cell's id.

        Raises:
            BadConfValu: the folder cannot be made, entered or written.
            StorageLocked: another process runs a cell on it; names its pid.
            BadState: the folder belongs to another kind of cell, or cell.json is damaged.
        """
        try:
            make_folder(self.path, mode=0o700)
            if self.path.stat().st_mode & 0o077:
                self.path.chmod(0o700)
            self._lock = FolderLock(self.path)
        except StorageLocked as error:
            error.set(
                "hint", "a cell runs on this folder already: stop it, or give another folder with --dir"
            )
            raise
        except OSError as error:
            raise BadConfValu(
                f"the folder {self.path} cannot be used: {error.strerror}",
                name="dir",
                valu=str(self.path),
                hint="give a folder that this user can make and write with --dir",
            ) from error
        try:
            self.cell_id = self._read_or_make_id()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Take run.json away and let another process have the folder."""
        lock, self._lock = self._lock, None
        if lock is not None:
            (self.path / RUN_FILE).unlink(missing_ok=True)
            lock.release()

    @property
    def identity(self) -> IdentityFolder:
        """Where the cell's certificate is, or will be."""
        return IdentityFolder(self.path / CERTS_FOLDER)

    @property
    def socket_path(self) -> Path:
        """The unix socket."""
        return self.path / SOCKET_FILE

    @property
    def slab_path(self) -> Path:
        """Where storage is."""
        return self.path / SLAB_FOLDER

    def write_run(self, told: Mapping[str, Any]) -> None:
        """Say where the process serves. The pid is added."""
        text = json.dumps({"pid": os.getpid(), **told}, indent=2) + "\n"
        write_atomically(self.path / RUN_FILE, text.encode())

    def _read_or_make_id(self) -> str:
        path = self.path / CELL_FILE
        try:
            told = json.loads(path.read_bytes())
            kind, cell_id = str(told["kind"]), str(told["cell_id"])
        except FileNotFoundError:
            cell_id = secrets.token_hex(16)
            text = json.dumps({"kind": self.kind, "cell_id": cell_id}, indent=2) + "\n"
            try:
                write_atomically(path, text.encode())
            except OSError as error:
                raise BadConfValu(
                    f"the folder {self.path} cannot be written: {error.strerror}",
                    name="dir",
                    valu=str(self.path),
                ) from error
            return cell_id
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadState(f"{path} cannot be read: {error}", name=CELL_FILE) from error
        if kind != self.kind:
            raise BadState(
                f"the folder {self.path} belongs to a cell of kind {kind}, not {self.kind}",
                name=str(self.path),
                state=kind,
                hint="give another folder with --dir",
            )
        return cell_id


def read_run(path: Path) -> dict[str, Any] | None:
    """Read run.json of a cell's folder, None when no process serves it or the file is unreadable.

    A process that was killed leaves the file behind, so the pid it names is checked.
    """
    try:
        told = json.loads((path / RUN_FILE).read_bytes())
        os.kill(int(told["pid"]), 0)
    except PermissionError:
        return dict(told)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return dict(told)
