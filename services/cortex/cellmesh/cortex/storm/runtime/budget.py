"""How much a running query may use, and the switch that stops it.

Sources of rows (lifts, pivots, loops) call `tick` for each row. It only counts, so that it costs next to nothing; every
`STEP_COUNT_BETWEEN_CHECKS` ticks it looks at the clock, the limits and whether someone waits to write.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cellmesh.common.errors import Cancelled, LimitExceeded, RecursionLimitHit
from cellmesh.cortex.storm.runtime.memory import LARGE_VALUE_BYTES, MemoryGauge
from cellmesh.cortex.storm.runtime.options import QueryLimits
from cellmesh.cortex.storm.runtime.turns import LONG_S, Turns

if TYPE_CHECKING:
    from cellmesh.cortex.views.session import GraphSession

STEP_COUNT_BETWEEN_CHECKS = 128


class Budget:
    """Counts the steps of one query, over all its nested queries and functions.

    `cancel` may be called from any thread; everything else belongs to the query's own.
    """

    __slots__ = (
        "_cancelled",
        "_inner",
        "_memory",
        "_next_check",
        "_session",
        "_started",
        "_turns",
        "depth",
        "limits",
        "steps",
    )

    def __init__(self, limits: QueryLimits, session: GraphSession, turns: Turns | None = None) -> None:
        self.limits = limits
        self.steps = 0
        self.depth = 0
        self._next_check = min(STEP_COUNT_BETWEEN_CHECKS, limits.row_count_max + 1)
        self._started = time.monotonic()
        self._cancelled = False
        self._session = session
        self._inner: Budget | None = None
        self._turns = turns
        self._memory: MemoryGauge | None = None
        if limits.memory_max_bytes is not None:
            self._memory = MemoryGauge(limits.memory_max_bytes, lambda: self._cancelled)

    @property
    def is_cancelled(self) -> bool:
        """Whether someone stopped the query."""
        return self._cancelled

    @property
    def elapsed_s(self) -> float:
        """Seconds since the query began."""
        return time.monotonic() - self._started

    def cancel(self) -> None:
        """Make the query end with Cancelled at its next row."""
        self._cancelled = True
        self._next_check = 0
        inner = self._inner
        if inner is not None:
            inner.cancel()

    @contextmanager
    def lent(self, session: GraphSession) -> Iterator[Budget]:
        """Lend what is left to a part of the query that runs on a session of its own."""
        # The part takes no turns of its own: it would wait for this query's.
        self.let_others()
        inner = Budget(self.limits, session)
        inner.steps, inner.depth, inner._started = self.steps, self.depth, self._started
        outer, self._inner = self._inner, inner
        if self._cancelled:
            inner.cancel()
        try:
            yield inner
        finally:
            self._inner = outer
            self.steps = inner.steps

    def tick(self) -> None:
        """Count a row.

        Raises:
            Cancelled: someone stopped the query.
            LimitExceeded: `name` says which bound was reached.
        """
        self.steps = steps = self.steps + 1
        if steps >= self._next_check:
            self._check()

    def room(self, count: int) -> int:
        """How many of a number of rows may still be counted; `tick_many` raises for one more."""
        return min(count, self.limits.row_count_max - self.steps)

    def tick_many(self, count: int) -> None:
        """Count some rows at once; raises what `tick` does."""
        self.steps += count
        if self.steps >= self._next_check:
            self._check()

    def check(self) -> None:
        """Look at the limits without counting a row; for what makes many values by itself. Raises what `tick` does."""
        self._check()

    def weigh(self, size_bytes: int) -> None:
        """Look at the memory because of one value that is there or about to be made.

        Raises:
            LimitExceeded: it takes too much, alone or with the others.
        """
        if size_bytes > LARGE_VALUE_BYTES and self._memory is not None:
            self._memory.weigh(size_bytes)

    def enter(self) -> None:
        """Go one function or nested query deeper; `leave` comes back.

        Raises:
            RecursionLimitHit: the depth is used up.
        """
        self.depth += 1
        if self.depth > self.limits.depth_max:
            self.depth -= 1
            raise RecursionLimitHit(
                "functions and nested queries call each other too deeply",
                name="depth",
                limit=self.limits.depth_max,
            )

    def leave(self) -> None:
        """Come back from `enter`."""
        self.depth -= 1

    def let_others(self) -> None:
        """Give up the query's turn: it ends, or waits for something other than the graph."""
        if self._turns is not None:
            self._turns.leave(self)

    def _check(self) -> None:
        if self._cancelled:
            raise Cancelled("the query was stopped")
        limits = self.limits
        if self.steps > limits.row_count_max:
            raise LimitExceeded(
                "the query went through too many rows", name="rows", limit=limits.row_count_max
            )
        if limits.time_max_s is not None and self.elapsed_s > limits.time_max_s:
            raise LimitExceeded("the query ran too long", name="time", limit=limits.time_max_s)
        if self._memory is not None:
            self._memory.look()
        self._next_check = min(self.steps + STEP_COUNT_BETWEEN_CHECKS, limits.row_count_max + 1)
        if self._cancelled:  # set while the line above was overwriting what cancel() had set
            self._next_check = 0
        self._session.breathe()
        turns = self._turns
        if turns is not None and self.elapsed_s > LONG_S:
            # A query that edits may hold the write transaction: waiting with it would keep others waiting too.
            if self._session.edit_count:
                turns.leave(self)
            else:
                turns.take(self)
