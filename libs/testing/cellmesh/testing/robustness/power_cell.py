"""The same with a cell: its first start, writes, backups; and what must be there after a power cut.

python -m cellmesh.testing.robustness.power_cell cell FOLDER TRACE SEED
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from cellmesh.api.common.v1 import backup_service_pb2, backup_service_pb2_grpc
from cellmesh.common.backup import restore_backup
from cellmesh.common.cell import running
from cellmesh.common.rpc.channel import open_channel
from cellmesh.testing.disk.recorder import Recorder
from cellmesh.testing.robustness.journal_cell import keeper
from cellmesh.testing.robustness.power import run


def cell(recorder: Recorder, folder: Path, seed: int) -> None:
    """A cell's first start, writes, backups, one of them deleted, and its end."""
    place = folder / "cell"
    with (
        running(keeper(place, space_min_bytes=0)) as made,
        open_channel(f"unix:{made.folder.socket_path}") as channel,
    ):
        recorder.mark("started")
        backups = backup_service_pb2_grpc.BackupServiceStub(channel)
        number = 0
        for name in ("one", "two"):
            for _ in range(3):
                made.put(number, random.Random(seed + number).randbytes(3000))
                recorder.mark(f"item {number}")
                number += 1
            for _ in backups.CreateBackup(backup_service_pb2.CreateBackupRequest(name=name)):
                pass
            recorder.mark(f"backup {name}")
        recorder.mark("deleting one")
        backups.DeleteBackup(backup_service_pb2.DeleteBackupRequest(name="one"))
        recorder.mark("deleted one")


def judge_cell(place: Path, marks: Sequence[str]) -> None:
    """The cell starts and has every item and backup that was acknowledged; what backups are listed are whole."""
    items = {int(mark.split()[1]) for mark in marks if mark.startswith("item ")}
    backups = {mark.split()[1] for mark in marks if mark.startswith("backup ")}
    gone = {mark.split()[1] for mark in marks if mark.startswith("deleted ")}
    doubtful = {mark.split()[1] for mark in marks if mark.startswith("deleting ")}
    with running(keeper(place / "cell", space_min_bytes=0)) as cell:
        kept = cell.numbers()
        assert kept == list(range(len(kept))), f"items {kept} are no prefix"
        assert items <= set(kept), f"acknowledged were {sorted(items)}, there are {kept}"
        with open_channel(f"unix:{cell.folder.socket_path}") as channel:
            stub = backup_service_pb2_grpc.BackupServiceStub(channel)
            listed = {item.name for item in stub.ListBackups(backup_service_pb2.ListBackupsRequest()).backups}
    assert backups - doubtful <= listed, f"backups {sorted(backups - doubtful)}, listed are {sorted(listed)}"
    assert not gone & listed, f"the backup {gone} is back"
    for name in listed:
        restore_backup(place / "cell" / "backups" / name, place / f"restored-{name}")


if __name__ == "__main__":
    run({"cell": cell})
