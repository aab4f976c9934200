"""Counts of single lifts, answered from an index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cellmesh.cortex.storm.parser import ast

if TYPE_CHECKING:
    from cellmesh.cortex.views.session import GraphSession


def count_from_index(session: GraphSession, query: ast.Query) -> int | None:
    """Return how many nodes a query gives if it is one lift that an index counts, else None.

    Errors are left to the query itself: a lift that would fail is not counted.
    """
    if len(query.operations) != 1:
        return None
    lift = query.operations[0]
    if not isinstance(lift, ast.Lift):
        return None
    target = lift.target
    model = session.model
    if isinstance(target, ast.PropTarget):
        if target.path or not isinstance(target.name, ast.Name) or target.name.is_glob:
            return None
        prop = model.prop(target.name.text)
        if prop is None or (prop.form is not None and prop.form.is_runtime):
            return None
        if lift.comparison is None:
            return session.count_prop(prop)
        value = lift.comparison.value
        if (
            lift.comparison.is_any_element
            or lift.comparison.operator != "="
            or not isinstance(value, ast.Literal)
        ):
            return None
        return session.count_value(prop, "=", value.value)
    if isinstance(target, ast.TagTarget) and lift.comparison is None:
        if not all(isinstance(segment, ast.Name) for segment in target.tag.segments):
            return None
        tag = ".".join([segment.text for segment in target.tag.segments])  # type: ignore[union-attr]
        if target.form is None:
            return session.count_tag(tag)
        if isinstance(target.form, ast.Name) and not target.form.is_glob:
            form = model.form(target.form.text)
            return session.count_tag(tag, form) if form is not None else None
    return None
