"""Who waits for records: an event each in the event loop, and no thread. Thousands may wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from cellmesh.common.errors import ShuttingDown


class Waiter:
    """One who waits for a tank's next records: `with arrivals.waiter(number) as waiter`.

    `clear` before the tank is read, `wait` when nothing was found: what is added between is not missed.
    """

    __slots__ = ("_event", "_number", "_owner")

    def __init__(self, owner: Arrivals, number: int) -> None:
        self._owner = owner
        self._number = number
        self._event = asyncio.Event()

    def __enter__(self) -> Self:
        self._owner.add(self._number, self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._owner.remove(self._number, self)

    def clear(self) -> None:
        """Forget what was told until now. Raises ShuttingDown."""
        self._owner.check()
        self._event.clear()

    def wake(self) -> None:
        """Tell it, in the event loop."""
        self._event.set()

    async def wait(self, timeout_s: float | None) -> bool:
        """Wait until the tank has changed; False when it has not in time. Raises ShuttingDown."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            return False
        self._owner.check()
        return True


class Arrivals:
    """Everyone who waits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiters: dict[int, set[Waiter]] = {}
        self._told: set[int] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_closed = False

    def waiter(self, number: int) -> Waiter:
        """One who waits for the tank of this number."""
        return Waiter(self, number)

    def tell(self, number: int) -> None:
        """A tank has more records, or is gone. On any thread; returns at once."""
        with self._lock:
            if number not in self._waiters or number in self._told:
                return
            self._told.add(number)
            loop = self._loop
        assert loop is not None
        try:
            loop.call_soon_threadsafe(self._wake, number)
        except RuntimeError:
            # The loop is closed: nobody waits any more.
            if not loop.is_closed():
                raise

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """Where they wait; None before anybody did."""
        return self._loop

    @property
    def count(self) -> int:
        """How many wait, or read and may wait again."""
        with self._lock:
            return sum(map(len, self._waiters.values()))

    # For waiters, in the event loop.

    def add(self, number: int, waiter: Waiter) -> None:
        """Begin to tell one."""
        with self._lock:
            self._loop = asyncio.get_running_loop()
            self._waiters.setdefault(number, set()).add(waiter)

    def remove(self, number: int, waiter: Waiter) -> None:
        """End it."""
        with self._lock:
            waiters = self._waiters[number]
            waiters.discard(waiter)
            if not waiters:
                del self._waiters[number]

    def check(self) -> None:
        """Raise ShuttingDown once the cell is stopping."""
        if self._is_closed:
            raise ShuttingDown("the cell is stopping; read on from the last offset when it is back")

    def _wake(self, number: int) -> None:
        with self._lock:
            self._told.discard(number)
            waiters: Iterable[Waiter] = tuple(self._waiters.get(number, ()))
        for waiter in waiters:
            waiter.wake()

    def close(self) -> None:
        """Send home all who wait, with ShuttingDown, as the cell stops: they would hold it up. In the event loop."""
        self._is_closed = True
        with self._lock:
            waiters = [waiter for some in self._waiters.values() for waiter in some]
        for waiter in waiters:
            waiter.wake()


__all__ = ["Arrivals", "Waiter"]
