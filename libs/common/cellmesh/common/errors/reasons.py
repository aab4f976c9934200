"""Reason -> class, complete: a test holds it against the enum in errors.proto.

The table is read off the modules listed here; a new class needs a line in errors.proto and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType, ModuleType

from cellmesh.common.errors import auth, cells, crypto, data, model, query, resources, storage
from cellmesh.common.errors.base import CellError, StatusCode

TOPICS: tuple[ModuleType, ...] = (data, model, query, auth, crypto, resources, storage, cells)


def classes_of(module: ModuleType) -> list[type[CellError]]:
    """Return the error classes that a module defines, in the order they are written."""
    found = [item for item in vars(module).values() if isinstance(item, type) and issubclass(item, CellError)]
    return [item for item in found if item.__module__ == module.__name__]


ALL_ERRORS: tuple[type[CellError], ...] = (
    CellError,
    *(item for topic in TOPICS for item in classes_of(topic)),
)

CLASS_BY_REASON: Mapping[int, type[CellError]] = MappingProxyType(
    {int(item.reason): item for item in ALL_ERRORS}
)

CLASS_BY_REASON_NAME: Mapping[str, type[CellError]] = MappingProxyType(
    {item.reason_name(): item for item in ALL_ERRORS}
)

# Stands in when the other side names no reason or one we do not know: a newer cell, or a plain gRPC error.
CLASS_BY_CODE: Mapping[StatusCode, type[CellError]] = MappingProxyType(
    {
        StatusCode.CANCELLED: cells.Cancelled,
        StatusCode.UNKNOWN: cells.Internal,
        StatusCode.INVALID_ARGUMENT: data.BadArg,
        StatusCode.DEADLINE_EXCEEDED: cells.DeadlineExceeded,
        StatusCode.NOT_FOUND: resources.NoSuchObj,
        StatusCode.ALREADY_EXISTS: resources.DataAlreadyExists,
        StatusCode.PERMISSION_DENIED: auth.AuthDeny,
        StatusCode.UNAUTHENTICATED: auth.Unauthenticated,
        StatusCode.RESOURCE_EXHAUSTED: cells.LimitExceeded,
        StatusCode.FAILED_PRECONDITION: cells.BadState,
        StatusCode.ABORTED: cells.Retry,
        StatusCode.OUT_OF_RANGE: data.BadArg,
        StatusCode.UNIMPLEMENTED: cells.FeatureNotSupported,
        StatusCode.INTERNAL: cells.Internal,
        StatusCode.UNAVAILABLE: cells.CellUnreachable,
        StatusCode.DATA_LOSS: storage.StorageCorrupt,
    }
)


def class_for(reason_name: str, code: StatusCode) -> type[CellError]:
    """Return the class of a reason such as "ERROR_REASON_NO_SUCH_FORM", or failing that, one for the code."""
    found = CLASS_BY_REASON_NAME.get(reason_name)
    if found is not None:
        return found
    return CLASS_BY_CODE.get(code, cells.Internal)
