"""One caller's stream of changes. Used in the event loop only."""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from collections.abc import Callable
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


@dataclass(frozen=True, slots=True)
class Scope:
    """What a caller watches; what is empty does not narrow it.

    Attributes:
        service: Only instances of this service.
        kind: Only cells of this kind.
        pool: Only what is in this pool.
    """

    service: str = ""
    kind: str = ""
    pool: str = ""


class Watch:
    """Changes on their way to one caller.

    Args:
        scope: What it watches.
        is_wanted: Whether it wants to know of an instance.
        count_max: How many changes may wait.

    Attributes:
        scope: As given.
        revision: Of the newest change that was offered, wanted or not.
        renewed: Whether what is wanted has changed, so that the caller needs everything anew. Then `take` returns no
            changes, and whoever takes reads what there is and sets it back.
    """

    def __init__(
        self,
        scope: Scope | str = "",
        count_max: int = WAITING_COUNT_MAX,
        *,
        is_wanted: Callable[[Instance], bool] | None = None,
    ) -> None:
        self.scope = scope if isinstance(scope, Scope) else Scope(scope)
        self.revision = 0
        self.renewed = False
        self._is_wanted = is_wanted or self._fits
        self._count_max = count_max
        self._waiting: deque[Change] = deque()
        self._woken = asyncio.Event()
        self._overrun = False
        self._closed = False

    def wants(self, instance: Instance) -> bool:
        """Whether it wants to know of an instance."""
        return self._is_wanted(instance)

    def _fits(self, instance: Instance) -> bool:
        scope = self.scope
        return (not scope.service or instance.service == scope.service) and (
            not scope.kind or instance.kind == scope.kind
        )

    def renew(self) -> None:
        """What is wanted has changed: what waits is void, and the caller gets everything anew."""
        self.renewed = True
        self._waiting.clear()
        self._woken.set()

    def offer(self, change: Change, revision: int = 0) -> None:
        """Hand over a change; it never waits."""
        self.revision = revision
        if self.renewed or not self._is_wanted(change.instance):
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
        """Everything that waits, as soon as something does; empty when it is `renewed`, None when it has ended.

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
            if self.renewed:
                return []
            if self._waiting:
                changes = list(self._waiting)
                self._waiting.clear()
                return changes
            if self._closed:
                return None
            self._woken.clear()
            await self._woken.wait()
