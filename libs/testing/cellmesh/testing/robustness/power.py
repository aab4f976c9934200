"""Child process: does some work with its disk recorded, and leaves the trace as a pickle.

python -m cellmesh.testing.robustness.power journal FOLDER TRACE SEED [COUNT]
python -m cellmesh.testing.robustness.power cell FOLDER TRACE SEED
python -m cellmesh.testing.robustness.power files FOLDER TRACE SEED
"""

from __future__ import annotations

import errno
import pickle
import random
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from unittest import mock

from cellmesh.common.errors import StorageAborted, StorageFull
from cellmesh.common.files import write_atomically
from cellmesh.common.storage import upkeep
from cellmesh.common.storage.slab import PROBE_SIZE
from cellmesh.testing.disk.events import Event
from cellmesh.testing.disk.recorder import Fault, Recorder
from cellmesh.testing.robustness.journal import Journal, edits, write_some

THREAD_COUNT = 2
TRIED = "tried "
"""Begins the mark of an edit that is not committed yet."""
FAULT_COUNT = 6
KILLED_EDIT_COUNT = 40


def journal(recorder: Recorder, folder: Path, seed: int, count: str = "200") -> None:
    """Two threads share the store, so that commits are shared too."""
    store = Journal(folder / "slab", lambda offset, text: recorder.mark(f"{TRIED}{offset} {text}"))
    try:
        threads = [
            threading.Thread(
                target=write_some,
                args=(
                    store,
                    random.Random(f"{seed} {number}"),
                    int(count) // THREAD_COUNT,
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


def faults(recorder: Recorder, folder: Path, seed: int, call: str, name: str) -> None:
    """The disk refuses something now and then: no answer is given for it, reads go on, and so do later writes."""
    store = Journal(folder / "slab", map_size_bytes=16 * PROBE_SIZE)
    rng = random.Random(seed)
    told: dict[int, str] = {}

    def acknowledge(offset: int, text: str) -> None:
        recorder.mark(f"{offset} {text}")
        told[offset] = text

    try:
        for _ in range(FAULT_COUNT):
            write_some(store, rng, rng.randrange(1, 5), acknowledge, trims=False, size_max_bytes=5000)
            fault = Fault(call, getattr(errno, name), skip=rng.randrange(2), path="data.mdb")
            fault.count = rng.choice((1, 1, 2))
            fault.part = rng.choice((0, 1000, 4096)) if call == "write" else 0
            recorder.faults = [fault]
            source = edits(rng, trims=False, size_max_bytes=5000)
            while fault.count:
                try:
                    acknowledge(*store.write(next(source)))
                except (StorageFull, StorageAborted):
                    pass
                store.check(told)
        recorder.faults = []
        store.slab.probe()
        assert store.slab.trouble is None
    finally:
        store.close()


def unsettled(recorder: Recorder, folder: Path, seed: int, call: str, name: str) -> None:
    """The same with a part of the recovery left out, to see that its lack is found."""
    with mock.patch.object(upkeep, "settle"):
        faults(recorder, folder, seed, call, name)


def killed(recorder: Recorder, folder: Path, seed: int, call: str = "", skip: int = 0) -> None:
    """Edits until the process is killed in some call to the disk; without one, as many as it takes to its end."""
    store = Journal(folder / "slab")
    if call:
        recorder.faults.append(Fault(call, skip=int(skip), path="data.mdb", kill=True))
    write_some(
        store,
        random.Random(seed),
        KILLED_EDIT_COUNT,
        lambda offset, text: recorder.mark(f"{offset} {text}"),
        trims=False,
        size_max_bytes=3000,
    )
    store.close()


def files(recorder: Recorder, folder: Path, seed: int) -> None:
    """A file that is replaced several times."""
    for version in range(5):
        write_atomically(
            folder / "settings", b"%d " % version * random.Random(seed + version).randrange(1, 5000)
        )
        recorder.mark(str(version))


WORK: Mapping[str, Callable[..., None]] = {
    "journal": journal,
    "faults": faults,
    "unsettled": unsettled,
    "killed": killed,
    "files": files,
}


def run(works: Mapping[str, Callable[..., None]]) -> None:
    """Run the work named on the command line, and keep its trace, also when it is killed by a fault."""
    kind, folder, trace, seed, *rest = sys.argv[1:]
    before = pickle.loads(Path(trace).read_bytes()) if Path(trace).exists() else ()

    def keep(events: Sequence[Event]) -> None:
        Path(trace).write_bytes(pickle.dumps(list(events)))

    recorder = Recorder(Path(folder), before, keep)
    with recorder.recording():
        works[kind](recorder, Path(folder), int(seed), *rest)
    keep(recorder.events)


if __name__ == "__main__":
    run(WORK)
