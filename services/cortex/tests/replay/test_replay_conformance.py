"""The queries of the conformance cases, run on a leader while a follower applies its log."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from cellmesh.cortex.storm.runtime.options import QueryOptions

sys.path.insert(0, str(Path(__file__).parent))
from replay_kit import Cortex, following, leading

CASES = Path(__file__).parents[4] / "tests" / "conformance"
AREAS = ("03", "07", "09", "10", "13")
FOLLOW_EVERY = 5


def texts(area: str) -> list[tuple[str, QueryOptions]]:
    """The queries of an area's cases, each with its setup before it. What they give is not looked at here."""
    found: list[tuple[str, QueryOptions]] = []
    for file in sorted(CASES.glob(f"{area}*.jsonl")):
        for line in file.read_text().splitlines():
            case = json.loads(line)
            steps = [entry if isinstance(entry, dict) else {"storm": entry} for entry in case["setup"]]
            steps.append({"storm": case.get("storm") or case["call"], "opts": case.get("opts")})
            for step in steps:
                given = step.get("opts") or {}
                found.append((step["storm"], QueryOptions(vars=given.get("vars", {}), time_limit_s=2)))
    assert found, "there are no cases of this area"
    return found


@pytest.mark.parametrize("area", AREAS)
def test_a_follower_of_the_cases_ends_equal(area: str, tmp_path: Path) -> None:
    with (
        leading(tmp_path / "leader") as leader,
        following(leader, tmp_path / "follower", seed=int(area)) as follower,
    ):
        for index, (text, options) in enumerate(texts(area)):
            leader.run(text, options)
            if index % FOLLOW_EVERY == 0:
                follower.follow()
        leader.tasks()
        assert leader.automation.executor.stop(5)
        assert_changed(leader)
        follower.check(())


def assert_changed(leader: Cortex) -> None:
    """Queries that only fail would prove nothing."""
    with leader.slab.view() as txn:
        assert leader.graph.log.next_offset(txn) > 30
