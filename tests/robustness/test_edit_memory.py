"""Commands that move what views hold keep little of it in memory, however many edits there are.

Each runs in a process of its own, on a fork with so many edits, while the memory that is not backed by files is watched.
"""

from __future__ import annotations

import multiprocessing
import shutil
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.cortex.cell import CortexCell
from cellmesh.cortex.config import CortexConfig
from cellmesh.cortex.storm.runtime.messages import Error
from cellmesh.cortex.storm.runtime.options import QueryOptions

from tests.robustness.conftest import Plan

EDITS_PER_NODE = 4
FULL_NODE_COUNT = 50_000
QUICK_NODE_COUNT = 1_500
WATCH_S = 0.02
MIB = 1 << 20
GROWTH_MAX_MIB = 48
"""What a command may add, however many edits. As objects of Python, 200,000 edits are some 200 MiB."""

FILL = "for $i in $lib.range($count) { [ it:dev:int=$i :_size=$i +#a.b=2026 +#c ] } | spin"
FORKS = """
$base = $lib.view.get().fork().iden
return(($lib.view.get($base).fork().iden, $lib.view.get().fork().iden))
"""
TIMEOUT_S = 1200.0
COMMANDS = {
    "edits": "for $i in $lib.range(50000) { [ it:dev:int=$i :_size=$i +#d ] } | spin",
    "diff": "diff | spin",
    "merge, a query's nodes": "diff | merge --apply | spin",
    "merge, all": "spin | merge --diff --apply | spin",
    "view.merge": "view.merge $view",
    "movenodes": "$layers = $lib.view.get($view).layers $from = $layers.0.iden $to = $layers.1.iden |"
    " it:dev:int | movenodes --apply --srclayers $from --destlayer $to | spin",
    "copyto": "it:dev:int | copyto $other | spin",
    "movetag": "movetag a x",
    "tag.prune": "it:dev:int | tag.prune a.b | spin",
    "delnode": "it:dev:int | delnode",
    "uniq": "it:dev:int | uniq | spin",
    "intersect": "it:dev:int=1 | intersect { it:dev:int } | spin",
    "graph": "it:dev:int | graph | spin",
}

MADE = 'return($lib.view.get($view).layers.0.getFormCounts()."it:dev:int")'
DONE = {
    "merge, a query's nodes": (MADE, False),
    "merge, all": (MADE, False),
    "view.merge": (MADE, False),
    "movenodes": (MADE, False),
    "copyto": ('return($lib.view.get($other).getFormCounts()."it:dev:int")', True),
    "movetag": ("return($lib.view.get($view).layers.0.getTagCount(x.b))", True),
    "tag.prune": ("return($lib.view.get($view).layers.0.getTagCount(a))", False),
    "delnode": (MADE, False),
}
"""What tells that a command has done its work: a count that is that of all nodes then, or none."""


def anonymous_bytes() -> int:
    """Memory of this process that no file backs."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) << 10
    raise AssertionError("the kernel does not tell RssAnon")


def growth(work: Callable[[], None]) -> int:
    """Bytes of memory that were added at most while something was done."""
    before = anonymous_bytes()
    highest = before
    is_done = threading.Event()

    def watch() -> None:
        nonlocal highest
        while not is_done.wait(WATCH_S):
            highest = max(highest, anonymous_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        is_done.set()
        watcher.join()
    return max(highest, anonymous_bytes()) - before


def run(cell: CortexCell, text: str, where: str | None, **variables: Any) -> None:
    """Run a query to its end."""
    for message in cell.engine.storm(text, QueryOptions(view=where, vars=variables)):
        if isinstance(message, Error):
            raise message.error


def fill(folder: Path, count: int, told: Any) -> None:
    """Make a fork with ten nodes and one with many, each with a view beside it; tell their idens."""
    with running(CortexCell(load_config(CortexConfig, dir=folder, environ={}))) as cell:
        run(cell, "$lib.model.ext.addFormProp(it:dev:int, _size, (int, ({})), ({}))", None)
        pairs = []
        for some in (10, count):
            view, other = cell.engine.call(FORKS)
            run(cell, FILL, view, count=some)
            pairs.append((view, other))
        told.put(pairs)


def measure(folder: Path, name: str, pairs: list[tuple[str, str]], told: Any) -> None:
    """Run a command on few nodes, which takes what it needs for itself, then on many; tell the memory for these.

    The count that tells whether it was done is told as well.
    """
    command = COMMANDS[name]
    with running(CortexCell(load_config(CortexConfig, dir=folder, environ={}))) as cell:
        taken = [
            growth(partial(run, cell, command, view, view=view, other=other, count=100))
            for view, other in pairs
        ]
        count = None
        if name in DONE:
            view, other = pairs[1]
            options = QueryOptions(vars={"view": view, "other": other})
            count = cell.engine.call(DONE[name][0], options) or 0
        told.put((taken[1], count))


def in_process(target: Any, *arguments: Any) -> Any:
    """What a function tells from a process of its own, where nothing was freed before."""
    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    process = context.Process(target=target, args=(*arguments, told))
    process.start()
    try:
        return told.get(timeout=TIMEOUT_S)
    finally:
        process.join(30.0)
        process.kill()


@pytest.fixture(scope="module", name="filled")
def _filled(tmp_path_factory: pytest.TempPathFactory, plan: Plan) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("edits") / "cell"
    return folder, in_process(fill, folder, plan.count(QUICK_NODE_COUNT, FULL_NODE_COUNT))


@pytest.mark.parametrize("name", COMMANDS)
def test_edits_are_not_held_in_memory(
    name: str, filled: tuple[Path, Any], tmp_path: Path, plan: Plan
) -> None:
    count = plan.count(QUICK_NODE_COUNT, FULL_NODE_COUNT)
    if not plan.is_full and name not in ("merge, all", "movenodes"):
        pytest.skip("at length only: make robustness")
    folder, pairs = filled
    copied = shutil.copytree(folder, tmp_path / "cell", ignore=shutil.ignore_patterns("*.sock"))
    grown, left = in_process(measure, copied, name, pairs)
    print(f"{name}: {count * EDITS_PER_NODE} edits, {grown / MIB:.1f} MiB")
    if name in DONE:
        assert left == (count if DONE[name][1] else 0), "it did not do its work"
    assert grown < GROWTH_MAX_MIB * MIB
