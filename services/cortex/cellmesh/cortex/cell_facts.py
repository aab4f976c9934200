"""What a Cortex tells queries of itself, and what they can have it do: `$lib.cell`, `$lib.backup`."""

from __future__ import annotations

import os
import platform
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.cell.part import PartState
from cellmesh.common.errors import BadState, CellError
from cellmesh.common.rpc.streams import CancelToken
from cellmesh.common.telemetry.logs import get_logger

if TYPE_CHECKING:
    from cellmesh.common.cell.backup import Backups
    from cellmesh.common.cell.base import Cell

LOGGER = get_logger(__name__)

STATUS: Final = {
    PartState.WELL: "nominal",
    PartState.READ_ONLY: "degraded",
    PartState.FAILED: "failed",
}
_WORST: Final = ("nominal", "degraded", "failed")


class CellFacts:
    """Facts about the cell that runs the queries. Threads may share it.

    Args:
        cell: The cell.
    """

    def __init__(self, cell: Cell[Any]) -> None:
        self._cell = cell
        self._running: float | None = None
        self._last: tuple[float, float] | None = None
        self._failure: str | None = None

    @property
    def iden(self) -> str:
        """The cell's identifier."""
        return self._cell.cell_id

    @property
    def has_identity(self) -> bool:
        """Whether it belongs to a mesh."""
        return self._cell.identity is not None

    @property
    def service(self) -> str:
        """The name of the service that it is an instance of; empty outside of a mesh."""
        return "" if self._cell.identity is None else self._cell.identity.service

    @property
    def start_time_ms(self) -> int:
        """When it started, in milliseconds since 1970."""
        return self._cell.start_time_ns // 1_000_000

    @property
    def uptime_ms(self) -> int:
        """For how long it has run."""
        return (time.time_ns() - self._cell.start_time_ns) // 1_000_000

    @property
    def storage_version(self) -> int:
        """The version of the layout of its storage."""
        return self._cell.storage_version

    def info(self) -> dict[str, Any]:
        """Return who it is and how it does, under the names that Synapse gives such facts."""
        cell = self._cell
        version = cell.version
        numbers = tuple(int(part) for part in version.split("+")[0].split(".")[:3] if part.isdigit())
        identity = cell.identity
        return {
            "cellmesh": {"version": numbers, "verstring": version},
            "cell": {
                "type": cell.kind,
                "iden": cell.cell_id,
                "active": cell.leads,
                "ready": cell.is_ready,
                "readonly": cell.is_read_only,
                "started": self.start_time_ms,
                "version": numbers,
                "verstring": version,
                "cellvers": {"cell:storage": cell.storage_version},
                "nexsindx": cell.change_offset(),
                "mirror": None if identity is None or cell.leads else f"aha://{identity.service}",
                "aha": {
                    "name": cell.name or None,
                    "leader": None if identity is None else identity.service,
                    "network": None if identity is None else identity.network,
                },
                "network": {"addresses": list(cell.addresses)},
            },
            "features": {},
        }

    def system(self) -> dict[str, Any]:
        """Return what it runs on, sizes in bytes."""
        folder = self._cell.folder.path
        disk = os.statvfs(folder)
        sizes = [path.stat() for path in _files(folder)]
        size = disk.f_blocks * disk.f_frsize
        free = disk.f_bavail * disk.f_frsize
        page = os.sysconf("SC_PAGE_SIZE")
        return {
            "volsize": size,
            "volfree": free,
            "backupvolsize": size,
            "backupvolfree": free,
            "cellstarttime": self.start_time_ms,
            "celluptime": self.uptime_ms,
            "cellrealdisk": sum(found.st_blocks * 512 for found in sizes),
            "cellapprdisk": sum(found.st_size for found in sizes),
            "osversion": platform.platform(),
            "pyversion": platform.python_version(),
            "totalmem": os.sysconf("SC_PHYS_PAGES") * page,
            "availmem": os.sysconf("SC_AVPHYS_PAGES") * page,
            "cpucount": os.cpu_count(),
            "tmpdir": tempfile.gettempdir(),
        }

    def health(self) -> dict[str, Any]:
        """Return how its parts do."""
        parts = [
            {"name": name, "status": STATUS[found.state], "mesg": found.reason, "data": {}}
            for name, found in self._cell.part_healths()
        ]
        worst = max((_WORST.index(part["status"]) for part in parts), default=0)
        return {"iden": self.iden, "status": _WORST[worst], "components": parts}

    # The change log.

    def trim_log(self) -> int:
        """Remove the change records that nothing needs; returns the offset of the oldest that is left.

        Raises:
            BadState: it keeps no log.
        """
        if not self._cell.keeps_log:
            raise BadState("the cell keeps no change log", name="changelog", state="off")
        return self._cell.log_keeper.trim().first_offset

    # Backups.

    def _backups(self) -> Backups:
        backups = self._cell.backups
        if backups is None:
            raise BadState("the cell does not serve yet, or has no storage", name="backups", state="off")
        return backups

    def backup_names(self) -> list[str]:
        """Return the names of the finished backups, oldest first."""
        return [backup.name for backup in self._backups().list_all()]

    def delete_backup(self, name: str) -> None:
        """Remove a backup; raises BadName, NoSuchName."""
        self._backups().delete(name)

    def make_backup(self, name: str) -> str:
        """Make a backup; returns its name. Raises BadName, DupName, BackupAlreadyRunning, LowSpace."""
        began = self._running = time.time()
        try:
            made = name
            for step in self._backups().create(name, CancelToken()):
                if step.HasField("backup"):
                    made = step.backup.name
            self._failure = None
            return made
        except BaseException as error:
            self._failure = str(error)
            raise
        finally:
            self._running = None
            self._last = (began, time.time())

    def begin_backup(self, name: str) -> None:
        """Make a backup on a thread of its own; what goes wrong is logged, and told by `backup_info`."""

        def run() -> None:
            try:
                self.make_backup(name)
            except CellError as error:
                LOGGER.error("backup_failed", name=name, error=str(error))

        threading.Thread(target=run, name="backup", daemon=True).start()

    def backup_info(self) -> dict[str, Any]:
        """Return what is known of the last backup that a query had made, times in milliseconds."""
        began, ended = self._last if self._last is not None else (None, None)
        listed = self._backups().list_all()
        now = time.time()
        return {
            "currduration": None if self._running is None else int((now - self._running) * 1000),
            "laststart": None if began is None else int(began * 1000),
            "lastend": None if ended is None else int(ended * 1000),
            "lastduration": None if began is None or ended is None else int((ended - began) * 1000),
            "lastsize": listed[-1].size_bytes if listed else None,
            "lastupload": None,
            "lastexception": self._failure,
        }


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
