"""How statements leave a pipeline early: exceptions that never reach the user as such.

They derive from BaseException's child StormSignal, not from CellError, so that `try` and `catch` let them through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.path import Path


class StormSignal(Exception):
    """Base of all control flow that crosses statements."""


class LoopSignal(StormSignal):
    """`break` or `continue`, with the row that was at hand, which the loop still yields."""

    statement = ""

    def __init__(self, path: Path | None = None) -> None:
        super().__init__()
        self.path = path


class StormBreak(LoopSignal):
    """`break`."""

    statement = "break"


class StormContinue(LoopSignal):
    """`continue`."""

    statement = "continue"


class StormReturn(StormSignal):
    """`return(value)`."""

    def __init__(self, value: Any = None) -> None:
        super().__init__()
        self.value = value


class StormStop(StormSignal):
    """`stop`: ends a generator function."""


class StormExit(StormSignal):
    """`$lib.exit(message)`: ends the whole query without an error."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__()
        self.message = message


class Emitted:
    """A value given by `emit`, on its way out through the pipeline of a generator function."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def is_emitted(row: object) -> TypeGuard[Emitted]:
    """Whether what came out of a pipeline is an emitted value and no row."""
    return type(row) is Emitted
