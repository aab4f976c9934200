"""The part of the cell that runs automation: it starts with the cell, and ends with all its queries."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.cell.part import WELL, PartHealth
from cellmesh.common.errors import CellError
from cellmesh.cortex.automation.changes import Changed
from cellmesh.cortex.automation.cron import CronJobs
from cellmesh.cortex.automation.dmons import PAUSE_FIRST_S, Daemons
from cellmesh.cortex.automation.executor import DRAIN_S, LOGGER, Executor
from cellmesh.cortex.automation.schema import CRON_JOBS, DAEMONS, TRIGGERS
from cellmesh.cortex.automation.triggers import Triggers

if TYPE_CHECKING:
    from cellmesh.cortex.storm.engine import Engine
    from cellmesh.cortex.views.graph import Graph

TASK_WAIT_S: Final = 1.0
"""How long a left task may wait when the call that tells of it came before its commit, in seconds."""


class Automation:
    """Triggers, cron jobs and daemons of a Cortex. Only a leader runs them: `resume` and `suspend` tell.

    Args:
        graph: The graph.
        now_s: The clock of cron jobs, in seconds since 1970.
        pause_first_s: The first pause before a daemon is started again, in seconds.
        is_active: Whether anything runs before `suspend` is called; else not before `resume` is.
    """

    name = "automation"

    def __init__(
        self,
        graph: Graph,
        now_s: Callable[[], float] = time.time,
        pause_first_s: float = PAUSE_FIRST_S,
        *,
        is_active: bool = True,
    ) -> None:
        self._graph = graph
        self.executor = Executor()
        self.triggers = Triggers(graph, self._tell_of_task)
        self.cron = CronJobs(graph, self.executor, now_s)
        self.daemons = Daemons(graph, self.executor, pause_first_s, is_active=is_active)
        self._is_active = is_active
        self._is_running = False
        self._switch = threading.Lock()
        self._has_task = threading.Event()
        self._is_stopped = False

    @property
    def capabilities(self) -> dict[str, Any]:
        """What queries reach it by."""
        return {
            "triggers": self.triggers,
            "cron": self.cron,
            "daemons": self.daemons,
            "executor": self.executor,
        }

    def load(self, engine: Engine) -> None:
        """Read all definitions. From now on triggers run; cron jobs and daemons do after `start`."""
        self.triggers.load(engine)
        self.cron.load(engine)
        self.daemons.load(engine)

    async def start(self) -> None:
        """Run what is due, if active."""
        if self._is_active:
            await asyncio.to_thread(self.resume)

    async def stop(self) -> None:
        """End every query."""
        await asyncio.to_thread(self.executor.stop)

    async def role_changed(self, leads: bool) -> None:
        """Run automation where the cell leads, and nowhere else."""
        if leads:
            await asyncio.to_thread(self._graph.lead)
            await asyncio.to_thread(self.resume)
        else:
            await asyncio.to_thread(self.suspend)

    def resume(self) -> None:
        """Run automation from now on: this cell leads. What is due, and left to do, comes from what is stored.

        Blocks for some writes. Does nothing where automation runs already.
        """
        with self._switch:
            if self._is_running:
                return
            self._is_active = self._is_running = True
            self._is_stopped = False
            self.executor.reopen()
            self.triggers.resume()
            self.cron.resume()
            self.executor.start("cron", self.cron.run_scheduler, self.cron.stop)
            self.executor.start("trigger-tasks", self._run_tasks, self._stop_tasks)
            self._has_task.set()
            self.daemons.start_all()

    def suspend(self) -> bool:
        """Run no automation from now on, as another cell leads; its queries end, or are cancelled after some seconds.

        To be called while this cell can still write, so that a cron job that was about to start is left to the next
        leader. Triggers go on: they are part of the edits that set them off, which this cell makes as long as it can.
        Blocks until the queries have ended, or some seconds; returns whether they have.
        """
        with self._switch:
            self._is_active = self._is_running = False
            self.daemons.stop_all()
            return self.executor.stop(drain_s=DRAIN_S)

    def follow(self, changed: Iterable[Changed]) -> None:
        """Bring memory in line with definitions that were changed by a change log."""
        for db, iden in changed:
            if db is TRIGGERS:
                self.triggers.follow(iden)
            elif db is CRON_JOBS:
                self.cron.follow(iden)
            elif db is DAEMONS:
                self.daemons.follow(iden)

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
