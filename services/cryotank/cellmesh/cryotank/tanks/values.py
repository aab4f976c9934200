"""What is known about tanks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from cellmesh.cryotank.schema import Block

May = Callable[[str], None]
"""Raises AuthDeny unless the caller may do what it asks for with the tank of this identifier; empty: with none there is."""


def anybody(tank_id: str) -> None:
    """A `May` that refuses nothing."""


@dataclass(frozen=True, slots=True)
class TankLimits:
    """How long records stay; 0 is no limit.

    Attributes:
        count_max: At most so many records.
        size_max: At most so many bytes, as stored.
        age_max_us: None older than so many microseconds.
    """

    count_max: int = 0
    size_max: int = 0
    age_max_us: int = 0


NO_LIMITS = TankLimits()


@dataclass(frozen=True, slots=True)
class Tank:
    """A tank: its name, its identifier (32 hexadecimal digits), when it was made (microseconds since 1970)."""

    name: str
    tank_id: str
    create_time_us: int
    limits: TankLimits = NO_LIMITS


@dataclass(frozen=True, slots=True)
class TankMetrics:
    """How many records a tank holds, their size as stored in bytes, the offsets of the oldest and of the next one."""

    record_count: int
    size: int
    next_offset: int
    first_offset: int = 0


@dataclass(frozen=True, slots=True)
class Appended:
    """Where records went: the offset of the first, and how many."""

    offset: int
    count: int


@dataclass(frozen=True, slots=True)
class Consumer:
    """A reader's name, the offset that it wants next, and when that was set (microseconds since 1970)."""

    name: str
    offset: int
    time_us: int


class StoredRecord(NamedTuple):
    """A record's offset, its bytes as stored and the number of their form. A tuple, as there are millions of them."""

    offset: int
    data: bytes
    form: int = 0


class Run(NamedTuple):
    """A block, or a part of one, with the offset of its first record."""

    offset: int
    block: Block

    @property
    def end(self) -> int:
        """The offset after its last record."""
        return self.offset + self.block.count
