"""Compaction: a database file without its free pages, in the place of the old one. For a slab that is closed.

The copy is written beside the file, synced, opened and counted, and then renamed over it; a kill at any
moment leaves the old file or the new one.
"""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import lmdb
from cellmesh.common.errors import CellError, InconsistentStorage, LowSpace
from cellmesh.common.failpoints import failpoint
from cellmesh.common.files import sync_folder
from cellmesh.common.storage.compaction_copy import copy_items, open_source
from cellmesh.common.storage.faults import translate
from cellmesh.common.storage.lockfile import FolderLock

DATA_FILE: Final = "data.mdb"
NEW_FILE: Final = "data.mdb.compact"
NEW_FOLDER: Final = "compact.new"
"""Where the new file is made while the old one is in use."""


logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Compacted:
    """What a compaction did.

    Attributes:
        before_bytes: Size of the file before.
        after_bytes: Its size now.
        pause_us: For how long calls waited, in microseconds, where it was in use.
    """

    before_bytes: int
    after_bytes: int
    pause_us: int = 0


def remove_unfinished(path: Path) -> None:
    """Remove what a compaction left that did not come to its end. For the holder of the folder's lock."""
    (path / NEW_FILE).unlink(missing_ok=True)
    shutil.rmtree(path / NEW_FOLDER, ignore_errors=True)


def compact(path: Path, *, space_min_bytes: int = 0) -> Compacted | None:
    """Rewrite the database file in a slab's folder.

    Args:
        path: The folder.
        space_min_bytes: What must stay free on the disk while both files are there.

    Returns:
        What it did; None when there is no file.

    Raises:
        StorageLocked: a process has the slab open.
        LowSpace: the disk has no room for the copy.
        StorageCorrupt: the file is damaged. It stays as it is.
        InconsistentStorage: the copy is not the same. It is removed.
    """
    data, new = path / DATA_FILE, path / NEW_FILE
    if not data.exists():
        return None
    lock = FolderLock(path)
    try:
        new.unlink(missing_ok=True)
        status = os.statvfs(path)
        free = status.f_bavail * status.f_frsize
        before = data.stat().st_size
        if free - before < space_min_bytes:
            raise LowSpace(
                f"the disk has {free} bytes left; the copy may need {before}, and {space_min_bytes} stay free",
                name=str(path),
                free=free,
                need=before + space_min_bytes,
            )
        try:
            _copy(data, new)
            if _entries(data) != _entries(new):
                raise InconsistentStorage(
                    "the compacted copy lacks items: the old file stays", name=str(path)
                )
            new.chmod(data.stat().st_mode & 0o777)
            failpoint("slab_before_compact_swap")
            new.replace(data)
            sync_folder(path)
        except (lmdb.Error, OSError) as error:
            raise translate(error) from error
        finally:
            new.unlink(missing_ok=True)
        return Compacted(before, data.stat().st_size)
    finally:
        lock.release()


def compact_slab(path: Path, *, space_min_bytes: int) -> None:
    """The same at the start of a cell: what keeps it from working is logged, and the old file is used."""
    try:
        done = compact(path, space_min_bytes=space_min_bytes)
    except CellError as error:
        logger.warning("the storage in %s was not compacted: %s", path, error)
        return
    if done is not None:
        logger.info(
            "the storage in %s was compacted from %d to %d bytes", path, done.before_bytes, done.after_bytes
        )


def _copy(data: Path, new: Path) -> None:
    with open_source(data) as environment, environment.begin() as txn:
        copy_items(environment, txn, new)


def _entries(file: Path) -> dict[bytes, int]:
    """How many items each database of a file has."""
    with open_source(file) as environment:
        found = {}
        for name in environment.dbs():
            db = environment.open_db(name, create=False)
            with environment.begin() as txn:
                found[name] = txn.stat(db)["entries"]
        return found
