"""A new version of the program renames one property and gives another a new type; the data follow, also through a kill."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cellmesh.common.changelog import Replay
from cellmesh.common.changelog.log import DATABASES as LOG_DATABASES
from cellmesh.common.errors import BadStorageVersion
from cellmesh.common.storage import Slab
from cellmesh.cortex.layers.schema import BY_PROP
from cellmesh.cortex.layers.schema import DATABASES as GRAPH_DATABASES
from cellmesh.cortex.migration import runner
from cellmesh.cortex.migration.runner import ModelSteps
from cellmesh.cortex.migration.steps import ModelStep, RenameProp, RetypeProp
from cellmesh.cortex.model.changes import ModelChanges
from cellmesh.cortex.model.definitions import PropDef, TypeRef
from cellmesh.cortex.model.registry import Model
from cellmesh.cortex.replay import appliers
from cellmesh.cortex.stores.schema import DATABASES as STORE_DATABASES
from cellmesh.cortex.stores.stores import Stores
from cellmesh.cortex.views.feed import FeedNode
from cellmesh.cortex.views.graph import Graph
from cellmesh.cortex.views.verify import check_layer

sys.path.insert(0, str(Path(__file__).parents[1] / "replay"))
from replay_kit import fresh_model

DATABASES = (*GRAPH_DATABASES, *STORE_DATABASES, *LOG_DATABASES)
COUNT = 300
BATCH_COUNT = 64

STEPS = (
    ModelStep(
        1,
        "the owner of an address is its holder",
        (RenameProp("inet:ipv4", "owner", "holder", TypeRef("str")),),
    ),
    ModelStep(
        2, "levels are numbers", (RetypeProp("inet:ipv4", "level", TypeRef("str"), lambda value: value),)
    ),
)


def model_of(version: int) -> Model:
    """The model of a version of the program: 0 is before both steps."""
    model = fresh_model()
    changes = ModelChanges(model)
    changes.add_prop("inet:ipv4", PropDef("owner" if version < 1 else "holder", TypeRef("str")))
    changes.add_prop("inet:ipv4", PropDef("level", TypeRef("str" if version < 2 else "int")))
    changes.add_prop("inet:ipv4", PropDef("kept", TypeRef("str")))
    return model


@contextmanager
def opened(folder: Path, version: int, *, leads: bool = True) -> Iterator[tuple[Graph, ModelSteps]]:
    with Slab.open(folder, DATABASES, sync=False) as slab:
        graph = Graph.open(slab, model_of(version), leads=leads)
        stores = Stores.open(graph)
        yield graph, ModelSteps(graph, stores.changes, STEPS[:version])


def fill(folder: Path) -> None:
    with opened(folder, 0) as (graph, steps):
        assert steps.run() == 0
        with graph.begin() as session:
            session.feed(
                [
                    FeedNode("inet:ipv4", n, {"owner": f"o{n % 7}", "level": str(n), "kept": "x"})
                    for n in range(1, COUNT)
                ]
            )
            session.feed([FeedNode("inet:ipv4", COUNT, {"level": "high"})])
            session.sync()
        fork = graph.fork(graph.default_view)
        with graph.begin(fork) as session:
            form = graph.model.require_form("inet:ipv4")
            one, two = session.node(form, 1), session.node(form, 2)
            assert one is not None
            assert two is not None
            session.pop_prop(one, "owner")
            session.set_prop(two, "owner", "forked")
            session.set_prop(two, "level", "12")
            session.sync()


def check(graph: Graph) -> None:
    """All is as it should be after both steps."""
    for layer in graph.layers.values():
        assert list(check_layer(graph, layer, lambda: None)) == []
    model = graph.model
    fork = next(view for view in graph.views.values() if view.parent is not None)
    with graph.begin(readonly=True) as session:
        level, holder = model.require_prop("inet:ipv4:level"), model.require_prop("inet:ipv4:holder")
        assert [node.value for node in session.lift_value(level, ">=", COUNT - 2)] == [COUNT - 2, COUNT - 1]
        assert session.count_prop(level) == COUNT - 1, "what is no number is gone"
        assert session.count_prop(holder) == COUNT - 1
        assert {node.value % 7 for node in session.lift_value(holder, "=", "o3")} == {3}
        node = session.node(model.require_form("inet:ipv4"), 9)
        assert node is not None
        assert {name: node.get(name) for name in ("holder", "level", "kept", "owner")} == {
            "holder": "o2",
            "level": 9,
            "kept": "x",
            "owner": None,
        }
    with graph.begin(fork, readonly=True) as session:
        form = model.require_form("inet:ipv4")
        one, two = session.node(form, 1), session.node(form, 2)
        assert one is not None
        assert two is not None
        assert one.get("holder") is None, "what the fork hid is hidden"
        assert (two.get("holder"), two.get("level")) == ("forked", 12)
    number = graph.slab.session().read(lambda txn: graph.names.props.find(txn, "inet:ipv4:owner"))
    assert number is not None
    with graph.slab.view() as txn:
        for layer in graph.layers.values():
            low = layer.key + number.to_bytes(4, "big")
            assert txn.scan(BY_PROP, low, low + b"\xff", count_max=1).items == []


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "SCAN_COUNT", BATCH_COUNT)


def test_data_follow_the_model(tmp_path: Path) -> None:
    fill(tmp_path)
    with opened(tmp_path, 2) as (graph, steps):
        assert steps.run() == (COUNT - 1) + 2 + COUNT + 1
        check(graph)
        assert steps.run() == 0
    with opened(tmp_path, 2) as (graph, steps):
        assert steps.run() == 0
        check(graph)


def test_a_step_after_another(tmp_path: Path) -> None:
    fill(tmp_path)
    with opened(tmp_path, 1) as (_, steps):
        assert steps.run() == COUNT - 1 + 2
    with opened(tmp_path, 2) as (graph, steps):
        assert steps.run() == COUNT + 1
        check(graph)


@pytest.mark.parametrize("stop_after", [1, 3, 7, 9])
def test_it_goes_on_where_it_was_stopped(tmp_path: Path, stop_after: int) -> None:
    fill(tmp_path)
    asked = iter(range(1000))
    with opened(tmp_path, 2) as (graph, steps):
        first = steps.run(lambda: next(asked) >= stop_after)
    with opened(tmp_path, 2) as (graph, steps):
        # What a step had done that was stopped is counted by nobody.
        assert steps.run() <= (COUNT - 1) + 2 + COUNT + 1 - first
        check(graph)


@pytest.mark.parametrize("killed_at", [1, BATCH_COUNT + 5, 3 * BATCH_COUNT])
def test_a_kill_in_a_step_loses_and_repeats_nothing(tmp_path: Path, killed_at: int) -> None:
    fill(tmp_path)
    child = os.fork()
    if child == 0:
        seen: list[Any] = []

        def convert(value: Any) -> Any:
            seen.append(value)
            if len(seen) == killed_at:
                os._exit(9)
            return value

        step = ModelStep(2, "", (RetypeProp("inet:ipv4", "level", TypeRef("str"), convert),))
        with Slab.open(tmp_path, DATABASES, sync=False) as slab:
            graph = Graph.open(slab, model_of(2))
            ModelSteps(graph, Stores.open(graph).changes, (STEPS[0], step)).run()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    with opened(tmp_path, 2) as (graph, steps):
        done = steps.run()
        assert 0 < done <= COUNT + 1 - (killed_at - 1) // BATCH_COUNT * BATCH_COUNT
        check(graph)


def test_followers_get_the_edits_by_the_log(tmp_path: Path) -> None:
    fill(tmp_path / "leader")
    with (
        opened(tmp_path / "leader", 2) as (graph, steps),
        opened(tmp_path / "follower", 2, leads=False) as (copy, _),
    ):
        steps.run()
        replay = Replay(copy.slab, appliers(copy, Stores.open(copy), None))
        offset = 0
        while chunk := graph.log.read(offset, count_max=50).records:
            offset = replay.apply(chunk)
        found = graph.slab.state_hash(), copy.slab.state_hash()
        assert found[0] == found[1]


def test_a_fresh_cortex_begins_behind_the_last_step(tmp_path: Path) -> None:
    with opened(tmp_path, 2) as (graph, steps):
        assert steps.run() == 0
        with graph.slab.view() as txn:
            assert steps.done_number(txn) == 2


def test_data_from_a_newer_program_are_refused(tmp_path: Path) -> None:
    with opened(tmp_path, 2) as (_, steps):
        steps.run()
    with opened(tmp_path, 1) as (_, steps), pytest.raises(BadStorageVersion):
        steps.run()
