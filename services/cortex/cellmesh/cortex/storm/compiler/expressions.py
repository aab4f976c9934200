"""Expressions to closures `(context, row) -> value`."""

from __future__ import annotations

from typing import Any

from cellmesh.common.errors import BadTypeValu, NoSuchProp, StormRuntimeError
from cellmesh.cortex.storm.compiler.arithmetic import INT_OPERATORS, OPERATORS, negate
from cellmesh.cortex.storm.compiler.core import Compiler, Expr
from cellmesh.cortex.storm.compiler.names import LIBRARY_NAME
from cellmesh.cortex.storm.parser import ast
from cellmesh.cortex.storm.runtime.context import RunContext
from cellmesh.cortex.storm.runtime.functions import NativeFunction
from cellmesh.cortex.storm.runtime.libraries import Library, near_match
from cellmesh.cortex.storm.runtime.members import get_member, typename, with_article
from cellmesh.cortex.storm.runtime.memory import LARGE_VALUE_BYTES
from cellmesh.cortex.storm.runtime.path import Path
from cellmesh.cortex.storm.runtime.queries import StormQuery
from cellmesh.cortex.storm.runtime.signals import StormReturn
from cellmesh.cortex.storm.runtime.values import tobool, torepr, tostr

NO_KEYWORDS: dict[str, Any] = {}
"""Passed where a call names no arguments; never changed."""


def constant(value: Any) -> Expr:
    """Return a closure that gives one value."""

    def give(context: RunContext, path: Path) -> Any:
        return value

    return give


def compile_literal(compiler: Compiler, node: ast.Literal | ast.Constant) -> Expr:
    """Text, numbers, truth values, null."""
    return constant(node.value)


def compile_variable(compiler: Compiler, node: ast.Variable) -> Expr:
    """`$x`, and the names that are always there: `$lib`, `$node`, `$path`."""
    name = node.name
    if not compiler.scope.has(name):
        if name == LIBRARY_NAME:
            return constant(compiler.library)
        if name == "node":
            return _load_node
        if name == "path":
            return _load_path
    place = compiler.place(node)

    def load(context: RunContext, path: Path, place: object = place) -> Any:
        row_vars = path.vars
        if name in row_vars:
            return row_vars[name]
        try:
            return context.vars[name]
        except KeyError:
            return context.lookup(name)

    return load


def _load_node(context: RunContext, path: Path) -> Any:
    return path.node


def _load_path(context: RunContext, path: Path) -> Any:
    return path


def compile_tuple(compiler: Compiler, node: ast.TupleLiteral) -> Expr:
    """`(a, b)`: like every list it is new each time, and can be changed."""
    if all(isinstance(item, (ast.Literal, ast.Constant)) for item in node.items):
        known = [item.value for item in node.items]  # type: ignore[union-attr]
        return lambda context, path: known.copy()
    items = [compiler.expression(item) for item in node.items]
    return lambda context, path: [item(context, path) for item in items]


def compile_list(compiler: Compiler, node: ast.ListLiteral) -> Expr:
    """`([a, b])`."""
    items = [compiler.expression(item) for item in node.items]
    return lambda context, path: [item(context, path) for item in items]


def compile_dict(compiler: Compiler, node: ast.DictLiteral) -> Expr:
    """`({"a": 1})`."""
    items = [(compiler.expression(key), compiler.expression(value)) for key, value in node.items]
    place = compiler.place(node)

    def make(context: RunContext, path: Path, place: object = place) -> Any:
        made = {}
        for key, value in items:
            name = key(context, path)
            try:
                made[name] = value(context, path)
            except TypeError:
                raise StormRuntimeError(f"a {typename(context, name)} cannot be a key") from None
        return made

    return make


def compile_format(compiler: Compiler, node: ast.FormatString) -> Expr:
    """Text in backticks."""
    parts = [compiler.expression(part) for part in node.parts]

    def run(context: RunContext, path: Path) -> str:
        text = "".join([torepr(part(context, path)) for part in parts])
        if len(text) > LARGE_VALUE_BYTES:
            context.run.budget.weigh(len(text))
        return text

    return run


def library_member(compiler: Compiler, node: ast.Node) -> Any:
    """Return the member of `$lib` that an expression names and that never changes, or None."""
    if isinstance(node, ast.Variable):
        return (
            compiler.library if node.name == LIBRARY_NAME and not compiler.scope.has(LIBRARY_NAME) else None
        )
    if isinstance(node, ast.Attribute) and isinstance(node.key, ast.Literal):
        library = library_member(compiler, node.base)
        if isinstance(library, Library):
            return library.members.get(node.key.value)
    return None


def compile_attribute(compiler: Compiler, node: ast.Attribute) -> Expr:
    """`$x.y`."""
    member = library_member(compiler, node)
    if member is not None:
        return constant(member)
    base = compiler.expression(node.base)
    place = compiler.place(node)
    if isinstance(node.key, ast.Literal):
        name = node.key.value

        def get_named(context: RunContext, path: Path, place: object = place) -> Any:
            value = base(context, path)
            return value.get(name) if type(value) is dict else get_member(context, value, name)

        return get_named
    key = compiler.expression(node.key)

    def get_computed(context: RunContext, path: Path, place: object = place) -> Any:
        return get_member(context, base(context, path), key(context, path))

    return get_computed


def compile_call(compiler: Compiler, node: ast.Call) -> Expr:
    """`$f(x, y=1)`."""
    arguments = [compiler.expression(argument) for argument in node.arguments]
    keywords = [(keyword.name, compiler.expression(keyword.value)) for keyword in node.keywords]
    place = compiler.place(node)
    native = library_member(compiler, node.function)
    if isinstance(native, NativeFunction):
        return _call_native(native, arguments, keywords, place)
    if (
        isinstance(node.function, ast.Attribute)
        and isinstance(node.function.key, ast.Literal)
        and not keywords
        and len(arguments) <= 3
    ):
        return _call_method(compiler, node.function, node.function.key.value, arguments, place)
    function = compiler.expression(node.function)

    def call(context: RunContext, path: Path, place: object = place) -> Any:
        callee = function(context, path)
        given = [argument(context, path) for argument in arguments]
        named = {name: value(context, path) for name, value in keywords} if keywords else NO_KEYWORDS
        return invoke(context, callee, given, named)

    return call


def invoke(context: RunContext, callee: Any, given: list[Any], named: dict[str, Any]) -> Any:
    """Call a value; raises StormRuntimeError if it is no function."""
    try:
        call = callee.storm_call
    except AttributeError:
        raise StormRuntimeError(f"{with_article(typename(context, callee))} cannot be called") from None
    return call(context, given, named)


def _call_native(
    native: NativeFunction, arguments: list[Expr], keywords: list[tuple[str, Expr]], place: object
) -> Expr:
    call = native.storm_call

    def call_library(context: RunContext, path: Path, place: object = place) -> Any:
        given = [argument(context, path) for argument in arguments]
        named = {name: value(context, path) for name, value in keywords} if keywords else NO_KEYWORDS
        return call(context, given, named)

    return call_library


def _call_method(
    compiler: Compiler, function: ast.Attribute, name: str, arguments: list[Expr], place: object
) -> Expr:
    base = compiler.expression(function.base)

    def call_method(context: RunContext, path: Path, place: object = place) -> Any:
        value = base(context, path)
        entry = context.run.engine.types.of(type(value))
        if entry is not None:
            method = entry.methods.get(name)
            if method is not None:
                given = [argument(context, path) for argument in arguments]
                return method.call_on(context, value, given, NO_KEYWORDS)
        callee = get_member(context, value, name)
        return invoke(context, callee, [argument(context, path) for argument in arguments], NO_KEYWORDS)

    return call_method


def compile_unary(compiler: Compiler, node: ast.UnaryOperation) -> Expr:
    """`-x`, `not x`."""
    operand = compiler.expression(node.operand)
    place = compiler.place(node)
    if node.operator is ast.UnaryOperator.NOT:
        return lambda context, path: not tobool(operand(context, path))

    def run(context: RunContext, path: Path, place: object = place) -> Any:
        return negate(operand(context, path))

    return run


def compile_binary(compiler: Compiler, node: ast.BinaryOperation) -> Expr:
    """`x + y`, `x and y`."""
    left = compiler.expression(node.left)
    right = compiler.expression(node.right)
    if node.operator is ast.BinaryOperator.AND:
        return lambda context, path: tobool(left(context, path)) and tobool(right(context, path))
    if node.operator is ast.BinaryOperator.OR:
        return lambda context, path: tobool(left(context, path)) or tobool(right(context, path))
    compute = OPERATORS[node.operator]
    quick = INT_OPERATORS.get(node.operator)
    place = compiler.place(node)
    if quick is None:

        def run(context: RunContext, path: Path, place: object = place) -> Any:
            return compute(left(context, path), right(context, path))

        return run
    if isinstance(node.right, ast.Constant) and type(node.right.value) is int:
        known = node.right.value

        def run_constant(context: RunContext, path: Path, place: object = place) -> Any:
            one = left(context, path)
            return quick(one, known) if type(one) is int else compute(one, known)

        return run_constant

    def run_quick(context: RunContext, path: Path, place: object = place) -> Any:
        one = left(context, path)
        other = right(context, path)
        if type(one) is int and type(other) is int:
            return quick(one, other)
        return compute(one, other)

    return run_quick


# Values of the row's node -----------------------------------------------------------------------------------


def compile_prop_value(compiler: Compiler, node: ast.PropValue) -> Expr:
    """`:asn`, `.seen`, `:org::name`."""
    names = [name_text(compiler, step, node.prop.is_universal) for step in node.prop.steps]
    place = compiler.place(node)
    if len(names) == 1:
        name_of = names[0]
        if isinstance(node.prop.steps[0], ast.Name):
            fixed = node.prop.steps[0].text

            def get_fixed(context: RunContext, path: Path, place: object = place) -> Any:
                return _prop_of(path.node, fixed)

            return get_fixed

        def get(context: RunContext, path: Path, place: object = place) -> Any:
            return _prop_of(path.node, name_of(context, path))

        return get

    def follow(context: RunContext, path: Path, place: object = place) -> Any:
        found = embedded_value(context, path.node, [name(context, path) for name in names])
        return _listed(found[1]) if found is not None and found[0].is_array else found[1] if found else None

    return follow


def _listed(value: Any) -> list[Any]:
    """Return an array as a list of the query's own."""
    return list(value)


def _prop_of(node: Any, name: str) -> Any:
    value = node.get(name)
    if type(value) is tuple and node.form.props[name].is_array:
        return _listed(value)
    return value if value is not None else _checked_null(node, name)


def _checked_null(node: Any, name: str) -> None:
    if name not in node.form.props:
        raise NoSuchProp(
            f"{node.form.name} has no property {name}",
            name=name,
            form=node.form.name,
            **near_match(name, node.form.props),
        )


def name_text(compiler: Compiler, ref: ast.Node, is_universal: bool = False) -> Expr:
    """Compile what names a form, property or tag property: a name written out, or a value that gives it."""
    if isinstance(ref, ast.Name):
        return constant(ref.text)
    value = compiler.expression(ref)
    if is_universal:
        return lambda context, path: "." + _name(value(context, path)).lstrip(".")
    return lambda context, path: _name(value(context, path))


def _name(value: Any) -> str:
    if type(value) is str:
        return value
    if value is None or isinstance(value, (list, tuple, dict, set)):
        raise StormRuntimeError(f"a name is text, not {torepr(value)}", type=type(value).__name__)
    return tostr(value)


def embedded_value(context: RunContext, node: Any, names: list[str]) -> tuple[Any, Any] | None:
    """Follow `:org::name`: return the last property and its value, or None if the way breaks off anywhere."""
    for name in names[:-1]:
        value = node.get(name)
        if value is None:
            return None
        target = node_of_prop(context, node, name, value)
        if target is None:
            return None
        node = target
    value = node.get(names[-1])
    return None if value is None else (node.form.props[names[-1]], value)


def node_of_prop(context: RunContext, node: Any, name: str, value: Any) -> Any:
    """Return the node a property's value refers to, or None.

    Raises:
        NoSuchForm: the property's values name no node by themselves; a type derived from ndef counts as that too.
    """
    kind = node.form.props[name].type
    if kind.name == "ndef":
        form = context.model.form(value[0])
        return context.session.node(form, value[1], normalise=False) if form is not None else None
    return context.session.node(context.model.require_form(kind.name), value, normalise=False)


def compile_tag_value(compiler: Compiler, node: ast.TagValue) -> Expr:
    """`#a.b`: the interval, or whether there is such a tag when it is a glob."""
    tag = tag_text(compiler, node.tag)

    def get(context: RunContext, path: Path) -> Any:
        name = tag(context, path)
        tags = path.node.tags
        if name not in tags:
            return None
        interval = tags[name]
        return interval if interval is not None else (None, None)

    return get


def compile_tag_prop_value(compiler: Compiler, node: ast.TagPropValue) -> Expr:
    """`#a.b:risk`."""
    tag = tag_text(compiler, node.tag)
    prop = name_text(compiler, node.prop)

    def get(context: RunContext, path: Path) -> Any:
        held = path.node.tag_props.get(tag(context, path))
        return held.get(prop(context, path)) if held is not None else None

    return get


def tag_text(compiler: Compiler, tag: ast.TagName) -> Expr:
    """Compile a tag name to what gives its text."""
    if all(isinstance(segment, ast.Name) for segment in tag.segments):
        return constant(".".join([segment.text for segment in tag.segments]))  # type: ignore[union-attr]
    if len(tag.segments) == 1:
        return _tag_part(compiler, tag.segments[0], is_whole=True)
    parts = [_tag_part(compiler, segment) for segment in tag.segments]
    return lambda context, path: ".".join([part(context, path) for part in parts])


def _tag_part(compiler: Compiler, segment: ast.Node, *, is_whole: bool = False) -> Expr:
    """Compile a part of a tag's name. The whole name is text; what else a part of it is becomes text."""
    if isinstance(segment, ast.Name):
        return constant(segment.text)
    value = compiler.expression(segment)

    def part(context: RunContext, path: Path) -> Any:
        found = value(context, path)
        if found is None or (is_whole and isinstance(found, (int, float, list, tuple, dict, set))):
            raise BadTypeValu("a part of a tag is text", name="syn:tag", type=type(found).__name__)
        # A list is no list of tags here: its text becomes part of one name.
        return torepr(found) if isinstance(found, (list, tuple, dict, set)) else tostr(found)

    return part


# Queries as values ------------------------------------------------------------------------------------------


def compile_subquery_value(compiler: Compiler, node: ast.SubqueryValue) -> Expr:
    """`{ inet:asn=5 }` as a value: what it returns, or else its only node."""
    body = compiler.nested(node.query)
    place = compiler.place(node)

    def run(context: RunContext, path: Path, place: object = place) -> Any:
        found: Any = None
        count = 0
        try:
            for row in context.rows_of_value(body.rows):
                count += 1
                if count > 1:
                    raise BadTypeValu("a subquery used as a value gives one node at most")
                found = row.node
        except StormReturn as signal:
            return signal.value
        return found

    return run


def compile_embedded_query(compiler: Compiler, node: ast.EmbeddedQuery) -> Expr:
    """`${ inet:ipv4 }`, or `{ inet:ipv4 }` as an argument of a command: with the variables as they are now."""
    query = node.query
    source = compiler.source
    text = source.slice(node.span)
    if text.endswith("}"):
        # The text as written, blanks included; but without those around it where it is an argument of a command.
        is_argument, text = text.startswith("{"), text[text.index("{") + 1 : -1]
        if is_argument:
            text = text.strip()
    compiled: dict[frozenset[str], Any] = {}
    profile = compiler.profile

    def make(context: RunContext, path: Path) -> Any:
        return StormQuery(text, query, {**context.all_vars(), **path.vars}, source, compiled, profile)

    return make
