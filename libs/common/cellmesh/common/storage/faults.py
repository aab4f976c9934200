"""LMDB's and the system's errors as Cellmesh's own."""

from __future__ import annotations

import errno

import lmdb
from cellmesh.common.errors import CellError, StorageAborted, StorageCorrupt, StorageFull

# LMDB reports EIO when the system took only a part of what it wrote, which a full disk does first.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

_CORRUPT = (
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.InvalidError,
    lmdb.VersionMismatchError,
)


def translate(error: BaseException) -> BaseException:
    """The error a caller of the storage gets; the very same object if it is not the storage's fault."""
    fault = _fault(error)
    if fault is None:
        return error
    fault.__cause__ = error
    return fault


def _fault(error: BaseException) -> CellError | None:
    if is_map_full(error):
        return StorageFull(
            "the write was larger than the room in the map, which grows now",
            hint="run the operation again, in smaller parts if it is large",
        )
    if is_disk_full(error):
        return StorageFull(
            f"the disk is full, or fails: {error}",
            hint="make room on the disk: writes go on by themselves then",
        )
    if isinstance(error, lmdb.PanicError):
        return StorageAborted(
            f"the storage stopped after an error of the disk: {error}",
            hint="try it again; if it stays so, restart the cell: nothing acknowledged is lost",
        )
    if isinstance(error, _CORRUPT):
        return StorageCorrupt(f"the storage is damaged: {error}", hint="restore a backup")
    return None


def is_map_full(error: BaseException) -> bool:
    """Whether LMDB's map has no free page left."""
    return isinstance(error, lmdb.MapFullError)


def is_disk_full(error: BaseException) -> bool:
    """Whether the file system has no room left, as far as the error tells."""
    if isinstance(error, OSError):
        return error.errno in _NO_ROOM
    return isinstance(error, lmdb.Error) and getattr(error, "code", 0) in _NO_ROOM
