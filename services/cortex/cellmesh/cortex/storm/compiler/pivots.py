"""Pivots: from rows to the nodes they lead to.

Every pivot is a set of legs. A leg takes nodes of one form and gives, in the order of the nodes, pairs of the index of
a node and a node it leads to. Legs work on batches: of one row where a query may edit or show what it did in between,
of growing size where nobody can tell (see the planner's purity rule).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from cellmesh.common.errors import (
    CellError,
    NoSuchForm,
    NoSuchPivot,
    NoSuchProp,
    StormRuntimeError,
)
from cellmesh.cortex.storm.compiler.core import Compiler, Op
from cellmesh.cortex.storm.compiler.expressions import name_text, tag_text
from cellmesh.cortex.storm.compiler.filters import Test, condition_maker
from cellmesh.cortex.storm.compiler.interfaces import named_props
from cellmesh.cortex.storm.parser import ast
from cellmesh.cortex.storm.runtime import legs
from cellmesh.cortex.storm.runtime.context import RunContext
from cellmesh.cortex.storm.runtime.legs import Leg
from cellmesh.cortex.storm.runtime.libraries import near_match
from cellmesh.cortex.storm.runtime.members import toiter
from cellmesh.cortex.storm.runtime.path import Path
from cellmesh.cortex.storm.runtime.tags import text_pattern
from cellmesh.cortex.storm.runtime.values import tostr

if TYPE_CHECKING:
    from cellmesh.cortex.model.registry import Form, Prop
    from cellmesh.cortex.views.node import Node

BATCH_SIZES = (1, 8, 64)
BATCH_SIZE_MAX = 256

LegsOf: TypeAlias = "Callable[[RunContext, Path, Form], list[Leg]]"
"""Finds the legs for rows whose node has a form; may raise, for that row only."""


def pivot_step(legs_of: LegsOf, *, is_join: bool, is_batched: bool, per_row: bool, place: object) -> Op:
    """Return the step that follows legs.

    Args:
        legs_of: Finds the legs.
        is_join: Whether rows are kept, in front of where they lead.
        is_batched: Whether rows may be taken in batches.
        per_row: Whether legs depend on the row and not only on its form.
        place: Where the pivot stands.
    """

    def run(context: RunContext, rows: Iterator[Path], place: object = place) -> Iterator[Path]:
        tick = context.tick
        known: dict[str, list[Leg]] = {}
        for batch, error in batches(rows, is_batched and not per_row):
            # Rows are gone through in stretches of one form.
            start = 0
            while start < len(batch):
                form = batch[start].node.form
                end = start + 1
                while end < len(batch) and batch[end].node.form is form:
                    end += 1
                found = known.get(form.name)
                if found is None or per_row:
                    try:
                        found = known[form.name] = legs_of(context, batch[start], form)
                    except CellError as error:
                        if is_join and _is_of_row(error):
                            yield batch[start]
                        raise
                yield from _follow(context, batch[start:end], found, is_join, tick)
                start = end
            if error is not None:
                raise error

    return run


def _is_of_row(error: CellError) -> bool:
    """Whether an error is about the row, which a join has passed on by then, and not about a name in the text."""
    return isinstance(error, NoSuchPivot | StormRuntimeError) or (
        isinstance(error, NoSuchProp) and error.get("form") is not None
    )


def batches(rows: Iterator[Path], is_batched: bool) -> Iterator[tuple[list[Path], CellError | None]]:
    """Yield rows in batches, the last with the error that ended them, if any."""
    if not is_batched:
        for path in rows:
            yield [path], None
        return
    batch: list[Path] = []
    sizes = iter(BATCH_SIZES)
    size = next(sizes)
    try:
        for path in rows:
            batch.append(path)
            if len(batch) >= size:
                yield batch, None
                batch = []
                size = next(sizes, BATCH_SIZE_MAX)
    except CellError as error:
        yield batch, error
        return
    if batch:
        yield batch, None


def _follow(
    context: RunContext, batch: Sequence[Path], found: list[Leg], is_join: bool, tick: Callable[[], None]
) -> Iterator[Path]:
    nodes = [path.node for path in batch]
    if is_join and len(batch) == 1:
        # What comes behind may edit the node: only then is it asked where it leads to.
        yield batch[0]
        for leg in found:
            for _, node in leg(context, nodes):
                tick()
                yield batch[0].fork(node)
        return
    if len(found) == 1:
        pairs: Iterator[tuple[int, Node]] = found[0](context, nodes)
    elif len(batch) == 1:
        pairs = (pair for leg in found for pair in leg(context, nodes))
    else:
        streams = [_numbered(leg(context, nodes), number) for number, leg in enumerate(found)]
        pairs = ((index, node) for index, _, node in heapq.merge(*streams, key=_first_two))
    if not is_join:
        for index, node in pairs:
            tick()
            yield batch[index].fork(node)
        return
    at = -1
    for index, node in pairs:
        while at < index:
            at += 1
            yield batch[at]
        tick()
        yield batch[index].fork(node)
    yield from batch[at + 1 :]


def _numbered(pairs: Iterator[tuple[int, Node]], number: int) -> Iterator[tuple[int, int, Node]]:
    return ((index, number, node) for index, node in pairs)


def _first_two(item: tuple[int, int, Node]) -> tuple[int, int]:
    return item[0], item[1]


def compile_pivot(compiler: Compiler, node: ast.Pivot) -> Op:
    """`-> inet:fqdn`, `:asn -> *`, `-(refs)> *`, `<- *`."""
    if isinstance(node.target, ast.RawQuery):
        return _raw_step(compiler, node, node.target)
    per_row = not compiler.is_constant(node)
    legs_of = _LEGS[type(node.route)](compiler, node, node.route)
    return pivot_step(
        legs_of,
        is_join=node.is_join,
        is_batched=compiler.is_batched,
        per_row=per_row,
        place=compiler.place(node),
    )


def _raw_step(compiler: Compiler, node: ast.Pivot, target: ast.RawQuery) -> Op:
    body = compiler.nested(target.query)
    is_join = node.is_join

    def run(context: RunContext, rows: Iterator[Path]) -> Iterator[Path]:
        for path in rows:
            if is_join:
                yield path
            for row in context.rows_of_value(body.rows):
                yield Path(row.node, {**path.vars, **row.vars}, row.meta)

    return run


# Targets by name ---------------------------------------------------------------------------------------------


class Names:
    """The forms and properties a pivot is aimed at.

    Attributes:
        is_one: Whether a single form or property was named, so that a missing way is an error.
        props: What they are, forms as the property of their own value.
    """

    __slots__ = ("is_one", "props")

    def __init__(self, props: list[Prop], is_one: bool) -> None:
        self.props = props
        self.is_one = is_one


def names_of(compiler: Compiler, target: ast.NamedTargets) -> Callable[[RunContext, Path], Names]:
    """Compile the names of a target."""
    values = [
        name_text(compiler, name) if isinstance(name, ast.Name) else compiler.expression(name)
        for name in target.names
    ]

    def find(context: RunContext, path: Path) -> Names:
        texts: list[str] = []
        is_one = not target.is_list
        for value in values:
            found = value(context, path)
            if isinstance(found, (list, tuple, set)):
                is_one = False
                texts.extend(tostr(item) for item in toiter(context, found))
            else:
                texts.append(tostr(found))
        props: list[Prop] = []
        for text in texts:
            if "*" in text:
                is_one = False
                props.extend(form.value_prop for form in _forms_like(context, text))
                continue
            several = named_props(context.model, text) if context.model.prop(text) is None else ()
            if several:
                is_one = False
                props.extend(several)
            else:
                props.append(context.model.require_prop(text))
        return Names(props, is_one)

    return find


def _forms_like(context: RunContext, pattern: str) -> Sequence[Form]:
    found = context.model.forms_by_wildcard(pattern)
    if not found:
        raise NoSuchForm(f"no form matches {pattern}", name=pattern)
    return found


# Along properties --------------------------------------------------------------------------------------------


def _prop_legs(compiler: Compiler, node: ast.Pivot, route: ast.ViaProps) -> LegsOf:
    target = node.target
    if isinstance(target, ast.NodeTags):
        return _tag_legs(compiler, target)
    if node.direction is ast.Direction.IN:
        return _inward_legs(compiler, target)
    if route.source is not None:
        return _source_legs(compiler, route.source, target)
    if isinstance(target, ast.AnyNode):
        return lambda context, path, form: legs.out_of(context, form)
    assert isinstance(target, ast.NamedTargets), "a pivot has one of four kinds of target"
    find = names_of(compiler, target)

    def to_names(context: RunContext, path: Path, form: Form) -> list[Leg]:
        names = find(context, path)
        found: list[Leg] = []
        for prop in names.props:
            if not prop.is_form:
                found.append(legs.value_to_prop(prop))
                continue
            ways = legs.between(context, form, prop)
            if ways is None:
                if names.is_one:
                    raise NoSuchPivot(
                        f"no property leads from {form.name} to {prop.full_name} or back",
                        n1=form.name,
                        n2=prop.full_name,
                    )
                continue
            found.extend(ways)
        return found

    return to_names


def _inward_legs(compiler: Compiler, target: ast.PivotTarget) -> LegsOf:
    if isinstance(target, ast.AnyNode):
        return lambda context, path, form: legs.into(context, form)
    assert isinstance(target, ast.NamedTargets), "a pivot inwards is to any node or to named ones"
    names = [name_text(compiler, name) for name in target.names]

    def from_names(context: RunContext, path: Path, form: Form) -> list[Leg]:
        found: list[Leg] = []
        for name in names:
            other = context.model.require_form(name(context, path))
            if legs.is_edge(other):
                found.append(legs.ndef_to_prop(other.props["n2"]))
            elif legs.is_edge(form):
                found.append(legs.ndef_of_prop("n1", other))
            else:
                raise StormRuntimeError(
                    f"<- leads to and from edge forms only, {form.name} and {other.name} are none",
                    name=form.name,
                )
        return found

    return from_names


def _source_legs(compiler: Compiler, source: ast.RelativeProp, target: ast.PivotTarget) -> LegsOf:
    """`:asn -> inet:asn`, `:asn -> *`, `:org::name -> ou:name`."""
    steps = [name_text(compiler, step, source.is_universal) for step in source.steps]
    find = names_of(compiler, target) if isinstance(target, ast.NamedTargets) else None

    def from_prop(context: RunContext, path: Path, form: Form) -> list[Leg]:
        names = [step(context, path) for step in steps]
        if len(names) > 1:
            # With `*` as the target the peer finds nothing here, and so do we.
            return [legs.embedded(names, find(context, path).props if find is not None else ())]
        name = names[0]
        prop = form.props.get(name)
        if prop is None:
            if find is None:
                return []  # `:nosuch -> *` leads nowhere, and is no error
            raise NoSuchProp(
                f"{form.name} has no property {name}",
                name=name,
                form=form.name,
                **near_match(name, form.props),
            )
        if find is None:
            return legs.out_of_prop(context, prop)
        return [legs.prop_to_prop(prop, other) for other in find(context, path).props]

    return from_prop


def _tag_legs(compiler: Compiler, target: ast.NodeTags) -> LegsOf:
    if target.tag is None:
        return lambda context, path, form: [legs.leaf_tags]
    tag = tag_text(compiler, target.tag)
    if target.tag.is_glob:
        # Segments count for nothing here, other than in filters.
        return lambda context, path, form: [legs.tags_like(text_pattern(tag(context, path)))]
    return lambda context, path, form: [legs.tags_like(tag(context, path).__eq__)]


# Along light edges -------------------------------------------------------------------------------------------


def _edge_legs(compiler: Compiler, node: ast.Pivot, route: ast.ViaEdges) -> LegsOf:
    value = compiler.expression(route.verbs)
    is_inward = node.direction is ast.Direction.IN
    accept = _accept(compiler, node)

    def along(context: RunContext, path: Path, form: Form) -> list[Leg]:
        leg = legs.edges(_verbs(context, value(context, path)), is_inward=is_inward)
        test = accept(context, path)
        return [leg if test is None else legs.only(leg, test)]

    return along


def _verbs(context: RunContext, value: Any) -> list[str] | None:
    """Return the verbs a value names; None for all."""
    if isinstance(value, str):
        return None if value in ("*", "") else [value]
    if value is None or isinstance(value, (int, float, dict)):
        raise StormRuntimeError("the verb of a walk along light edges is text or a list of texts")
    found = [tostr(item) for item in toiter(context, value)]
    return None if "*" in found else found


def _accept(
    compiler: Compiler, node: ast.Pivot
) -> Callable[[RunContext, Path], Callable[[Node], bool] | None]:
    """Compile what a node at the other end has to be."""
    target = node.target
    if isinstance(target, ast.AnyNode):
        return lambda context, path: None
    assert isinstance(target, ast.NamedTargets), "a walk leads to any node or to named ones"
    makers = [
        (
            name_text(compiler, name),
            condition_maker(compiler, ast.PropCondition(node.span, name, node.comparison)),
        )
        for name in target.names
    ]
    variables = names_of(compiler, target) if not all(isinstance(n, ast.Name) for n in target.names) else None

    def make(context: RunContext, path: Path) -> Callable[[Node], bool]:
        if variables is not None and node.comparison is None:
            try:
                props = variables(context, path).props
            except NoSuchProp as error:
                raise NoSuchForm(error.message, **dict(error.items())) from error
            return lambda other: any(_is_or_has(other, prop) for prop in props)
        tests: list[Test] = []
        for name, maker in makers:
            text = name(context, path)
            is_known = context.model.prop(text) is not None
            if "*" in text:
                is_known = bool(_forms_like(context, text))
            if not is_known and not named_props(context.model, text):
                near = near_match(text, context.model.defs.forms)
                raise NoSuchForm(f"no form or property named {text}", name=text, **near)
            tests.append(maker(context, path))

        def accept(other: Node) -> bool:
            row = path.fork(other)
            return any(test(context, row) for test in tests)

        return accept

    return make


def _is_or_has(node: Node, prop: Prop) -> bool:
    if prop.form is not None and node.form is not prop.form:
        return False
    return prop.is_form or node.has(prop.name)


def _all_legs(compiler: Compiler, node: ast.Pivot, route: ast.ViaAll) -> LegsOf:
    is_inward = node.direction is ast.Direction.IN

    def both(context: RunContext, path: Path, form: Form) -> list[Leg]:
        ways = legs.into(context, form) if is_inward else legs.out_of(context, form)
        return [*ways, legs.edges(None, is_inward=is_inward)]

    return both


_LEGS: dict[type, Callable[[Compiler, ast.Pivot, Any], LegsOf]] = {
    ast.ViaProps: _prop_legs,
    ast.ViaEdges: _edge_legs,
    ast.ViaAll: _all_legs,
}
