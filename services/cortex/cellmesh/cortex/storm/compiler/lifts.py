"""Lifts: from a name and a comparison to the index scan that gives the nodes.

A lift adds its nodes behind those that came. If its value is known without a node it runs once, else once for each row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeAlias

from cellmesh.common.errors import BadTypeValu, NoSuchForm, NoSuchProp
from cellmesh.cortex.storm.compiler.core import ROWLESS, Compiler, Op
from cellmesh.cortex.storm.compiler.expressions import name_text, tag_text
from cellmesh.cortex.storm.compiler.interfaces import forms_of, named_props, props_of
from cellmesh.cortex.storm.parser import ast
from cellmesh.cortex.storm.runtime.context import RunContext
from cellmesh.cortex.storm.runtime.libraries import near_match
from cellmesh.cortex.storm.runtime.lookups import lookup_words
from cellmesh.cortex.storm.runtime.members import toiter
from cellmesh.cortex.storm.runtime.path import Path
from cellmesh.cortex.storm.runtime.values import tostr
from cellmesh.cortex.storm.runtime.valuing import operand_for, plain_value

if TYPE_CHECKING:
    from cellmesh.cortex.model.registry import Form, Prop
    from cellmesh.cortex.views.node import Node

Source: TypeAlias = Callable[[RunContext, Path], "Iterator[Node]"]
"""Gives the nodes of a lift."""

TRY_OPERATOR = "?="


class LiftOnce:
    """The step of a lift that is known without a node."""

    __slots__ = ("_place", "_source")

    def __init__(self, source: Source, place: object) -> None:
        self._source = source
        self._place = place

    def __call__(self, context: RunContext, rows: Iterator[Path]) -> Iterator[Path]:
        yield from rows
        yield from self.rows(context, self.found(context))

    def found(self, context: RunContext) -> Iterator[Node]:
        """Work out its value and begin to lift; raises what the lift does."""
        place = self._place  # noqa: F841  found by its name when an error surfaces
        return self._source(context, ROWLESS)

    def rows(self, context: RunContext, found: Iterator[Node]) -> Iterator[Path]:
        """Yield a row for each node found."""
        place = self._place  # noqa: F841  likewise
        tick = context.tick
        snapshot = context.snapshot
        for node in found:
            tick()
            yield Path(node, snapshot())


def lift_step(source: Source, is_safe: bool, place: object) -> Op:
    """Return the step that adds a lift's nodes to the pipeline."""
    if is_safe:
        return LiftOnce(source, place)

    def run_each(context: RunContext, rows: Iterator[Path], place: object = place) -> Iterator[Path]:
        tick = context.tick
        for path in rows:
            yield path
            for node in source(context, path):
                tick()
                yield path.fork(node)

    return run_each


def compile_lift(compiler: Compiler, node: ast.Lift) -> Op:
    """`inet:ipv4`, `inet:ipv4=1.2.3.4`, `#a.b`."""
    source = SOURCES[type(node.target)](compiler, node.target, node)
    return lift_step(source, compiler.is_safe(node), compiler.place(node))


def _by_prop(compiler: Compiler, target: ast.PropTarget, node: ast.Lift) -> Source:
    name = name_text(compiler, target.name)
    if target.path:
        return _by_embedded(compiler, target, node)
    is_reverse = node.is_reverse
    comparison = node.comparison
    if comparison is None:

        def all_of(context: RunContext, path: Path) -> Iterator[Node]:
            text = name(context, path)
            if "*" in text:
                return _all_of_forms(context, text, is_reverse)
            if context.model.prop(text) is None:
                several = named_props(context.model, text)
                if several:
                    return _all_of_props(context, several, is_reverse)
            prop = find_prop(context, text)
            form = runtime_form(prop)
            if form is not None:
                return context.session.lift_runtime(form, prop, reverse=is_reverse)
            return context.session.lift_prop(prop, reverse=is_reverse)

        return all_of
    operator = comparison.operator
    is_element = comparison.is_any_element
    value = compiler.expression(comparison.value)

    def by_value(context: RunContext, path: Path) -> Iterator[Node]:
        text = name(context, path)
        wanted = value(context, path)
        if "*" in text:
            return _value_of_forms(context, text, operator, plain_value(wanted), is_reverse)
        if context.model.prop(text) is None:
            several = props_of(context.model, text)
            if several:
                return _value_of_props(context, several, operator, wanted, is_element, is_reverse)
        return lift_prop_value(context, find_prop(context, text), operator, wanted, is_element, is_reverse)

    return by_value


def lift_prop_value(
    context: RunContext, prop: Prop, operator: str, wanted: Any, is_element: bool, is_reverse: bool
) -> Iterator[Node]:
    """Yield the nodes whose property compares so; with `?=` none if the value does not fit."""
    session = context.session
    kind = prop.type.element if is_element else prop.type
    wanted = operand_for(kind if kind is not None else prop.type, operator, wanted, spells=True)
    if type(wanted) is dict and prop.form is not None and prop.is_form and "guid" in prop.type.chain:
        found = session.find_by_props(prop.form, wanted)
        return iter(() if found is None else (found,))
    try:
        form = runtime_form(prop)
        if form is not None:
            return session.lift_runtime(form, prop, operator, wanted, reverse=is_reverse)
        if is_element:
            return session.lift_array(prop, operator, wanted, reverse=is_reverse)
        return session.lift_value(prop, operator, wanted, reverse=is_reverse)
    except BadTypeValu:
        if operator != TRY_OPERATOR:
            raise
        return iter(())


def runtime_form(prop: Prop) -> Form | None:
    """Return a property's form if its nodes are in no layer."""
    form = prop.form
    return form if form is not None and form.is_runtime else None


def find_prop(context: RunContext, name: str) -> Prop:
    """Return a property, or a form's own value, by full name; raises NoSuchProp."""
    return context.model.require_prop(name)


def _all_of_forms(context: RunContext, pattern: str, is_reverse: bool) -> Iterator[Node]:
    for form in context.model.forms_by_wildcard(pattern):
        if not form.is_runtime:
            yield from context.session.lift_form(form, reverse=is_reverse)


def _all_of_props(context: RunContext, props: tuple[Prop, ...], is_reverse: bool) -> Iterator[Node]:
    for prop in props:
        if runtime_form(prop) is None:
            yield from context.session.lift_prop(prop, reverse=is_reverse)


def _value_of_props(
    context: RunContext,
    props: tuple[Prop, ...],
    operator: str,
    wanted: Any,
    is_element: bool,
    is_reverse: bool,
) -> Iterator[Node]:
    for prop in props:
        yield from lift_prop_value(context, prop, operator, wanted, is_element, is_reverse)


def _value_of_forms(
    context: RunContext, pattern: str, operator: str, wanted: Any, is_reverse: bool
) -> Iterator[Node]:
    for form in context.model.forms_by_wildcard(pattern):
        if not form.is_runtime:
            yield from context.session.lift_value(form.value_prop, operator, wanted, reverse=is_reverse)


def _by_embedded(compiler: Compiler, target: ast.PropTarget, node: ast.Lift) -> Source:
    """`ps:contact:org::name=acme`: lift by the last property, then go back to the first."""
    name = name_text(compiler, target.name)
    steps = [name_text(compiler, step) for step in target.path]
    comparison = node.comparison
    value = compiler.expression(comparison.value) if comparison is not None else None
    is_reverse = node.is_reverse

    def by_embedded(context: RunContext, path: Path) -> Iterator[Node]:
        props = [find_prop(context, name(context, path))]
        for step in steps:
            props.append(_next_prop(context, props[-1], step(context, path)))
        session = context.session
        last = props[-1]
        if comparison is None or value is None:
            found = session.lift_prop(last, reverse=is_reverse)
        else:
            wanted = value(context, path)
            found = lift_prop_value(
                context, last, comparison.operator, wanted, comparison.is_any_element, is_reverse
            )
        for prop in reversed(props[:-1]):
            found = _holders(context, prop, found)
        return found

    return by_embedded


def _next_prop(context: RunContext, prop: Prop, name: str) -> Prop:
    form = context.model.form(prop.type.name)
    if form is None:
        raise NoSuchProp(
            f"{prop.full_name} refers to no form that has a property {name}", name=f"{prop.type.name}:{name}"
        )
    if name not in form.props:
        raise NoSuchProp(
            f"{form.name} has no property {name}", name=name, form=form.name, **near_match(name, form.props)
        )
    return form.props[name]


def _holders(context: RunContext, prop: Prop, nodes: Iterator[Node]) -> Iterator[Node]:
    for node in nodes:
        for _, holder in context.session.nodes_with_value(prop, [node.value]):
            yield holder


def _form_of(compiler: Compiler, ref: ast.NameRef | None) -> Callable[[RunContext, Path], list[Form | None]]:
    """Compile the form in front of a tag to what gives the forms it stands for; [None] for all."""
    if ref is None:
        return lambda context, path: [None]
    name = name_text(compiler, ref)

    def forms(context: RunContext, path: Path) -> list[Form | None]:
        text = name(context, path)
        if "*" in text:
            return list(context.model.forms_by_wildcard(text))
        form = context.model.form(text)
        if form is None:
            carriers = forms_of(context.model, text)
            if carriers:
                return list(carriers)
            raise NoSuchForm(f"no form named {text}", name=text, **near_match(text, context.model.defs.forms))
        return [form]

    return forms


def _by_tag(compiler: Compiler, target: ast.TagTarget, node: ast.Lift) -> Source:
    tag_of = tag_text(compiler, target.tag)
    forms = _form_of(compiler, target.form)
    comparison = node.comparison
    operator = comparison.operator if comparison is not None else None
    value = compiler.expression(comparison.value) if comparison is not None else None
    is_reverse = node.is_reverse
    is_written_out = all(isinstance(segment, ast.Name) for segment in target.tag.segments)

    def by_tag(context: RunContext, path: Path) -> Iterator[Node]:
        wanted = plain_value(value(context, path)) if value is not None else None
        tag = tag_of(context, path)
        if "*" in tag:  # from a variable: written out it is bad syntax
            raise BadTypeValu(f"{tag} is no tag: globs have no index", name="syn:tag", valu=tag)
        if not is_written_out:
            tag = str(context.model.type("syn:tag").norm(tag))
        if operator is not None and operator not in _TAG_OPERATORS:
            kind = context.model.type("ival")
            kind.normalize(wanted)  # a bad interval is told of first
            raise kind.no_such_comparator(operator)
        lift = partial(context.session.lift_tag, tag, comparator=operator, value=wanted, reverse=is_reverse)
        return _of_forms(forms(context, path), lift)

    return by_tag


_TAG_OPERATORS = ("=", "@=")
"""What tags are lifted by."""


def _of_forms(forms: Iterable[Form | None], lift: Callable[..., Iterator[Node]]) -> Iterator[Node]:
    """Lift what there is of each form; of one as the session gives it, which others may want in blocks."""
    chosen = tuple(forms)
    if len(chosen) == 1:
        return lift(form=chosen[0])
    return chain.from_iterable(lift(form=form) for form in chosen)


def _by_tag_prop(compiler: Compiler, target: ast.TagPropTarget, node: ast.Lift) -> Source:
    tag = tag_text(compiler, target.tag)
    prop = name_text(compiler, target.prop)
    forms = _form_of(compiler, target.form)
    comparison = node.comparison
    operator = comparison.operator if comparison is not None else None
    value = compiler.expression(comparison.value) if comparison is not None else None
    is_reverse = node.is_reverse

    def by_tag_prop(context: RunContext, path: Path) -> Iterator[Node]:
        wanted = plain_value(value(context, path)) if value is not None else None
        lift = partial(
            context.session.lift_tag_prop,
            tag(context, path),
            prop(context, path),
            comparator=operator,
            value=wanted,
            reverse=is_reverse,
        )
        return _of_forms(forms(context, path), lift)

    return by_tag_prop


def _by_meta_tag(compiler: Compiler, target: ast.MetaTagTarget, node: ast.Lift) -> Source:
    """`##meta.tag`: nodes with a tag whose own syn:tag node, or that of one above it, carries the tag."""
    tag = tag_text(compiler, target.tag)

    def by_meta_tag(context: RunContext, path: Path) -> Iterator[Node]:
        session = context.session
        seen: set[Any] = set()
        form = context.model.require_form("syn:tag")
        pending = [tag(context, path)]
        known = set(pending)
        while pending:
            for holder in session.lift_tag(pending.pop(0)):
                if holder.form is form:
                    name = holder.value
                    if name not in known:
                        known.add(name)
                        pending.append(name)
                elif holder.key not in seen:
                    seen.add(holder.key)
                    yield holder

    return by_meta_tag


def tag_names(
    compiler: Compiler, tag: ast.TagName, *, is_null_none: bool = False
) -> Callable[[RunContext, Path], list[str]]:
    """Compile a tag to what gives the names it stands for: several when its only part is a list.

    Args:
        compiler: Compiles it.
        tag: The tag.
        is_null_none: Whether null stands for no tag; else it is refused as all that is no text.
    """
    if len(tag.segments) == 1 and not isinstance(tag.segments[0], ast.Name):
        value = compiler.expression(tag.segments[0])

        def several(context: RunContext, path: Path) -> list[str]:
            found = value(context, path)
            if found is None and is_null_none:
                return []
            if isinstance(found, (list, tuple, set)):
                return [_tag_name(item) for item in toiter(context, found)]
            return [_tag_name(found)]

        return several
    text = tag_text(compiler, tag)
    return lambda context, path: [text(context, path)]


def _tag_name(value: Any) -> str:
    name = plain_value(value)
    if not isinstance(name, str):
        raise BadTypeValu("the name of a tag is text", name="syn:tag", type=type(name).__name__)
    return name


def compile_lookup(compiler: Compiler, node: ast.Lookup) -> Op:
    """The words at the head of a text in lookup, autoadd or search mode."""
    words = [compiler.expression(word) for word in node.words]
    mode = node.mode.value
    place = compiler.place(node)

    def source(context: RunContext, path: Path) -> Iterator[Node]:
        return lookup_words(context, [tostr(word(context, path)) for word in words], mode)

    return lift_step(source, True, place)


SOURCES: dict[type, Callable[[Compiler, Any, ast.Lift], Source]] = {
    ast.PropTarget: _by_prop,
    ast.TagTarget: _by_tag,
    ast.TagPropTarget: _by_tag_prop,
    ast.MetaTagTarget: _by_meta_tag,
}
