"""How much came of a query, and how long it took: the line at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cellmesh.api.cortex.v1 import storm_pb2

RATE_COUNT_MIN: Final = 1000

_SPEAKING: Final = frozenset({"print", "fire", "csv_row"})


def speaks(kind: str | None) -> bool:
    """Whether a message of a kind is an answer by itself, without nodes."""
    return kind in _SPEAKING


def totals_text(fini: storm_pb2.StormFini, *, spoke: bool = False) -> str:
    """How much came, and how long it took.

    Args:
        fini: The last message of the query.
        spoke: Whether it printed something, or gave rows: then it is not said that no nodes came, as it is behind a count.
    """
    seconds = fini.duration.ToNanoseconds() / 1e9
    # The rate of a few nodes says nothing.
    is_many = fini.node_count >= RATE_COUNT_MIN and seconds > 0
    rate = f", {fini.node_count / seconds:,.0f} a second" if is_many else ""
    came = [counted(fini.node_count, "node")] if fini.node_count or not spoke else []
    came += [counted(fini.edit_count, "edit")] if fini.edit_count else []
    return f"{', '.join(came)} in {time_text(seconds)}{rate}".lstrip()


def counted(count: int, noun: str) -> str:
    """A number and what it counts."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def time_text(seconds: float) -> str:
    """A length of time, as precise as anybody reads it."""
    if not seconds:
        return "less than 1 ms"
    return f"{seconds * 1000:,.0f} ms" if seconds < 1 else f"{seconds:,.1f} s"
