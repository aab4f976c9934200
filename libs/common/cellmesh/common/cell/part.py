"""What a cell is made of."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


class PartState(enum.Enum):
    """How a part does."""

    WELL = "well"
    READ_ONLY = "read-only"
    """It answers reads and refuses writes."""
    FAILED = "failed"
    """The cell should get no calls while this lasts."""


@dataclass(frozen=True, slots=True)
class PartHealth:
    """How a part does, and why if it is not well."""

    state: PartState = PartState.WELL
    reason: str = ""


WELL = PartHealth()


class Part(Protocol):
    """A component with a life of its own: started in the cell's order, stopped in reverse.

    `stop` is called only after `start` has returned; both are called once, in the event loop. Work that
    blocks is handed to a thread. `health` is asked about once a second and answers from memory.
    """

    @property
    def name(self) -> str:
        """For logs and health."""
        ...

    async def start(self) -> None:
        """Begin. What it raises stops the cell's start; parts started before are stopped."""
        ...

    async def stop(self) -> None:
        """End, and let go of everything."""
        ...

    def health(self) -> PartHealth:
        """How it does now."""
        ...


@runtime_checkable
class RolePart(Protocol):
    """A part that does something only where its cell takes the writes of its service."""

    async def role_changed(self, leads: bool) -> None:
        """The cell leads from now on, or does not any more. Called before `start` on a follower, and at each change.

        Without a call the cell leads.
        """
        ...
