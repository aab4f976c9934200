"""Read transactions: pooled, and held back for a moment when the map grows."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic, sleep
from types import TracebackType
from typing import TYPE_CHECKING

import lmdb
from cellmesh.common.storage.faults import translate
from cellmesh.common.storage.transactions import ReadTxn

if TYPE_CHECKING:
    Pool = deque[ReadTxn]

PAUSE_WAIT_S = 1.0
"""How long a pause waits for the readers of the moment to end their chunks."""

PAUSE_POLL_S = 0.0002

REOPEN_WAIT_S = 2 * PAUSE_WAIT_S
"""How long a reader waits for the file to be opened anew after an error of the disk."""


class ReaderPool:
    """All readers of a slab; each is in the pool while it is idle.

    A pause swaps the pool for an empty one and takes all readers from the old one. So taking and bringing
    back are single steps of a deque, which need no lock: a reader that comes during a pause finds the pool
    empty and waits for the lock, and one that was at work brings its reader back to the pool it came from.
    """

    def __init__(
        self, begin: Callable[[], lmdb.Transaction[bytes]], handles: dict[str, lmdb._Database]
    ) -> None:
        self.begin = begin
        self.idle: Pool = deque()
        self._handles = handles
        self._lock = threading.Lock()
        self._count = 0

    def add(self) -> tuple[Pool, ReadTxn]:
        """One more reader, and the pool it goes to afterwards. Waits while there is a pause."""
        with self._lock:
            self._count += 1
            return self.idle, ReadTxn(self._handles)

    def open_count(self) -> int:
        """Read transactions open now."""
        return max(0, self._count - len(self.idle))

    def wait_for_other(self, begin: Callable[[], lmdb.Transaction[bytes]], cause: lmdb.Error) -> None:
        """Return when transactions are begun in another way than this one.

        Raises:
            StorageAborted: that takes too long.
        """
        end_s = monotonic() + REOPEN_WAIT_S
        while self.begin == begin:
            if monotonic() > end_s:
                raise translate(cause) from cause
            sleep(PAUSE_POLL_S)

    @contextmanager
    def paused(self, wait_s: float = PAUSE_WAIT_S) -> Iterator[bool]:
        """Have no read transaction open inside the block; False if one stays open for too long.

        Args:
            wait_s: How long that is, in seconds.
        """
        with self._lock:
            old, self.idle = self.idle, deque()
            taken: list[ReadTxn] = []
            end_s = monotonic() + wait_s
            try:
                while len(taken) < self._count and monotonic() < end_s:
                    try:
                        taken.append(old.pop())
                    except IndexError:
                        sleep(PAUSE_POLL_S)
                yield len(taken) == self._count
            finally:
                old.extend(taken)
                self.idle = old


class View:
    """A read transaction in a `with` block; a class, as `contextlib` costs more than the transaction."""

    __slots__ = ("_pool", "_readers", "_txn")

    def __init__(self, readers: ReaderPool) -> None:
        self._readers = readers

    def __enter__(self) -> ReadTxn:
        readers = self._readers
        self._pool = pool = readers.idle
        try:
            txn = pool.pop()
        except IndexError:
            self._pool, txn = readers.add()
        begin = readers.begin
        try:
            txn.bind(begin())
        except lmdb.PanicError as error:
            # A commit has just failed, and the file is being opened anew.
            self._pool.append(txn)
            readers.wait_for_other(begin, error)
            return self.__enter__()
        except BaseException:
            self._pool.append(txn)
            raise
        self._txn = txn
        return txn

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._txn.raw.abort()
        self._pool.append(self._txn)
        if isinstance(error, lmdb.Error):
            fault = translate(error)
            if fault is not error:
                raise fault from error
