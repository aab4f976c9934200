"""Rows of which only the number is known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.path import Path


class CountedRows:
    """Stands for rows that an index has counted. Given only to commands whose spec says `takes_counted`.

    Attributes:
        count: How many rows there would be.
    """

    __slots__ = ("count",)

    def __init__(self, count: int) -> None:
        self.count = count

    def __iter__(self) -> Iterator[Path]:
        return self

    def __next__(self) -> Path:
        raise AssertionError("rows that were only counted cannot be looked at")
