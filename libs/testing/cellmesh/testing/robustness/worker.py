"""Processes that write to a journal and tell what was acknowledged, until they are killed.

They are forked from a server that has everything imported, so that a kill costs a few milliseconds. The telling goes
through a pipe: what was sent before the kill arrives.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from cellmesh.common.errors import CellError
from cellmesh.common.failpoints import FailpointHit, set_failpoint
from cellmesh.testing.robustness.journal import Journal, write_some

THREAD_COUNT: Final = 3
HANGS_S: Final = 50.0
ENDLESS: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker does.

    Attributes:
        folder: Of the journal.
        seed: Of its edits.
        count: How many edits each thread makes.
        failpoints: Actions by name, set when the journal is open.
        trims: Whether the log is trimmed now and then.
        size_max_bytes: Of one item.
    """

    folder: Path
    seed: int
    count: int = ENDLESS
    failpoints: Mapping[str, str] = field(default_factory=dict)
    trims: bool = True
    size_max_bytes: int = 3000


@dataclass(slots=True)
class Outcome:
    """What became of a worker.

    Attributes:
        acknowledged: Text of the edits it got an answer for, by offset.
        tried: The same of all edits that ran, the last for each offset.
        exit_code: Negative for a signal.
        ready_s: From its start until its store was open.
    """

    acknowledged: dict[int, str]
    tried: dict[int, str]
    exit_code: int
    ready_s: float


def work(job: Job, told: Connection) -> None:
    """Be a worker."""
    # What each thread waits for, should it hang: told before the parent gives up on it.
    faulthandler.dump_traceback_later(HANGS_S)
    lock = threading.Lock()

    def tell(kind: str, offset: int = 0, text: str = "") -> None:
        with lock:
            told.send((kind, offset, text))

    store = Journal(job.folder, lambda offset, text: tell("tried", offset, text))
    tell("ready")
    for name, action in job.failpoints.items():
        set_failpoint(name, action)

    def write(number: int) -> None:
        rng = random.Random(f"{job.seed} {number}")
        left = job.count
        while left > 0:
            # A failpoint that raises ends a round, and the next one goes on.
            try:
                write_some(
                    store,
                    rng,
                    min(left, 20),
                    lambda offset, text: tell("done", offset, text),
                    trims=job.trims,
                    size_max_bytes=job.size_max_bytes,
                )
            except (FailpointHit, CellError, OSError):
                pass
            left -= 20

    threads = [threading.Thread(target=write, args=(number,)) for number in range(THREAD_COUNT)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store.close()


class Workers:
    """Starts workers, and kills them."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([__name__])

    def run(self, job: Job, kill_after_s: float | None = None, *, ends_s: float = 60.0) -> Outcome:
        """Run one until it is killed or ends.

        Args:
            job: Its work.
            kill_after_s: SIGKILL so long after it was ready; None waits for its end.
            ends_s: It is killed when it has not ended by itself after this.
        """
        here, there = self._context.Pipe(duplex=False)
        process: Any = self._context.Process(target=work, args=(job, there))
        begun_s = time.monotonic()
        process.start()
        there.close()
        acknowledged: dict[int, str] = {}
        tried: dict[int, str] = {}
        ready_s = float("nan")
        kill_s: float | None = begun_s + ends_s
        while True:
            try:
                if not here.poll(None if kill_s is None else max(0.0, kill_s - time.monotonic())):
                    process.kill()
                    kill_s = None
                    continue
                kind, offset, text = here.recv()
            except (EOFError, OSError):
                break
            if kind == "ready":
                ready_s = time.monotonic() - begun_s
                if kill_after_s is not None:
                    kill_s = time.monotonic() + kill_after_s
            else:
                (acknowledged if kind == "done" else tried)[offset] = text
            if kill_s is not None and time.monotonic() >= kill_s:
                process.kill()
                kill_s = None
        process.join()
        here.close()
        return Outcome(acknowledged, tried, int(process.exitcode), ready_s)
