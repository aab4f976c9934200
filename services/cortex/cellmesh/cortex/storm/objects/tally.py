"""Counts by name: `$lib.stats.tally()`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from cellmesh.cortex.storm.runtime.interface import FunctionSpec, ParameterSpec, TypeSpec
from cellmesh.cortex.storm.runtime.values import tobool, toint, tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext


class Tally:
    """How often each name was counted."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.counts)

    def ranked(self, by_name: bool, reverse: bool) -> list[tuple[str, int]]:
        """Return names and counts, by count or by name; names counted equally often stay in the order they came."""
        place = 0 if by_name else 1
        return sorted(self.counts.items(), key=lambda item: item[place], reverse=reverse)

    def storm_plain(self) -> dict[str, int]:
        """Return the counts by name."""
        return dict(self.counts)

    def storm_text(self) -> str:
        """Return what is printed."""
        return f"stat:tally: {self.counts}"


def _inc(context: RunContext, self: Tally, name: Any, value: Any) -> None:
    key = tostr(name)
    self.counts[key] = self.counts.get(key, 0) + toint(value)


def _get(context: RunContext, self: Tally, name: Any) -> int:
    return self.counts.get(tostr(name), 0)


def _sorted(context: RunContext, self: Tally, by_name: Any, reverse: Any) -> list[tuple[str, int]]:
    return self.ranked(tobool(by_name), tobool(reverse))


def _items(context: RunContext, self: Tally) -> Iterator[tuple[str, int]]:
    return iter(list(self.counts.items()))


_NAME: Final = ParameterSpec("name", type="str", doc="What is counted.")

TYPES: Final = (
    TypeSpec(
        "stat:tally",
        Tally,
        "Counts by name.",
        (
            FunctionSpec("get", "The count of a name.", _get, (_NAME,), "int"),
            FunctionSpec(
                "inc", "Count a name.", _inc, (_NAME, ParameterSpec("valu", 1, "int", "By how much."))
            ),
            FunctionSpec(
                "sorted",
                "Names and counts, the smallest count first.",
                _sorted,
                (
                    ParameterSpec("byname", False, "bool", "In the order of names."),
                    ParameterSpec("reverse", False, "bool", "The other way round."),
                ),
                "list of pairs",
            ),
        ),
        iterate=_items,
    ),
)
