"""Errors to and from google.rpc.Status and grpc.RpcError.

A status carries two details: google.rpc.ErrorInfo, which any client understands, and our ErrorDetail,
from which the same class with the same fields is made again. Both travel in the trailing metadata,
which gRPC bounds (8 KiB by default), so what is large is cut and the cut is named.

An exception that is no CellError becomes `Internal` and tells nothing but its kind: its text may hold
paths or secrets. The server logs it whole.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Protocol, cast

import grpc
from cellmesh.api.common.v1 import errors_pb2, value_pb2

# The module, not its names: cellmesh.common.values raises our errors, so each may be imported first.
from cellmesh.common import values
from cellmesh.common.errors.base import HINT_KEY, MESSAGE_KEY, CellError, StatusCode
from cellmesh.common.errors.cells import Cancelled, CellUnreachable, HitLimit, Internal, TimeOut
from cellmesh.common.errors.query import RecursionLimitHit
from cellmesh.common.errors.reasons import class_for
from cellmesh.common.errors.storage import StorageFull
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

DOMAIN = "cellmesh"
DETAILS_KEY = "grpc-status-details-bin"

# gRPC percent-encodes the message (up to 3 bytes a byte) and base64s the details; with these bounds
# the whole stays under the 8 KiB of metadata that a stock client accepts.
STATUS_MESSAGE_SIZE_MAX = 512
DETAIL_MESSAGE_SIZE_MAX = 1024
FIELDS_SIZE_MAX = 1536
METADATA_SIZE_MAX = 512
METADATA_VALUE_SIZE_MAX = 128

_CODES: dict[int, StatusCode] = {code.value[0]: code for code in StatusCode}
_PLAIN_TYPES = (bool, int, float, str, bytes, Decimal, type(None))


class _Call(Protocol):
    """What grpc's and grpc.aio's errors both offer."""

    def code(self) -> StatusCode: ...
    def details(self) -> str | None: ...
    def trailing_metadata(self) -> Iterable[tuple[str, str | bytes]] | None: ...


def to_detail(error: CellError) -> errors_pb2.ErrorDetail:
    """Make the whole ErrorDetail of an error, nothing cut: for streams, whose messages may be large."""
    detail = errors_pb2.ErrorDetail(
        reason=error.reason,
        name=error.name,
        message=_clean(str(error.get(MESSAGE_KEY) or "")),
        hint=_clean(error.hint),
    )
    for key, value in error.items():
        if key not in (MESSAGE_KEY, HINT_KEY):
            entry = detail.fields.entries.add(key=_clean(key))
            entry.value.CopyFrom(_field_value(value))
    return detail


def from_detail(detail: errors_pb2.ErrorDetail, code: StatusCode = StatusCode.UNKNOWN) -> CellError:
    """Make the error again. `code` picks the class when the reason is unknown here."""
    try:
        reason = errors_pb2.ErrorReason.Name(detail.reason)
    except ValueError:
        reason = ""
    return _build(class_for(reason, code), detail, reason)


def to_status(error: BaseException) -> status_pb2.Status:
    """Make the status a call ends with. Any exception will do; see `from_exception`."""
    known = from_exception(error)
    detail = to_detail(known)
    status = status_pb2.Status(
        code=known.code.value[0],
        message=_cut(_clean(str(known)), STATUS_MESSAGE_SIZE_MAX),
    )
    info = error_details_pb2.ErrorInfo(reason=known.reason_name(), domain=DOMAIN)
    _fill_metadata(info, known)
    _shrink(detail)
    for part in (info, detail):
        packed = any_pb2.Any()
        packed.Pack(part)
        status.details.append(packed)
    return status


def to_abort(error: BaseException) -> tuple[StatusCode, str, tuple[tuple[str, bytes], ...]]:
    """Make what `ServicerContext.abort` of grpc.aio takes: code, text, trailing metadata."""
    status = to_status(error)
    return _CODES[status.code], status.message, ((DETAILS_KEY, status.SerializeToString()),)


def from_status(status: status_pb2.Status) -> CellError:
    """Make an error of a status, ours or any other: without our details its code picks the class."""
    code = _CODES.get(status.code, StatusCode.UNKNOWN)
    info = error_details_pb2.ErrorInfo()
    detail: errors_pb2.ErrorDetail | None = None
    try:
        for part in status.details:
            if part.Is(errors_pb2.ErrorDetail.DESCRIPTOR):
                detail = errors_pb2.ErrorDetail.FromString(part.value)
            elif part.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
                part.Unpack(info)
        reason = info.reason if info.domain == DOMAIN else ""
        if detail is not None:
            return _build(class_for(reason, code), detail, reason)
    except (DecodeError, CellError):
        # Details that do not read: code and message are still good.
        reason = ""
    error = class_for(reason, code)(status.message, **dict(info.metadata))
    if info.reason and info.reason != error.reason_name():
        error.setdefault("reason", info.reason)
    return error


def from_rpc_error(error: grpc.RpcError, *, cell: str = "", address: str = "") -> CellError:
    """Make an error of a failed call, blocking or grpc.aio, as the same class the server raised.

    Args:
        error: What the stub raised.
        cell: Name of the cell called, for errors about the connection itself.
        address: The address dialled, likewise.
    """
    if not (hasattr(error, "code") and hasattr(error, "details") and hasattr(error, "trailing_metadata")):
        return Internal("the call failed without a status", type=type(error).__name__)
    call = cast(_Call, error)
    for key, value in call.trailing_metadata() or ():
        if key == DETAILS_KEY:
            try:
                return from_status(status_pb2.Status.FromString(value))
            except (DecodeError, TypeError):
                break
    code, text = call.code(), call.details() or ""
    if code is StatusCode.UNAVAILABLE:
        return _unreachable(text, cell, address)
    made = class_for("", code)(text)
    if cell:
        made.setdefault("cell", cell)
    return made


def from_exception(error: BaseException) -> CellError:
    """Return the error itself if it is ours, or the one of ours that says what may be said of it."""
    match error:
        case CellError():
            return error
        case grpc.RpcError():
            return from_rpc_error(error)
        case asyncio.CancelledError():
            return Cancelled()
        case TimeoutError():
            return TimeOut()
        case RecursionError():
            return RecursionLimitHit()
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return StorageFull()
        case OSError(errno=errno.EMFILE | errno.ENFILE):
            return HitLimit(
                "the cell's process has too many open files",
                hint="try it again; for good, raise the limit (ulimit -n) or have fewer connections",
            )
    return Internal(type=type(error).__name__)


def _unreachable(text: str, cell: str, address: str) -> CellError:
    known = {key: value for key, value in (("name", cell), ("address", address)) if value}
    what = f"cell {cell}" if cell else "the cell"
    where = f" at {address}" if address else ""
    return CellUnreachable(
        f"{what} cannot be reached{where}",
        **known,
        cause=text,
        hint="check that it is running and that this address is the one it listens on, then try again",
    )


def _build(found: type[CellError], detail: errors_pb2.ErrorDetail, reason: str) -> CellError:
    error = found(detail.message)
    for entry in detail.fields.entries:
        error.set(entry.key, values.from_value(entry.value))
    if detail.hint:
        error.set(HINT_KEY, detail.hint)
    if error.name != detail.name:
        # A class this program does not know: keep what it was called.
        error.setdefault("errname", detail.name)
        if reason != found.reason_name():
            error.setdefault("reason", reason or int(detail.reason))
    if detail.cut_fields:
        error.set("cut_fields", list(detail.cut_fields))
    return error


def _field_value(value: Any) -> value_pb2.Value:
    """A field as a Value. An error must reach the caller, so what has no Value is told as text."""
    try:
        return values.to_value(value)
    except CellError:
        return values.to_value(_as_plain(value))


def _as_plain(value: Any) -> Any:
    match value:
        case str():
            return _clean(value)
        case bool() | int() | float() | bytes() | Decimal() | None:
            return value
        case list() | tuple() | set() | frozenset():
            return [_as_plain(item) if isinstance(item, _PLAIN_TYPES) else _kind(item) for item in value]
        case dict():
            pairs = ((_clean(str(key)), item) for key, item in value.items())
            return {
                key: _as_plain(item) if isinstance(item, _PLAIN_TYPES) else _kind(item) for key, item in pairs
            }
    return _kind(value)


def _kind(value: Any) -> str:
    """Objects are told by kind only: what they print may hold paths or secrets."""
    return f"<{value.__name__ if isinstance(value, type) else type(value).__name__}>"


def _clean(text: str) -> str:
    """Text with the code points that UTF-8 cannot carry (lone surrogates) written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _cut(text: str, size_max: int) -> str:
    """Text of at most so many bytes of UTF-8, marked if anything went."""
    raw = text.encode("utf-8")
    if len(raw) <= size_max:
        return text
    return raw[: size_max - 3].decode("utf-8", "ignore") + "..."


def _fill_metadata(info: error_details_pb2.ErrorInfo, error: CellError) -> None:
    """Copy short scalar fields into ErrorInfo for clients that do not know our detail."""
    room = METADATA_SIZE_MAX
    for key, value in error.items():
        if key in (MESSAGE_KEY, HINT_KEY) or not isinstance(value, (str, int, Decimal)):
            continue
        if isinstance(value, int) and value.bit_length() > METADATA_VALUE_SIZE_MAX:
            continue
        text = _cut(_clean(str(value)), METADATA_VALUE_SIZE_MAX)
        room -= len(_clean(key).encode()) + len(text.encode())
        if room < 0:
            return
        info.metadata[_clean(key)] = text


def _shrink(detail: errors_pb2.ErrorDetail) -> None:
    """Cut a detail to what trailing metadata may hold, the largest fields first."""
    detail.message = _cut(detail.message, DETAIL_MESSAGE_SIZE_MAX)
    detail.hint = _cut(detail.hint, STATUS_MESSAGE_SIZE_MAX)
    while detail.fields.ByteSize() > FIELDS_SIZE_MAX:
        entries = detail.fields.entries
        largest = max(range(len(entries)), key=lambda index: entries[index].ByteSize())
        entry = entries[largest]
        text = entry.value.string_value
        if entry.key not in detail.cut_fields and len(detail.cut_fields) < 8:
            detail.cut_fields.append(_cut(entry.key, METADATA_VALUE_SIZE_MAX))
        if len(text) > METADATA_VALUE_SIZE_MAX:
            entry.value.string_value = _cut(text, METADATA_VALUE_SIZE_MAX)
        else:
            del entries[largest]
