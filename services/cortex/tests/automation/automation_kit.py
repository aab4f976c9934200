"""A Cortex in process whose cron clock the test holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from cellmesh.common.changelog import DATABASES as LOG_DATABASES
from cellmesh.common.storage import Slab
from cellmesh.cortex.automation import registry
from cellmesh.cortex.automation.part import Automation
from cellmesh.cortex.automation.schema import DATABASES as AUTOMATION_DATABASES
from cellmesh.cortex.layers.schema import DATABASES
from cellmesh.cortex.model import Model
from cellmesh.cortex.storm.commands import COMMANDS
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.library import LIBRARIES
from cellmesh.cortex.storm.primitives import TYPES
from cellmesh.cortex.storm.runtime.messages import Error, NodeRow, Print
from cellmesh.cortex.storm.runtime.options import QueryOptions
from cellmesh.cortex.views.graph import Graph

START_S = 1_795_261_483.0
"""Saturday 2026-11-21, 11:44:43 UTC."""

MODEL = Model.load()


class Clock:
    """Seconds since 1970, as the test says."""

    def __init__(self) -> None:
        self.now_s = START_S

    def __call__(self) -> float:
        return self.now_s


class Bench:
    """A graph, an engine and automation whose threads do not run by themselves."""

    def __init__(self, slab: Slab, clock: Clock) -> None:
        self.clock = clock
        self.graph = Graph.open(slab, MODEL)
        self.automation = Automation(self.graph, clock, pause_first_s=0.01)
        self.engine = Engine(
            self.graph,
            (*COMMANDS, *registry.COMMANDS),
            (*LIBRARIES, *registry.LIBRARIES),
            (*TYPES, *registry.TYPES),
            self.automation.capabilities,
        )
        self.automation.load(self.engine)

    def run(self, text: str, **variables: Any) -> list[Any]:
        """Run a query; return the values of its nodes and what it printed."""
        found: list[Any] = []
        for message in self.engine.storm(text, QueryOptions(vars=variables)):
            if isinstance(message, NodeRow):
                found.append(message.node.value)
            elif isinstance(message, Print):
                found.append(message.text)
            elif isinstance(message, Error):
                raise message.error
        return found

    def call(self, text: str, **variables: Any) -> Any:
        """Run a query for its value."""
        return self.engine.call(text, QueryOptions(vars=variables))

    def tick(self, seconds: float) -> None:
        """Let time pass, start what is due, and wait for it."""
        self.clock.now_s += seconds
        self.automation.cron.start_due()
        assert self.automation.executor.wait_idle(5)


@contextmanager
def open_bench(folder: Path, clock: Clock | None = None) -> Iterator[Bench]:
    """Give a bench on the graph in a folder."""
    databases = (*DATABASES, *LOG_DATABASES, *AUTOMATION_DATABASES)
    with Slab.open(folder, databases, sync=False) as slab:
        bench = Bench(slab, clock or Clock())
        try:
            yield bench
        finally:
            assert bench.automation.executor.stop(5)


def wait_until(test: Any, timeout_s: float = 5.0) -> None:
    """Wait for something to become so."""
    end = monotonic() + timeout_s
    while not test():
        assert monotonic() < end, "it did not happen in time"
        sleep(0.005)
