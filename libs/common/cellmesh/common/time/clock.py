"""Where the time comes from. All code gets it from a Clock, so that tests and replays can hold it still."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final, Protocol

NANOS_A_MILLI: Final = 1_000_000


class Clock(Protocol):
    """Tells the time of day and how time passes."""

    def now(self) -> int:
        """Milliseconds since 1970, UTC. May be set back by the system."""
        ...

    def monotonic(self) -> float:
        """Seconds since some moment, never going back: for time-outs and durations."""
        ...


class SystemClock:
    """The clock of the machine."""

    __slots__ = ()

    def now(self) -> int:
        """Milliseconds since 1970, UTC."""
        return time.time_ns() // NANOS_A_MILLI

    def monotonic(self) -> float:
        """Seconds since some moment, never going back."""
        return time.monotonic()


@dataclass(frozen=True, slots=True)
class FixedClock:
    """A clock that stands still: one moment that a whole query or change shares.

    Attributes:
        millis: The moment, in milliseconds since 1970, UTC.
    """

    millis: int

    def now(self) -> int:
        """The moment."""
        return self.millis

    def monotonic(self) -> float:
        """The moment, in seconds."""
        return self.millis / 1000


def boottime_s() -> float:
    """The clock that leases are measured on, in seconds: it goes on while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


SYSTEM_CLOCK: Final = SystemClock()
