"""A Cortex in process that leads, one that follows its log, and how two of them differ."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from time import time
from typing import Any

from cellmesh.common.changelog import DATABASES as LOG_DATABASES
from cellmesh.common.changelog import ChangeRecord, Replay
from cellmesh.common.errors import CellError
from cellmesh.common.failpoints import failing
from cellmesh.common.storage import Slab
from cellmesh.cortex.automation import registry
from cellmesh.cortex.automation.part import Automation
from cellmesh.cortex.automation.schema import DATABASES as AUTOMATION_DATABASES
from cellmesh.cortex.layers.schema import DATABASES as GRAPH_DATABASES
from cellmesh.cortex.model import Model
from cellmesh.cortex.replay import appliers
from cellmesh.cortex.stores.schema import DATABASES as STORE_DATABASES
from cellmesh.cortex.stores.stores import Stores
from cellmesh.cortex.storm.commands import COMMANDS
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.library import LIBRARIES
from cellmesh.cortex.storm.primitives import TYPES
from cellmesh.cortex.storm.runtime.messages import Error, NodeRow, Print, Warn
from cellmesh.cortex.storm.runtime.options import QueryOptions
from cellmesh.cortex.views.graph import Graph

DATABASES = (*GRAPH_DATABASES, *STORE_DATABASES, *AUTOMATION_DATABASES, *LOG_DATABASES)

READ = (
    ".created | sort .created",
    "inet:ipv4 -> *",
    "#a",
    "inet:ipv4:asn>1",
    "ou:org :names",
)


@cache
def catalog() -> Model:
    """The shipped model, loaded once; see `fresh_model`."""
    return Model.load()


def fresh_model() -> Model:
    """A model of its own, which a test may extend."""
    defs = catalog().defs
    copied = type(defs)(
        dict(defs.types),
        dict(defs.forms),
        dict(defs.interfaces),
        dict(defs.universal),
        dict(defs.tagprops),
        dict(defs.edges),
    )
    return Model(copied)


class Clock:
    """Seconds since 1970, as the test says."""

    def __init__(self) -> None:
        self.now_s = time()

    def __call__(self) -> float:
        return self.now_s


class Cortex:
    """All that a Cortex is, without a server, and without threads that run by themselves.

    Args:
        folder: Its slab's.
        leads: Whether it is written to; else it follows.
        clock: When cron jobs run.
    """

    def __init__(self, folder: Path, *, leads: bool, clock: Clock | None = None) -> None:
        self.slab = Slab.open(folder, DATABASES, sync=False)
        self.graph = Graph.open(self.slab, fresh_model(), leads=leads)
        self.stores = Stores.open(self.graph)
        self.automation = Automation(
            self.graph, clock if clock is not None else Clock(), pause_first_s=0.01, is_active=leads
        )
        self.engine = Engine(
            self.graph,
            (*COMMANDS, *registry.COMMANDS),
            (*LIBRARIES, *registry.LIBRARIES),
            (*TYPES, *registry.TYPES),
            {**self.stores.capabilities(), **self.automation.capabilities},
        )
        self.automation.load(self.engine)
        self.replay = Replay(self.slab, appliers(self.graph, self.stores, self.automation))

    def close(self) -> None:
        assert self.automation.executor.stop(30)
        self.slab.close()

    def run(self, text: str, options: QueryOptions | None = None) -> list[Any]:
        """Run a query; return what came out of it, an error's name last."""
        found: list[Any] = []
        for message in self.engine.storm(text, options or QueryOptions()):
            if isinstance(message, NodeRow):
                found.append((message.node.ndef, dict(message.node.props), dict(message.node.tags)))
            elif isinstance(message, (Print, Warn)):
                found.append(message.text)
            elif isinstance(message, Error):
                found.append(message.error.name)
        return found

    def run_rolled_back(self, text: str) -> None:
        """Run a query none of whose transactions is committed."""
        with failing("slab_before_commit", "error"):
            self.run(text)

    def tasks(self) -> None:
        """Run what asynchronous triggers have left."""
        while self.automation.triggers.run_task():
            pass

    def records(self, offset: int, count_max: int) -> list[ChangeRecord]:
        return self.graph.log.read(offset, count_max=count_max).records


class Follower:
    """A Cortex that follows another one, somewhat behind, and sometimes falls over."""

    def __init__(self, leader: Cortex, folder: Path, seed: int) -> None:
        self.leader = leader
        self.folder = folder
        self.random = random.Random(seed)
        self.cortex = Cortex(folder, leads=False)
        self.offset = 0

    def follow(self) -> bool:
        """Apply one batch, or fail to; whether something is left."""
        records = self.leader.records(self.offset, self.random.choice((1, 2, 3, 10, 100)))
        if not records:
            return False
        chance = self.random.random()
        if chance < 0.1:
            with failing("slab_before_commit", "error"):
                try:
                    self.cortex.replay.apply(records)
                except CellError:
                    pass
                else:
                    raise AssertionError("a batch that was not committed counts as applied")
            if chance < 0.05:
                self.reopen()
            return True
        self.offset = self.cortex.replay.apply(records)
        if chance > 0.9:
            self.reopen()
        return True

    def follow_all(self) -> None:
        while self.follow():
            pass

    def reopen(self) -> None:
        self.cortex.close()
        self.cortex = Cortex(self.folder, leads=False)
        with self.cortex.slab.view() as txn:
            assert self.cortex.graph.log.next_offset(txn) == self.offset

    def close(self) -> None:
        self.cortex.close()

    def check(self, queries: Sequence[str] = READ) -> None:
        """Compare everything: what is stored, what is in memory, and answers, without a restart and after one."""
        self.follow_all()
        assert differences(self.leader.slab, self.cortex.slab) == []
        for _ in range(2):
            self._check_memory(queries)
            self.reopen()

    def _check_memory(self, queries: Sequence[str]) -> None:
        leader, cortex = self.leader, self.cortex
        assert cortex.graph.layers == leader.graph.layers
        assert cortex.graph.views == leader.graph.views
        assert cortex.graph.default_view == leader.graph.default_view
        assert extensions(cortex) == extensions(leader)
        assert cortex.stores.tag_model.rules() == leader.stores.tag_model.rules()
        assert cortex.stores.locks.rules.locked() == leader.stores.locks.rules.locked()
        assert definitions(cortex) == definitions(leader)
        for view in leader.graph.views:
            options = QueryOptions(view=str(view), readonly=True)
            for query in queries:
                assert cortex.run(query, options) == leader.run(query, options), query


def extensions(cortex: Cortex) -> dict[str, Any]:
    """What users added to the model, in an order of its own."""
    dump = cortex.stores.extensions.extensions.dump()
    return {key: sorted(rows, key=str) for key, rows in dump.items()}


def definitions(cortex: Cortex) -> list[dict[str, Any]]:
    """The definitions of automation, as memory has them."""
    automation = cortex.automation
    return [
        one.row
        for kept in (automation.triggers.by_iden, automation.cron.by_iden, automation.daemons.by_iden)
        for one in sorted(kept.values(), key=lambda one: one.iden)
    ]


def differences(one: Slab, two: Slab, count_max: int = 10) -> list[str]:
    """Say how the replicated databases of two slabs differ; empty if they do not."""
    found: list[str] = []
    with one.view() as left, two.view() as right:
        for db in DATABASES:
            if db.local:
                continue
            with left.raw.cursor(left.handle(db)) as cursor:
                first = set(cursor)
            with right.raw.cursor(right.handle(db)) as cursor:
                second = set(cursor)
            found += [f"{db.name}: only the first has {_text(item)}" for item in sorted(first - second)]
            found += [f"{db.name}: only the second has {_text(item)}" for item in sorted(second - first)]
    return found[:count_max]


def _text(item: tuple[bytes, bytes]) -> str:
    return f"{item[0]!r} -> {item[1]!r}"


@contextmanager
def leading(folder: Path, clock: Clock | None = None) -> Iterator[Cortex]:
    """Give a Cortex that leads."""
    cortex = Cortex(folder, leads=True, clock=clock)
    try:
        yield cortex
    finally:
        cortex.close()


@contextmanager
def following(leader: Cortex, folder: Path, seed: int = 0) -> Iterator[Follower]:
    """Give a Cortex that follows."""
    follower = Follower(leader, folder, seed)
    try:
        yield follower
    finally:
        follower.close()
