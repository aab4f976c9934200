"""The plan of a query as people read it, and the measures that a profiled run adds to it.

A run that is profiled is compiled for itself, each step wrapped by `Profile.measured`. Other runs know nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cellmesh.cortex.storm.parser.ast import Node
    from cellmesh.cortex.storm.runtime.context import RunContext
    from cellmesh.cortex.storm.runtime.path import Path


@dataclass(frozen=True, slots=True)
class PlanStep:
    """One step of a query.

    Attributes:
        kind: What it is: "lift", "filter", "pivot", "edit", "command" and so on; "body" for one of several queries in
            braces that belong to the step around it.
        text: Its text on one line; queries in braces are left out, they are in `steps`.
        line: Where it begins, from 1.
        column: Where it begins in its line, from 1.
        notes: What the planner does with it: indexes, batches, what it is folded into.
        steps: The steps in its braces, in order.
        run_count: How often it began. 0 if the query was not profiled or didn't come to it.
        row_count: How many rows it gave, over all runs.
        time_s: Seconds spent in it, steps in its braces included, those before it not. The body of a function or of
            `${ }` costs where it is called, not where it stands.
    """

    kind: str
    text: str
    line: int
    column: int
    notes: tuple[str, ...] = ()
    steps: tuple[PlanStep, ...] = ()
    run_count: int = 0
    row_count: int = 0
    time_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be done for a query.

    Attributes:
        steps: Its steps in order.
        may_change: Whether it may change anything.
        is_batched: Whether its steps take several rows at once, because nothing shows in which order they take turns.
        notes: What holds for the whole of it: where it runs, what is asked of its user's rights, its bounds.
    """

    steps: tuple[PlanStep, ...]
    may_change: bool
    is_batched: bool
    notes: tuple[str, ...] = ()


class StepCounts:
    """What was counted of one step.

    Attributes:
        run_count: How often it began.
        row_count: How many rows it gave.
        pulled_ns: Time until its rows were there, that of the steps it took rows from included.
        executed_ns: Time it took where it ran without rows.
    """

    __slots__ = ("executed_ns", "pulled_ns", "row_count", "run_count")

    def __init__(self) -> None:
        self.run_count = 0
        self.row_count = 0
        self.pulled_ns = 0
        self.executed_ns = 0


class Profile:
    """Counts the steps of one run, each by its syntax node. Belongs to the run's thread."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        # The nodes are kept, or another could get the number of one that is gone.
        self._counts: dict[int, tuple[Node, StepCounts]] = {}

    def of(self, node: Node) -> StepCounts | None:
        """What was counted of a step; None if it has not been compiled."""
        found = self._counts.get(id(node))
        return found[1] if found is not None else None

    def measured(
        self, node: Node, step: Callable[[RunContext, Iterator[Path]], Iterator[Path]]
    ) -> Callable[[RunContext, Iterator[Path]], Iterator[Path]]:
        """Return a step of a pipeline that does the same and is measured."""
        counts = self._counts_for(node)

        def run(context: RunContext, rows: Iterator[Path]) -> Iterator[Path]:
            counts.run_count += 1
            given: Any = None
            while True:
                begun = perf_counter_ns()
                try:
                    if given is None:
                        given = step(context, rows)
                    row = next(given)
                except StopIteration:
                    return
                finally:
                    counts.pulled_ns += perf_counter_ns() - begun
                counts.row_count += 1
                yield row

        return run

    def measured_statement(
        self, node: Node, statement: Callable[[RunContext], int]
    ) -> Callable[[RunContext], int]:
        """Return a statement that does the same and is measured."""
        counts = self._counts_for(node)

        def run(context: RunContext) -> int:
            counts.run_count += 1
            begun = perf_counter_ns()
            try:
                return statement(context)
            finally:
                counts.executed_ns += perf_counter_ns() - begun

        return run

    def _counts_for(self, node: Node) -> StepCounts:
        # A body that is compiled for several sets of variables adds up.
        return self._counts.setdefault(id(node), (node, StepCounts()))[1]
