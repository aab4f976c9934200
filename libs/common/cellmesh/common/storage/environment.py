"""LMDB environments as slabs use them: opened, their databases in them, and what address space and disk they have."""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from pathlib import Path

import lmdb
from cellmesh.common.storage.subdb import SubDb

MAP_SIZE_BYTES = 64 << 30
"""Address space for the file, not disk: the file has only the pages written."""

READER_COUNT_MAX = 2048

DATA_FILE = "data.mdb"


def free_space_bytes(path: Path) -> int:
    """The room left for this user on the disk of a path."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


def open_environment(path: Path, map_size_bytes: int, database_count: int, sync: bool) -> lmdb.Environment:
    """Open an environment; `sync=False` only in tests."""
    return lmdb.open(
        str(path),
        map_size=whole_pages(map_size_bytes),
        max_dbs=database_count + 8,
        max_readers=READER_COUNT_MAX,
        max_spare_txns=64,
        sync=sync,
        metasync=sync,
        # Cells read at random; what the kernel reads ahead would push out what is used.
        readahead=False,
    )


def open_databases(environment: lmdb.Environment, databases: Sequence[SubDb]) -> dict[str, lmdb._Database]:
    """Open all databases, and make those that are not there: in one transaction, which costs one sync."""
    with environment.begin(write=True) as txn:
        return {
            db.name: environment.open_db(
                db.name.encode(), txn=txn, dupsort=db.dupsort, dupfixed=db.dupfixed > 0
            )
            for db in databases
        }


def whole_pages(size_bytes: int) -> int:
    """The size in whole pages, of whatever size the system has them."""
    return -(-size_bytes // 65536) * 65536


def has_address_space(size_bytes: int) -> bool:
    """Whether a map of this size can be had: LMDB would be left without any if it failed in growing."""
    try:
        mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ).close()
    except (OSError, OverflowError):
        return False
    return True
