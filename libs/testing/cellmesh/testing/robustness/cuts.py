"""Power cuts at the points of a recorded run: each state that one may leave is opened and judged."""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cellmesh.common.errors import CellError
from cellmesh.testing.disk.crash import (
    DROPPED,
    KEPT,
    MIXED,
    MOSTLY_KEPT,
    TORN,
    Choice,
    crash_points,
    write_state,
)
from cellmesh.testing.disk.events import Event
from cellmesh.testing.robustness.journal import Edit, Journal
from cellmesh.testing.robustness.power import TRIED

CHOICES: Final[tuple[Choice, ...]] = (DROPPED, KEPT, MIXED, MOSTLY_KEPT, TORN)

Judge = Callable[[Path, Sequence[str]], None]
"""Raises if the files in a folder are no good, given the marks in the trace before the cut."""


@dataclass(slots=True)
class Cuts:
    """What was tried.

    Attributes:
        points: Events at which the power was cut.
        states: States that differ among those left; each was opened.
    """

    points: int = 0
    states: int = 0


class BadCut(AssertionError):
    """A state after a power cut is no good."""


def try_cuts(
    events: Sequence[Event],
    judge: Judge,
    folder: Path,
    seed: int,
    *,
    point_count_max: int | None = None,
    choices: Sequence[Choice] = CHOICES,
    mixed_count: int = 1,
) -> Cuts:
    """Cut the power at events of a trace, all or some.

    Args:
        events: The trace.
        judge: Told of each state.
        folder: Where states are written; each is removed when it was good.
        seed: Settles points and pieces.
        point_count_max: So many points, chosen at random; None means all.
        choices: What is tried at each point.
        mixed_count: How often the choices with chance in them are tried.

    Raises:
        BadCut: tells the point, the choice, and where the state is kept.
    """
    rng = random.Random(seed)
    total = sum(1 for _ in crash_points(events))
    wanted = set(range(total))
    if point_count_max is not None and point_count_max < total:
        wanted = set(rng.sample(range(total), point_count_max))
    done = Cuts()
    seen: set[bytes] = set()
    for point, (number, event, disk) in enumerate(crash_points(events)):
        if point not in wanted:
            continue
        done.points += 1
        for choice in choices[:1] if disk.is_certain else choices:
            chance = 0 < choice.keep < 1
            for _ in range(mixed_count if chance else 1):
                state = disk.after_cut(choice, rng)
                digest = _digest(len(disk.marks), state)
                if digest in seen:
                    continue
                seen.add(digest)
                done.states += 1
                place = folder / f"cut-{number}-{done.states}"
                place.mkdir(parents=True)
                write_state(state, place)
                try:
                    judge(place, disk.marks)
                except (AssertionError, CellError) as error:
                    raise BadCut(
                        f"power cut at event {number} ({str(event)[:80]}), {choice.name}: {error!r}; "
                        f"the state is in {place}"
                    ) from error
                shutil.rmtree(place)
    return done


def _digest(mark_count: int, state: Mapping[str, bytes | None]) -> bytes:
    found = hashlib.sha256(b"%d" % mark_count)
    for name, content in sorted(state.items()):
        found.update(name.encode() + b"\0")
        found.update(content or b"")
    return found.digest()


def acknowledged(marks: Sequence[str]) -> Mapping[int, str]:
    """The edits that marks tell of."""
    return _edits(mark for mark in marks if not mark.startswith(TRIED))


def _edits(marks: Iterable[str]) -> dict[int, str]:
    return {int(offset): text for offset, _, text in (mark.partition(" ") for mark in marks)}


def judge_journal(place: Path, marks: Sequence[str]) -> None:
    """The store opens, is at a prefix that has all that was acknowledged, and takes the next edit."""
    (place / "slab").mkdir(parents=True, exist_ok=True)
    store = Journal(place / "slab", sync=False)
    try:
        told = dict(acknowledged(marks))
        tried = _edits(mark.removeprefix(TRIED) for mark in marks if mark.startswith(TRIED))
        end = store.check(told, tried)
        offset, text = store.write(Edit("put", 0, 1, 100))
        assert offset == end, f"the next edit got offset {offset}, not {end}"
        store.check({**told, offset: text}, tried)
    finally:
        store.close()


def judge_files(place: Path, marks: Sequence[str]) -> None:
    """The file is whole, and no older than the version last told of."""
    path = place / "settings"
    content = path.read_bytes() if path.exists() else b""
    told = int(marks[-1]) if marks else -1
    versions = set(content.split())
    assert len(versions) <= 1, "parts of two versions"
    found = int(versions.pop()) if versions else -1
    assert told <= found <= told + 1, f"version {told} was written, {found} is there"
    assert content == b"%d " % found * (len(content) // 2), "bytes are lost"
