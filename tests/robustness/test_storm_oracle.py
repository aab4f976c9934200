"""Storm against the oracle at length: a million lifts, walks and edits of random queries."""

from __future__ import annotations

import sys
from pathlib import Path

from cellmesh.testing.oracle.making import RandomChoices

from tests.robustness.conftest import Plan

sys.path.insert(0, str(Path(__file__).parents[2] / "services" / "cortex" / "tests" / "storm"))

from oracle_kit import Pair
from storm_kit import open_engine

QUERIES_A_ROUND = 30
STEPS_A_ROUND_MAX = 2000
"""What a round counts for at most: a few queries go through hundreds of thousands of rows."""


def test_a_million_lifts_and_edits_are_those_of_the_oracle(tmp_path: Path, plan: Plan) -> None:
    wanted = plan.count(500, 1_000_000)
    counted, rounds = 0, 0
    with open_engine(tmp_path) as engine:
        pair = Pair(engine)
        while counted < wanted:
            before = pair.steps
            pair.round(
                RandomChoices((plan.seed if plan.is_full else 1) * 1_000_000 + rounds), QUERIES_A_ROUND
            )
            counted += min(pair.steps - before, STEPS_A_ROUND_MAX)
            rounds += 1
    print(f"\nstorm oracle: {rounds} rounds, {rounds * QUERIES_A_ROUND} queries, {counted} lifts and edits")
