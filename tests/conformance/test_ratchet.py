"""Cases that passed once must pass: those named in passed.txt, through gRPC on a fresh Cortex each."""

from __future__ import annotations

from pathlib import Path

import pytest
from cellmesh.testing.conformance.cases import Case, read_cases
from cellmesh.testing.conformance.judge import Answer, differences
from cellmesh.testing.conformance.plain import plain
from cellmesh.testing.conformance.runner import groups_of, run_group

FOLDER = Path(__file__).parent
PASSED = frozenset((FOLDER / "passed.txt").read_text(encoding="utf-8").split())
CASES = [case for case in read_cases(FOLDER) if case.key in PASSED]
# Some hundred cases a test, so that the areas spread over the test processes.
PART_SIZE = 120
PARTS = [CASES[start : start + PART_SIZE] for start in range(0, len(CASES), PART_SIZE)]


@pytest.mark.parametrize("part", PARTS, ids=[f"{part[0].key}..{part[-1].name}" for part in PARTS])
def test_cases_that_passed_still_pass(part: list[Case]) -> None:
    verdicts = [verdict for group in groups_of(part) for verdict in run_group(group)]
    assert len(verdicts) == len(part)
    failed = [f"{verdict.key}: {'; '.join(verdict.problems)}" for verdict in verdicts if not verdict.passed]
    assert failed == []


def test_every_name_in_the_ratchet_is_a_case() -> None:
    assert PASSED - {case.key for case in CASES} == set()


def case_expecting(**expect: object) -> Case:
    return next(iter(CASES)).__class__("00-test", "x", (), next(iter(CASES)).query, dict(expect))


def test_the_judge_sees_a_missing_node_a_wrong_order_and_a_wrong_error() -> None:
    one = {"form": "it:dev:int", "valu": 1, "props": {}, "tags": {}, "tagprops": {}}
    two = {**one, "valu": 2}
    right = Answer(nodes=[one, two])
    assert differences(case_expecting(nodes=[one, two], ordered=True, err=None), right) == []
    assert differences(case_expecting(nodes=[two, one], ordered=False, err=None), right) == []
    assert differences(case_expecting(nodes=[two, one], ordered=True, err=None), right) != []
    assert differences(case_expecting(nodes=[one], ordered=False, err=None), right) != []
    assert differences(case_expecting(nodes=[one, two], ordered=True, err={"name": "BadArg"}), right) != []
    assert (
        differences(case_expecting(nodes=[one, {**two, "tags": {"a": None}}], ordered=True, err=None), right)
        != []
    )


def test_numbers_compare_by_value_and_booleans_do_not() -> None:
    assert plain(1) == plain(1.0)
    assert plain(True) != plain(1)
    assert plain((1, [2])) == plain([1, (2,)])
    assert plain({"$bytes": "00ff"}) == plain(b"\x00\xff")
