"""A cell's one LMDB environment: opening, read transactions, growth, space, backup, figures."""

from __future__ import annotations

import logging
import mmap
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Self, TypeVar

import lmdb
from cellmesh.common.errors import (
    BackupAlreadyRunning,
    BadState,
    CellError,
    LowSpace,
    Retry,
    StorageAborted,
    StorageFull,
)
from cellmesh.common.failpoints import failpoint, load_environment
from cellmesh.common.files import sync_folder
from cellmesh.common.storage.compaction import remove_unfinished
from cellmesh.common.storage.copying import Meta, SlabCopy, read_meta
from cellmesh.common.storage.creation import create_file
from cellmesh.common.storage.faults import is_map_full, translate
from cellmesh.common.storage.gate import AckGate
from cellmesh.common.storage.layout import DEFAULT_LAYOUT, META, PROBE_KEY, Layout, stamp, stored_version
from cellmesh.common.storage.lockfile import FolderLock
from cellmesh.common.storage.noting import Notes, NotingTxn
from cellmesh.common.storage.readers import ReaderPool, View
from cellmesh.common.storage.recovery import is_usable, settle
from cellmesh.common.storage.session import Session
from cellmesh.common.storage.snapshot import STALL_MAX_S, Snapshot
from cellmesh.common.storage.state_hash import StateHash, hash_state
from cellmesh.common.storage.subdb import SubDb
from cellmesh.common.storage.transactions import ReadTxn, WriteTxn
from cellmesh.common.storage.writer import BURST_ALONE_S, BURST_SHARED_S, Writer

T = TypeVar("T")

logger = logging.getLogger(__name__)

MAP_SIZE_BYTES = 64 << 30
"""Address space for the file, not disk: the file has only the pages written."""

SPACE_MIN_BYTES = 64 << 20
"""Writes stop while the disk has less room than this, so that nothing fails half-way."""

SPACE_CHECK_S = 1.0

RETIRE_S = 1.0
"""How long after compaction the old file is let go."""

PROBE_SIZE = 1 << 20
"""So much is written to find out whether there is room again, in bytes."""

MAKE_ROOM = "make room on the disk: writes go on by themselves then"
READER_COUNT_MAX = 2048

DATA_FILE = "data.mdb"

COPY = "copy"
"""The purpose of a snapshot that is copied."""


@dataclass(frozen=True, slots=True)
class SlabStats:
    """Figures of a slab.

    Attributes:
        map_size_bytes: Size of the map now.
        used_bytes: The part of the file that has been used at some time.
        entries: Items in each database.
        readers: Read transactions open now.
        commits: Commits since it was opened; each has synced the file.
        aborts: Transactions rolled back since it was opened.
        shared_ops: Ops that ran in the transaction of another session.
        growths: How often the map grew.
    """

    map_size_bytes: int
    used_bytes: int
    entries: dict[str, int]
    readers: int
    commits: int
    aborts: int
    shared_ops: int
    growths: int


class Slab:
    """A cell's one LMDB environment. Made by `open`; safe to use from many threads."""

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
        self._handles = _open_databases(environment, databases)
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

    @classmethod
    def open(
        cls,
        path: Path,
        databases: Sequence[SubDb],
        *,
        map_size_bytes: int = MAP_SIZE_BYTES,
        sync: bool = True,
        layout: Layout | None = None,
        space_min_bytes: int = SPACE_MIN_BYTES,
        burst_shared_s: float = BURST_SHARED_S,
        burst_alone_s: float = BURST_ALONE_S,
    ) -> Slab:
        """Open the slab in a folder, and make it if there is none.

        Args:
            path: The slab's folder (a cell's DIR/slab): gets data.mdb, lock.mdb and lock.
            databases: All databases of the cell.
            map_size_bytes: Least size of the map; it grows by itself.
            sync: False only in tests: a commit then survives the process, but not the machine.
            layout: What the program expects; see `layout.py`.
            space_min_bytes: Free space on the disk below which no write starts.
            burst_shared_s: How long a session may keep the write transaction when others wait.
            burst_alone_s: The same while nobody waits.

        Raises:
            StorageLocked: a process has it open.
            BadStorageVersion: it has a layout that this program can neither use nor migrate.
            StorageCorrupt: the file is not an LMDB file, or damaged.
        """
        load_environment()
        path.mkdir(parents=True, exist_ok=True)
        names = [db.name for db in databases]
        assert len({META.name, *names}) == len(names) + 1, f"database names clash: {names}"
        lock = FolderLock(path)
        try:
            remove_unfinished(path)
            slab = cls._open(
                path, lock, (META, *databases), map_size_bytes, sync, layout or DEFAULT_LAYOUT,
                space_min_bytes, burst_shared_s, burst_alone_s,
            )  # fmt: skip
        except BaseException as error:
            lock.release()
            fault = translate(error)
            if fault is error:
                raise
            raise fault from error
        return slab

    @classmethod
    def _open(
        cls,
        path: Path,
        lock: FolderLock,
        databases: tuple[SubDb, ...],
        map_size_bytes: int,
        sync: bool,
        layout: Layout,
        space_min_bytes: int,
        burst_shared_s: float,
        burst_alone_s: float,
    ) -> Slab:
        data = path / DATA_FILE
        is_new = not data.exists()
        if is_new:
            create_file(data, _whole_pages(map_size_bytes))
        else:
            map_size_bytes = max(map_size_bytes, 2 * data.stat().st_size)
        environment = _open_environment(path, map_size_bytes, len(databases), sync)
        if is_new:
            # Else a power cut could take the folder's name with it, and all that was acknowledged.
            _sync_path(path.parent)
        try:
            # Before any database is made: a refused file stays as it was.
            if META.name.encode() in environment.dbs():
                meta = ReadTxn({META.name: environment.open_db(META.name.encode(), create=False)})
                with environment.begin() as raw:
                    meta.bind(raw)
                    stored_version(meta, layout, str(path))
            slab = cls(
                path,
                environment,
                lock,
                databases,
                space_min_bytes=space_min_bytes,
                burst_shared_s=burst_shared_s,
                burst_alone_s=burst_alone_s,
            )
            slab._bring_up(layout)
        except BaseException:
            environment.close()
            raise
        return slab

    def _bring_up(self, layout: Layout) -> None:
        with self.view() as txn:
            version = stored_version(txn, layout, str(self.path))
        if version is None:
            self.write(lambda txn: stamp(txn, layout, layout.version))
            return
        for step in layout.migrations:
            if step.to_version <= version:
                continue
            logger.info("storage layout %s: %s", step.to_version, step.doc)

            def run(
                txn: WriteTxn, run: Callable[[WriteTxn], None] = step.run, to: int = step.to_version
            ) -> None:
                txn.touched = True
                run(txn)
                stamp(txn, layout, to)

            self.write(run)

    # Use.

    def session(self, *, privileged: bool = False) -> Session:
        """A new unit of work.

        Args:
            privileged: Whether it passes the gate: for a follower's own writes.
        """
        return Session(self, self._writer, is_privileged=privileged)

    @property
    def gate(self) -> AckGate | None:
        """What may hold or refuse writes and acknowledgements; None: nothing does. See `gate.py`."""
        return self._writer.gate

    @gate.setter
    def gate(self, gate: AckGate | None) -> None:
        self._writer.gate = gate

    def view(self) -> View:
        """A read transaction for one chunk of work: `with slab.view() as txn`."""
        return View(self._readers)

    def write(self, op: Callable[[WriteTxn], T], *, privileged: bool = False) -> T:
        """Run one op and return when it is committed and synced, and may be acknowledged; see `Session.write`."""
        session = Session(self, self._writer, is_privileged=privileged)
        try:
            result = self._writer.enter(session, op, durable=True)
            session.sync()
        finally:
            session.close()
        return result

    def write_then(
        self, op: Callable[[WriteTxn], T], then: Callable[[], None], *, privileged: bool = False
    ) -> T:
        """As `write`, in a transaction of its own, and call a function before anyone writes more.

        Args:
            op: What to write.
            then: Called when it is committed and synced, and the newest committed state is the one that the op
                left: a snapshot begun here is of that very state. Writes wait for it, so it takes no longer than
                beginning one. It runs whatever a gate says of the acknowledgement afterwards.
            privileged: As for `session`.
        """
        session = Session(self, self._writer, is_privileged=privileged, is_exclusive=True)
        try:
            result = self._writer.enter(session, op)
            self._writer.batch.then = then
            session.sync()
        finally:
            session.close()
        return result

    @property
    def trouble(self) -> CellError | None:
        """Why a write found no room, LowSpace or StorageFull; None when there is room again, see `probe`."""
        return self._trouble

    def probe(self) -> None:
        """Commit a write of some size and take it back, to find out whether there is room again.

        A small one would find a free page in a file that cannot grow.

        Raises:
            LowSpace, StorageFull: there is none.
        """
        self.write(lambda txn: txn.put(META, PROBE_KEY, bytes(PROBE_SIZE)), privileged=True)
        self.write(lambda txn: txn.put(META, PROBE_KEY, b""), privileged=True)
        self._trouble = None

    @property
    def space_min_bytes(self) -> int:
        """Free space on the disk below which no write starts."""
        return self._space_min_bytes

    @property
    def commit_count(self) -> int:
        """Commits since the slab was opened."""
        return self._writer.commit_count

    def wait_for_commit(self, seen_count: int, timeout_s: float) -> int:
        """Wait until `commit_count` differs from what the caller saw; returns it, changed or not."""
        writer = self._writer
        if writer.commit_count == seen_count:
            writer.wait_for_end(timeout_s, lambda: writer.commit_count != seen_count)
        return writer.commit_count

    def wait_durable(self, txn_id: int) -> None:
        """Return when the state that a read transaction of this id (`txn.raw.id()`) saw is on disk.

        LMDB shows a commit to readers some microseconds before its sync has ended. Whoever passes on what
        it read to where it must not outlive a power cut here, as a change log does, waits for that.
        """
        writer = self._writer
        while writer.durable_txn_id < txn_id:
            writer.wait_for_end(1.0, lambda: writer.durable_txn_id >= txn_id)

    def data_bytes(self, txn: ReadTxn) -> int:
        """What the pages of all databases take in a state; the free ones are not in it."""
        return sum(txn.size_bytes(db) for db in self._databases)

    def stats(self) -> SlabStats:
        """Figures for metrics and people."""
        info = self._environment.info()
        with self.view() as txn:
            entries = {db.name: txn.entries(db) for db in self._databases}
        return SlabStats(
            map_size_bytes=info["map_size"],
            used_bytes=(info["last_pgno"] + 1) * self._page_size,
            entries=entries,
            readers=self._readers.open_count(),
            commits=self._writer.commit_count,
            aborts=self._writer.abort_count,
            shared_ops=self._writer.shared_op_count,
            growths=self._growth_count,
        )

    def copy(
        self, look: Callable[[ReadTxn], None] = lambda txn: None, *, stall_max_s: float = STALL_MAX_S
    ) -> SlabCopy:
        """Begin a copy of the newest committed state, to be read while others go on: `with slab.copy()`.

        Args:
            look: Called with a transaction of the very state that is copied.
            stall_max_s: The copy ends when nothing of it was taken for so long.

        Raises:
            BackupAlreadyRunning: another copy is being made.
        """
        file = self.path / DATA_FILE
        handles: list[int] = []
        meta: list[Meta] = []

        def begin(txn: ReadTxn) -> None:
            # Opened here, where compaction cannot put another file in its place.
            handles.append(os.open(file, os.O_RDONLY | os.O_CLOEXEC))
            meta.append(read_meta(handles[0], txn.raw.id(), self._page_size, str(file)))
            look(txn)

        try:
            return SlabCopy(self.snapshot(COPY, begin, stall_max_s=stall_max_s), meta[0], handles[0])
        except BaseException:
            for handle in handles:
                os.close(handle)
            raise

    def snapshot(
        self,
        purpose: str,
        look: Callable[[ReadTxn], None] = lambda txn: None,
        *,
        stall_max_s: float = STALL_MAX_S,
    ) -> Snapshot:
        """Keep the newest committed state open, for more than a chunk of work: `with slab.snapshot("check")`.

        Args:
            purpose: What for, in words: one at a time for each.
            look: Called with a transaction of the state, while no commit runs.
            stall_max_s: It ends when nothing was read for so long.

        Raises:
            BackupAlreadyRunning: another copy is being made.
            BadState: there is another one for the same purpose.
        """
        with self._snapshots_lock:
            other = self._snapshots.get(purpose)
            if other is not None and other.is_open:
                if purpose == COPY:
                    raise BackupAlreadyRunning("another copy of the storage is being made: one at a time")
                raise BadState(f"another {purpose} of the storage is running: one at a time", name=purpose)
            txn = ReadTxn(self._handles)
            # What is committed under this lock is on disk, so a snapshot never has what its cell could still lose.
            with self._commit_lock:
                txn.bind(self._environment.begin())
                try:
                    look(txn)
                except BaseException:
                    txn.raw.abort()
                    raise
            found = Snapshot(txn, purpose, stall_max_s)
            self._snapshots[purpose] = found
            return found

    def state_hash(
        self, databases: Sequence[SubDb] | None = None, look: Callable[[ReadTxn], None] = lambda txn: None
    ) -> StateHash:
        """Hash the newest committed state, while others go on; see `state_hash.py`.

        Args:
            databases: Which; left out, all. Those that are local to the cell are left out either way.
            look: Called with a transaction of the very state that is hashed.

        Raises:
            BadState: another one is being computed.
            Retry: the database had to grow.
        """
        with self.snapshot("state hash", look) as snapshot:
            return hash_state(snapshot, self._databases if databases is None else databases)

    def backup(self, path: Path) -> None:
        """Write a synced copy of the newest committed state, as path/data.mdb, while others go on."""
        path.mkdir(parents=True, exist_ok=True)
        with (path / DATA_FILE).open("wb") as file, self.copy() as copy:
            for chunk in copy.chunks():
                file.write(chunk)
        for written in (path / DATA_FILE, path, path.parent):
            _sync_path(written)

    def close(self) -> None:
        """Close the file. No session may be open."""
        self._writer.close()
        with self._snapshots_lock:
            for snapshot in self._snapshots.values():
                snapshot.stop(Retry("the storage is being closed"))
        self._environment.close()
        if self._retired is not None:
            self._retired.close()
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

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
        environment = _open_environment(folder, info["map_size"], len(self._databases), flags["sync"])
        try:
            handles = _open_databases(environment, self._databases)
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
                    environment = _open_environment(
                        self.path, info["map_size"], len(self._databases), flags["sync"]
                    )
                    self._environment = environment
                    self._handles.update(_open_databases(environment, self._databases))
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
        map_size_bytes = _whole_pages(2 * self._environment.info()["map_size"])
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
                elif not _has_address_space(map_size_bytes):
                    logger.error(
                        "the map of %s cannot grow to %d bytes of address space", self.path, map_size_bytes
                    )
                else:
                    failpoint("slab_before_growth")
                    self._environment.set_mapsize(map_size_bytes)
                    self._growth_count += 1
                    failpoint("slab_after_growth")


def free_space_bytes(path: Path) -> int:
    """The room left for this user on the disk of a path."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


def _open_environment(path: Path, map_size_bytes: int, database_count: int, sync: bool) -> lmdb.Environment:
    return lmdb.open(
        str(path),
        map_size=_whole_pages(map_size_bytes),
        max_dbs=database_count + 8,
        max_readers=READER_COUNT_MAX,
        max_spare_txns=64,
        sync=sync,
        metasync=sync,
        # Cells read at random; what the kernel reads ahead would push out what is used.
        readahead=False,
    )


def _open_databases(environment: lmdb.Environment, databases: Sequence[SubDb]) -> dict[str, lmdb._Database]:
    """Open all databases, and make those that are not there: in one transaction, which costs one sync."""
    with environment.begin(write=True) as txn:
        return {
            db.name: environment.open_db(
                db.name.encode(), txn=txn, dupsort=db.dupsort, dupfixed=db.dupfixed > 0
            )
            for db in databases
        }


def _whole_pages(size_bytes: int) -> int:
    return -(-size_bytes // 65536) * 65536


def _has_address_space(size_bytes: int) -> bool:
    """Whether a map of this size can be had: LMDB would be left without any if it failed in growing."""
    try:
        mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ).close()
    except (OSError, OverflowError):
        return False
    return True


def _sync_path(path: Path) -> None:
    """Return when a file's content, or a folder's names, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
