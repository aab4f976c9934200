"""How often and how soon a call is made again."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass
from typing import Final

BUDGET_MAX: Final = 20.0
"""Calls made again in a row, over all calls of a client, before it only passes on what fails."""
BUDGET_EARNED: Final = 0.1
"""What a call that succeeds gives back."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how soon a call is made again.

    Attributes:
        attempts_max: Most times that one call is made, 1 to never make it again.
        pause_first_s: The pause before the second time, in seconds; it doubles each time. Pauses are cut by up to a
            half at random, so that many clients do not come back at the same moment.
        pause_max_s: The longest pause.
    """

    attempts_max: int = 6
    pause_first_s: float = 0.1
    pause_max_s: float = 1.0

    def pause_s(self, attempt: int) -> float:
        """How long to wait after the attempt of this number, the first being 1."""
        whole = min(self.pause_first_s * 2.0 ** min(attempt - 1, 30), self.pause_max_s)
        return whole * random.uniform(0.5, 1.0)


NO_RETRY: Final = RetryPolicy(attempts_max=1)


class RetryBudget:
    """Bounds what all calls of a client may be made again, so that a cell in trouble does not get many times its load."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left = BUDGET_MAX

    def spend(self) -> bool:
        """Take what one more attempt costs; returns whether there was as much."""
        with self._lock:
            if self._left < 1.0:
                return False
            self._left -= 1.0
            return True

    def earn(self) -> None:
        """A call succeeded."""
        # Read without the lock: nearly always the budget is full.
        if self._left < BUDGET_MAX:
            with self._lock:
                self._left = min(self._left + BUDGET_EARNED, BUDGET_MAX)
