"""Compaction of a slab in use: its file is rewritten without free pages while reads and writes go on.

    copy      a process of its own copies one state; from that state on, each item written is noted
    catch up  in rounds: what was noted is looked up in the live data and brought to the copy
    swap      when little is left, writes wait: the rest is brought over, the copy is synced and renamed over the
              file, the folder is synced, and reads and writes go on in the new file

Until the rename the old file has everything, from it on the new one, which is whole and on disk before. So a kill
at any moment leaves one or the other, and what is left of a copy is removed at the next start.

LMDB's transaction numbers go on: the copy gets the number of the state that it holds, in both its meta pages.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import lmdb
from cellmesh.common.errors import CellError, InconsistentStorage, LowSpace, Retry, StorageAborted
from cellmesh.common.failpoints import failpoint
from cellmesh.common.storage import compaction_copy
from cellmesh.common.storage.compaction import DATA_FILE, NEW_FOLDER, Compacted, remove_unfinished
from cellmesh.common.storage.copying import set_txn_id
from cellmesh.common.storage.faults import translate
from cellmesh.common.storage.noting import Notes
from cellmesh.common.storage.transactions import ReadTxn

if TYPE_CHECKING:
    from cellmesh.common.storage.slab import Slab
    from cellmesh.common.storage.snapshot import Snapshot

PURPOSE: Final = "compaction"

NOTES_MAX: Final = 1_000_000
"""Items of one database noted between two rounds; beyond, compaction is given up."""

REST_MAX: Final = 500
"""The swap begins when no more items than that are left: they are brought over while writes wait."""

REST_LATE_MAX: Final = 5_000
"""The same after `PATIENT_ROUNDS`, for a cell that is never quiet."""

PATIENT_ROUNDS: Final = 20
ROUNDS_MAX: Final = 200

STEP_COUNT: Final = 500
"""Items brought over between two pauses."""

POLL_S: Final = 0.05
READERS_WAIT_S: Final = 0.02
"""How long the swap waits for readers to end their chunks, before it is put off."""

HELPER_WAIT_S: Final = 30.0
BEGIN_WAIT_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class CompactionProgress:
    """How far a compaction is.

    Attributes:
        written_bytes: Bytes of the copy.
        size_bytes: About how many there will be.
        rounds: Rounds of catching up.
    """

    written_bytes: int
    size_bytes: int
    rounds: int


def compact_online(
    slab: Slab, check: Callable[[], None] = lambda: None
) -> Iterator[CompactionProgress | Compacted]:
    """Rewrite the file of a slab in use; the last item tells what was done.

    Args:
        slab: Whose file; reads and writes go on.
        check: Called often; what it raises ends the work, and the old file stays.

    Raises:
        BadState: it is being compacted already.
        LowSpace: the disk has no room for a second file.
        Retry: the database had to grow, a copy of it is being made, or writes were too many to catch up with.
        StorageAborted: the helping process failed.
        InconsistentStorage: the copy is not the same. It is removed.
    """
    work = _Compaction(slab, check)
    try:
        yield from work.run()
    except (lmdb.Error, OSError) as error:
        raise translate(error) from error
    finally:
        work.clean_up()


class _Compaction:
    def __init__(self, slab: Slab, check: Callable[[], None]) -> None:
        self._slab = slab
        self._check = check
        self._data = slab.path / DATA_FILE
        self._folder = slab.path / NEW_FOLDER
        self._new = self._folder / DATA_FILE
        self._notes = Notes(NOTES_MAX)
        self._helper: subprocess.Popen[str] | None = None
        self._target: _Target | None = None
        self._pause_s = 0.0
        self._is_mine = False

    def run(self) -> Iterator[CompactionProgress | Compacted]:
        slab = self._slab
        slab.begin_compaction()
        self._is_mine = True
        before_bytes = self._data.stat().st_size
        with slab.view() as txn:
            size_bytes = slab.data_bytes(txn)
        self._check_room(size_bytes)
        remove_unfinished(slab.path)
        self._folder.mkdir(mode=0o700)
        for written in self._copy():
            yield CompactionProgress(written, max(size_bytes, written), 0)
        failpoint("compact_copied")
        self._target = _Target(self._new, slab)
        for rounds in range(1, ROUNDS_MAX + 1):
            self._check()
            failpoint("compact_round")
            self._catch_up()
            written = self._size()
            yield CompactionProgress(written, max(size_bytes, written), rounds)
            rest_max = REST_MAX if rounds <= PATIENT_ROUNDS else REST_LATE_MAX
            if self._notes.count <= rest_max:
                if self._swap(rest_max):
                    break
                time.sleep(POLL_S)
        else:
            raise Retry(
                "the compacted copy did not catch up with writes, or a backup was being made all the time",
                hint="run it again when the cell is less busy",
            )
        yield Compacted(before_bytes, self._data.stat().st_size, int(self._pause_s * 1_000_000))

    def clean_up(self) -> None:
        if not self._is_mine:
            return
        if self._helper is not None and self._helper.poll() is None:
            self._helper.kill()
            self._helper.wait()
        if self._target is not None:
            self._target.close()
        remove_unfinished(self._slab.path)
        self._slab.end_compaction()

    # Copy.

    def _copy(self) -> Iterator[int]:
        helper = self._helper = subprocess.Popen(
            [
                # By its path, and isolated: it needs nothing of Cellmesh, and starts within some milliseconds.
                sys.executable,
                "-I",
                compaction_copy.__file__,
                str(self._data),
                str(self._new),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._expect("ready", HELPER_WAIT_S)
        begun: list[Snapshot | CellError] = []

        def then() -> None:
            self._slab.note_writes(self._notes)
            try:
                begun.append(self._slab.snapshot(PURPOSE, lambda txn: self._begin_copy()))
            except CellError as error:
                begun.append(error)

        # No write transaction is open here, so the notes miss nothing that the copied state has not.
        self._slab.write_then(lambda txn: None, then, privileged=True)
        snapshot = begun[0]
        if isinstance(snapshot, CellError):
            raise snapshot
        with snapshot:
            grown_s, written = time.monotonic(), 0
            while helper.poll() is None:
                self._check()
                snapshot.touch()
                size = self._size()
                if size != written:
                    grown_s, written = time.monotonic(), size
                elif time.monotonic() - grown_s > HELPER_WAIT_S:
                    raise StorageAborted("the process that copies the database does not get on")
                yield written
                time.sleep(POLL_S)
        if helper.returncode != 0:
            raise StorageAborted(f"the database could not be copied: {self._errors()}")

    def _size(self) -> int:
        try:
            return self._new.stat().st_size
        except FileNotFoundError:
            return 0

    def _begin_copy(self) -> None:
        helper = self._helper
        assert helper is not None
        assert helper.stdin is not None
        helper.stdin.write("go\n")
        helper.stdin.flush()
        self._expect("begun", BEGIN_WAIT_S)

    def _expect(self, word: str, timeout_s: float) -> None:
        helper = self._helper
        assert helper is not None
        assert helper.stdout is not None
        ready, _, _ = select.select([helper.stdout], [], [], timeout_s)
        if not ready or helper.stdout.readline().strip() != word:
            helper.kill()
            raise StorageAborted(f"the process that copies the database does not start: {self._errors()}")

    def _errors(self) -> str:
        helper = self._helper
        assert helper is not None
        assert helper.stderr is not None
        return helper.stderr.read().strip()[-500:] or f"exit code {helper.returncode}"

    def _check_room(self, size_bytes: int) -> None:
        from cellmesh.common.storage.slab import free_space_bytes

        free, keep = free_space_bytes(self._slab.path), self._slab.space_min_bytes
        if free - size_bytes < keep:
            raise LowSpace(
                f"the disk has {free} bytes left; the new file needs {size_bytes}, and {keep} stay free",
                name=str(self._slab.path),
                free=free,
                need=size_bytes + keep,
            )

    # Catching up.

    def _catch_up(self) -> None:
        taken: list[Notes] = []
        self._slab.write_then(lambda txn: None, lambda: taken.append(self._notes.take()), privileged=True)
        self._check_notes(taken[0])
        target = self._target
        assert target is not None
        for step in _steps(taken[0]):
            self._check()
            with self._slab.view() as txn:
                target.bring(txn, step)
            # Others want the interpreter too.
            time.sleep(0.0005)
        target.sync()

    def _check_notes(self, notes: Notes) -> None:
        if notes.is_lost or self._notes.is_lost:
            raise Retry(
                "more was written during the compaction than can be noted",
                hint="run it again when the cell is less busy",
            )

    # Swap.

    def _swap(self, rest_max: int) -> bool:
        """Put the new file in the place of the old one; False if it cannot be done now, and nothing happened."""
        done: list[bool | BaseException] = []

        def then() -> None:
            start_s = time.perf_counter()
            try:
                done.append(self._swap_while_writes_wait(rest_max))
            except BaseException as error:  # noqa: BLE001  raised below, outside of the writer
                done.append(error)
            self._pause_s = time.perf_counter() - start_s

        self._slab.write_then(lambda txn: None, then, privileged=True)
        result = done[0]
        if isinstance(result, BaseException):
            raise result
        return result

    def _swap_while_writes_wait(self, rest_max: int) -> bool:
        slab, target = self._slab, self._target
        assert target is not None
        if self._notes.count > rest_max:
            return False
        with slab.alone(READERS_WAIT_S) as is_quiet:
            if not is_quiet:
                return False
            rest = self._notes.take()
            self._check_notes(rest)
            with slab.view_alone() as txn:
                for step in _steps(rest):
                    target.bring(txn, step)
                target.check_same(txn)
            target.close()
            self._target = None
            with self._new.open("r+b") as file:
                set_txn_id(file.fileno(), slab.durable_txn_id, slab.page_size_bytes)
                os.fsync(file.fileno())
            self._new.chmod(self._data.stat().st_mode & 0o777)
            slab.replace_file(self._folder)
            slab.note_writes(None)
            return True


_Step = tuple[str, list[bytes], list[tuple[bytes, bytes]]]


def _steps(notes: Notes) -> Iterator[_Step]:
    """The notes in parts, by database: keys, and pairs."""
    for name, keys in notes.keys.items():
        found = sorted(keys)
        for start in range(0, len(found), STEP_COUNT):
            yield name, found[start : start + STEP_COUNT], []
    for name, pairs in notes.pairs.items():
        ordered = sorted(pairs)
        for start in range(0, len(ordered), STEP_COUNT):
            yield name, [], ordered[start : start + STEP_COUNT]


class _Target:
    """The copy, open to be brought up to date. A crash loses all of it, so nothing is synced but by `sync`."""

    def __init__(self, path: Path, slab: Slab) -> None:
        self._environment = lmdb.open(
            str(path),
            subdir=False,
            lock=False,
            sync=False,
            map_size=slab.stats().map_size_bytes,
            max_dbs=len(slab.databases) + 8,
            readahead=False,
        )
        self._databases = {db.name: db for db in slab.databases}
        self._handles = {
            db.name: self._environment.open_db(db.name.encode(), dupsort=db.dupsort, dupfixed=db.dupfixed > 0)
            for db in slab.databases
        }

    def bring(self, source: ReadTxn, step: _Step) -> None:
        """Make some items what they are in the source."""
        name, keys, pairs = step
        db, handle = self._databases[name], self._handles[name]
        with self._environment.begin(write=True) as txn:
            for key in keys:
                if db.dupsort:
                    txn.delete(key, db=handle)
                    values = source.values(db, key)
                    if values:
                        with txn.cursor(handle) as cursor:
                            cursor.putmulti([(key, value) for value in values])
                    continue
                found = source.get(db, key)
                if found is None:
                    txn.delete(key, db=handle)
                else:
                    txn.put(key, found, db=handle)
            for key, value in pairs:
                if source.has(db, key, value):
                    txn.put(key, value, db=handle)
                else:
                    txn.delete(key, value, db=handle)

    def check_same(self, source: ReadTxn) -> None:
        """Raise InconsistentStorage if a database has not as many items as in the source."""
        with self._environment.begin() as txn:
            for name, db in self._databases.items():
                found, expected = txn.stat(self._handles[name])["entries"], source.entries(db)
                if found != expected:
                    raise InconsistentStorage(
                        f"the compacted copy has {found} items in {name}, and not {expected}: the old file stays",
                        name=name,
                    )

    def sync(self) -> None:
        self._environment.sync(True)

    def close(self) -> None:
        self._environment.close()


__all__ = ["CompactionProgress", "compact_online"]
