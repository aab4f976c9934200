"""What the filters behind a lift of all nodes of a form say about where to look.

`inet:ipv4 +:asn=5` need not go through all addresses: the index of `:asn` has them. The filters stay in place; the
hint only replaces the lift. Users can tell by the order of the nodes, which becomes that of the index, and rely on
it. The rule, tried on the peer: filters directly behind the lift are looked at in order, `-` filters and those that
give no hint are passed over, and the first hint counts. A single property or tag gives one, and so
does what stands on the left of `and`, never what is on its right; `or`, `not`, globs, array elements and intervals of
tags give none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from cellmesh.cortex.storm.parser import ast


@dataclass(frozen=True, slots=True)
class TagHint:
    """The nodes carry a tag."""

    tag: ast.TagName


@dataclass(frozen=True, slots=True)
class PropHint:
    """The nodes have a property, and its value compares so if there is a comparison."""

    name: ast.NameRef
    is_universal: bool
    comparison: ast.Comparison | None


Hint: TypeAlias = TagHint | PropHint


def hint_of(following: Sequence[ast.Operation]) -> Hint | None:
    """Return the hint that the filters at the head of some operations give, or None."""
    for operation in following:
        if not isinstance(operation, ast.Filter):
            return None
        hint = _of_condition(operation.condition) if operation.is_keep else None
        if hint is not None:
            return hint
    return None


def _of_condition(condition: ast.Condition) -> Hint | None:
    if isinstance(condition, ast.TagCondition):
        if condition.tag.is_glob or condition.comparison is not None:
            return None
        return TagHint(condition.tag)
    if isinstance(condition, ast.RelativePropCondition):
        return _of_prop(condition)
    if isinstance(condition, ast.AndCondition):
        return _of_condition(condition.left)
    return None


def _of_prop(condition: ast.RelativePropCondition) -> Hint | None:
    prop = condition.prop
    comparison = condition.comparison
    if len(prop.steps) > 1:
        return PropHint(prop.steps[0], False, None)
    if comparison is not None and comparison.is_any_element:
        return None
    return PropHint(prop.steps[0], prop.is_universal, comparison)
