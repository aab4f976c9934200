"""Each named failpoint, with a kill and with an error: what was acknowledged stays, and work goes on."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cellmesh.testing.robustness.journal import Journal
from cellmesh.testing.robustness.power_cell import judge_cell
from cellmesh.testing.robustness.worker import Job, Workers

ROOT = Path(__file__).parents[2]

STORE_POINTS = (
    "slab_before_begin",
    "slab_before_commit",
    "slab_after_commit",
    "slab_before_acknowledge",
    "slab_before_growth",
    "slab_after_growth",
    "changelog_before_append",
    "changelog_after_append",
    "changelog_before_trim",
    "changelog_after_trim",
)
UPKEEP_POINTS = (
    "backup_chunk",
    "backup_part_written",
    "backup_before_finish",
    "compact_copied",
    "compact_round",
    "slab_before_compact_swap",
    "slab_after_compact_swap",
    "changelog_trim",
)
RARE = {"slab_before_growth", "slab_after_growth", "changelog_before_trim", "changelog_after_trim"}
ELSEWHERE = {
    "axon_blobs_deleted": "services/axon/tests",
    "axon_fetch_part_stored": "services/axon/tests",
    "axon_upload_part_stored": "tests/mesh/test_mesh_kill.py",
    "axon_upload_chunks_removed": "services/axon/tests",
    "cryotank_records_removed": "tests/mesh/test_mesh_kill.py",
    "cryotank_records_trimmed": "services/cryotank/tests",
    "layer_edits_taken": "services/cortex/tests/syncing",
    "state_hash_chunk": "libs/common/tests",
}
"""Points of one cell or job, with the tests that set them; those of mirrors begin with `mirror_`."""


@pytest.mark.parametrize("action", ["kill", "error*3"])
@pytest.mark.parametrize("point", STORE_POINTS)
def test_a_store_survives(tmp_path: Path, plan: Any, point: str, action: str) -> None:
    rng = random.Random(f"{plan.seed} {point}")
    workers = Workers()
    for number in range(plan.count(1, 20)):
        folder = tmp_path / str(number)
        # The random edits of a job may grow no file and trim no record: then longer jobs reach the rare points.
        skip, count = (0, 300) if point in RARE else (rng.randrange(30), 80)
        job = Job(folder, plan.seed + number, count, {point: f"{skip}>{action}"}, size_max_bytes=20_000)
        first = workers.run(job)
        assert first.exit_code == (-9 if action == "kill" else 0)
        known = check(folder, {}, first.acknowledged, first.tried)
        second = workers.run(Job(folder, plan.seed + number + 500, 40))
        assert second.exit_code == 0
        assert len(second.acknowledged) >= 40
        check(folder, known, second.acknowledged, second.tried)


def check(
    folder: Path, known: dict[int, str], acknowledged: dict[int, str], tried: dict[int, str]
) -> dict[int, str]:
    store = Journal(folder)
    try:
        end = store.check({**known, **acknowledged}, tried)
        return {
            **known,
            **{at: text for at, text in tried.items() if at < end},
            **acknowledged,
            **store.texts(),
        }
    finally:
        store.close()


@pytest.mark.parametrize("action", ["kill", "error*1"])
def test_a_cell_survives_it_in_upkeep(tmp_path: Path, plan: Any, action: str) -> None:
    """All points at length; in the quick form two of them, chosen by the seed."""
    points = UPKEEP_POINTS if plan.is_full else random.Random(plan.seed).sample(UPKEEP_POINTS, 2)
    for number, point in enumerate(points):
        # Short names: the path of a unix socket has 107 bytes.
        meet_in_upkeep(tmp_path / str(number), point, action)


def meet_in_upkeep(folder: Path, point: str, action: str) -> None:
    command = [sys.executable, "-m", "cellmesh.testing.robustness.upkeep", str(folder)]
    environment = {**os.environ, "CELLMESH_FAILPOINTS": f"{point}={action}"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=60)
    marks = done.stdout.splitlines()
    if action == "kill":
        assert done.returncode == -9, f"{point}: {done.stderr}"
    else:
        assert done.returncode == 0, f"{point}: {done.stderr}"
        assert sum(mark.startswith("failed ") for mark in marks) <= 1
        assert {"backup two", "compacted two", "trimmed two"} <= set(marks), point
        assert sum(mark.startswith("item ") for mark in marks) == 9
    judge_cell(folder, marks)


def test_each_failpoint_of_the_code_has_its_line_in_the_docs_and_its_test() -> None:
    named = set()
    for folder in ("libs", "services"):
        for path in (ROOT / folder).rglob("cellmesh/**/*.py"):
            if "testing" not in path.parts and path.name != "failpoints.py":
                named.update(re.findall(r'\bfailpoint\("(\w+)"\)', path.read_text()))
    text = (ROOT / "docs" / "robustness.md").read_text()
    documented = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert documented == named
    tested = {*STORE_POINTS, *UPKEEP_POINTS, *ELSEWHERE}
    assert {name for name in named if not name.startswith("mirror_")} == tested
