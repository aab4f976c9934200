"""The first file of a slab, whole or absent.

LMDB makes its file under its own name and syncs it with the first commit. A power cut in between could leave a part
of the first two pages, which is no LMDB file and would keep the cell from ever starting.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import lmdb
from cellmesh.common.files import sync_folder

UNFINISHED_FILE: Final = "data.mdb.first"


def create_file(data: Path, map_size_bytes: int) -> None:
    """Make an empty LMDB file, on disk with its name when this returns.

    Args:
        data: Where; its folder is there. Only the holder of the folder's lock calls this.
        map_size_bytes: Size of the map.
    """
    unfinished = data.with_name(UNFINISHED_FILE)
    unfinished.unlink(missing_ok=True)
    lmdb.open(str(unfinished), subdir=False, lock=False, map_size=map_size_bytes).close()
    handle = os.open(unfinished, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    unfinished.replace(data)
    sync_folder(data.parent)
