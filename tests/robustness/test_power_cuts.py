"""The power is cut at each write and sync of a run; every state that may be left is opened and judged.

The runs are of real programs on the real LMDB, recorded below Python: see cellmesh.testing.disk.
"""

from __future__ import annotations

import pickle
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from cellmesh.testing.disk.crash import DROPPED, KEPT, MIXED, Disk, crash_points
from cellmesh.testing.disk.events import Created, Event, FolderSynced, Marked, Synced, Wrote
from cellmesh.testing.robustness.cuts import BadCut, judge_files, judge_journal, try_cuts
from cellmesh.testing.robustness.power import TRIED
from cellmesh.testing.robustness.power_cell import judge_cell

EDIT_COUNT = 200


def record(work: str, folder: Path, seed: int, *rest: object, is_killed: bool = False) -> list[Event]:
    """The trace of some work, done in a process of its own; of both, if one was recorded in the folder before."""
    place, trace = folder / "recorded", folder / "trace"
    place.mkdir(exist_ok=True)
    program = "cellmesh.testing.robustness." + ("power_cell" if work == "cell" else "power")
    command = [sys.executable, "-m", program, work, place, trace, seed, *rest]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == (-signal.SIGKILL if is_killed else 0), done.stderr
    events: list[Event] = pickle.loads(trace.read_bytes())
    return events


@pytest.fixture(scope="module")
def journal_trace(tmp_path_factory: pytest.TempPathFactory, plan: Any) -> list[Event]:
    return record("journal", tmp_path_factory.mktemp("journal"), plan.seed, EDIT_COUNT)


def test_the_trace_has_all_that_the_store_wrote(tmp_path: Path, plan: Any) -> None:
    """Otherwise the shim would miss writes, and the tests below would prove nothing."""
    events = record("journal", tmp_path, plan.seed, EDIT_COUNT)
    disk = Disk()
    for event in events:
        disk.apply(event)
    replayed = disk.after_cut(KEPT, None)  # type: ignore[arg-type]
    written = (tmp_path / "recorded" / "slab" / "data.mdb").read_bytes()
    assert replayed["slab/data.mdb"] == written
    assert sum(isinstance(event, Marked) for event in events) >= EDIT_COUNT


def test_a_store_cut_anywhere_is_at_a_prefix_with_all_that_was_acknowledged(
    journal_trace: list[Event], tmp_path: Path, plan: Any
) -> None:
    done = try_cuts(
        journal_trace,
        judge_journal,
        tmp_path,
        plan.seed,
        point_count_max=None if plan.is_full else 60,
        mixed_count=plan.count(1, 8),
    )
    print(f"power cut at {done.points} points of a store's run: {done.states} states, all good")
    assert done.states > 60


def test_a_store_cut_while_it_is_made_can_be_made_again(
    journal_trace: list[Event], tmp_path: Path, plan: Any
) -> None:
    first_acknowledged = next(
        number
        for number, event in enumerate(journal_trace)
        if isinstance(event, Marked) and not event.text.startswith(TRIED)
    )
    start = journal_trace[: first_acknowledged + 1]
    done = try_cuts(start, judge_journal, tmp_path, plan.seed, mixed_count=plan.count(5, 50))
    assert done.states > 20


def test_a_file_that_is_replaced_is_the_old_or_the_new_one(tmp_path: Path, plan: Any) -> None:
    events = record("files", tmp_path, plan.seed)
    assert try_cuts(events, judge_files, tmp_path, plan.seed, mixed_count=20).states > 20


def test_a_cell_cut_anywhere_starts_again_with_its_items_and_whole_backups(tmp_path: Path, plan: Any) -> None:
    events = record("cell", tmp_path, plan.seed)
    done = try_cuts(
        events,
        judge_cell,
        tmp_path,
        plan.seed,
        point_count_max=None if plan.is_full else 12,
        mixed_count=plan.count(1, 2),
    )
    print(f"power cut at {done.points} points of a cell's life: {done.states} states, all good")
    assert done.states > 10


@pytest.mark.parametrize(
    ("call", "error"),
    [("write", "ENOSPC"), ("write", "EIO"), ("sync", "EIO"), ("meta", "EIO"), ("meta", "ENOSPC")],
)
def test_what_the_disk_refuses_is_not_acknowledged_and_does_no_harm_later(
    tmp_path: Path, plan: Any, call: str, error: str
) -> None:
    """What was written before a failed sync counts as lost, or there, for good: later syncs prove nothing.

    The process itself checks that reads go on after each error, and that writes work as soon as the disk does.
    """
    events = record("faults", tmp_path, plan.seed, call, error)
    done = try_cuts(
        events,
        judge_journal,
        tmp_path,
        plan.seed,
        point_count_max=None if plan.is_full else 20,
        mixed_count=plan.count(1, 8),
    )
    assert done.states > 20


@pytest.mark.parametrize("call", ["write", "sync", "meta"])
def test_a_process_killed_in_a_commit_and_then_a_power_cut(tmp_path: Path, plan: Any, call: str) -> None:
    """The next process finds in the cache what is not on disk, and must not build on it as if it were."""
    rng = random.Random(f"{plan.seed} {call}")
    for number in range(plan.count(2, 12)):
        folder = tmp_path / str(number)
        folder.mkdir()
        first = record("killed", folder, plan.seed + number, call, rng.randrange(3, 9), is_killed=True)
        events = record("killed", folder, plan.seed + number + 1000)
        assert events[: len(first)] == first
        points = None if plan.is_full else 25
        assert try_cuts(events, judge_journal, folder, plan.seed, point_count_max=points).states > 10


# The judge must be able to find fault: each of these is a disk, or a program, that breaks its word.


def without(events: Sequence[Event], kind: type[Event], name: str) -> list[Event]:
    files = {event.file for event in events if isinstance(event, Created) and name in event.path}
    return [
        event for event in events if not (isinstance(event, kind) and getattr(event, "file", None) in files)
    ]


def test_a_missing_sync_is_found(journal_trace: list[Event], tmp_path: Path, plan: Any) -> None:
    broken = without(journal_trace, Synced, "data.mdb")
    with pytest.raises(BadCut):
        try_cuts(broken, judge_journal, tmp_path, plan.seed)


def test_an_early_acknowledgement_is_found(journal_trace: list[Event], tmp_path: Path, plan: Any) -> None:
    early = list(journal_trace)
    for number, event in enumerate(early):
        if isinstance(event, Marked) and not event.text.startswith(TRIED):
            # To before the write of the meta page that made it durable.
            metas = [at for at in range(number) if isinstance(early[at], Wrote) and early[at].is_synced]
            early.insert(metas[-1], early.pop(number))
    with pytest.raises(BadCut, match="are lost"):
        try_cuts(early, judge_journal, tmp_path, plan.seed, choices=[DROPPED])


def test_a_name_that_is_not_synced_is_found(journal_trace: list[Event], tmp_path: Path, plan: Any) -> None:
    broken = [event for event in journal_trace if not isinstance(event, FolderSynced)]
    with pytest.raises(BadCut, match="are lost"):
        try_cuts(broken, judge_journal, tmp_path, plan.seed, choices=[DROPPED])


def test_a_recovery_that_does_not_settle_the_meta_pages_is_found(tmp_path: Path) -> None:
    """With a seed for which it shows soon."""
    events = record("unsettled", tmp_path, 2, "meta", "EIO")
    with pytest.raises(BadCut):
        try_cuts(events, judge_journal, tmp_path, 1, mixed_count=3)


def test_an_unsynced_write_is_left_in_every_combination() -> None:
    page = bytes(4096)
    events: list[Event] = [
        Created(1, "f"),
        Synced(1),
        FolderSynced("."),
        Wrote(1, 0, b"a" + page[1:]),
        Wrote(1, 4096, b"b" + page[1:]),
    ]
    (*_, (_, _, disk)) = crash_points(events)
    rng = random.Random(1)
    found = {(disk.after_cut(MIXED, rng)["f"] or b"")[::4096] for _ in range(200)}
    assert found == {b"", b"a", b"\0b", b"ab"}
