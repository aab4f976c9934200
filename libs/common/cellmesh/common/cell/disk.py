"""The disk under a cell's storage: with too little room the cell is read-only, and recovers by itself."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cellmesh.common.cell.part import WELL, PartHealth, PartState
from cellmesh.common.errors import CellError, ShuttingDown
from cellmesh.common.storage.slab import SPACE_MIN_BYTES, Slab, free_space_bytes

if TYPE_CHECKING:
    from cellmesh.common.rpc.workers import Workers

PROBE_INTERVAL_S: Final = 1.0


class DiskSpace:
    """A Part: looks at the room on the disk, and at what the last writes met.

    A write that found no room makes the cell read-only even if the disk seems to have some: a quota, or a
    disk that fails. While it is so, a write of 1 MiB is tried every second, and the first that is committed
    ends it.

    Args:
        path: A folder on the disk.
        space_min_bytes: Free space below which storage starts no write.
        slab: The storage; left out, only the disk is looked at.
        workers: Where writes are tried.
    """

    name = "disk"

    def __init__(
        self,
        path: Path,
        *,
        space_min_bytes: int = SPACE_MIN_BYTES,
        slab: Slab | None = None,
        workers: Workers | None = None,
    ) -> None:
        self._path = path
        self._space_min_bytes = space_min_bytes
        self._slab = slab
        self._workers = workers
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to try writes when they fail."""
        if self._slab is not None and self._workers is not None:
            self._task = asyncio.create_task(self._run(self._slab, self._workers), name="disk")

    async def stop(self) -> None:
        """Try no more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def health(self) -> PartHealth:
        """How much room there is now, and whether writes find it."""
        free_bytes = free_space_bytes(self._path)
        if free_bytes < self._space_min_bytes:
            need = self._space_min_bytes
            return PartHealth(
                PartState.READ_ONLY, f"the disk has {free_bytes} bytes left, writes need {need}"
            )
        trouble = self._slab.trouble if self._slab is not None else None
        return WELL if trouble is None else PartHealth(PartState.READ_ONLY, trouble.message)

    async def _run(self, slab: Slab, workers: Workers) -> None:
        while True:
            await asyncio.sleep(PROBE_INTERVAL_S)
            if slab.trouble is None or free_space_bytes(self._path) < self._space_min_bytes:
                continue
            try:
                await workers.run(slab.probe)
            except ShuttingDown:
                return
            except CellError:
                # No room yet: `slab.trouble` says so.
                continue
