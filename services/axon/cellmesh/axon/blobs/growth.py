"""Who waits for blobs to come: thousands may, in one event loop, without a thread each."""

from __future__ import annotations

import asyncio
import threading

from cellmesh.common.errors import ShuttingDown


class Growth:
    """Wakes who waits. `notify` may be called on any thread, the rest in an event loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._futures: dict[asyncio.AbstractEventLoop, asyncio.Future[None]] = {}
        self._closed = False

    def future(self) -> asyncio.Future[None]:
        """What is done once something has come. Take it before looking for what is there, then await it shielded.

        Raises:
            ShuttingDown: the cell stops.
        """
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._closed:
                raise ShuttingDown("the cell is stopping; go on at this offset when it is back")
            found = self._futures.get(loop)
            if found is None:
                found = self._futures[loop] = loop.create_future()
            return found

    def notify(self) -> None:
        """Tell that something has come."""
        if not self._futures:
            return
        with self._lock:
            futures, self._futures = self._futures, {}
        for loop, future in futures.items():
            try:
                loop.call_soon_threadsafe(_settle, future)
            except RuntimeError:
                # The loop is closed: nobody waits any more.
                if not loop.is_closed():
                    raise

    def close(self) -> None:
        """Wake everyone for the last time: who waits would hold up the stop of the cell."""
        with self._lock:
            self._closed = True
        self.notify()


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


__all__ = ["Growth"]
