"""What the graph's tests share: a graph in a fresh folder, and everything it holds as plain values."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

from cellmesh.common.changelog import Replay
from cellmesh.common.changelog.log import DATABASES as LOG_DATABASES
from cellmesh.common.storage import Slab
from cellmesh.cortex.layers.schema import DATABASES
from cellmesh.cortex.model.changes import ModelChanges
from cellmesh.cortex.model.definitions import TagPropDef, TypeRef
from cellmesh.cortex.model.registry import Model
from cellmesh.cortex.replay import EditsApplier, StackApplier
from cellmesh.cortex.views.graph import Graph
from cellmesh.cortex.views.session import GraphSession
from cellmesh.testing.memory import memory_slab

STORAGE: ContextVar[str] = ContextVar("storage", default="lmdb")
"""What graphs are opened over: "lmdb" or "memory"; see `conftest.py`."""

START_MS = 1_700_000_000_000


@cache
def the_model() -> Model:
    model = Model.load()
    ModelChanges(model).add_tagprop(TagPropDef("risk", TypeRef("int")))
    return model


def ticking() -> Callable[[], int]:
    """A clock that goes on a millisecond with each look."""
    steps = itertools.count(START_MS)
    return lambda: next(steps)


@contextmanager
def open_graph(folder: Path, *, storage: str | None = None, **options: Any) -> Iterator[Graph]:
    """Give a graph over LMDB in a folder, or over its twin in memory, which begins empty each time."""
    names = (*DATABASES, *LOG_DATABASES)
    if (storage or STORAGE.get()) == "memory":
        slab = memory_slab(names)
    else:
        slab = Slab.open(folder, names, sync=False)
    try:
        yield Graph.open(slab, the_model(), now_ms=ticking(), **options)
    finally:
        slab.close()


def content(session: GraphSession, forms: tuple[str, ...]) -> dict[tuple[str, Any], dict[str, Any]]:
    """Everything a view shows of some forms' nodes, without .created."""
    found: dict[tuple[str, Any], dict[str, Any]] = {}
    for name in forms:
        for node in session.lift_form(session.model.require_form(name)):
            assert node.ndef not in found, "a node was lifted twice"
            props = dict(node.props)
            assert props.pop(".created") >= START_MS
            found[node.ndef] = {
                "props": props,
                "tags": dict(node.tags),
                "tag_props": {tag: dict(items) for tag, items in node.tag_props.items()},
                "edges": {(verb, other.ndef) for _, verb, other in session.edges_out((node,))},
                "data": dict(session.list_data(node)),
            }
    return found


def replayed(
    graph: Graph, folder: Path, *, storage: str | None = None
) -> dict[str, list[tuple[bytes, bytes]]]:
    """Replay a graph's change log into an empty one; returns its databases."""
    with open_graph(folder, storage=storage, leads=False) as copy:
        replay = Replay(copy.slab, (EditsApplier(copy), StackApplier(copy)))
        offset = 0
        while True:
            chunk = graph.log.read(offset, count_max=7)
            if not chunk.records:
                assert copy.layers == graph.layers
                assert copy.views == graph.views
                return databases(copy)
            offset = replay.apply(chunk.records)


def databases(graph: Graph) -> dict[str, list[tuple[bytes, bytes]]]:
    """Every item of the graph's databases, and of the change log's."""
    found: dict[str, list[tuple[bytes, bytes]]] = {}
    with graph.slab.view() as txn:
        for db in (*DATABASES, *LOG_DATABASES):
            if not db.local:
                with txn.raw.cursor(txn.handle(db)) as cursor:
                    found[db.name] = list(cursor)
    return found
