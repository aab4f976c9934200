"""What happens to a slab's file while it is in use: it grows, finds no room, is opened anew, gives way to another.

`SlabUpkeep` is the lower half of `Slab`: its state, and what the writer and compaction ask of it. Whoever uses a
slab needs nothing of it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import lmdb
from cellmesh.common.errors import BadState, CellError, LowSpace, Retry, StorageAborted, StorageFull
from cellmesh.common.failpoints import failpoint
from cellmesh.common.files import sync_folder
from cellmesh.common.storage.environment import (
    DATA_FILE,
    free_space_bytes,
    has_address_space,
    open_databases,
    open_environment,
    whole_pages,
)
from cellmesh.common.storage.faults import is_map_full
from cellmesh.common.storage.lockfile import FolderLock
from cellmesh.common.storage.noting import Notes, NotingTxn
from cellmesh.common.storage.readers import ReaderPool
from cellmesh.common.storage.recovery import is_usable, settle
from cellmesh.common.storage.snapshot import Snapshot
from cellmesh.common.storage.subdb import SubDb
from cellmesh.common.storage.transactions import ReadTxn, WriteTxn
from cellmesh.common.storage.writer import Writer

logger = logging.getLogger(__name__)

SPACE_CHECK_S = 1.0

RETIRE_S = 1.0
"""How long after compaction the old file is let go."""

MAKE_ROOM = "make room on the disk: writes go on by themselves then"


class SlabUpkeep:
    """A slab as the writer and compaction see it. Made by `Slab.open`."""

    def __init__(
        self,
        path: Path,
        environment: lmdb.Environment,
        lock: FolderLock,
        databases: Sequence[SubDb],
        *,
        space_min_bytes: int,
        burst_shared_s: float,
        burst_alone_s: float,
    ) -> None:
        self.path = path
        self._environment = environment
        self._page_size = environment.stat()["psize"]
        self._lock = lock
        self._databases = tuple(databases)
        self._space_min_bytes = space_min_bytes
        self._space_checked_s = float("-inf")
        self._handles = open_databases(environment, databases)
        self._readers = ReaderPool(environment.begin, self._handles)
        self._growth_count = 0
        self._snapshots: dict[str, Snapshot] = {}
        self._snapshots_lock = threading.Lock()
        self._commit_lock = threading.Lock()
        self._trouble: CellError | None = None
        self._must_settle = False
        self._is_compacting = False
        self._retired: lmdb.Environment | None = None
        last_txn_id = environment.info()["last_txnid"]
        self._writer = Writer(self, WriteTxn(self._handles), last_txn_id, burst_shared_s, burst_alone_s)

    # For compaction; see `online.py`.

    @property
    def databases(self) -> tuple[SubDb, ...]:
        """All databases, the storage's own too."""
        return self._databases

    @property
    def page_size_bytes(self) -> int:
        """The size of a page of the file."""
        return self._page_size

    @property
    def durable_txn_id(self) -> int:
        """LMDB's id of the last transaction that was committed and synced."""
        return self._writer.durable_txn_id

    def begin_compaction(self) -> None:
        """Note that one runs. Raises BadState if one does."""
        with self._snapshots_lock:
            if self._is_compacting:
                raise BadState("the storage is being compacted already")
            self._is_compacting = True

    def end_compaction(self) -> None:
        """Note that it has ended, however."""
        self.note_writes(None)
        self._is_compacting = False

    def note_writes(self, notes: Notes | None) -> None:
        """Note all items written in transactions begun from now on; None: no longer."""
        if notes is None:
            self._writer.next_txn = WriteTxn(self._handles)
        else:
            self._writer.next_txn = NotingTxn(self._handles, self._databases, notes)

    @contextmanager
    def alone(self, wait_s: float) -> Iterator[bool]:
        """Have no reader and no snapshot inside the block, whose thread keeps writes out; False if there is one.

        Args:
            wait_s: How long readers of the moment have to end their chunks, in seconds.
        """
        with self._snapshots_lock:
            if any(snapshot.is_open for snapshot in self._snapshots.values()):
                yield False
                return
            with self._readers.paused(wait_s) as is_quiet:
                yield is_quiet

    @contextmanager
    def view_alone(self) -> Iterator[ReadTxn]:
        """A read transaction inside of `alone`, where `view` would wait."""
        txn = ReadTxn(self._handles)
        with self._environment.begin() as raw:
            txn.bind(raw)
            yield txn

    def replace_file(self, folder: Path) -> None:
        """Go on in another file with the same state, which gets the place of this one. Inside of `alone`.

        Args:
            folder: Has the file, as data.mdb, synced. It is removed.
        """
        info, flags = self._environment.info(), self._environment.flags()
        environment = open_environment(folder, info["map_size"], len(self._databases), flags["sync"])
        try:
            handles = open_databases(environment, self._databases)
            failpoint("slab_before_compact_swap")
            (folder / DATA_FILE).replace(self.path / DATA_FILE)
        except BaseException:
            environment.close()
            raise
        # From here on there is only the new file, and nothing may fail before it is the one in use.
        self._retire(self._environment)
        self._environment = environment
        self._handles.update(handles)
        self._readers.begin = environment.begin
        try:
            sync_folder(self.path)
        except OSError:
            # Until the name is on disk nothing may be acknowledged: the next write tries again.
            self._must_settle = True
        failpoint("slab_after_compact_swap")
        for name in (self.path / "lock.mdb", folder / "lock.mdb"):
            # Each environment keeps the table of readers that it has open.
            name.unlink(missing_ok=True)

    def _retire(self, environment: lmdb.Environment) -> None:
        """Close an environment that is out of use, but not now: unmapping it takes its time."""
        if self._retired is not None:
            self._retired.close()
        self._retired = environment
        timer = threading.Timer(RETIRE_S, environment.close)
        timer.daemon = True
        timer.start()

    # For the writer.

    def begin_write(self) -> lmdb.Transaction[bytes]:
        """Open the write transaction, if the disk has room."""
        if self._must_settle:
            self._reopen()
        now_s = monotonic()
        if now_s - self._space_checked_s >= SPACE_CHECK_S:
            free_bytes = free_space_bytes(self.path)
            if free_bytes < self._space_min_bytes:
                self._trouble = LowSpace(
                    f"the disk of {self.path} has {free_bytes} bytes left, writes need {self._space_min_bytes}",
                    name=str(self.path),
                    free=free_bytes,
                    need=self._space_min_bytes,
                    hint=MAKE_ROOM,
                )
                raise self._trouble
            self._space_checked_s = now_s
            if isinstance(self._trouble, LowSpace):
                self._trouble = None
        return self._environment.begin(write=True)

    def commit(self, raw: lmdb.Transaction[bytes]) -> None:
        """Commit the write transaction."""
        with self._commit_lock:
            raw.commit()

    def after_commit(self) -> int:
        """Grow the map if more than half of it is used; no write transaction is open. Returns the last id."""
        info = self._environment.info()
        # First of all, as growing may fail: what is committed is durable.
        self._writer.durable_txn_id = info["last_txnid"]
        if 2 * (info["last_pgno"] + 1) * self._page_size > info["map_size"]:
            self._grow(urgent=False)
        return info["last_txnid"]

    def after_abort(self, cause: BaseException) -> None:
        """Grow the map if it was too small; note it if the disk is full."""
        self._space_checked_s = float("-inf")
        origin: BaseException | None = cause
        while origin is not None:
            if is_map_full(origin):
                self._grow(urgent=True)
                return
            origin = origin.__cause__
        if isinstance(cause, StorageFull):
            cause.set("free", free_space_bytes(self.path))
            cause.set("need", self._space_min_bytes)
            self._trouble = cause
        if self._must_settle or not is_usable(self._environment):
            try:
                self._reopen()
            except CellError as error:
                self._trouble = error

    def _reopen(self) -> None:
        """Open the file anew, which LMDB will not use any more after an error of the disk; see `recovery.py`.

        Raises:
            StorageFull: the disk fails still. Reads go on, and the next write tries anew.
            StorageAborted: a reader is in the way for the moment, or only a restart helps.
        """
        self._must_settle = True
        with self._snapshots_lock:
            if not is_usable(self._environment):
                for snapshot in self._snapshots.values():
                    snapshot.stop(
                        Retry(f"the disk failed during the {snapshot.purpose}", hint="run it again")
                    )
                with self._readers.paused() as is_quiet:
                    if not is_quiet:
                        raise StorageAborted("the storage waits for a reader to end", hint="try it again")
                    info, flags = self._environment.info(), self._environment.flags()
                    self._environment.close()
                    environment = open_environment(
                        self.path, info["map_size"], len(self._databases), flags["sync"]
                    )
                    self._environment = environment
                    self._handles.update(open_databases(environment, self._databases))
                    self._readers.begin = environment.begin
                    logger.warning("the storage in %s was opened anew after an error of the disk", self.path)
        if self._environment.info()["last_txnid"] != self._writer.durable_txn_id:
            raise StorageAborted(
                "a commit failed, and could not be taken back",
                hint="restart the cell: nothing acknowledged is lost",
            )
        try:
            sync_folder(self.path)
            settle(self.path / DATA_FILE, self._page_size)
        except OSError as error:
            raise StorageFull(f"the disk fails: {error}", hint=MAKE_ROOM) from error
        self._must_settle = False

    def _grow(self, *, urgent: bool) -> None:
        """Double the map, while no transaction is open; readers that come meanwhile wait.

        Args:
            urgent: Whether there is no room left at all. Snapshots are stopped then; else they are waited for,
                as half of the map is left.
        """
        map_size_bytes = whole_pages(2 * self._environment.info()["map_size"])
        with self._snapshots_lock:
            for snapshot in self._snapshots.values():
                if snapshot.is_open and not urgent:
                    return
                snapshot.stop(
                    Retry(
                        f"the database had to grow during the {snapshot.purpose}, and writes go first",
                        hint="run it again",
                    )
                )
            with self._readers.paused() as is_quiet:
                if not is_quiet:
                    logger.warning("the map of %s cannot grow yet: a reader keeps its transaction", self.path)
                elif not has_address_space(map_size_bytes):
                    logger.error(
                        "the map of %s cannot grow to %d bytes of address space", self.path, map_size_bytes
                    )
                else:
                    failpoint("slab_before_growth")
                    self._environment.set_mapsize(map_size_bytes)
                    self._growth_count += 1
                    failpoint("slab_after_growth")
