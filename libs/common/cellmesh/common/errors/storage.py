"""What is on disk."""

from __future__ import annotations

from cellmesh.common.errors.base import CellError, ErrorReason, StatusCode, describe


class BadCoreStore(CellError):
    """The Cortex's storage is not as it must be."""

    code = StatusCode.DATA_LOSS
    reason = ErrorReason.ERROR_REASON_BAD_CORE_STORE
    field_docs = describe(store="the part of it")


class BadStorageVersion(CellError):
    """The storage has a layout that this program does not know."""

    code = StatusCode.FAILED_PRECONDITION
    reason = ErrorReason.ERROR_REASON_BAD_STORAGE_VERSION
    field_docs = describe(curv="the version found", reqv="the newest one known")


class DbOutOfSpace(CellError):
    """The database is full."""

    code = StatusCode.RESOURCE_EXHAUSTED
    reason = ErrorReason.ERROR_REASON_DB_OUT_OF_SPACE
    field_docs = describe(name="the database")


class StorageFull(DbOutOfSpace):
    """The database or its disk is full, so the cell takes no writes until there is room."""

    code = StatusCode.RESOURCE_EXHAUSTED
    reason = ErrorReason.ERROR_REASON_STORAGE_FULL
    field_docs = describe(
        name="the database",
        size="its size in bytes",
        limit="the most it may have, in bytes",
        free="bytes free on its disk",
        need="bytes that the cell keeps free",
    )


class LowSpace(CellError):
    """The disk has less room than the cell keeps free."""

    code = StatusCode.RESOURCE_EXHAUSTED
    reason = ErrorReason.ERROR_REASON_LOW_SPACE
    field_docs = describe(name="the volume", free="bytes free", need="bytes that must stay free")


class DupIndx(CellError):
    """An index of this name exists already."""

    code = StatusCode.ALREADY_EXISTS
    reason = ErrorReason.ERROR_REASON_DUP_INDX
    field_docs = describe(name="the index")


class NoSuchIndx(CellError):
    """No index has this name."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_NO_SUCH_INDX
    field_docs = describe(name="the index")


class NoSuchAbrv(CellError):
    """A short key was never given out."""

    code = StatusCode.INTERNAL
    reason = ErrorReason.ERROR_REASON_NO_SUCH_ABRV
    field_docs = describe(name="the key")


class InconsistentStorage(CellError):
    """Two parts of the storage contradict each other."""

    code = StatusCode.DATA_LOSS
    reason = ErrorReason.ERROR_REASON_INCONSISTENT_STORAGE
    field_docs = describe(name="the part")


class StorageCorrupt(InconsistentStorage):
    """A stored record does not read back as it was written."""

    code = StatusCode.DATA_LOSS
    reason = ErrorReason.ERROR_REASON_STORAGE_CORRUPT
    field_docs = describe(name="the database", key="the key, in hexadecimal")


class StorageAborted(CellError):
    """A write was rolled back and nothing of it was kept."""

    code = StatusCode.ABORTED
    reason = ErrorReason.ERROR_REASON_STORAGE_ABORTED
    field_docs = describe(name="the database")


class LmdbLock(CellError):
    """The database's lock could not be had."""

    code = StatusCode.UNAVAILABLE
    reason = ErrorReason.ERROR_REASON_LMDB_LOCK
    field_docs = describe(name="the database")


class StorageLocked(LmdbLock):
    """Another process works on this folder."""

    code = StatusCode.FAILED_PRECONDITION
    reason = ErrorReason.ERROR_REASON_STORAGE_LOCKED
    field_docs = describe(name="the folder", pid="the other process, if known")


class SlabAlreadyOpen(CellError):
    """This process has the database open already."""

    code = StatusCode.FAILED_PRECONDITION
    reason = ErrorReason.ERROR_REASON_SLAB_ALREADY_OPEN
    field_docs = describe(name="the database")


class SlabInUse(CellError):
    """The database is in use and cannot be moved or removed."""

    code = StatusCode.FAILED_PRECONDITION
    reason = ErrorReason.ERROR_REASON_SLAB_IN_USE
    field_docs = describe(name="the database")


class LogTrimmed(CellError):
    """The change log no longer has this offset."""

    code = StatusCode.OUT_OF_RANGE
    reason = ErrorReason.ERROR_REASON_LOG_TRIMMED
    field_docs = describe(offset="the offset asked for", first="the first one kept")
