"""Long queries take turns.

Threads of one interpreter gain nothing from computing at once, but each that wants the interpreter makes every small
call wait for it, several times a call. So of the queries that have run for a while only one goes on at a time, for a
slice each. Small queries never come here. A turn is a courtesy, not a lock: who waits in vain for a holder that waits
for something else goes on without it.
"""

from __future__ import annotations

import threading
from collections import deque
from time import monotonic
from typing import Final, Protocol

LONG_S: Final = 0.010
"""A query that has run for so long takes turns."""

SLICE_S: Final = 0.005
PATIENCE_S: Final = 0.020
"""A holder that has not been heard of for so long has lost its turn to the next."""


class Taker(Protocol):
    """What takes turns."""

    @property
    def is_cancelled(self) -> bool:
        """Whether it should stop waiting and end."""


class Turns:
    """Who of the long queries of an engine runs."""

    __slots__ = ("_heard_s", "_holder", "_lock", "_since_s", "_waiting")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder: Taker | None = None
        self._since_s = 0.0
        self._heard_s = 0.0
        self._waiting: deque[tuple[Taker, threading.Lock]] = deque()

    def take(self, who: Taker) -> None:
        """Go on, at once or when it is this one's turn. To be called every few milliseconds."""
        now_s = monotonic()
        with self._lock:
            if self._holder is who:
                self._heard_s = now_s
                if not self._waiting or now_s - self._since_s < SLICE_S:
                    return
                self._hand_on(now_s)
            elif self._holder is None and not self._waiting:
                self._hold(who, now_s)
                return
            turn = threading.Lock()
            turn.acquire()
            place = (who, turn)
            self._waiting.append(place)
        while not turn.acquire(timeout=PATIENCE_S):
            now_s = monotonic()
            with self._lock:
                if self._holder is who:
                    return
                if who.is_cancelled:
                    self._waiting.remove(place)
                    return
                if self._holder is None or now_s - self._heard_s > PATIENCE_S:
                    self._hand_on(now_s)

    def leave(self, who: Taker) -> None:
        """Let the next one have the turn: at the end, or before waiting for something else."""
        with self._lock:
            if self._holder is who:
                self._hand_on(monotonic())

    def _hand_on(self, now_s: float) -> None:
        if not self._waiting:
            self._holder = None
            return
        who, turn = self._waiting.popleft()
        self._hold(who, now_s)
        turn.release()

    def _hold(self, who: Taker, now_s: float) -> None:
        self._holder = who
        self._since_s = self._heard_s = now_s
