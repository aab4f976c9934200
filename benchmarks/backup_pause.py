"""What backups and compaction cost the writer: durations of durable single writes before, during CreateBackup,
StreamBackup, Compact with a third of the file free, and TrimChanges of 100,000 records.

    python benchmarks/backup_pause.py [GIB]

The cell is a process of its own, as in production, and so is the one that fetches.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import ClassVar

from cellmesh.api.common.v1 import (
    backup_service_pb2,
    backup_service_pb2_grpc,
    change_log_service_pb2,
    change_log_service_pb2_grpc,
    storage_service_pb2,
    storage_service_pb2_grpc,
)
from cellmesh.common.cell import Cell, running
from cellmesh.common.changelog import DATABASES, ChangeLog
from cellmesh.common.config import CellConfig, load_config
from cellmesh.common.rpc.channel import open_channel
from cellmesh.common.storage import SubDb, WriteTxn

ITEMS = SubDb("items", "number (8 bytes) -> 4 KiB")
VALUE_SIZE = 4096
BATCH_COUNT = 2000
RECORD_COUNT = 100_000
DELETE_COUNT = 200
WARM_UP_S = 2.0


class LoadConfig(CellConfig):
    kind: ClassVar[str] = "load"


class LoadCell(Cell[LoadConfig]):
    """A database of a given size, and one writer."""

    kind = "load"
    databases = (ITEMS, *DATABASES)


def put(start: int, count: int, value: bytes, txn: WriteTxn) -> None:
    """Write some items."""
    for number in range(start, start + count):
        txn.put(ITEMS, number.to_bytes(8, "big"), value)


def fetch(folder: str, method: str) -> None:
    """The caller's process: run the method and take all of it."""
    with open_channel(f"unix:{folder}/cell.sock") as channel:
        if method == "TrimChanges":
            change_log_service_pb2_grpc.ChangeLogServiceStub(channel).TrimChanges(
                change_log_service_pb2.TrimChangesRequest(offset=RECORD_COUNT)
            )
            return
        if method == "Compact":
            compact = storage_service_pb2_grpc.StorageServiceStub(channel).Compact
            for step in compact(storage_service_pb2.CompactRequest()):
                if step.HasField("result"):
                    result = step.result
                    print(
                        f"Compact: {result.before_bytes >> 20} to {result.after_bytes >> 20} MiB, calls waited "
                        f"{result.pause_us / 1000:.1f} ms",
                        flush=True,
                    )
            return
        stub = backup_service_pb2_grpc.BackupServiceStub(channel)
        request = (
            backup_service_pb2.CreateBackupRequest()
            if method == "CreateBackup"
            else backup_service_pb2.StreamBackupRequest()
        )
        for _ in getattr(stub, method)(request):
            pass


def measure(folder: Path, size_gib: float) -> None:
    """Print a line for each phase."""
    sys.setswitchinterval(0.0005)
    durations_ms: list[float] = []
    stop = threading.Event()
    value = os.urandom(VALUE_SIZE)
    with running(LoadCell(load_config(LoadConfig, dir=folder, environ={}))) as cell:
        for batch in range(int(size_gib * (1 << 30) / VALUE_SIZE / 1.5 / BATCH_COUNT)):
            start = batch * BATCH_COUNT
            cell.slab.write(partial(put, start, BATCH_COUNT, value))
        for _ in range(RECORD_COUNT // BATCH_COUNT):
            cell.slab.write(partial(log, cell.changes, BATCH_COUNT))

        def write() -> None:
            number = 1 << 40
            while not stop.is_set():
                begun = time.perf_counter()
                cell.slab.write(partial(put, number, 1, value))
                durations_ms.append((time.perf_counter() - begun) * 1000)
                number += 1

        writer = threading.Thread(target=write)
        writer.start()
        time.sleep(WARM_UP_S)
        tell("alone", durations_ms, WARM_UP_S)
        for method in ("CreateBackup", "StreamBackup", "Compact", "TrimChanges"):
            if method == "Compact":
                free_a_third(cell)
            child = subprocess.Popen([sys.executable, __file__, "fetch", str(folder), method])
            time.sleep(0.5)  # the child's own start
            durations_ms.clear()
            begun = time.perf_counter()
            child.wait()
            tell(method, durations_ms, time.perf_counter() - begun)
        stop.set()
        writer.join()


def free_a_third(cell: LoadCell) -> None:
    """Delete each third batch of items."""
    with cell.slab.view() as txn:
        count = txn.entries(ITEMS)
    for start in range(0, count, 3 * BATCH_COUNT):
        low, high = start.to_bytes(8, "big"), (start + BATCH_COUNT).to_bytes(8, "big")
        while cell.slab.write(partial(delete, low, high)) == DELETE_COUNT:
            pass


def delete(low: bytes, high: bytes, txn: WriteTxn) -> int:
    """Delete some items of a range."""
    return txn.delete_range(ITEMS, low, high, count_max=DELETE_COUNT)


def log(changes: ChangeLog, count: int, txn: WriteTxn) -> None:
    """Write some change records."""
    for _ in range(count):
        changes.append(txn, time_us=1, actor="", type_name="test.Change", payload=bytes(200))


def tell(phase: str, durations_ms: list[float], took_s: float) -> None:
    """Print the distribution."""
    ordered = sorted(durations_ms)
    median, p99, worst = (
        ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in (0.5, 0.99, 1)
    )
    print(
        f"{phase}: {took_s:.1f} s, {len(ordered)} writes, median {median:.2f} ms, p99 {p99:.1f} ms, "
        f"worst {worst:.1f} ms",
        flush=True,
    )


def main() -> None:
    """See the module."""
    if sys.argv[1:2] == ["fetch"]:
        fetch(*sys.argv[2:])
        return
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder) / "cell", float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)


if __name__ == "__main__":
    main()
