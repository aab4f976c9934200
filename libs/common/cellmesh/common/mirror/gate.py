"""What stands between a leader and its acknowledgements: its lease, and the followers that must have a change.

no lease needed   nobody follows: the instance answers for its own disk alone
leased            writes and acknowledgements need a lease, from AHA or from all followers
closed            a follower, or a leader that hands over: no write of a caller starts
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Final

from cellmesh.common.changelog import next_offset
from cellmesh.common.errors import CellError, NotLeader, Retry, TimeOut
from cellmesh.common.storage import Slab
from cellmesh.common.time.clock import boottime_s

LEASE_WAIT_S: Final = 5.0
"""How long an acknowledgement waits for a lease that has run out to be renewed."""


class MirrorGate:
    """The slab's gate on an instance that may have mirrors. Safe to use from many threads.

    Args:
        slab: Whose gate it is; only read.
        clock: In seconds, as `boottime_s`.
    """

    def __init__(self, slab: Slab, clock: Callable[[], float] = boottime_s) -> None:
        self._slab = slab
        self._clock = clock
        self._changed = threading.Condition()
        self._closed: Callable[[], CellError] | None = None
        self._draining = False
        self._arbiter_until_s = float("inf")
        self._followers_until_s = 0.0
        self._until_s = float("inf")
        self._synchronous_count = 0
        self._synchronous_timeout_s = 0.0
        self._covered: list[int] = []

    # Set by the mirror.

    def close(self, refusal: Callable[[], CellError], *, draining: bool = False) -> None:
        """Let no write start, and acknowledge none, from now on.

        Args:
            refusal: Makes the error that callers get.
            draining: Whether what is written already may still be acknowledged, under the lease.
        """
        with self._changed:
            self._closed, self._draining = refusal, draining
            self._changed.notify_all()

    def open(self) -> None:
        """Let writes start again."""
        with self._changed:
            self._closed = None
            self._changed.notify_all()

    def need_no_lease(self) -> None:
        """Nobody follows this instance."""
        self._set_leases(float("inf"), 0.0)

    def need_lease(self) -> None:
        """From now on a lease is needed, and there is none yet, unless one was given already."""
        if self._arbiter_until_s == float("inf"):
            self._set_leases(0.0, 0.0)

    def lease_of_arbiter(self, until_s: float) -> None:
        """AHA has renewed the lease."""
        self._set_leases(until_s, self._followers_until_s)

    def lease_of_followers(self, until_s: float) -> None:
        """Until when all followers have granted it; 0 while one has not."""
        self._set_leases(self._arbiter_until_s, until_s)

    def synchronous(self, count: int, timeout_s: float) -> None:
        """How many followers must have a change before it is acknowledged, and how long that may take."""
        with self._changed:
            self._synchronous_count, self._synchronous_timeout_s = count, timeout_s
            self._changed.notify_all()

    def covered(self, offsets: Iterable[int]) -> None:
        """The next offsets of all followers that answer: what is before them they have on disk."""
        with self._changed:
            self._covered = sorted(offsets, reverse=True)
            self._changed.notify_all()

    # Asked by others.

    @property
    def has_lease(self) -> bool:
        """Whether acknowledgements are possible now, as far as leases go."""
        return self._clock() < self._until_s

    @property
    def is_open(self) -> bool:
        """Whether writes may start now."""
        return self._closed is None and self.has_lease

    @property
    def synchronous_count(self) -> int:
        """How many followers must have a change before it is acknowledged."""
        return self._synchronous_count

    # AckGate: asked by the slab.

    def check_write(self) -> None:
        """See AckGate. Raises NotLeader, or Retry while the lease has run out."""
        closed = self._closed
        if closed is not None:
            raise closed()
        if self._until_s != float("inf") and not self.has_lease:
            raise _no_lease("no write can begin")

    def acknowledge(self, txn_id: int) -> None:
        """See AckGate.

        Raises:
            NotLeader: it was deposed meanwhile.
            TimeOut: too few followers have the change in time.
            Retry: there is no lease, nor did one come in time.
        """
        if self._closed is None and self._until_s == float("inf") and not self._synchronous_count:
            return
        offset = 0
        if self._synchronous_count:
            with self._slab.view() as txn:
                offset = next_offset(txn)
        started_s = self._clock()
        with self._changed:
            while True:
                if self._closed is not None and not self._draining:
                    raise _unknown(self._closed())
                waited_s = self._clock() - started_s
                if not self._has_covered(offset):
                    left_s = self._synchronous_timeout_s - waited_s
                    if left_s <= 0:
                        raise self._uncovered(offset)
                elif self.has_lease:
                    return
                else:
                    left_s = LEASE_WAIT_S - waited_s
                    if left_s <= 0:
                        raise _no_lease("the write is stored here, but cannot be acknowledged")
                self._changed.wait(min(left_s, 0.5))

    def _has_covered(self, offset: int) -> bool:
        count = self._synchronous_count
        return not count or (len(self._covered) >= count and self._covered[count - 1] >= offset)

    def _uncovered(self, offset: int) -> TimeOut:
        count = sum(found >= offset for found in self._covered)
        return TimeOut(
            f"{count} of {self._synchronous_count} synchronous followers have the write after "
            f"{self._synchronous_timeout_s:g} s; it is stored here, and may or may not outlive this leader",
            hint="see `cellmesh mirror status`; writes go on when enough followers answer, or with a lower "
            "synchronous_followers",
        )

    def _set_leases(self, arbiter_until_s: float, followers_until_s: float) -> None:
        with self._changed:
            self._arbiter_until_s, self._followers_until_s = arbiter_until_s, followers_until_s
            self._until_s = max(arbiter_until_s, followers_until_s)
            self._changed.notify_all()


def _no_lease(what: str) -> Retry:
    return Retry(
        f"{what}: the lease as leader has run out, and neither AHA nor all followers have renewed it",
        hint="it goes on by itself once AHA, or every follower, answers",
    )


def _unknown(error: CellError) -> CellError:
    """The same error for a write that is stored here, where nobody knows whether it will last."""
    if isinstance(error, NotLeader):
        error.set("outcome", "unknown")
    return error


__all__ = ["MirrorGate"]
