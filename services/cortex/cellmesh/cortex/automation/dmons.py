"""Daemons: queries that are kept running. One that ends is started again, after an error with growing pauses."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import Cancelled, CellError, DupIden
from cellmesh.cortex.automation.executor import Executor
from cellmesh.cortex.automation.schema import DAEMONS
from cellmesh.cortex.automation.store import (
    Definition,
    DefinitionStore,
    Write,
    check_iden,
    missing,
    new_iden,
)
from cellmesh.cortex.storm.runtime.messages import Error, Message, NodeRow, Print, Warn
from cellmesh.cortex.storm.runtime.options import QueryOptions
from cellmesh.cortex.values.wire import decode_plain, encode_value

if TYPE_CHECKING:
    from cellmesh.cortex.storm.engine import Engine
    from cellmesh.cortex.storm.execution import Running
    from cellmesh.cortex.views.graph import Graph

LOG_COUNT_MAX: Final = 1000
PAUSE_FIRST_S: Final = 1.0
PAUSE_MAX_S: Final = 60.0
STEADY_S: Final = 60.0
"""A run that lasted so long starts the pauses anew, in seconds."""


class Daemon:
    """A query that is kept running.

    Attributes:
        row: The definition as stored.
        status: "initialized", "running", "sleeping", "stopped", or "error: " with what it was.
        count: Nodes that came out of it.
        log: What it printed, warned of and failed with: (milliseconds since 1970, (kind, fields)).
    """

    def __init__(self, row: Definition) -> None:
        self.row = row
        self.status = "initialized" if row["enabled"] else "stopped"
        self.count = 0
        self.log: deque[tuple[int, tuple[str, dict[str, Any]]]] = deque(maxlen=LOG_COUNT_MAX)
        self.is_error = False
        self.running: Running | None = None
        self.round: Round | None = None

    @property
    def iden(self) -> str:
        """32 hexadecimal digits."""
        return str(self.row["iden"])

    def note(self, message: Message) -> None:
        """Keep what the query says."""
        now_ms = time.time_ns() // 1_000_000
        match message:
            case Print(text=text):
                self.log.append((now_ms, ("print", {"mesg": text})))
            case Warn(text=text):
                self.log.append((now_ms, ("warn", {"mesg": text})))
            case Error(error=error):
                about = {"mesg": error.message, **dict(error.items())}
                self.log.append(
                    (now_ms, ("err", {"err": error.name, "errmsg": str(error), "errinfo": about}))
                )
            case NodeRow():
                self.count += 1
            case _:
                pass


class Round:
    """One start of a daemon, until it is stopped: told to end, or to end its pause."""

    def __init__(self) -> None:
        self.is_over = False
        self.wake = threading.Event()


class Daemons:
    """All daemons of the cell. May be used from many threads.

    Args:
        graph: The graph.
        executor: Runs the queries.
        pause_first_s: The first pause before a daemon is started again, in seconds.
        is_active: Whether a daemon that is made starts at once.
    """

    def __init__(
        self,
        graph: Graph,
        executor: Executor,
        pause_first_s: float = PAUSE_FIRST_S,
        *,
        is_active: bool = True,
    ) -> None:
        self._graph = graph
        self._executor = executor
        self._pause_first_s = pause_first_s
        self._store = DefinitionStore(graph, DAEMONS)
        self._lock = threading.Lock()
        self._is_active = is_active
        self._by_iden: dict[str, Daemon] = {}
        self._engine: Engine | None = None

    def load(self, engine: Engine) -> None:
        """Read the stored daemons; `start_all` starts them."""
        self._engine = engine
        for row in self._store.load():
            self._by_iden[row["iden"]] = Daemon(row)

    def start_all(self) -> None:
        """Start those that are enabled, now and from now on."""
        with self._lock:
            self._is_active = True
            for daemon in self._by_iden.values():
                if daemon.row["enabled"] and daemon.round is None:
                    self._start(daemon)

    def stop_all(self) -> None:
        """End all queries, and start none until `start_all`."""
        with self._lock:
            self._is_active = False
            for daemon in self._by_iden.values():
                if daemon.round is not None:
                    self._end(daemon)
                    if daemon.row["enabled"]:
                        daemon.status = "initialized"

    # Definitions -----------------------------------------------------------------------------------------------

    @property
    def by_iden(self) -> dict[str, Daemon]:
        """The daemons by iden, a dict of its own, in the order they were made."""
        with self._lock:
            return dict(self._by_iden)

    def find(self, iden: str) -> Daemon | None:
        """Return a daemon, or None."""
        return self._by_iden.get(iden)

    def add(
        self,
        write: Write,
        query: str,
        name: str,
        variables: Mapping[str, Any],
        *,
        user: str,
        view: str,
        iden: str | None = None,
        is_enabled: bool = True,
    ) -> Daemon:
        """Make a daemon, durable on return, and start it.

        Raises:
            BadSyntax: the query is none. SchemaViolation: the iden is none. DupIden: it is taken.
        """
        self._require_engine().check(query)
        chosen = check_iden(iden) if iden is not None else new_iden()
        if chosen in self._by_iden:
            raise DupIden("there is a daemon of this iden", iden=chosen)
        row: Definition = {
            "iden": chosen,
            "number": len(self._by_iden),
            "created": self._graph.now_ms(),
            "name": name,
            "user": user,
            "view": str(self._graph.view(view).id),
            "storm": query,
            "vars": encode_value(dict(variables)).hex(),
            "enabled": is_enabled,
        }
        self._store.put(write, row, user)
        self.follow(chosen)
        found = self.find(chosen)
        assert found is not None, "a daemon just made is not there"
        return found

    def delete(self, write: Write, iden: str, *, user: str) -> None:
        """Remove a daemon, durable on return, and end its query.

        Raises:
            NoSuchIden: there is none.
        """
        daemon = self.find(iden)
        if daemon is None:
            raise missing("daemon", iden)
        self._store.delete(write, iden, user)
        self.follow(iden)

    def enable(self, write: Write, iden: str, is_enabled: bool, *, user: str) -> bool:
        """Start or stop a daemon, durable on return; returns whether that changed anything."""
        daemon = self.find(iden)
        if daemon is None or daemon.row["enabled"] == is_enabled:
            return False
        self._store.update(write, iden, {"enabled": is_enabled}, user)
        self.follow(iden)
        return True

    def follow(self, iden: str) -> None:
        """Bring memory, and what runs, in line with a stored daemon that was made, changed or removed."""
        with self._lock:
            row = self._store.find(iden)
            daemon = self._by_iden.get(iden)
            if row is None:
                self._by_iden.pop(iden, None)
            elif daemon is None:
                daemon = self._by_iden[iden] = Daemon(row)
                daemon.status = "initialized"
                if not row["enabled"]:
                    return
            else:
                daemon.row = row
            if daemon is None:
                return
            is_wanted = row is not None and row["enabled"]
            if is_wanted and daemon.round is None:
                if self._is_active:
                    self._start(daemon)
            elif not is_wanted:
                self._end(daemon)

    def bump(self, iden: str) -> bool:
        """End a daemon's query and start it again at once; returns whether it was enabled."""
        daemon = self.find(iden)
        if daemon is None or not daemon.row["enabled"]:
            return False
        with self._lock:
            self._end(daemon)
            if self._is_active:
                self._start(daemon)
        return True

    def describe(self, daemon: Daemon) -> dict[str, Any]:
        """Return what is known of a daemon."""
        row = daemon.row
        return {
            "iden": row["iden"],
            "name": row["name"],
            "user": row["user"],
            "storm": row["storm"],
            "stormopts": {"vars": self._variables(daemon), "view": row["view"]},
            "enabled": row["enabled"],
            "count": daemon.count,
            "status": daemon.status,
            "err": daemon.is_error,
        }

    # Running ---------------------------------------------------------------------------------------------------

    def _variables(self, daemon: Daemon) -> dict[str, Any]:
        stored: dict[str, Any] = decode_plain(bytes.fromhex(daemon.row["vars"]))
        return {**stored, "auto": {"iden": daemon.iden, "type": "dmon"}}

    def _require_engine(self) -> Engine:
        assert self._engine is not None, "the daemons are not loaded"
        return self._engine

    def _start(self, daemon: Daemon) -> None:
        round_ = daemon.round = Round()
        daemon.status, daemon.is_error = "initialized", False

        def cancel() -> None:
            round_.is_over = True
            round_.wake.set()
            if daemon.round is round_ and daemon.running is not None:
                daemon.running.cancel()

        self._executor.start(f"dmon-{daemon.iden[:8]}", lambda: self._run(daemon, round_), cancel)

    def _end(self, daemon: Daemon) -> None:
        round_, running = daemon.round, daemon.running
        daemon.round = None
        if round_ is not None:
            round_.is_over = True
            round_.wake.set()
        if running is not None:
            running.cancel()
        daemon.status, daemon.is_error = "stopped", False

    def _run(self, daemon: Daemon, round_: Round) -> None:
        engine = self._require_engine()
        pause_s = self._pause_first_s
        while not round_.is_over:
            row = daemon.row
            options = QueryOptions(vars=self._variables(daemon), view=row["view"], user=row["user"])
            running = engine.start(row["storm"], options)
            daemon.running, daemon.status, daemon.is_error = running, "running", False
            if round_.is_over:
                running.cancel()
            started = time.monotonic()
            error = self._run_once(daemon, running)
            if round_.is_over:
                return
            if time.monotonic() - started >= STEADY_S:
                pause_s = self._pause_first_s
            if error is None:
                daemon.status, pause_s = "sleeping", self._pause_first_s
                round_.wake.wait(pause_s)
            else:
                daemon.status, daemon.is_error = f"error: {error.name}: {error}", True
                round_.wake.wait(pause_s)
                pause_s = min(pause_s * 2, PAUSE_MAX_S)

    def _run_once(self, daemon: Daemon, running: Running) -> CellError | None:
        error: CellError | None = None

        def take(message: Message) -> None:
            nonlocal error
            if isinstance(message, Error):
                error = message.error
            if not isinstance(error, Cancelled):
                daemon.note(message)

        running.send_to(take)
        return None if isinstance(error, Cancelled) else error
