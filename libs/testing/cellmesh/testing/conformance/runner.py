"""Runs the cases over worker processes, prints the area lines, keeps the ratchet.

Cases whose query only reads share a Cortex with those that have the same setup; every other case has its own.
"""

from __future__ import annotations

import multiprocessing
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cellmesh.testing.conformance.cases import Case
from cellmesh.testing.conformance.judge import differences, position_differs

# What may change the graph, the model or anything else in a query: such a case gets a Cortex of its own.
MAY_CHANGE = re.compile(
    r"\[|\$lib|\$node\.|\$path\.|\|\s*(?!count\b|limit\b|uniq\b|spin\b|sort\b|max\b|min\b)\w|delnode"
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one case."""

    key: str
    area: str
    problems: tuple[str, ...]
    other_position: bool = False

    @property
    def passed(self) -> bool:
        """Whether the answer is the expected one."""
        return not self.problems


def groups_of(cases: Iterable[Case]) -> list[list[Case]]:
    """Cases that may share a Cortex, together; every case in exactly one group."""
    shared: dict[object, list[Case]] = {}
    groups: list[list[Case]] = []
    for case in cases:
        if MAY_CHANGE.search(case.query.text):
            groups.append([case])
            continue
        key = tuple((step.text, repr(step.options), step.user) for step in case.setup)
        if key not in shared:
            shared[key] = []
            groups.append(shared[key])
        shared[key].append(case)
    return groups


def run_group(group: list[Case]) -> list[Verdict]:
    """Run the cases of one group on one fresh Cortex."""
    # Imported here: only worker processes need a Cortex, and importing it takes longer than reading the cases.
    from cellmesh.testing.conformance.cortex import fresh_cortex

    shared_memory = Path("/dev/shm")
    try:
        with fresh_cortex(shared_memory if shared_memory.is_dir() else None) as client:
            for step in group[0].setup:
                answer = client.run(step)
                if answer.error is not None:
                    problem = f"setup failed: {step.text!r}: {answer.error}"
                    return [Verdict(case.key, case.area, (problem,)) for case in group]
            verdicts = []
            for case in group:
                answer = client.run(case.query)
                problems = tuple(differences(case, answer))
                verdicts.append(Verdict(case.key, case.area, problems, position_differs(case.expect, answer)))
            return verdicts
    except Exception as error:  # noqa: BLE001 - a case that breaks the Cortex is a failed case, not a broken run
        return [
            Verdict(case.key, case.area, (f"could not run: {type(error).__name__}: {error}",))
            for case in group
        ]


def run(cases: list[Case], workers: int = 2) -> Iterator[Verdict]:
    """Yield a verdict for every case, as they come."""
    groups = groups_of(cases)
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for verdicts in pool.imap_unordered(run_group, groups, chunksize=1):
            yield from verdicts


def area_lines(verdicts: Iterable[Verdict]) -> list[str]:
    """A line an area, and the last line with the sum."""
    passed: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for verdict in verdicts:
        total[verdict.area] += 1
        passed[verdict.area] += verdict.passed
    lines = [f"{area} {passed[area]} passed, {total[area] - passed[area]} failed" for area in sorted(total)]
    return [*lines, f"{passed.total()} passed, {total.total() - passed.total()} failed"]
