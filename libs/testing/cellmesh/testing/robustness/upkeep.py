"""A cell that backs up, compacts and trims while it is written to, and meets a failpoint in it.

    CELLMESH_FAILPOINTS=... python -m cellmesh.testing.robustness.upkeep FOLDER

Prints a mark for each thing done, as `power_cell.judge_cell` reads them; `failed WHAT` for what did not work.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from cellmesh.api.common.v1 import (
    backup_service_pb2,
    backup_service_pb2_grpc,
    change_log_service_pb2,
    change_log_service_pb2_grpc,
    storage_service_pb2,
    storage_service_pb2_grpc,
)
from cellmesh.common.cell import running
from cellmesh.common.errors import CellError
from cellmesh.common.failpoints import FailpointHit
from cellmesh.common.rpc.channel import open_channel
from cellmesh.testing.robustness.journal_cell import keeper

ITEM_SIZE = 3 << 20
"""Three of them are more than a backup writes between two syncs."""


def mark(text: str) -> None:
    """Tell what was done. The parent reads it even if the process is killed next."""
    print(text, flush=True)


def attempt(what: str, work: Callable[[], Any]) -> None:
    """Do something, and go on if it fails."""
    try:
        work()
    except (grpc.RpcError, CellError, FailpointHit):
        mark(f"failed {what}")
    else:
        mark(what)


def main() -> None:
    """Do each thing twice: a failpoint that strikes once leaves the second."""
    folder = Path(sys.argv[1])
    numbers = iter(range(1 << 20))
    with (
        running(keeper(folder / "cell", space_min_bytes=0)) as cell,
        open_channel(f"unix:{cell.folder.socket_path}") as channel,
    ):
        backups = backup_service_pb2_grpc.BackupServiceStub(channel)
        storage = storage_service_pb2_grpc.StorageServiceStub(channel)
        changes = change_log_service_pb2_grpc.ChangeLogServiceStub(channel)

        def put(size: int) -> None:
            number = next(numbers)
            cell.put(number, random.Random(number).randbytes(size))
            mark(f"item {number}")

        def back_up(name: str) -> None:
            list(backups.CreateBackup(backup_service_pb2.CreateBackupRequest(name=name)))

        for _ in range(3):
            put(ITEM_SIZE)
        for turn in ("one", "two"):
            attempt(f"backup {turn}", partial(back_up, turn))
            put(1000)
            attempt(f"compacted {turn}", lambda: list(storage.Compact(storage_service_pb2.CompactRequest())))
            put(1000)
            attempt(
                f"trimmed {turn}",
                lambda: changes.TrimChanges(change_log_service_pb2.TrimChangesRequest(offset=4)),
            )
            put(1000)


if __name__ == "__main__":
    main()
