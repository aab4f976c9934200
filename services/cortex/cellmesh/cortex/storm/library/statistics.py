"""`$lib.random` and `$lib.stats`: chance, and counting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cellmesh.cortex.storm.objects.chance import LARGEST, SMALLEST, Chance
from cellmesh.cortex.storm.objects.tally import Tally
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, LibrarySpec, ParameterSpec
from cellmesh.cortex.storm.runtime.values import tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

_CHANCE: Final = Chance()


def _int(context: RunContext, largest: Any, smallest: Any) -> int:
    return _CHANCE.between(smallest, largest)


def _generator(context: RunContext, seed: Any) -> Chance:
    return Chance(None if seed is None else tostr(seed))


LIBRARIES: Final = (
    LibrarySpec(
        ("random",),
        "Chance.",
        (
            FunctionSpec(
                "generator",
                "A source of random numbers, repeatable with a seed.",
                _generator,
                (ParameterSpec("seed", None, "str", "What the numbers follow from."),),
                "random",
            ),
            FunctionSpec("int", "A random whole number.", _int, (LARGEST, SMALLEST), "int"),
        ),
    ),
    LibrarySpec(
        ("stats",),
        "Counting.",
        (FunctionSpec("tally", "Counts by name, none at first.", lambda c: Tally(), (), "stat:tally"),),
    ),
)
