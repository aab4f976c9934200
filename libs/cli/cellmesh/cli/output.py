"""Tables, sizes, times, values and errors as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cellmesh.common.errors import CellError

SIZE_UNITS = ("KiB", "MiB", "GiB", "TiB")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as what is in them, two spaces apart."""
    widths = [max(len(row[index]) for row in (head, *rows)) for index in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in (head, *rows)
    ]
    return "\n".join(lines)


def size_text(size: int | None) -> str:
    """A number of bytes, such as 1.5 MiB; - when it is not known."""
    if size is None:
        return "-"
    if size < 1024:
        return f"{size} B"
    amount = float(size)
    for unit in SIZE_UNITS:
        amount /= 1024
        if amount < 1024 or unit == SIZE_UNITS[-1]:
            break
    return f"{amount:.1f} {unit}"


def span_text(seconds: float) -> str:
    """A length of time, such as 1h02m or 2.5s."""
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}h{minutes:02}m"
    days, hours = divmod(hours, 24)
    return f"{days}d{hours:02}h"


def plain(value: Any) -> Any:
    """A value with nothing in it that JSON cannot hold: bytes as hexadecimal, decimals as text."""
    match value:
        case bytes():
            return value.hex()
        case Decimal():
            return str(value)
        case dict():
            return {key if isinstance(key, str) else str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case _:
            return value


def value_text(value: Any) -> str:
    """A value in one line: text as it is, unless it would break the line."""
    if isinstance(value, str):
        return value if value.isprintable() else repr(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, (list, tuple)):
        return f"({', '.join(value_text(item) for item in value)})"
    return str(value)


def error_line(error: CellError) -> str:
    """An error in one line; of a connection that failed, without what gRPC says about it."""
    from cellmesh.common.errors import CellError, LinkErr

    if not isinstance(error, LinkErr):
        return str(error)
    return str(CellError(error.message, **{key: error.get(key) for key in ("name", "address", "hint")}))
