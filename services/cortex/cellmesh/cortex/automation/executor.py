"""The one place that starts a query for a user who is not there, on threads that the cell's stop ends."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from cellmesh.common.errors import ShuttingDown

LOGGER = logging.getLogger(__name__)

DRAIN_S: Final = 3.0
"""How long an orderly stop lets queries come to their end before it cancels them, in seconds."""

STOP_S: Final = 10.0
"""How long a stop waits for what was cancelled, in seconds."""


class Work:
    """Something that runs on a thread of its own until it ends or is cancelled."""

    def __init__(self, name: str, cancel: Callable[[], None], *, has_end: bool) -> None:
        self.name = name
        self.cancel = cancel
        self.has_end = has_end
        self.thread: threading.Thread | None = None


class Executor:
    """Starts work in threads and ends all of it when the cell stops. May be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._works: set[Work] = set()
        self._is_stopping = False

    def start(
        self, name: str, run: Callable[[], None], cancel: Callable[[], None], *, has_end: bool = False
    ) -> Work:
        """Run a function on a thread of its own.

        Args:
            name: Name of the thread.
            run: What to run. What it raises is logged.
            cancel: Makes it end soon; called from another thread, also after its end.
            has_end: Whether it comes to an end by itself, so that an orderly stop waits for that first.

        Raises:
            ShuttingDown: the cell is stopping.
        """
        work = Work(name, cancel, has_end=has_end)

        def body() -> None:
            try:
                run()
            except Exception:
                LOGGER.exception("automation failed", extra={"work": name})
            finally:
                with self._lock:
                    self._works.discard(work)

        with self._lock:
            if self._is_stopping:
                raise ShuttingDown("the cell is stopping and starts no queries")
            work.thread = threading.Thread(target=body, name=name, daemon=True)
            self._works.add(work)
        work.thread.start()
        return work

    def wait_idle(self, timeout_s: float) -> bool:
        """Return when nothing runs: True, or False if that takes too long."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            with self._lock:
                if not self._works:
                    return True
            time.sleep(0.005)
        return False

    def reopen(self) -> None:
        """Start what is asked for again, after `stop`."""
        with self._lock:
            self._is_stopping = False

    def stop(self, timeout_s: float = STOP_S, drain_s: float = 0.0) -> bool:
        """Start nothing more until `reopen`, cancel what runs and wait for it; returns whether all of it has ended.

        Args:
            timeout_s: How long to wait for what was cancelled.
            drain_s: How long to wait before that for what ends by itself.
        """
        with self._lock:
            self._is_stopping = True
            works = list(self._works)
        for work in works:
            if not work.has_end:
                work.cancel()
        end = time.monotonic() + drain_s
        for work in works:
            if work.has_end and work.thread is not None:
                work.thread.join(max(0.0, end - time.monotonic()))
                work.cancel()
        end = time.monotonic() + timeout_s
        for work in works:
            if work.thread is not None:
                work.thread.join(max(0.0, end - time.monotonic()))
        return not any(work.thread is not None and work.thread.is_alive() for work in works)
