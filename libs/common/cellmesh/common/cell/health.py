"""Gathers the health of a cell's parts and tells it on the server's board."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from cellmesh.common.cell.part import WELL, Part, PartHealth, PartState
from cellmesh.common.rpc.health import HealthBoard
from cellmesh.common.storage.slab import SPACE_MIN_BYTES
from cellmesh.common.telemetry.logs import get_logger

CHECK_INTERVAL_S: Final = 1.0

_SEVERITY = {PartState.WELL: 0, PartState.READ_ONLY: 1, PartState.FAILED: 2}

_log = get_logger(__name__)


def worst_of(parts: Sequence[Part]) -> tuple[str, PartHealth]:
    """Find the part that does worst, the first of equals; ("", well) when there are none."""
    name, worst = "", WELL
    for part in parts:
        health = part.health()
        if _SEVERITY[health.state] > _SEVERITY[worst.state]:
            name, worst = part.name, health
    return name, worst


class DiskSpace:
    """A Part: the disk under a cell's storage. With too little room the cell is read-only, and recovers by itself.

    Args:
        path: A folder on the disk.
        space_min_bytes: Free space below which storage starts no write.
    """

    name = "disk"

    def __init__(self, path: Path, *, space_min_bytes: int = SPACE_MIN_BYTES) -> None:
        self._path = path
        self._space_min_bytes = space_min_bytes

    async def start(self) -> None:
        """Nothing runs: the disk is looked at when asked."""

    async def stop(self) -> None:
        """Nothing ran."""

    def health(self) -> PartHealth:
        """How much room there is now."""
        status = os.statvfs(self._path)
        free_bytes = status.f_bavail * status.f_frsize
        if free_bytes >= self._space_min_bytes:
            return WELL
        need = self._space_min_bytes
        return PartHealth(PartState.READ_ONLY, f"the disk has {free_bytes} bytes left, writes need {need}")


class HealthWatch:
    """Asks the parts about once a second; tells the board and the cell of changes."""

    def __init__(
        self,
        parts: Sequence[Part],
        board: HealthBoard,
        on_change: Callable[[PartState], None],
        *,
        interval_s: float = CHECK_INTERVAL_S,
    ) -> None:
        self._parts = tuple(parts)
        self._board = board
        self._on_change = on_change
        self._interval_s = interval_s
        self._state = PartState.WELL
        self._task: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """For logs."""
        return "health"

    async def start(self) -> None:
        """Begin to ask."""
        self._task = asyncio.create_task(self._run(), name="health")

    async def stop(self) -> None:
        """Stop asking."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def health(self) -> PartHealth:
        """It has no trouble of its own."""
        return WELL

    def check(self) -> None:
        """Ask the parts once."""
        name, worst = worst_of(self._parts)
        if worst.state is self._state:
            return
        self._state = worst.state
        if worst.state is PartState.WELL:
            _log.info("cell_well_again")
        else:
            _log.warning("cell_unwell", part=name, state=worst.state.value, reason=worst.reason)
        self._board.set_all(worst.state is not PartState.FAILED)
        self._on_change(worst.state)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            self.check()
