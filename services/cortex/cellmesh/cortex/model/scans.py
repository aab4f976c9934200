"""How an index answers a comparison: exact keys, prefixes and ranges, with a filter where keys do not suffice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

Predicate: TypeAlias = Callable[[object], bool]


@dataclass(frozen=True, slots=True)
class Exact:
    """Entries with exactly this key."""

    key: bytes


@dataclass(frozen=True, slots=True)
class Prefix:
    """Entries whose key starts with these bytes; empty means all."""

    key: bytes


@dataclass(frozen=True, slots=True)
class Range:
    """Entries with low <= key < high_exclusive; None means up to the last."""

    low: bytes = b""
    high_exclusive: bytes | None = None


@dataclass(frozen=True, slots=True)
class Filtered:
    """Entries of a range whose stored value passes the predicate."""

    range: Range
    predicate: Predicate


IndexScan: TypeAlias = Exact | Prefix | Range | Filtered

EVERYTHING = Range()
