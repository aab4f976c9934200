"""After a disk refused the last write of a commit, its meta page.

LMDB then puts the former meta page back and lets nobody use the environment any more. Nothing is damaged: the last
committed state stands. So the slab opens the file anew, and reads and writes go on. Two things need care:

- On disk the slot may have either page, and a failed sync leaves it so whatever later syncs report. The pages
  of the failed commit are free, and would be overwritten by the next one: a power cut in the middle could then
  leave the failed commit's meta page over pages that are not its own. So both meta pages are written once more, as
  they are in the cache, and synced, before anything else is written.
- Should LMDB have failed to put the page back, the failed commit is there after all. The memory of the cell is
  without it, so only a restart brings both in line.
"""

from __future__ import annotations

import os
from pathlib import Path

import lmdb


def is_usable(environment: lmdb.Environment) -> bool:
    """Whether the environment takes transactions still."""
    try:
        environment.begin().abort()
    except lmdb.PanicError:
        return False
    return True


def settle(data: Path, page_size: int) -> None:
    """Write the meta pages of a file as they are now, and sync them. No commit may run.

    Raises:
        OSError: they are not on disk.
    """
    handle = os.open(data, os.O_RDWR | os.O_CLOEXEC)
    try:
        size = 2 * page_size
        pages = os.pread(handle, size, 0)
        if len(pages) != size or os.pwrite(handle, pages, 0) != size:
            raise OSError(f"the meta pages of {data} cannot be written")
        os.fsync(handle)
    finally:
        os.close(handle)
