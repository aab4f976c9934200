"""Cron jobs: queries that run at times.

When a job is due, its query's session first notes that it has started and when it is due next. The note is durable
with the first edits of the query, or before the query waits for anything. So a crash, or another cell taking over, never
runs the same time twice; and a run that fits one transaction is there as a whole, or made by the next leader. A longer one
that a crash cuts off is noted as interrupted, and not run again: what it did is there. A leader that hands over lets runs
come to their end for some seconds. Times that were missed while nothing ran are made up for by one run; a job that is
still running when it is due again leaves that time out.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadArg, Cancelled, CellError, DupIden, ShuttingDown
from cellmesh.cortex.automation.executor import Executor, Work
from cellmesh.cortex.automation.schedules import Recurrence, next_time
from cellmesh.cortex.automation.schema import CRON_JOBS
from cellmesh.cortex.automation.store import (
    Definition,
    DefinitionStore,
    Write,
    check_iden,
    missing,
    new_iden,
)
from cellmesh.cortex.storm.runtime.messages import Error, Fini, Message
from cellmesh.cortex.storm.runtime.options import QueryOptions

if TYPE_CHECKING:
    from cellmesh.cortex.storm.engine import Engine
    from cellmesh.cortex.storm.execution import Running
    from cellmesh.cortex.views.graph import Graph
    from cellmesh.cortex.views.session import GraphSession

LOGGER = logging.getLogger(__name__)

CHANGEABLE: Final = frozenset({"name", "doc", "creator"})
ERRORS_KEPT: Final = 5
ERROR_SIZE_MAX: Final = 500
NOTE_WAIT_S: Final = 10.0
"""How long the scheduler waits for a job to be noted as started, before it looks at others."""

WAIT_MAX_S: Final = 1.0
"""How long the scheduler sleeps at most: the clock may be set meanwhile."""


@dataclass(slots=True, eq=False)
class CronJob:
    """A cron job.

    Attributes:
        row: Its definition and state as stored; replaced as a whole, never changed.
        running: The query, while it runs.
    """

    row: Definition
    running: Running | None = None
    work: Work | None = None

    @property
    def iden(self) -> str:
        """32 hexadecimal digits."""
        return str(self.row["iden"])

    @property
    def recurrences(self) -> list[Recurrence]:
        """When it runs."""
        return [(dict(required), unit, increment) for required, unit, increment in self.row["recs"]]


class CronJobs:
    """All cron jobs of the cell, and the thread that starts them. May be used from many threads.

    Args:
        graph: The graph.
        executor: Runs the queries.
        now_s: The clock, in seconds since 1970.
    """

    def __init__(self, graph: Graph, executor: Executor, now_s: Callable[[], float]) -> None:
        self.now_s = now_s
        self._graph = graph
        self._executor = executor
        self._store = DefinitionStore(graph, CRON_JOBS)
        self._changed = threading.Condition()
        self._jobs: dict[str, CronJob] = {}
        self._engine: Engine | None = None
        self._is_stopped = False

    def load(self, engine: Engine) -> None:
        """Read the stored jobs."""
        self._engine = engine
        for row in self._store.load():
            self._jobs[row["iden"]] = CronJob(row)

    def resume(self) -> None:
        """Begin to start jobs: those that ran when this cell ended, or its leader did, are noted as interrupted."""
        with self._changed:
            self._is_stopped = False
        for job in self.by_iden.values():
            if job.row["isrunning"] and job.running is None:
                self._update(job, isrunning=False, lastresult="interrupted: the cell ended")

    # Definitions -----------------------------------------------------------------------------------------------

    @property
    def by_iden(self) -> dict[str, CronJob]:
        """The jobs by iden, a dict of its own, in the order they were made."""
        with self._changed:
            return dict(self._jobs)

    def get(self, iden: str) -> CronJob:
        """Return a job by iden.

        Raises:
            NoSuchIden: there is none.
        """
        found = self._jobs.get(iden)
        if found is None:
            raise missing("cron job", iden)
        return found

    def add(
        self,
        write: Write,
        given: Mapping[str, Any],
        recurrences: Sequence[Recurrence],
        *,
        user: str,
        view: str,
        is_recurring: bool,
        is_now: bool = False,
    ) -> CronJob:
        """Make a job, durable on return. Its query and schedule were checked.

        Raises:
            SchemaViolation: the iden is none. DupIden: it is taken. NoSuchView: there is no such view.
        """
        iden = check_iden(given["iden"]) if given.get("iden") is not None else new_iden()
        view_id = self._graph.view(check_iden(given["view"]) if given.get("view") is not None else view).id
        if iden in self._jobs:
            raise DupIden("there is a cron job of this iden", iden=iden)
        now_s = self.now_s()
        row: Definition = {
            "iden": iden,
            "number": len(self._jobs),
            "query": given["query"],
            "view": str(view_id),
            "creator": user,
            "created": int(now_s * 1000),
            "name": "",
            "doc": "",
            "pool": bool(given.get("pool") or False),
            "affinity": given.get("affinity"),
            "enabled": True,
            "recur": is_recurring,
            "recs": [list(recurrence) for recurrence in recurrences],
            "nexttime": now_s if is_now else next_time(recurrences, now_s),
            "startcount": 0,
            "errcount": 0,
            "isrunning": False,
            "laststarttime": None,
            "lastfinishtime": None,
            "lastresult": None,
            "lasterrs": [],
        }
        self._store.put(write, row, user)
        self.follow(iden)
        return self.get(iden)

    def check(self, query: str) -> None:
        """Check that a text is a query; raises BadSyntax."""
        self._require_engine().check(query)

    def set(self, write: Write, job: CronJob, name: str, value: Any, *, user: str) -> None:
        """Change the name, the doc or the creator, durable on return.

        Raises:
            BadArg: it is none of those.
        """
        if name not in CHANGEABLE:
            raise BadArg("this cannot be changed in a cron job", name=name)
        self._replace(write, job, {name: value}, user)

    def enable(self, write: Write, job: CronJob, is_enabled: bool, *, user: str) -> None:
        """Switch a job on or off, durable on return. Times that passed while it was off are not made up for."""
        changes: dict[str, Any] = {"enabled": is_enabled}
        if is_enabled and not job.row["enabled"] and job.row["recur"]:
            changes["nexttime"] = next_time(job.recurrences, self.now_s())
        self._replace(write, job, changes, user)

    def set_query(self, write: Write, job: CronJob, query: str, *, user: str) -> None:
        """Change the query, durable on return.

        Raises:
            BadSyntax: it is none.
        """
        self.check(query)
        self._replace(write, job, {"query": query}, user)

    def set_schedule(
        self, write: Write, job: CronJob, recurrences: Sequence[Recurrence], *, user: str
    ) -> None:
        """Change when a job runs, durable on return.

        Raises:
            BadArg: it is one that runs at given moments.
        """
        if not job.row["recur"]:
            raise BadArg("a job that runs at given moments has no period", name="period")
        changes = {
            "recs": [list(item) for item in recurrences],
            "nexttime": next_time(recurrences, self.now_s()),
        }
        self._replace(write, job, changes, user)

    def move(self, write: Write, job: CronJob, view: str, *, user: str) -> None:
        """Have a job run in another view, durable on return.

        Raises:
            NoSuchView: there is none.
        """
        self._replace(write, job, {"view": str(self._graph.view(view).id)}, user)

    def delete(self, write: Write, iden: str, *, user: str) -> None:
        """Remove a job, durable on return, and end its query if it runs."""
        job = self.get(iden)
        self._store.delete(write, iden, user)
        self.follow(iden)
        self.kill(job)

    def follow(self, iden: str) -> None:
        """Bring memory in line with a stored job that was made, changed or removed."""
        with self._changed:
            row = self._store.find(iden)
            job = self._jobs.get(iden)
            if row is None:
                self._jobs.pop(iden, None)
            elif job is None:
                self._jobs[iden] = CronJob(row)
            else:
                job.row = row
            self._changed.notify_all()

    def kill(self, job: CronJob) -> bool:
        """End a job's query; returns whether it was running."""
        running = job.running
        if running is None:
            return False
        running.cancel()
        return True

    def _replace(self, write: Write, job: CronJob, changes: Mapping[str, Any], user: str) -> None:
        self._store.update(write, job.iden, changes, user)
        self.follow(job.iden)

    def _update(self, job: CronJob, **changes: Any) -> None:
        """Note how a run goes: in a transaction of its own, unless the job was deleted."""
        self._store.update(self._store.write_alone, job.iden, changes, job.row["creator"])
        self.follow(job.iden)

    def _require_engine(self) -> Engine:
        assert self._engine is not None, "the cron jobs are not loaded"
        return self._engine

    # Running ---------------------------------------------------------------------------------------------------

    def run_scheduler(self) -> None:
        """Start jobs as they become due, until `stop`; runs on a thread of its own."""
        while True:
            try:
                due_s = self.start_due()
            except CellError:
                LOGGER.exception("cron jobs could not be started")
                due_s = None
            with self._changed:
                if self._is_stopped:
                    return
                left_s = WAIT_MAX_S if due_s is None else due_s - self.now_s()
                if left_s > 0:
                    self._changed.wait(min(left_s, WAIT_MAX_S))

    def stop(self) -> None:
        """End `run_scheduler`."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()

    def start_due(self) -> float | None:
        """Start the jobs that are due now; returns when the next one is, in seconds since 1970."""
        now_s = self.now_s()
        soonest: float | None = None
        for job in self.by_iden.values():
            due_s = job.row["nexttime"]
            if due_s is None or not job.row["enabled"]:
                continue
            if due_s <= now_s:
                self._start(job, now_s)
                due_s = job.row["nexttime"]
            if due_s is not None and (soonest is None or due_s < soonest):
                soonest = due_s
        return soonest

    def _start(self, job: CronJob, now_s: float) -> None:
        changes = _next_times(job.recurrences, now_s)
        if job.running is not None:
            LOGGER.warning("a cron job is due while it still runs", extra={"iden": job.iden})
            self._update(job, **changes)
            return
        row = job.row
        changes |= {"isrunning": True, "laststarttime": now_s, "startcount": row["startcount"] + 1}
        is_noted = threading.Event()

        def note(session: GraphSession) -> None:
            if not self._store.update(session.write_op, job.iden, changes, row["creator"]):
                raise missing("cron job", job.iden)
            with self._changed:
                if self._jobs.get(job.iden) is job:
                    job.row = {**job.row, **changes}
            is_noted.set()

        options = QueryOptions(
            vars={"auto": {"iden": job.iden, "type": "cron"}}, view=row["view"], user=row["creator"]
        )
        job.running = running = self._require_engine().start(row["query"], options, first=note)

        def run() -> None:
            try:
                self._run(job, running)
            finally:
                is_noted.set()

        try:
            self._executor.start(f"cron-{job.iden[:8]}", run, running.cancel, has_end=True)
        except ShuttingDown:
            # Nothing is noted: whoever leads next shall run it.
            job.running = None
            return
        # Until then it looks as if it was due.
        is_noted.wait(NOTE_WAIT_S)

    def _run(self, job: CronJob, running: Running) -> None:
        error: CellError | None = None
        count = 0

        def take(message: Message) -> None:
            nonlocal error, count
            if isinstance(message, Error):
                error = message.error
            elif isinstance(message, Fini):
                count = message.node_count

        try:
            running.send_to(take)
        finally:
            job.running = None
            # As it is stored: what the run noted may have been rolled back with its edits.
            self.follow(job.iden)
            row = job.row
            changes: dict[str, Any] = {"isrunning": False, "lastfinishtime": self.now_s()}
            if isinstance(error, Cancelled):
                changes["lastresult"] = "cancelled"
            elif error is not None:
                text = f"{error.name}: {error}"[:ERROR_SIZE_MAX]
                changes["lastresult"] = f"raised exception {text}"
                changes["errcount"] = row["errcount"] + 1
                changes["lasterrs"] = [*row["lasterrs"], text][-ERRORS_KEPT:]
            else:
                changes["lastresult"] = f"finished successfully with {count} nodes"
            if job.iden in self._jobs:
                self._update(job, **changes)


def _next_times(recurrences: Sequence[Recurrence], now_s: float) -> dict[str, Any]:
    """Return what changes in a row when its job is due: what is left of its schedule, and when it is due next."""
    left = [item for item in recurrences if item[1] is not None or next_time([item], now_s) is not None]
    return {"recs": [list(item) for item in left], "nexttime": next_time(left, now_s)}
