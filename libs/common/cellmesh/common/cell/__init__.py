"""What makes a process a cell.

part          Part: what a cell is made of; each can be started, stopped and asked for its health
base          Cell: the order of its start and stop, and what others ask of it
state         CellState: where a cell stands in its life
version       the version of Cellmesh that is installed
serving       what a cell serves, wired up: parts of every cell, services, interceptors, server
listeners     where a cell listens, and the address that others are told
observing     traces and metrics, as the settings ask
folder        CellFolder: the lock, the cell's id, run.json, certificates
accounts      the users of a cell, put together
service       CellService, which every cell serves
data_services BackupService and ChangeLogService, which every cell with storage serves
storage_service  StorageService: figures of the database file, and its compaction
trimming      the change log of a running cell, trimmed in the background
first_start   users, roles and key-values of a new cell, out of a file
backup        backups in the cell's folder, and as a stream
disk          the room under the storage: read-only without, and well again by itself
health        gathers the health of the parts
mirroring     the role among the instances of a service: seeded before the storage is open, then kept
registration  tells AHA where the cell is, and renews its certificate
revocations   follows AHA's list of revoked certificates
runner        run_cell: process entry, signals, exit codes; running: a cell in a thread, for tests
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cellmesh.common.exports import exports

if TYPE_CHECKING:
    from cellmesh.common.cell.base import Cell, CellState
    from cellmesh.common.cell.folder import CellFolder
    from cellmesh.common.cell.part import Part, PartHealth, PartState, RolePart
    from cellmesh.common.cell.runner import run_cell, running
else:
    __getattr__ = exports(
        __name__,
        {
            "Cell": "base",
            "CellState": "base",
            "CellFolder": "folder",
            "Part": "part",
            "PartHealth": "part",
            "PartState": "part",
            "RolePart": "part",
            "run_cell": "runner",
            "running": "runner",
        },
    )

__all__ = [
    "Cell",
    "CellFolder",
    "CellState",
    "Part",
    "PartHealth",
    "PartState",
    "RolePart",
    "run_cell",
    "running",
]
