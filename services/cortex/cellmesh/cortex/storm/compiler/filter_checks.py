"""What is looked at in a filter before its first row is asked for: names written out, and what is compared with tags.

`[ inet:asn=5 ] +inet:nosuch` makes no node: the filter fails before the edit in front of it runs, and it fails as well if
no row ever comes. Values of properties are another matter: they are normalised when a row needs them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from cellmesh.common.errors import NoSuchProp
from cellmesh.cortex.model.types.base import plain_name
from cellmesh.cortex.storm.compiler.core import ROWLESS, Compiler
from cellmesh.cortex.storm.compiler.interfaces import named_props, props_of
from cellmesh.cortex.storm.parser import ast
from cellmesh.cortex.storm.runtime.context import RunContext
from cellmesh.cortex.storm.runtime.libraries import near_match
from cellmesh.cortex.storm.runtime.valuing import plain_value

Check: TypeAlias = Callable[[RunContext], None]
"""Raises what is wrong with a filter whatever rows come."""


def checks_of(compiler: Compiler, condition: ast.Condition) -> tuple[Check, ...]:
    """Return the checks of a condition and of those in it."""
    return tuple(_checks(compiler, condition))


def _checks(compiler: Compiler, condition: ast.Condition) -> Iterator[Check]:
    match condition:
        case ast.AndCondition(left=left, right=right) | ast.OrCondition(left=left, right=right):
            yield from _checks(compiler, left)
            yield from _checks(compiler, right)
        case ast.NotCondition(condition=inner):
            yield from _checks(compiler, inner)
        case ast.PropCondition(name=ast.Name(text=name), comparison=comparison):
            yield _prop_check(name, comparison)
        case ast.TagCondition(comparison=ast.Comparison() as comparison) if _is_written_out(comparison.value):
            yield _interval_check(compiler, comparison)
        case _:
            pass


def _prop_check(name: str, comparison: ast.Comparison | None) -> Check:
    def check(context: RunContext) -> None:
        model = context.model
        if name.endswith("*"):
            model.forms_by_wildcard(name)
            return
        prop = model.prop(name)
        if prop is None:
            several = named_props(model, name) if comparison is None else props_of(model, name)
            prop = several[0] if several else None
        if prop is None:
            raise NoSuchProp(
                f"no form or property named {name}", name=name, **near_match(name, model.defs.forms)
            )
        if comparison is not None and not comparison.is_any_element:
            operator = plain_name(comparison.operator)
            if operator not in prop.type.comparators():
                raise prop.type.no_such_comparator(comparison.operator)

    return check


def _interval_check(compiler: Compiler, comparison: ast.Comparison) -> Check:
    value = compiler.expression(comparison.value)

    def check(context: RunContext) -> None:
        wanted = plain_value(value(context, ROWLESS))
        context.model.type("ival").comparator(comparison.operator, wanted)

    return check


def _is_written_out(node: ast.Expression) -> bool:
    match node:
        case ast.Literal() | ast.Constant():
            return True
        case ast.TupleLiteral(items=items) | ast.ListLiteral(items=items):
            return all(map(_is_written_out, items))
    return False
