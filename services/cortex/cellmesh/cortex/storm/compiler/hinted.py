"""Lifts of a form by what the filters behind them say; see `planner.hints`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from cellmesh.common.errors import BadTypeValu, NoSuchCmpr
from cellmesh.cortex.storm.compiler.core import Compiler, Op
from cellmesh.cortex.storm.compiler.expressions import name_text, tag_text
from cellmesh.cortex.storm.compiler.interfaces import forms_of
from cellmesh.cortex.storm.compiler.lifts import lift_prop_value, lift_step
from cellmesh.cortex.storm.parser import ast
from cellmesh.cortex.storm.planner.hints import Hint, TagHint
from cellmesh.cortex.storm.runtime.context import RunContext
from cellmesh.cortex.storm.runtime.path import Path

if TYPE_CHECKING:
    from cellmesh.cortex.model.registry import Form
    from cellmesh.cortex.views.node import Node

TIE_COUNT_MAX = 128
"""How many nodes with equal keys are put in the order of their idens. More come as the index has them."""

CREATED = ".created"

FromForm = Callable[[RunContext, Path, "Form"], "Iterator[Node]"]


def can_hint(lift: ast.Operation) -> bool:
    """Whether an operation lifts all nodes of a form, or of all forms that match a glob."""
    if not isinstance(lift, ast.Lift) or lift.comparison is not None:
        return False
    target = lift.target
    return isinstance(target, ast.PropTarget) and not target.path and isinstance(target.name, ast.Name)


def compile_hinted(compiler: Compiler, lift: ast.Lift, hint: Hint) -> Op | None:
    """Compile a lift with a hint; None if the hint depends on a node and so is of no use."""
    assert isinstance(lift.target, ast.PropTarget), "can_hint has looked"
    assert isinstance(lift.target.name, ast.Name), "can_hint has looked"
    text = lift.target.name.text
    name = hint.tag if isinstance(hint, TagHint) else hint.name
    if not compiler.is_safe(name):
        return None
    if isinstance(hint, TagHint):
        from_form = _by_tag(compiler, hint.tag, lift.is_reverse)
    else:
        from_form = _by_prop(compiler, hint.name, hint.is_universal, hint.comparison, lift.is_reverse)
    is_reverse = lift.is_reverse

    def source(context: RunContext, path: Path) -> Iterator[Node]:
        model = context.model
        if "*" in text:
            for form in model.forms_by_wildcard(text):
                if not form.is_runtime:
                    yield from from_form(context, path, form)
            return
        carriers = forms_of(model, text) if model.prop(text) is None else ()
        if carriers:
            for form in carriers:
                yield from from_form(context, path, form)
            return
        prop = model.require_prop(text)
        if prop.form is None or not prop.is_form:
            yield from context.session.lift_prop(prop, reverse=is_reverse)
        elif prop.form.is_runtime:
            yield from context.session.lift_runtime(prop.form, prop, reverse=is_reverse)
        else:
            yield from from_form(context, path, prop.form)

    return lift_step(source, True, compiler.place(lift))


def _by_tag(compiler: Compiler, tag: ast.TagName, is_reverse: bool) -> FromForm:
    name = tag_text(compiler, tag)

    def from_form(context: RunContext, path: Path, form: Form) -> Iterator[Node]:
        text = name(context, path)
        if "*" in text:  # from a variable: the filter takes it for a glob, of which no index tells
            return context.session.lift_form(form, reverse=is_reverse)
        found = context.session.lift_tag(text, form=form, reverse=is_reverse)
        return in_order_of_iden(found, lambda node: None, is_reverse)

    return from_form


def _by_prop(
    compiler: Compiler,
    ref: ast.NameRef,
    is_universal: bool,
    comparison: ast.Comparison | None,
    is_reverse: bool,
) -> FromForm:
    name_of = name_text(compiler, ref, is_universal)
    value = None
    if comparison is not None and compiler.is_safe(comparison.value):
        value = compiler.expression(comparison.value)
    operator = comparison.operator if comparison is not None else ""
    place = compiler.place(comparison) if comparison is not None else None

    def from_form(context: RunContext, path: Path, form: Form, place: object = place) -> Iterator[Node]:
        name = name_of(context, path)
        prop = form.props.get(name)
        if prop is None:
            return iter(())
        session = context.session
        found = None
        if value is not None:
            wanted = value(context, path)
            try:
                found = (
                    None
                    if wanted is None
                    else lift_prop_value(context, prop, operator, wanted, False, is_reverse)
                )
            except (NoSuchCmpr, BadTypeValu) as error:
                if not isinstance(error, NoSuchCmpr) and not operator.endswith("^="):
                    raise  # other operands of a filter are what a lift takes
                found = None
        if found is None:
            found = session.lift_prop(prop, reverse=is_reverse)
        if name == CREATED:  # of equal times the order of making is known
            return found
        return in_order_of_iden(found, lambda node: node.encoded(name), is_reverse)

    return from_form


def in_order_of_iden(nodes: Iterator[Node], key: Callable[[Node], Any], is_reverse: bool) -> Iterator[Node]:
    """Yield nodes that come by a key, those with equal keys in the order of their idens if they are few."""
    group: list[Node] = []
    group_key: Any = None
    is_sorting = True
    for node in nodes:
        here = key(node)
        if group and here == group_key and is_sorting:
            group.append(node)
            if len(group) > TIE_COUNT_MAX:
                is_sorting = False
                yield from group
                group = []
            continue
        if here != group_key:
            is_sorting = True
            yield from _sorted(group, is_reverse)
            group = []
        group_key = here
        if is_sorting:
            group.append(node)
        else:
            yield node
    yield from _sorted(group, is_reverse)


def _sorted(group: list[Node], is_reverse: bool) -> list[Node]:
    return sorted(group, key=lambda node: node.buid, reverse=is_reverse) if len(group) > 1 else group
