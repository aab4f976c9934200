"""Clocks that tests move."""

from __future__ import annotations

START_MS = 1_700_000_000_000


class HeldClock:
    """A clock that stands still until it is moved.

    Attributes:
        millis: The time, in milliseconds since 1970, UTC.
    """

    def __init__(self, millis: int = START_MS) -> None:
        self.millis = millis

    def now(self) -> int:
        """Milliseconds since 1970, UTC."""
        return self.millis

    def monotonic(self) -> float:
        """The same in seconds."""
        return self.millis / 1000

    def go_on(self, seconds: float) -> None:
        """Let time pass."""
        self.millis += round(seconds * 1000)
