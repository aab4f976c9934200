"""Seeds, rounds, and the command that repeats a failure.

`make test` runs the quick forms. `make robustness [SEED=n] [ROUNDS=n]` sets these variables:

    CELLMESH_ROBUSTNESS     "full" for all points and many rounds
    CELLMESH_SEED           settles everything random; by default chosen anew
    CELLMESH_ROUNDS         how many kills, where a test counts rounds
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass

import pytest

SEED = int(os.environ.get("CELLMESH_SEED") or random.SystemRandom().randrange(1_000_000))
# The workers of pytest-xdist are made later, and take the seed from here.
os.environ["CELLMESH_SEED"] = str(SEED)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is done.

    Attributes:
        seed: Of everything random.
        is_full: Whether this is `make robustness`.
        rounds: Asked for, None if not.
    """

    seed: int
    is_full: bool
    rounds: int | None

    def count(self, quick: int, full: int) -> int:
        """How many of something, by form."""
        return full if self.is_full else quick


@pytest.fixture(scope="session")
def plan() -> Plan:
    """What was asked for."""
    rounds = os.environ.get("CELLMESH_ROUNDS")
    is_full = os.environ.get("CELLMESH_ROBUSTNESS") == "full"
    return Plan(SEED, is_full, int(rounds) if rounds else None)


def pytest_report_header() -> str:
    return f"robustness: SEED={SEED}"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> object:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.failed and "robustness" in item.path.parts:
        words = ["make robustness", f"SEED={SEED}"]
        if os.environ.get("CELLMESH_ROUNDS"):
            words.append(f"ROUNDS={os.environ['CELLMESH_ROUNDS']}")
        if os.environ.get("CELLMESH_ROBUSTNESS") != "full":
            words.append("QUICK=1")
        told = " ".join([*words, f"ARGS='-k {getattr(item, 'originalname', item.name)}'"])
        report.sections.append(("repeat with", told))
    return report
