"""What a query's steps are and how each is done, for people: `cellmesh storm --explain` and `--profile`.

The notes come of the rules that compile the query: what `hinted`, `counted` and the planner decide is asked of them
again, not told a second time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from cellmesh.common.errors import CellError
from cellmesh.cortex.model.scans import Exact, Prefix, Range
from cellmesh.cortex.storm.compiler.hinted import can_hint
from cellmesh.cortex.storm.compiler.names import Scope, children
from cellmesh.cortex.storm.parser import ast
from cellmesh.cortex.storm.planner.counting import counted_steps
from cellmesh.cortex.storm.planner.hints import TagHint, hint_of
from cellmesh.cortex.storm.runtime.options import ROW_COUNT_MAX, QueryLimits
from cellmesh.cortex.storm.runtime.plan import PlanStep, Profile
from cellmesh.cortex.storm.source import Source

if TYPE_CHECKING:
    from cellmesh.cortex.model.registry import Model, Prop

TEXT_LENGTH_MAX: Final = 120
"""Longest text shown of a step."""

_KINDS: Final[dict[type, str]] = {
    ast.EditBlock: "edit",
    ast.SetVariable: "assignment",
    ast.SetItem: "assignment",
    ast.UnpackVariables: "assignment",
    ast.Evaluate: "call",
}


def explain(
    query: ast.Query,
    source: Source,
    model: Model,
    *,
    names: Sequence[str] = (),
    is_batched: bool = False,
    profile: Profile | None = None,
) -> tuple[PlanStep, ...]:
    """Return the steps of a query.

    Args:
        query: The query.
        source: The text it was parsed from.
        model: The data model, which says what names are.
        names: Variables that have values before it runs.
        is_batched: Whether steps take several rows at once.
        profile: What was counted in a run of it.
    """
    return _Explainer(source, model, is_batched, profile).steps(query, Scope(query, names))


def query_notes(
    limits: QueryLimits, *, is_point: bool, has_all_rights: bool, may_change: bool
) -> Iterator[str]:
    """Yield what holds for a query as a whole.

    Args:
        limits: Its bounds.
        is_point: Whether it looks up one node; see `planner.points`.
        has_all_rights: Whether its user may do everything.
        may_change: Whether it may change anything.
    """
    if is_point:
        yield "looks up one node: the thread that has the call answers, and no other is woken"
    if not has_all_rights:
        yield "asks once whether the user may read the view"
        if may_change:
            yield "asks for each kind of edit when it is first made, and again when rules change"
    bounds = []
    if limits.row_count_max < ROW_COUNT_MAX:
        bounds.append(f"{limits.row_count_max:,} rows")
    bounds.append(f"{limits.depth_max:,} calls deep")
    if limits.time_max_s is not None:
        bounds.append(f"{limits.time_max_s:,g} s")
    if limits.memory_max_bytes is not None:
        bounds.append(f"{limits.memory_max_bytes:,} bytes of values")
    yield f"ends with an error beyond {', '.join(bounds)}"


class _Explainer:
    def __init__(self, source: Source, model: Model, is_batched: bool, profile: Profile | None) -> None:
        self._source = source
        self._model = model
        self._is_batched = is_batched
        self._profile = profile

    def steps(self, query: ast.Query, scope: Scope) -> tuple[PlanStep, ...]:
        """Return the steps of a query or body."""
        operations = query.operations
        folded = counted_steps(operations)
        made = []
        before_ns = 0
        for at, operation in enumerate(operations):
            notes = list(self._notes(operations, at, scope))
            if folded and at < folded:
                notes = ["counted by an index where one knows, together with the count behind"]
            elif folded and at == folded:
                notes = ["reads the number from an index where one knows it"]
            counts = self._profile.of(operation) if self._profile is not None else None
            time_ns = 0
            if counts is not None:
                time_ns = max(0, counts.pulled_ns - before_ns) + counts.executed_ns
                before_ns = counts.pulled_ns
            place = self._source.location(operation.span.start)
            bodies = _bodies(operation)
            made.append(
                PlanStep(
                    _KINDS.get(type(operation)) or type(operation).__name__.lower(),
                    self._text(operation, bodies),
                    place.line,
                    place.column,
                    tuple(notes),
                    self._inside(operation, bodies, scope),
                    counts.run_count if counts is not None else 0,
                    counts.row_count if counts is not None else 0,
                    time_ns / 1e9,
                )
            )
        return tuple(made)

    def _inside(
        self, operation: ast.Operation, bodies: list[ast.Query], scope: Scope
    ) -> tuple[PlanStep, ...]:
        if len(bodies) == 1:
            return self.steps(bodies[0], scope)
        made = []
        start = operation.span.start
        for body in bodies:
            # What stands in front of its brace: `elif ($x = 2)`, or the values of a case.
            before = self._source.text[start : body.span.start].strip(" \t\r\n{}")
            if isinstance(operation, ast.Switch):
                before = before.rpartition("{")[2]
            head = " ".join(before.split())
            place = self._source.location(body.span.start)
            steps = self.steps(body, scope)
            made.append(PlanStep("body", _cut(head), place.line, place.column, (), steps))
            start = body.span.end
        return tuple(made)

    def _text(self, operation: ast.Operation, bodies: list[ast.Query]) -> str:
        parts = []
        start = operation.span.start
        for body in bodies:
            parts.append(self._source.text[start : body.span.start])
            parts.append("…")
            start = body.span.end
        parts.append(self._source.text[start : operation.span.end])
        return _cut(" ".join("".join(parts).split()))

    # Notes -------------------------------------------------------------------------------------------------

    def _notes(self, operations: Sequence[ast.Operation], at: int, scope: Scope) -> Iterator[str]:
        operation = operations[at]
        match operation:
            case ast.Lift():
                hint = hint_of(operations[at + 1 :]) if can_hint(operation) else None
                if hint is not None and scope.is_safe(hint.tag if isinstance(hint, TagHint) else hint.name):
                    what = hint.tag if isinstance(hint, TagHint) else hint.name
                    name = self._source.slice(what.span).lstrip(":#")
                    kind = f"tag #{name}" if isinstance(hint, TagHint) else f"property :{name}"
                    yield f"goes through the index of the {kind}, as the filter behind it allows"
                else:
                    yield from self._lift_notes(operation)
            case ast.Pivot() if self._is_batched:
                yield "takes rows in batches"
            case _:
                pass
        is_effect = isinstance(operation, (ast.Lift, ast.SetVariable, ast.SetItem, ast.Evaluate, ast.Yield))
        if is_effect and not scope.is_safe(operation):
            yield "needs a node: runs for each row"

    def _lift_notes(self, lift: ast.Lift) -> Iterator[str]:
        target, comparison = lift.target, lift.comparison
        order = ", backwards" if lift.is_reverse else ""
        match target:
            case ast.TagTarget():
                yield f"goes through the index of the tag{order}"
            case ast.TagPropTarget():
                yield f"goes through the index of the tag property{order}"
            case ast.PropTarget(name=ast.Name() as name, path=path):
                if path:
                    yield "goes through the index of the last property and back to the first"
                elif name.is_glob:
                    yield f"goes through every form that matches{order}"
                else:
                    yield from self._prop_notes(name.text, comparison, order)
            case _:
                pass

    def _prop_notes(self, name: str, comparison: ast.Comparison | None, order: str) -> Iterator[str]:
        try:
            prop = self._model.require_prop(name)
        except CellError:
            yield "there is no form or property of this name"
            return
        if comparison is None:
            what = "all nodes of the form" if prop.is_form else "all nodes that have the property"
            yield f"{what}{order}"
            return
        yield f"{_scans(prop, comparison)}{order}"


def _scans(prop: Prop, comparison: ast.Comparison) -> str:
    """How an index answers a comparison."""
    if comparison.is_any_element:
        return "goes through the index of elements"
    value = comparison.value
    if not isinstance(value, ast.Literal):
        return "asks the index for the value when it is known"
    try:
        scans = prop.type.lift(comparison.operator, value.value)
    except CellError:
        return "the value or operator does not suit the type"
    if all(isinstance(scan, Exact) for scan in scans):
        count = len(scans)
        return "reads one key of the index" if count == 1 else f"reads {count} keys of the index"
    if all(isinstance(scan, (Exact, Prefix, Range)) for scan in scans):
        return "reads a stretch of the index"
    return "looks at every value that the index has"


def _bodies(operation: ast.Node) -> list[ast.Query]:
    """Return the outermost queries below an operation, in the order of the text."""
    found: list[ast.Query] = []
    below = list(children(operation))
    while below:
        node = below.pop()
        if isinstance(node, ast.Query):
            found.append(node)
        else:
            below.extend(children(node))
    return sorted(found, key=lambda query: query.span.start)


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_LENGTH_MAX else text[: TEXT_LENGTH_MAX - 1] + "…"
