"""What is done in the background, on the leader alone: tanks are kept within their limits, cut deletions are ended."""

from __future__ import annotations

import asyncio
from typing import Final

from cellmesh.common.cell import PartHealth
from cellmesh.common.errors import CellError, ShuttingDown
from cellmesh.common.rpc.workers import Workers
from cellmesh.common.telemetry.logs import get_logger
from cellmesh.cryotank.tanks.store import TankStore

SWEEP_INTERVAL_S: Final = 2.0
"""How long records may stay beyond the limits of their tank. A look that finds nothing costs microseconds."""

_log = get_logger(__name__)


class TankSweeper:
    """A Part: removes what is beyond the limits of tanks, and ends deletions that a stop, a crash, a full disk or a
    change of leader cut short.

    Each step is logged, so followers take theirs as they apply the log.

    Args:
        store: The tanks.
        workers: Where it is done.
        interval_s: How often it looks, after the first look at the start.
    """

    name = "tank-sweeper"

    def __init__(self, store: TankStore, workers: Workers, *, interval_s: float = SWEEP_INTERVAL_S) -> None:
        self._store = store
        self._workers = workers
        self._interval_s = interval_s
        self._leads = True
        self._is_stopping = False
        self._look = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Look at once, then now and then."""
        self._task = asyncio.create_task(self._run(), name=self.name)

    async def stop(self) -> None:
        """End, after the transaction at hand."""
        self._is_stopping = True
        self._look.set()
        task, self._task = self._task, None
        if task is not None:
            await asyncio.wait((task,))

    async def role_changed(self, leads: bool) -> None:
        """See RolePart."""
        self._leads = leads
        self._look.set()

    def health(self) -> PartHealth:
        """Always well: records that are left take room and do no other harm."""
        return PartHealth()

    async def _run(self) -> None:
        while not self._is_stopping:
            self._look.clear()
            if self._leads:
                await self._sweep()
            try:
                await asyncio.wait_for(self._look.wait(), self._interval_s)
            except TimeoutError:
                continue

    async def _sweep(self) -> None:
        try:
            count = await self._workers.run(self._store.remove_dropped, self._check)
            trimmed = await self._workers.run(self._store.apply_limits, self._check)
        except ShuttingDown:
            return
        except CellError as error:
            _log.warning("tanks_not_swept", error=str(error))
            return
        if count:
            _log.info("deleted_tanks_removed", count=count)
        if trimmed:
            _log.debug("records_trimmed", count=trimmed)

    def _check(self) -> None:
        if self._is_stopping or not self._leads:
            raise ShuttingDown("the sweep of tanks ends")


__all__ = ["TankSweeper"]
