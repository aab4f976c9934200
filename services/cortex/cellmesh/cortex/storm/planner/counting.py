"""Counts of what one lift gives, perhaps less or only what one filter takes, answered from indexes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cellmesh.common.errors import CellError
from cellmesh.cortex.model.scans import Exact
from cellmesh.cortex.storm.parser import ast

if TYPE_CHECKING:
    from cellmesh.cortex.model.registry import Form, Prop
    from cellmesh.cortex.views.session import GraphSession

COUNT_COMMAND = "count"


def counted_steps(operations: Sequence[ast.Operation]) -> int:
    """Return how many operations at the head of a query `| count` counts and an index may, or 0."""
    for size in (1, 2):
        if len(operations) > size and _is_count(operations[size]):
            return size if is_countable(operations[:size]) else 0
    return 0


def _is_count(operation: ast.Operation) -> bool:
    return (
        isinstance(operation, ast.Command)
        and operation.name.text == COUNT_COMMAND
        and not operation.arguments
    )


def is_countable(operations: Sequence[ast.Operation]) -> bool:
    """Whether it is worth asking `count_from_index`: one lift, or one of a whole form with one filter behind it."""
    if not operations or not isinstance(operations[0], ast.Lift):
        return False
    if len(operations) == 1:
        return True
    if len(operations) != 2:
        return False
    following = operations[1]
    return (
        isinstance(following, ast.Filter)
        and isinstance(following.condition, (ast.TagCondition, ast.RelativePropCondition))
        and operations[0].comparison is None
        and isinstance(operations[0].target, ast.PropTarget)
    )


def is_quickly_counted(session: GraphSession, operations: Sequence[ast.Operation]) -> bool:
    """Whether `count_from_index` counts some operations by a few keys, however many nodes there are.

    Ranges and blocks of values are counted key by key, and values of universal properties entry by entry.
    """
    if not is_countable(operations) or not session.stack.is_single:
        return False
    lift = operations[0]
    assert isinstance(lift, ast.Lift), "is_countable has looked"
    if lift.comparison is not None and isinstance(lift.target, ast.PropTarget):
        name, value = lift.target.name, lift.comparison.value
        prop = session.model.prop(name.text) if isinstance(name, ast.Name) else None
        if prop is None or prop.is_universal or not isinstance(value, ast.Literal):
            return False
        if not _is_exact(prop, value):
            return False
    if len(operations) == 2:
        following = operations[1]
        assert isinstance(following, ast.Filter), "is_countable has looked"
        condition = following.condition
        if isinstance(condition, ast.RelativePropCondition) and condition.comparison is not None:
            steps = condition.prop.steps
            if len(steps) != 1 or not isinstance(steps[0], ast.Name) or steps[0].text.startswith("."):
                return False
    return count_from_index(session, operations) is not None


def _is_exact(prop: Prop, value: ast.Literal) -> bool:
    """Whether a value stands for one key of the index: not for a block, nor by a wildcard."""
    try:
        scans: Sequence[Any] = prop.type.lift("=", value.value)
    except CellError:
        return False
    return len(scans) == 1 and isinstance(scans[0], Exact)


def count_from_index(session: GraphSession, operations: Sequence[ast.Operation]) -> int | None:
    """Return how many nodes some operations give if indexes count them, else None.

    Errors are left to the query itself: what would fail is not counted.
    """
    if not is_countable(operations):
        return None
    try:
        lift = operations[0]
        assert isinstance(lift, ast.Lift), "is_countable has looked"
        if len(operations) == 1:
            return _count_lift(session, lift)
        following = operations[1]
        assert isinstance(following, ast.Filter), "is_countable has looked"
        return _count_filtered(session, lift, following)
    except CellError:
        return None


def _count_lift(session: GraphSession, lift: ast.Lift) -> int | None:
    target = lift.target
    model = session.model
    comparison = lift.comparison
    if isinstance(target, ast.PropTarget):
        if target.path or not isinstance(target.name, ast.Name) or target.name.is_glob:
            return None
        prop = model.prop(target.name.text)
        if prop is None or (prop.form is not None and prop.form.is_runtime):
            return None
        if comparison is None:
            return session.count_prop(prop)
        value = comparison.value
        if comparison.is_any_element or comparison.operator != "=" or not isinstance(value, ast.Literal):
            return None
        return session.count_value(prop, "=", value.value)
    if isinstance(target, ast.TagTarget) and comparison is None:
        tag = _tag_text(target.tag)
        if tag is None:
            return None
        if target.form is None:
            return session.count_tag(tag)
        if isinstance(target.form, ast.Name) and not target.form.is_glob:
            form = model.form(target.form.text)
            return session.count_tag(tag, form) if form is not None else None
    return None


def _count_filtered(session: GraphSession, lift: ast.Lift, following: ast.Filter) -> int | None:
    """Count all nodes of a form that a filter takes, or all less those."""
    target = lift.target
    assert isinstance(target, ast.PropTarget), "is_countable has looked"
    if target.path or not isinstance(target.name, ast.Name):
        return None
    form = session.model.form(target.name.text)
    if form is None or form.is_runtime:
        return None
    condition = following.condition
    if isinstance(condition, ast.TagCondition):
        tag = _tag_text(condition.tag) if condition.comparison is None else None
        taken = session.count_tag(tag, form) if tag is not None else None
    else:
        assert isinstance(condition, ast.RelativePropCondition), "is_countable has looked"
        taken = _count_prop(session, form, condition)
    if taken is None:
        return None
    return taken if following.is_keep else session.count_form(form) - taken


def _count_prop(session: GraphSession, form: Form, condition: ast.RelativePropCondition) -> int | None:
    steps, comparison = condition.prop.steps, condition.comparison
    if len(steps) != 1 or not isinstance(steps[0], ast.Name) or steps[0].is_glob:
        return None
    prop = form.props.get(steps[0].text)
    if prop is None or prop.type.element is not None:
        return None
    if comparison is None:
        return session.count_prop(prop)
    value = comparison.value
    if comparison.is_any_element or comparison.operator != "=" or not isinstance(value, ast.Literal):
        return None
    if not _is_exact(prop, value):
        # What a filter takes may differ from what a lift gives.
        return None
    return session.count_value(prop, "=", value.value)


def _tag_text(tag: ast.TagName) -> str | None:
    """Return a tag written out, None if it is a glob or worked out."""
    parts = [
        segment.text for segment in tag.segments if isinstance(segment, ast.Name) and not segment.is_glob
    ]
    return ".".join(parts) if len(parts) == len(tag.segments) else None
