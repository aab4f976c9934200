"""What is known about tanks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Tank:
    """A tank: its name, its identifier (32 hexadecimal digits), when it was made (microseconds since 1970)."""

    name: str
    tank_id: str
    create_time_us: int


@dataclass(frozen=True, slots=True)
class TankMetrics:
    """How many records a tank holds, their size as stored in bytes, and the offset of the next one."""

    record_count: int
    size: int
    next_offset: int


@dataclass(frozen=True, slots=True)
class Appended:
    """Where records went: the offset of the first, and how many."""

    offset: int
    count: int


class StoredRecord(NamedTuple):
    """A record's offset and its serialized Value. A tuple, as there are millions of them."""

    offset: int
    data: bytes
