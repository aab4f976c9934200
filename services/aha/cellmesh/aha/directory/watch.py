"""One caller's stream of changes. Used in the event loop only."""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from dataclasses import dataclass
from typing import Final

from cellmesh.aha.directory.instances import Instance
from cellmesh.common.errors import LimitExceeded

WAITING_COUNT_MAX: Final = 1024
"""Changes a caller may lag behind. Who lags further is cut off, and begins anew."""


class ChangeKind(enum.Enum):
    """What happened to an instance."""

    ADDED = "added"
    UPDATED = "updated"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Change:
    """A change, with the instance after it, or before it when it was removed."""

    kind: ChangeKind
    instance: Instance


class Watch:
    """Changes on their way to one caller.

    Args:
        service: Only instances of this service, or of every service when empty.
        count_max: How many may wait.
    """

    def __init__(self, service: str, count_max: int = WAITING_COUNT_MAX) -> None:
        self._service = service
        self._count_max = count_max
        self._waiting: deque[Change] = deque()
        self._woken = asyncio.Event()
        self._overrun = False
        self._closed = False

    def offer(self, change: Change) -> None:
        """Hand over a change; it never waits."""
        if self._service and change.instance.service != self._service:
            return
        if len(self._waiting) >= self._count_max:
            self._overrun = True
            self._waiting.clear()
        if not self._overrun:
            self._waiting.append(change)
        self._woken.set()

    def close(self) -> None:
        """End the watch once what waits is taken."""
        self._closed = True
        self._woken.set()

    async def take(self) -> list[Change] | None:
        """Everything that waits, as soon as something does; None when the watch has ended.

        Raises:
            LimitExceeded: the caller lagged too far behind, and changes were lost.
        """
        while True:
            if self._overrun:
                raise LimitExceeded(
                    "changes came faster than they were read",
                    name="watch_waiting_count_max",
                    limit=self._count_max,
                    hint="watch again: the first message carries everything there is",
                )
            if self._waiting:
                changes = list(self._waiting)
                self._waiting.clear()
                return changes
            if self._closed:
                return None
            self._woken.clear()
            await self._woken.wait()
