"""The plan of a query for people, as a tree of its steps, and as JSON: `cellmesh storm --explain` and `--profile`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cellmesh.api.cortex.v1 import storm_pb2

INDENT: Final = "  "
NOTE_COLUMN_MAX: Final = 48
"""Where notes begin at the latest, unless a step's text is longer."""

NANOSECONDS_A_MILLISECOND: Final = 1_000_000


def plan_lines(plan: storm_pb2.StormPlan, *, is_profiled: bool) -> list[str]:
    """A line a step, those in braces indented, and a line on the whole.

    Args:
        plan: The plan.
        is_profiled: Whether it has counts: rows, times and how often a step ran stand in front then.
    """
    rows = list(_walk(plan.steps, 0))
    shown = [INDENT * depth + step.text for step, depth in rows]
    column = min(NOTE_COLUMN_MAX, max(map(len, shown), default=0))
    lines = []
    if is_profiled:
        lines.append(f"{'rows':>10} {'time':>12} {'runs':>8}  step")
    for (step, _), text in zip(rows, shown):
        notes = f"{text:<{column}}  // {'; '.join(step.notes)}" if step.notes else text
        lines.append((_counts(step) if is_profiled else "") + notes)
    reads = "The query may change data." if plan.may_change else "The query only reads."
    batches = (
        " Steps take several rows at once."
        if plan.is_batched
        else " Each row goes through all steps in turn."
    )
    whole = [f"It {note}." for note in plan.notes]
    return [*lines, reads + batches, *whole]


def plan_fields(plan: storm_pb2.StormPlan) -> dict[str, Any]:
    """A plan as JSON holds it."""
    return {
        "may_change": plan.may_change,
        "is_batched": plan.is_batched,
        "notes": list(plan.notes),
        "steps": [_step_fields(step) for step in plan.steps],
    }


def _step_fields(step: storm_pb2.StormStep) -> dict[str, Any]:
    return {
        "kind": step.kind,
        "text": step.text,
        "line": step.line,
        "column": step.column,
        "notes": list(step.notes),
        "runs": step.run_count,
        "rows": step.row_count,
        "seconds": step.duration.ToNanoseconds() / 1e9,
        "steps": [_step_fields(inner) for inner in step.steps],
    }


def _walk(steps: Iterable[storm_pb2.StormStep], depth: int) -> Iterator[tuple[storm_pb2.StormStep, int]]:
    for step in steps:
        yield step, depth
        yield from _walk(step.steps, depth + 1)


def _counts(step: storm_pb2.StormStep) -> str:
    if step.kind == "body":
        return " " * 34
    if not step.run_count:
        return f"{'-':>10} {'-':>12} {'-':>8}  "
    milliseconds = step.duration.ToNanoseconds() / NANOSECONDS_A_MILLISECOND
    return f"{step.row_count:>10,} {milliseconds:>9,.2f} ms {step.run_count:>8,}  "
