"""Child process: does some work with its disk recorded, and leaves the trace as a pickle.

python -m cellmesh.testing.robustness.power journal FOLDER TRACE SEED [COUNT]
python -m cellmesh.testing.robustness.power cell FOLDER TRACE SEED
python -m cellmesh.testing.robustness.power files FOLDER TRACE SEED
"""

from __future__ import annotations

import pickle
import random
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from cellmesh.api.common.v1 import backup_service_pb2, backup_service_pb2_grpc
from cellmesh.common.cell import running
from cellmesh.common.files import write_atomically
from cellmesh.common.rpc.channel import open_channel
from cellmesh.testing.disk.recorder import Recorder
from cellmesh.testing.robustness.journal import Journal, write_some
from cellmesh.testing.robustness.journal_cell import keeper

THREAD_COUNT = 2


def journal(recorder: Recorder, folder: Path, seed: int, count: int = 200) -> None:
    """Two threads share the store, so that commits are shared too."""
    store = Journal(folder / "slab")
    try:
        threads = [
            threading.Thread(
                target=write_some,
                args=(
                    store,
                    random.Random(f"{seed} {number}"),
                    count // THREAD_COUNT,
                    lambda offset, text: recorder.mark(f"{offset} {text}"),
                ),
            )
            for number in range(THREAD_COUNT)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        store.close()


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


def files(recorder: Recorder, folder: Path, seed: int) -> None:
    """A file that is replaced several times."""
    for version in range(5):
        write_atomically(
            folder / "settings", b"%d " % version * random.Random(seed + version).randrange(1, 5000)
        )
        recorder.mark(str(version))


WORK: Mapping[str, Callable[..., None]] = {"journal": journal, "cell": cell, "files": files}


def main() -> None:
    """Run the work named on the command line."""
    kind, folder, trace, seed, *rest = sys.argv[1:]
    recorder = Recorder(Path(folder))
    with recorder.recording():
        WORK[kind](recorder, Path(folder), int(seed), *map(int, rest))
    Path(trace).write_bytes(pickle.dumps(recorder.events))


if __name__ == "__main__":
    main()
