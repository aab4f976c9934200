"""Filters: conditions on a row, as closures `(context, row) -> bool`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cellmesh.common.errors import BadCmprType, BadTypeValu, NoSuchCmpr, NoSuchProp
from cellmesh.cortex.storm.compiler.core import Compiler, Expr, Op
from cellmesh.cortex.storm.compiler.expressions import embedded_value, name_text, tag_text
from cellmesh.cortex.storm.compiler.filter_checks import checks_of
from cellmesh.cortex.storm.compiler.interfaces import named_props, props_of
from cellmesh.cortex.storm.parser import ast
from cellmesh.cortex.storm.runtime.context import RunContext
from cellmesh.cortex.storm.runtime.libraries import near_match
from cellmesh.cortex.storm.runtime.path import Path
from cellmesh.cortex.storm.runtime.tags import tag_pattern
from cellmesh.cortex.storm.runtime.values import tobool, toint
from cellmesh.cortex.storm.runtime.valuing import operand_for

if TYPE_CHECKING:
    from cellmesh.cortex.model.registry import Form, Prop
    from cellmesh.cortex.model.types.base import Type
    from cellmesh.cortex.views.node import Node

Test: TypeAlias = Callable[[RunContext, Path], bool]


def compile_filter(compiler: Compiler, node: ast.Filter) -> Op:
    """`+inet:ipv4`, `-:asn=5`."""
    maker = condition_maker(compiler, node.condition)
    checks = checks_of(compiler, node.condition)
    is_keep = node.is_keep
    place = compiler.place(node)

    def run(context: RunContext, rows: Iterator[Path], place: object = place) -> Iterator[Path]:
        for check in checks:
            check(context)
        test = None
        for path in rows:
            if test is None:
                test = maker(context, path)
            if test(context, path) is is_keep:
                yield path

    return run


Maker: TypeAlias = Callable[[RunContext, Path], Test]
"""Makes the test for one run of a filter, given its first row: what is known without a node is worked out here."""


def condition_maker(compiler: Compiler, node: ast.Condition) -> Maker:
    """Compile a condition."""
    return _MAKERS[type(node)](compiler, node)


def _fixed(test: Test) -> Maker:
    return lambda context, path: test


# Comparisons -------------------------------------------------------------------------------------------------


_NEVER_CHANGED: Final = frozenset({str, int, float, bool, type(None)})
"""Types of values that stay as they are: a list may have grown by the next row."""


class _Comparison:
    """An operator and a value, made ready for each type it meets.

    The ready test is kept for the type it was made for, and for as long as the value is the same.
    """

    __slots__ = ("_is_constant", "_value", "is_any_element", "is_query", "operator")

    def __init__(self, compiler: Compiler, node: ast.Comparison) -> None:
        self.operator = node.operator
        self.is_any_element = node.is_any_element
        self.is_query = isinstance(node.value, ast.SubqueryValue)
        self._value: Expr = compiler.expression(node.value)
        self._is_constant = compiler.is_constant(node.value)

    def check(self, context: RunContext, path: Path, kind: Type) -> None:
        """Check that a type has the comparison; raises NoSuchCmpr or BadTypeValu."""
        compare(kind, self.operator, operand_for(kind, self.operator, self._value(context, path)))

    def tester(self, *, is_none_unlike: bool = False) -> Callable[[RunContext, Path, Type, str, Any], bool]:
        """Return a test `(context, row, type, name, value)` that remembers what it worked out.

        Args:
            is_none_unlike: Whether no value to compare with, as of a query that finds nothing, compares with none,
                whatever the operator.
        """
        value_of = self._value
        operator = self.operator
        is_any_element = self.is_any_element
        ready: dict[int, tuple[Any, Any, Callable[[Any], bool]]] = {}

        def make(wanted: Any, kind: Type, name: str) -> Callable[[Any], bool]:
            if wanted is None and is_none_unlike:
                return lambda held: False
            if not is_any_element:
                return compare(kind, operator, operand_for(kind, operator, wanted))
            element = kind.element
            if element is None:
                raise BadCmprType(f"{name or kind.name} is no array", cmpr=operator, name=kind.name)
            test = compare(element, operator, operand_for(element, operator, wanted))
            return lambda items: any(test(item) for item in items)

        if self._is_constant:

            def test_known(context: RunContext, path: Path, kind: Type, name: str, held: Any) -> bool:
                found = ready.get(id(kind))
                if found is None:
                    wanted = value_of(context, path)
                    found = ready[id(kind)] = (kind, wanted, make(wanted, kind, name))
                return found[2](held)

            return test_known

        def test(context: RunContext, path: Path, kind: Type, name: str, held: Any) -> bool:
            wanted = value_of(context, path)
            found = ready.get(id(kind))
            if found is None or type(wanted) not in _NEVER_CHANGED or not _is_same(found[1], wanted):
                found = ready[id(kind)] = (kind, wanted, make(wanted, kind, name))
            return found[2](held)

        return test


def _is_same(one: Any, other: Any) -> bool:
    return one is other or (type(one) is type(other) and one == other)


def compare(kind: Type, operator: str, wanted: Any) -> Callable[[Any], bool]:
    """Return what tests stored values of a type against a wanted value.

    Raises:
        NoSuchCmpr: the type has no such comparison.
        BadTypeValu: the value does not normalise; not for `?=`, which then never holds.
    """
    try:
        return kind.comparator(operator, wanted)
    except BadTypeValu:
        if operator == "?=":
            return lambda held: False
        raise


# Names -------------------------------------------------------------------------------------------------------


def _prop_condition(compiler: Compiler, node: ast.PropCondition) -> Maker:
    name = name_text(compiler, node.name)
    comparison = _Comparison(compiler, node.comparison) if node.comparison is not None else None

    def make(context: RunContext, path: Path) -> Test:
        text = name(context, path)
        model = context.model
        if text.endswith("*"):
            prefix = text[:-1]
            return lambda context, path: path.node.form.name.startswith(prefix)
        prop = model.prop(text)
        if prop is None:
            several = named_props(model, text) if comparison is None else props_of(model, text)
            if several:
                return _any_of(
                    {
                        prop.form: _form_test(prop, None)
                        if prop.is_form
                        else _full_prop_test(prop, comparison)
                        for prop in several
                    }
                )
            raise NoSuchProp(
                f"no form or property named {text}", name=text, **near_match(text, model.defs.forms)
            )
        if prop.is_form:
            return _form_test(prop, comparison)
        return _full_prop_test(prop, comparison)

    return make


def _any_of(tests: Mapping[Form | None, Test]) -> Test:
    """Return a test that is one of several, by the form of the node; of no other form."""

    def test(context: RunContext, path: Path) -> bool:
        found = tests.get(path.node.form)
        return found is not None and found(context, path)

    return test


def _form_test(prop: Prop, comparison: _Comparison | None) -> Test:
    form = prop.form
    if comparison is None:
        return lambda context, path: path.node.form is form
    test = comparison.tester()
    kind = prop.type
    name = prop.full_name

    def compared(context: RunContext, path: Path) -> bool:
        node = path.node
        return node.form is form and test(context, path, kind, name, node.value)

    return compared


def _full_prop_test(prop: Prop, comparison: _Comparison | None) -> Test:
    form = prop.form
    name = prop.name
    if comparison is None:
        return lambda context, path: (form is None or path.node.form is form) and path.node.has(name)
    test = comparison.tester()
    kind = prop.type
    full_name = prop.full_name

    def compared(context: RunContext, path: Path) -> bool:
        node = path.node
        if form is not None and node.form is not form:
            return False
        held = node.get(name)
        return held is not None and test(context, path, kind, full_name, held)

    return compared


def _relative_condition(compiler: Compiler, node: ast.RelativePropCondition) -> Maker:
    comparison = _Comparison(compiler, node.comparison) if node.comparison is not None else None
    steps = [name_text(compiler, step, node.prop.is_universal) for step in node.prop.steps]
    if len(steps) > 1:
        return _embedded_condition(steps, comparison)
    name_of = steps[0]
    fixed = node.prop.steps[0].text if isinstance(node.prop.steps[0], ast.Name) else None

    def make(context: RunContext, path: Path) -> Test:
        if fixed is not None:
            return _relative_test(fixed, comparison)

        def named(context: RunContext, path: Path) -> bool:
            return _relative_test(name_of(context, path), comparison)(context, path)

        return named

    return make


def _relative_test(name: str, comparison: _Comparison | None) -> Test:
    if comparison is None:
        return lambda context, path: path.node.has(name)
    test = comparison.tester(is_none_unlike=comparison.is_query and not comparison.is_any_element)

    def compared(context: RunContext, path: Path) -> bool:
        node = path.node
        held = node.get(name)
        if held is None:
            if name not in node.form.props:
                raise NoSuchProp(
                    f"{node.form.name} has no property {name}",
                    name=name,
                    form=node.form.name,
                    **near_match(name, node.form.props),
                )
            return False
        return test(context, path, node.form.props[name].type, name, held)

    return compared


def _embedded_condition(steps: list[Expr], comparison: _Comparison | None) -> Maker:
    def make(context: RunContext, path: Path) -> Test:
        if comparison is not None and comparison.is_any_element:
            name = "::".join([step(context, path) for step in steps])
            raise NoSuchProp(f"elements of arrays cannot be looked at through {name}", name=name)
        test = comparison.tester() if comparison is not None else None

        def embedded(context: RunContext, path: Path) -> bool:
            names = [step(context, path) for step in steps]
            found = embedded_value(context, path.node, names)
            if found is None:
                return False
            prop, held = found
            return test is None or test(context, path, prop.type, prop.full_name, held)

        return embedded

    return make


# Tags --------------------------------------------------------------------------------------------------------


def _tag_condition(compiler: Compiler, node: ast.TagCondition) -> Maker:
    tag = tag_text(compiler, node.tag)
    is_constant = compiler.is_constant(node.tag)
    comparison = _Comparison(compiler, node.comparison) if node.comparison is not None else None

    def make_for(context: RunContext, path: Path, text: str) -> Test:
        if comparison is None:
            if "*" in text:
                matches = tag_pattern(text)
                return lambda context, path: any(map(matches, path.node.tags))
            return lambda context, path: path.node.has_tag(text)
        kind = context.model.type("ival")
        comparison.check(context, path, kind)
        test = comparison.tester()
        is_unequal = comparison.operator == "!="

        def compared(context: RunContext, path: Path) -> bool:
            interval = path.node.tag(text)
            if interval is None:
                return is_unequal  # no interval, and no tag, is another one than any
            return test(context, path, kind, text, interval)

        return compared

    def make(context: RunContext, path: Path) -> Test:
        if is_constant:
            return make_for(context, path, tag(context, path))
        # Variables may have another value in the next row; mostly they have not.
        ready: tuple[str, Test] | None = None

        def by_row(context: RunContext, path: Path) -> bool:
            nonlocal ready
            text = tag(context, path)
            if ready is None or ready[0] != text:
                ready = (text, make_for(context, path, text))
            return ready[1](context, path)

        return by_row

    return make


def _tag_prop_condition(compiler: Compiler, node: ast.TagPropCondition) -> Maker:
    tag = tag_text(compiler, node.tag)
    is_glob = node.tag.is_glob
    prop = name_text(compiler, node.prop)
    comparison = _Comparison(compiler, node.comparison) if node.comparison is not None else None

    def make(context: RunContext, path: Path) -> Test:
        if comparison is None:
            if is_glob:
                matches = tag_pattern(tag(context, path))
                return lambda context, path: _has_tag_prop(path.node, matches, prop(context, path))
            return lambda context, path: (
                path.node.tag_prop(tag(context, path), prop(context, path)) is not None
            )
        test = comparison.tester()

        def compared(context: RunContext, path: Path) -> bool:
            name = prop(context, path)
            kind = context.model.require_tagprop(name).type
            held = path.node.tag_prop(tag(context, path), name)
            return held is not None and test(context, path, kind, name, held)

        return compared

    return make


def _has_tag_prop(node: Node, matches: Callable[[str], object], name: str) -> bool:
    """Whether a tag that matches has a property."""
    return any(name in held and matches(tag) for tag, held in node.tag_props.items())


# Queries, expressions, logic ---------------------------------------------------------------------------------

_COUNT_TESTS: dict[str, Callable[[int, int], bool]] = {
    "=": lambda count, wanted: count == wanted,
    "!=": lambda count, wanted: count != wanted,
    "<": lambda count, wanted: count < wanted,
    "<=": lambda count, wanted: count <= wanted,
    ">": lambda count, wanted: count > wanted,
    ">=": lambda count, wanted: count >= wanted,
}


def _subquery_condition(compiler: Compiler, node: ast.SubqueryCondition) -> Maker:
    body = compiler.body(node.query)
    if node.comparison is None:

        def any_row(context: RunContext, path: Path) -> bool:
            return any(True for _ in body.rows(context, iter((path,))))

        return _fixed(any_row)
    test = _COUNT_TESTS.get(node.comparison.operator)
    if test is None:
        raise NoSuchCmpr(
            f"{node.comparison.operator} does not compare counts", cmpr=node.comparison.operator, name="int"
        )
    value = compiler.expression(node.comparison.value)
    spare = 0 if node.comparison.operator in (">=", "<") else 1

    def counted(context: RunContext, path: Path) -> bool:
        wanted = toint(value(context, path))
        count = 0
        for _ in body.rows(context, iter((path,))):
            count += 1
            if count >= wanted + spare:  # more rows cannot change the answer
                break
        return test(count, wanted)

    return _fixed(counted)


def _expression_condition(compiler: Compiler, node: ast.ExpressionCondition) -> Maker:
    value = compiler.expression(node.expression)
    return _fixed(lambda context, path: tobool(value(context, path)))


def _not_condition(compiler: Compiler, node: ast.NotCondition) -> Maker:
    inner = condition_maker(compiler, node.condition)

    def make(context: RunContext, path: Path) -> Test:
        test = inner(context, path)
        return lambda context, path: not test(context, path)

    return make


def _and_condition(compiler: Compiler, node: ast.AndCondition) -> Maker:
    first = condition_maker(compiler, node.left)
    second = condition_maker(compiler, node.right)

    def make(context: RunContext, path: Path) -> Test:
        left = first(context, path)
        right = _later(second)
        return lambda context, path: left(context, path) and right(context, path)

    return make


def _or_condition(compiler: Compiler, node: ast.OrCondition) -> Maker:
    first = condition_maker(compiler, node.left)
    second = condition_maker(compiler, node.right)

    def make(context: RunContext, path: Path) -> Test:
        left = first(context, path)
        right = _later(second)
        return lambda context, path: left(context, path) or right(context, path)

    return make


def _later(maker: Maker) -> Test:
    """Return a test that is made when first needed, so that an error in it waits until then."""
    made: list[Test] = []

    def test(context: RunContext, path: Path) -> bool:
        if not made:
            made.append(maker(context, path))
        return made[0](context, path)

    return test


_MAKERS: dict[type, Callable[[Compiler, Any], Maker]] = {
    ast.PropCondition: _prop_condition,
    ast.RelativePropCondition: _relative_condition,
    ast.TagCondition: _tag_condition,
    ast.TagPropCondition: _tag_prop_condition,
    ast.SubqueryCondition: _subquery_condition,
    ast.ExpressionCondition: _expression_condition,
    ast.NotCondition: _not_condition,
    ast.AndCondition: _and_condition,
    ast.OrCondition: _or_condition,
}
