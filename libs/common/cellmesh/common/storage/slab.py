"""A cell's one LMDB environment: opening, transactions, snapshots, copies, figures. `upkeep.py` has the rest."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from cellmesh.common.errors import BackupAlreadyRunning, BadState, CellError, Retry
from cellmesh.common.failpoints import load_environment
from cellmesh.common.storage.compaction import remove_unfinished
from cellmesh.common.storage.copying import Meta, SlabCopy, read_meta
from cellmesh.common.storage.creation import create_file
from cellmesh.common.storage.environment import (
    DATA_FILE,
    MAP_SIZE_BYTES,
    free_space_bytes,
    open_environment,
    whole_pages,
)
from cellmesh.common.storage.faults import translate
from cellmesh.common.storage.gate import AckGate
from cellmesh.common.storage.layout import DEFAULT_LAYOUT, META, PROBE_KEY, Layout, stamp, stored_version
from cellmesh.common.storage.lockfile import FolderLock
from cellmesh.common.storage.readers import View
from cellmesh.common.storage.session import Session
from cellmesh.common.storage.snapshot import STALL_MAX_S, Snapshot
from cellmesh.common.storage.state_hash import StateHash, hash_state
from cellmesh.common.storage.subdb import SubDb
from cellmesh.common.storage.transactions import ReadTxn, WriteTxn
from cellmesh.common.storage.upkeep import SlabUpkeep
from cellmesh.common.storage.writer import BURST_ALONE_S, BURST_SHARED_S

T = TypeVar("T")

logger = logging.getLogger(__name__)

SPACE_MIN_BYTES = 64 << 20
"""Writes stop while the disk has less room than this, so that nothing fails half-way."""

PROBE_SIZE = 1 << 20
"""So much is written to find out whether there is room again, in bytes."""

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


class Slab(SlabUpkeep):
    """A cell's one LMDB environment. Made by `open`; safe to use from many threads."""

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
            create_file(data, whole_pages(map_size_bytes))
        else:
            map_size_bytes = max(map_size_bytes, 2 * data.stat().st_size)
        environment = open_environment(path, map_size_bytes, len(databases), sync)
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


def _sync_path(path: Path) -> None:
    """Return when a file's content, or a folder's names, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


__all__ = [
    "DATA_FILE",
    "MAP_SIZE_BYTES",
    "PROBE_SIZE",
    "SPACE_MIN_BYTES",
    "Slab",
    "SlabStats",
    "free_space_bytes",
]
