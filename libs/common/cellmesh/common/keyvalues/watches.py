"""Who waits for changes of key-values: a bounded queue each, filled after the commit, in the order of commits."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cellmesh.common.errors import CellError, LimitExceeded, ShuttingDown
from cellmesh.common.keyvalues.schema import Path

QUEUE_COUNT_MAX: Final = 10_000
QUEUE_SIZE_MAX: Final = 16 << 20
TAKE_SIZE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Event:
    """One value that was set or deleted.

    Attributes:
        key: Its key, see `schema.key_of`.
        path: Its path.
        data: What is stored now, a StoredKeyValue in binary form; None when it was deleted.
        revision: The offset behind the change's record.
    """

    key: bytes
    path: Path
    data: bytes | None
    revision: int

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return len(self.key) + len(self.data or b"")


class Watch:
    """One who waits, in an event loop.

    Args:
        owner: Where it is registered until it is closed.
        prefix: The key of the path; empty for everything.
        loop: Where it waits.
    """

    def __init__(self, owner: Watches, prefix: bytes, loop: asyncio.AbstractEventLoop) -> None:
        self.prefix = prefix
        self._owner = owner
        self._loop = loop
        self._lock = threading.Lock()
        self._events: deque[Event] = deque()
        self._size = 0
        self._error: CellError | None = None
        self._woken = asyncio.Event()

    def push(self, events: Sequence[Event]) -> None:
        """Take in events, on any thread."""
        wanted = [event for event in events if event.key.startswith(self.prefix)]
        if not wanted:
            return
        with self._lock:
            self._events.extend(wanted)
            self._size += sum(event.size for event in wanted)
            if len(self._events) > QUEUE_COUNT_MAX or self._size > QUEUE_SIZE_MAX:
                self._error = self._error or LimitExceeded(
                    "changes came faster than they were taken, and some are lost",
                    name="QUEUE_SIZE_MAX",
                    limit=QUEUE_SIZE_MAX,
                    hint="watch anew with a snapshot",
                )
                self._events.clear()
                self._size = 0
        self._wake()

    def fail(self, error: CellError) -> None:
        """End it with an error, once what has come is taken."""
        with self._lock:
            self._error = self._error or error
        self._wake()

    async def take(self) -> list[Event]:
        """Some events, as soon as there are any. Raises what ended it."""
        while True:
            self._woken.clear()
            with self._lock:
                events: list[Event] = []
                size = 0
                while self._events and size < TAKE_SIZE:
                    event = self._events.popleft()
                    size += event.size
                    events.append(event)
                self._size -= size
                if events:
                    return events
                if self._error is not None:
                    raise self._error
            await self._woken.wait()

    def close(self) -> None:
        """Wait no more."""
        self._owner.remove(self)

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._woken.set)
        except RuntimeError:
            # The loop is closed: nobody waits any more.
            if not self._loop.is_closed():
                raise


class Watches:
    """Everyone who waits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: set[Watch] = set()
        self._closed = False

    def add(self, prefix: bytes) -> Watch:
        """Begin to wait, in the running event loop. Raises ShuttingDown once closed."""
        watch = Watch(self, prefix, asyncio.get_running_loop())
        with self._lock:
            if self._closed:
                raise _shutting_down()
            self._all.add(watch)
        return watch

    def remove(self, watch: Watch) -> None:
        """Forget one."""
        with self._lock:
            self._all.discard(watch)

    def publish(self, events: Sequence[Event]) -> None:
        """Tell everyone what was committed."""
        for watch in self._snapshot():
            watch.push(events)

    def close(self) -> None:
        """End them, as the cell stops: who waits would hold it up."""
        with self._lock:
            self._closed = True
        for watch in self._snapshot():
            watch.fail(_shutting_down())

    def _snapshot(self) -> list[Watch]:
        with self._lock:
            return list(self._all)


def _shutting_down() -> ShuttingDown:
    return ShuttingDown("the cell is stopping; watch anew with a snapshot when it is back")
