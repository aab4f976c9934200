"""Sources of random numbers: `$lib.random.generator()`."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadArg
from cellmesh.cortex.storm.runtime.interface import AttributeSpec, FunctionSpec, ParameterSpec, TypeSpec
from cellmesh.cortex.storm.runtime.values import toint, tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

TRUE_CHANCE: Final = random.SystemRandom()


class Chance:
    """Random numbers, which a seed makes repeatable.

    Args:
        seed: What they follow from; None for true chance.
    """

    __slots__ = ("numbers", "seed")

    def __init__(self, seed: str | None = None) -> None:
        self.seed = seed
        self.numbers: random.Random = TRUE_CHANCE if seed is None else random.Random(seed)

    def between(self, smallest: Any, largest: Any) -> int:
        """Return a number between two others, both included.

        Raises:
            BadArg: there is none.
        """
        low, high = toint(smallest), toint(largest)
        if high < low:
            raise BadArg(f"maxval must not be below minval: {high} is below {low}", name="maxval")
        return self.numbers.randint(low, high)

    def storm_text(self) -> str:
        """Return what is printed."""
        return "random numbers" if self.seed is None else f"random numbers of {self.seed}"


def _set_seed(context: RunContext, self: Chance, seed: Any) -> None:
    fresh = Chance(None if seed is None else tostr(seed))
    self.seed, self.numbers = fresh.seed, fresh.numbers


LARGEST: Final = ParameterSpec("maxval", type="int", doc="The largest it may be.")
SMALLEST: Final = ParameterSpec("minval", 0, "int", "The smallest it may be.")

TYPES: Final = (
    TypeSpec(
        "random",
        Chance,
        "A source of random numbers.",
        (
            FunctionSpec(
                "int",
                "The next whole number.",
                lambda c, s, largest, smallest: s.between(smallest, largest),
                (LARGEST, SMALLEST),
                "int",
            ),
        ),
        (AttributeSpec("seed", "What the numbers follow from.", lambda c, s: s.seed, "str", _set_seed),),
    ),
)
