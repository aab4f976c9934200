"""The part of the cell that runs automation: it starts with the cell, and ends with all its queries."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.cell.part import WELL, PartHealth
from cellmesh.common.errors import CellError
from cellmesh.cortex.automation.cron import CronJobs
from cellmesh.cortex.automation.dmons import PAUSE_FIRST_S, Daemons
from cellmesh.cortex.automation.executor import LOGGER, Executor
from cellmesh.cortex.automation.triggers import Triggers

if TYPE_CHECKING:
    from cellmesh.cortex.storm.engine import Engine
    from cellmesh.cortex.views.graph import Graph

TASK_WAIT_S: Final = 1.0
"""How long a left task may wait when the call that tells of it came before its commit, in seconds."""


class Automation:
    """Triggers, cron jobs and daemons of a Cortex.

    Args:
        graph: The graph.
        now_s: The clock of cron jobs, in seconds since 1970.
        pause_first_s: The first pause before a daemon is started again, in seconds.
    """

    name = "automation"

    def __init__(
        self,
        graph: Graph,
        now_s: Callable[[], float] = time.time,
        pause_first_s: float = PAUSE_FIRST_S,
    ) -> None:
        self.executor = Executor()
        self.triggers = Triggers(graph, self._tell_of_task)
        self.cron = CronJobs(graph, self.executor, now_s)
        self.daemons = Daemons(graph, self.executor, pause_first_s)
        self._has_task = threading.Event()
        self._is_stopped = False

    @property
    def capabilities(self) -> dict[str, Any]:
        """What queries reach it by."""
        return {"triggers": self.triggers, "cron": self.cron, "daemons": self.daemons}

    def load(self, engine: Engine) -> None:
        """Read all definitions. From now on triggers run; cron jobs and daemons do after `start`."""
        self.triggers.load(engine)
        self.cron.load(engine)
        self.daemons.load(engine)

    async def start(self) -> None:
        """Run what is due."""
        self.executor.start("cron", self.cron.run_scheduler, self.cron.stop)
        self.executor.start("trigger-tasks", self._run_tasks, self._stop_tasks)
        await asyncio.to_thread(self.daemons.start_all)

    async def stop(self) -> None:
        """End every query."""
        await asyncio.to_thread(self.executor.stop)

    def health(self) -> PartHealth:
        """Well: an error is the query's it happens in."""
        return WELL

    def _tell_of_task(self) -> None:
        self._has_task.set()

    def _stop_tasks(self) -> None:
        self._is_stopped = True
        self._has_task.set()

    def _run_tasks(self) -> None:
        while not self._is_stopped:
            self._has_task.wait(TASK_WAIT_S)
            self._has_task.clear()
            try:
                while not self._is_stopped and self.triggers.run_task():
                    pass
            except CellError:
                LOGGER.exception("a task of a trigger could not be run")
                time.sleep(TASK_WAIT_S)
