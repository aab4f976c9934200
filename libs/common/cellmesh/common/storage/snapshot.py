"""A read transaction that lasts longer than one chunk of work: for copies, state hashes and compaction.

While one is open, LMDB reuses no page that became free since, so the file grows by what is written. Hence there
is at most one for each purpose, and it is ended when nothing is read through it for a while. Growing the map
ends all transactions: writes go first, and stop a snapshot when they cannot do without.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Final, Self, TypeVar

from cellmesh.common.errors import CellError, Retry, TimeOut
from cellmesh.common.storage.transactions import ReadTxn

T = TypeVar("T")

STALL_MAX_S: Final = 60.0
"""A snapshot ends when nothing was read for so long, or a dead reader would keep old pages for ever."""

STALL_CHECKS: Final = 10
"""How often in that time it is looked at."""


class Snapshot:
    """One committed state, kept open, in a `with` block. Made by `Slab.snapshot`; used from one thread at a time.

    Args:
        txn: A read transaction on the state; the snapshot ends it.
        purpose: What it is for, in words.
        stall_max_s: It ends when nothing was read for so long.
    """

    def __init__(self, txn: ReadTxn, purpose: str, stall_max_s: float) -> None:
        self.purpose = purpose
        self._txn = txn
        self._stall_max_s = stall_max_s
        self._used_s = monotonic()
        self._stopped_by: CellError | None = None
        # Held during each read: LMDB must not lose a transaction while another thread is inside it.
        self._lock = threading.Lock()
        self._ended = threading.Event()
        threading.Thread(target=self._watch, name=f"slab-{purpose}-watch", daemon=True).start()

    @property
    def is_open(self) -> bool:
        """Whether its transaction is open still."""
        return not self._ended.is_set()

    def read(self, op: Callable[[ReadTxn], T]) -> T:
        """Run one chunk of reading, some milliseconds at most.

        Raises:
            Retry: writes needed the map to grow, or the storage is being closed; a new snapshot has room.
            TimeOut: nothing was read for too long.
        """
        with self._lock:
            if self._stopped_by is not None:
                raise self._stopped_by
            result = op(self._txn)
            self._used_s = monotonic()
            return result

    def touch(self) -> None:
        """Note that it is used, by a reader of the file itself; raises as `read` does if it has ended."""
        if self._stopped_by is not None:
            raise self._stopped_by
        self._used_s = monotonic()

    def stop(self, reason: CellError | None = None) -> None:
        """End it. Whoever reads on gets the reason."""
        with self._lock:
            if self._ended.is_set():
                return
            self._stopped_by = reason or Retry(f"the {self.purpose} was stopped")
            self._txn.raw.abort()
            self._ended.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _watch(self) -> None:
        while not self._ended.wait(self._stall_max_s / STALL_CHECKS):
            if monotonic() - self._used_s > self._stall_max_s:
                self.stop(
                    TimeOut(
                        f"nothing of the {self.purpose} was taken for {self._stall_max_s:g} s, and it was ended",
                        hint="old pages of the database cannot be reused while it is open: read it faster",
                    )
                )
