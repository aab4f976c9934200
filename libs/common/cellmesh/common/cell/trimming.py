"""The change log of a running cell is trimmed in the background."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Final

from cellmesh.common.cell.part import WELL, PartHealth
from cellmesh.common.changelog import LogRules
from cellmesh.common.errors import CellError, ShuttingDown
from cellmesh.common.telemetry.logs import get_logger

if TYPE_CHECKING:
    from cellmesh.common.changelog import LogKeeper
    from cellmesh.common.config.spec import CellConfig
    from cellmesh.common.rpc.workers import Workers

TRIM_INTERVAL_S: Final = 60.0

REST_S: Final = 0.02
"""Between two transactions of a trim, of 4 ms each: it takes a sixth of the writer's time at most."""

_log = get_logger(__name__)


def log_rules(config: CellConfig) -> LogRules:
    """What a cell's settings keep of its log."""
    return LogRules(
        keep_count=config.log_keep_count, keep_s=config.log_keep_hours * 3600, share_max=config.log_share_max
    )


class LogTrimmer:
    """A Part: every minute, has the keeper remove what its rules let go.

    Args:
        keeper: The log's.
        workers: Where it is done.
        interval_s: How often.
    """

    name = "log-trimmer"

    def __init__(self, keeper: LogKeeper, workers: Workers, *, interval_s: float = TRIM_INTERVAL_S) -> None:
        self._keeper = keeper
        self._workers = workers
        self._interval_s = interval_s
        self._task: asyncio.Task[None] | None = None
        self._stopping = threading.Event()

    async def start(self) -> None:
        """Begin; the first trim is an interval away."""
        self._task = asyncio.create_task(self._run(), name=self.name)

    async def stop(self) -> None:
        """End, after the transaction at hand."""
        self._stopping.set()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def health(self) -> PartHealth:
        """Always well: a log that is not trimmed harms nobody yet."""
        return WELL

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                done = await self._workers.run(self._trim)
            except ShuttingDown:
                return
            except CellError as error:
                _log.warning("changes_not_trimmed", reason=error.message)
                continue
            if done:
                _log.info("changes_trimmed", count=done)

    def _trim(self) -> int:
        return self._keeper.trim(check=self._check, rest_s=REST_S).count

    def _check(self) -> None:
        if self._stopping.is_set():
            raise ShuttingDown("the cell is stopping")


__all__ = ["LogTrimmer", "log_rules"]
