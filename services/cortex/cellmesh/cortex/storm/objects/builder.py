"""Text that grows piece by piece: `$lib.text()`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import StormRuntimeError
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, ParameterSpec, TypeSpec
from cellmesh.cortex.storm.text_tools import formatted

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext


class TextBuilder:
    """Text in the making.

    Args:
        pieces: What it begins with.
    """

    __slots__ = ("_pieces",)

    def __init__(self, pieces: list[str]) -> None:
        self._pieces = pieces

    def add(self, text: str) -> None:
        """Add a piece."""
        self._pieces.append(text)

    def __len__(self) -> int:
        return sum(len(piece) for piece in self._pieces)

    def storm_plain(self) -> str:
        """Return the whole text."""
        return "".join(self._pieces)

    def storm_text(self) -> str:
        """Return what is printed."""
        return f"text: {self.storm_plain()}"


def _add(context: RunContext, self: TextBuilder, text: Any, values: dict[str, Any]) -> None:
    if not isinstance(text, str):
        raise StormRuntimeError("what is added to a text is text", name="text")
    self.add(formatted(text, values))


METHODS: Final = (
    FunctionSpec(
        "add",
        "Add text.",
        _add,
        (ParameterSpec("text", type="str", doc="The text; `{name}` in it stands for a named argument."),),
        keywords="kwargs",
    ),
    FunctionSpec("str", "The whole text.", lambda c, s: s.storm_plain(), (), "str"),
)

TYPES: Final = (TypeSpec("text", TextBuilder, "Text that grows piece by piece.", METHODS),)
