"""Edit blocks: each edit is a step of the pipeline, so that a node passes through all of them before the next is made.

An edit that makes a node hands on the rows that came, then adds its own; the edits behind it apply to all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from cellmesh.common.errors import BadCast, BadTypeValu, NoSuchProp, StormRuntimeError
from cellmesh.cortex.storm.compiler.core import ROWLESS, Compiler, Expr, Op
from cellmesh.cortex.storm.compiler.expressions import name_text
from cellmesh.cortex.storm.compiler.lifts import tag_names
from cellmesh.cortex.storm.parser import ast
from cellmesh.cortex.storm.runtime.context import RunContext
from cellmesh.cortex.storm.runtime.libraries import near_match
from cellmesh.cortex.storm.runtime.members import toiter, tolist
from cellmesh.cortex.storm.runtime.path import Path
from cellmesh.cortex.storm.runtime.signals import StormReturn
from cellmesh.cortex.storm.runtime.values import tostr
from cellmesh.cortex.storm.runtime.valuing import PLAIN_FOR_ALL, plain_value, value_for
from cellmesh.cortex.views.node import Node

if TYPE_CHECKING:
    from cellmesh.cortex.model.registry import Form

Apply = Callable[[RunContext, Path], None]
"""An edit of one row's node."""


def compile_edit_block(compiler: Compiler, node: ast.EditBlock) -> Op:
    """`[ inet:ipv4=1.2.3.4 :asn=5 ]`."""
    steps = tuple([edit_step(compiler, edit) for edit in node.edits])
    place = compiler.place(node)

    def run(context: RunContext, rows: Iterator[Path], place: object = place) -> Iterator[Path]:
        context.check_writable()
        for step in steps:
            rows = step(context, rows)
        end_edits = context.session.end_edits
        # The edits of a row are made when it leaves the block: all of them, or none if the cell is killed.
        try:
            for path in rows:
                end_edits()
                yield path
        finally:
            end_edits()

    return run


def edit_step(compiler: Compiler, edit: ast.Edit) -> Op:
    """Compile one edit to a step."""
    if isinstance(edit, ast.AddNode):
        return _add_node_step(compiler, edit)
    if isinstance(edit, ast.EditGroup):
        return _group_step(compiler, edit)
    apply = APPLIES[type(edit)](compiler, edit)
    place = compiler.place(edit)

    def run(context: RunContext, rows: Iterator[Path], place: object = place) -> Iterator[Path]:
        together = context.session.together
        for path in rows:
            together.place = place
            together.depth += 1
            try:
                apply(context, path)
            finally:
                together.depth -= 1
            yield path

    return run


# Nodes -------------------------------------------------------------------------------------------------------


def _add_node_step(compiler: Compiler, edit: ast.AddNode) -> Op:
    make = node_maker(compiler, edit)
    place = compiler.place(edit)
    if compiler.is_safe(edit):

        def run_once(context: RunContext, rows: Iterator[Path], place: object = place) -> Iterator[Path]:
            yield from rows
            for node in make(context, ROWLESS):
                context.tick()
                yield Path(node, context.snapshot())

        return run_once

    def run_each(context: RunContext, rows: Iterator[Path], place: object = place) -> Iterator[Path]:
        for path in rows:
            for node in make(context, path):
                context.tick()
                yield path.fork(node)
            yield path

    return run_each


def _group_step(compiler: Compiler, edit: ast.EditGroup) -> Op:
    """`( inet:asn=5 :name=foo )`: a small pipeline of its own, whose rows come behind those that came."""
    first = _add_node_step(compiler, edit.node)
    steps = tuple([edit_step(compiler, one) for one in edit.edits])
    # What follows the node is done to it, so it alone says whether the group needs a row.
    is_safe = compiler.is_safe(edit.node)

    def group(context: RunContext, rows: Iterator[Path]) -> Iterator[Path]:
        rows = first(context, rows)
        for step in steps:
            rows = step(context, rows)
        return rows

    def run(context: RunContext, rows: Iterator[Path]) -> Iterator[Path]:
        if is_safe:
            yield from rows
            yield from group(context, iter(()))
            return
        make = node_maker(compiler, edit.node)
        for path in rows:
            yield path
            for node in make(context, path):
                made: Iterator[Path] = iter((path.fork(node),))
                for step in steps:
                    made = step(context, made)
                yield from made

    return run


def node_maker(compiler: Compiler, edit: ast.AddNode) -> Callable[[RunContext, Path], Iterator[Node]]:
    """Return what makes the nodes of an `inet:ipv4=1.2.3.4`."""
    name = name_text(compiler, edit.form)
    value = value_expression(compiler, edit.value)
    is_try = edit.is_try
    place = compiler.place(edit)

    def make(context: RunContext, path: Path, place: object = place) -> Iterator[Node]:
        form = context.model.require_form(name(context, path))
        together = context.session.together
        together.depth += 1
        try:
            wanted = value(context, path)
        finally:
            together.depth -= 1
        together.place = place
        try:
            yield from make_nodes(context, form, wanted, is_try=is_try, may_wait=not is_try)
        except (BadTypeValu, BadCast):
            if not is_try:
                raise

    return make


def make_nodes(
    context: RunContext, form: Form, wanted: Any, *, is_try: bool = False, may_wait: bool = False
) -> Iterator[Node]:
    """Make the nodes of a form that a value stands for: usually one; several for a range of addresses."""
    session = context.session
    if type(wanted) is dict and "guid" in form.type.chain:
        yield session.add_by_props(form, plain_value(wanted), is_try, may_wait=may_wait)
        return
    plain = value_for(form.type, wanted.one(form.name) if type(wanted) is SubqueryRows else wanted)
    block = getattr(form.type, "values_of_block", None)
    values = block(plain) if block is not None and type(plain) is str else None
    if values is not None:
        for one in values:
            yield session.add_node(form, one, may_wait=may_wait)
        return
    yield session.add_node(form, plain, may_wait=may_wait)


def value_expression(compiler: Compiler, node: ast.Expression) -> Expr:
    """Compile the value of an edit: a query in braces gives the value of its node, or a list for arrays."""
    if not isinstance(node, ast.SubqueryValue):
        return compiler.expression(node)
    body = compiler.nested(node.query)

    def run(context: RunContext, path: Path) -> Any:
        return SubqueryRows(lambda: context.rows_of_value(body.rows))

    return run


class SubqueryRows:
    """A query in braces as the value of an edit, run once it is known what the value is for.

    What it returns is the value; without a return its nodes are.
    """

    __slots__ = ("_rows",)

    def __init__(self, rows: Callable[[], Iterator[Path]]) -> None:
        self._rows = rows

    def one(self, name: str) -> Any:
        """Return what it returns, or its only node.

        Raises:
            BadTypeValu: it gives no node, or several.
        """
        try:
            found = [row.node for row, _ in zip(self._rows(), range(2))]
        except StormReturn as signal:
            return signal.value
        if len(found) != 1:
            raise BadTypeValu(
                f"the subquery for {name} gives {'no node' if not found else 'more than one node'}", name=name
            )
        return found[0]

    def array(self) -> Any:
        """Return what it returns, or all its nodes."""
        try:
            return [row.node for row in self._rows()]
        except StormReturn as signal:
            return signal.value

    def several(self) -> list[Any]:
        """Return the items of a list that it returns, what else it returns as the only item, or all its nodes."""
        found = self.array()
        return list(found) if isinstance(found, (list, tuple, set)) else [found]

    def storm_plain(self) -> Any:
        """Return what it returns, or the value of its only node."""
        return plain_value(self.one("a value"))


# Properties --------------------------------------------------------------------------------------------------


def _set_prop(compiler: Compiler, edit: ast.SetProp) -> Apply:
    name = name_text(compiler, edit.prop.steps[0], edit.prop.is_universal)
    value = value_expression(compiler, edit.value)
    set_value = _PROP_SETTERS[edit.operator]
    is_try = edit.is_try
    when = name_text(compiler, edit.when) if edit.when is not None else None

    def apply(context: RunContext, path: Path) -> None:
        node = path.node
        text = name(context, path)
        if when is not None and not _is_wanted(tostr(when(context, path)), node, text):
            return
        set_value(context, node, text, value(context, path), is_try)

    return apply


_WHEN = frozenset({"always", "unset", "never"})


def _is_wanted(when: str, node: Node, name: str) -> bool:
    if when not in _WHEN:
        raise StormRuntimeError(f"a property is set always, unset or never, not {when}", valu=when)
    require_prop(node, name)
    return when == "always" or (when == "unset" and not node.has(name))


def require_prop(node: Node, name: str) -> Any:
    """Return a property of a node's form; raises NoSuchProp."""
    prop = node.form.props.get(name)
    if prop is None:
        raise NoSuchProp(
            f"{node.form.name} has no property {name}",
            name=name,
            form=node.form.name,
            **near_match(name, node.form.props),
        )
    return prop


def _assign_prop(context: RunContext, node: Node, name: str, value: Any, is_try: bool) -> None:
    if value is None and not is_try:
        require_prop(node, name)
    try:
        plain = _prop_value(context, node, name, value, is_try)
        context.session.set_prop(node, name, plain, may_wait=not is_try)
    except NoSuchProp:
        # Named as it was written.
        require_prop(node, name)
        raise
    except (BadTypeValu, BadCast):
        if not is_try:
            raise


def _prop_value(context: RunContext, node: Node, name: str, value: Any, is_try: bool) -> Any:
    kind = type(value)
    if kind in PLAIN_FOR_ALL:
        # Which property it is for is not asked: that would end the block of edits that the node is made in.
        return str(value) if kind is Decimal else value
    if (kind is list or kind is tuple) and PLAIN_FOR_ALL.issuperset(map(type, value)):
        return tuple(value)
    if kind is SubqueryRows:
        prop = require_prop(node, name)
        return value_for(prop.type, value.array() if prop.is_array else value.one(name))
    if kind is dict:
        prop = require_prop(node, name)
        form = context.model.form(prop.type.name)
        if form is not None and "guid" in form.type.chain:
            return context.session.add_by_props(form, plain_value(value), is_try, may_wait=True).value
    return value_for(require_prop(node, name).type, value)


def _array_setter(*, is_removal: bool, is_several: bool) -> Callable[..., None]:
    def change(context: RunContext, node: Node, name: str, value: Any, is_try: bool) -> None:
        prop = require_prop(node, name)
        element = prop.type.element
        if element is None:
            raise StormRuntimeError(f"{prop.full_name} is no array", name=name)
        if type(value) is SubqueryRows:
            items = value.several()
        elif is_several:
            items = tolist(context, value)
        else:
            items = [value]
        held = list(node.get(name) or ())
        for item in items:
            try:
                stored = element.normalize(_prop_item(context, element, item)).value
            except (BadTypeValu, BadCast):
                if not is_try:
                    raise
                if not is_several:
                    return
                continue
            if is_removal:
                if stored in held:
                    held.remove(stored)
            else:
                held.append(stored)
        context.session.set_prop(node, name, tuple(held), may_wait=True)

    return change


def _prop_item(context: RunContext, element: Any, item: Any) -> Any:
    if type(item) is dict and "guid" in element.chain:
        form = context.model.form(element.name)
        if form is not None:
            return context.session.add_by_props(form, plain_value(item), may_wait=True).value
    return value_for(element, item)


_PROP_SETTERS: dict[ast.SetOperator, Callable[..., None]] = {
    ast.SetOperator.ASSIGN: _assign_prop,
    ast.SetOperator.ADD: _array_setter(is_removal=False, is_several=False),
    ast.SetOperator.REMOVE: _array_setter(is_removal=True, is_several=False),
    ast.SetOperator.ADD_ALL: _array_setter(is_removal=False, is_several=True),
    ast.SetOperator.REMOVE_ALL: _array_setter(is_removal=True, is_several=True),
}


def _delete_prop(compiler: Compiler, edit: ast.DeleteProp) -> Apply:
    name = name_text(compiler, edit.prop.steps[0], edit.prop.is_universal)

    def apply(context: RunContext, path: Path) -> None:
        text = name(context, path)
        require_prop(path.node, text)
        context.session.pop_prop(path.node, text, may_wait=True)

    return apply


# Tags --------------------------------------------------------------------------------------------------------


def _add_tag(compiler: Compiler, edit: ast.AddTag) -> Apply:
    names = tag_names(compiler, edit.tag)
    value = compiler.expression(edit.value) if edit.value is not None else None
    is_try_tag, is_try_value = edit.is_try_tag, edit.is_try_value

    def apply(context: RunContext, path: Path) -> None:
        interval = None
        if value is not None:
            interval = plain_value(value(context, path))
            if interval is None and not is_try_value:
                raise BadTypeValu("an interval is not null", name="ival", valu=None)
            if is_try_value and not _is_interval(context, interval):
                interval = None
        try:
            wanted = names(context, path)
        except BadTypeValu:
            if not is_try_tag:
                raise
            return
        for name in wanted:
            try:
                context.session.add_tag(path.node, name, interval, may_wait=not is_try_tag)
            except BadTypeValu:
                if not is_try_tag:
                    raise

    return apply


def _is_interval(context: RunContext, value: Any) -> bool:
    try:
        context.model.type("ival").normalize(value)
    except BadTypeValu:
        return False
    return True


def _delete_tag(compiler: Compiler, edit: ast.DeleteTag) -> Apply:
    names = tag_names(compiler, edit.tag, is_null_none=True)

    def apply(context: RunContext, path: Path) -> None:
        for name in names(context, path):
            context.session.del_tag(path.node, name)

    return apply


def _set_tag_prop(compiler: Compiler, edit: ast.SetTagProp) -> Apply:
    names = tag_names(compiler, edit.tag)
    prop = name_text(compiler, edit.prop)
    value = compiler.expression(edit.value)
    is_try = edit.is_try

    def apply(context: RunContext, path: Path) -> None:
        wanted = plain_value(value(context, path))
        for name in names(context, path):
            try:
                context.session.set_tag_prop(path.node, name, prop(context, path), wanted)
            except BadTypeValu:
                if not is_try:
                    raise

    return apply


def _delete_tag_prop(compiler: Compiler, edit: ast.DeleteTagProp) -> Apply:
    names = tag_names(compiler, edit.tag)
    prop = name_text(compiler, edit.prop)

    def apply(context: RunContext, path: Path) -> None:
        for name in names(context, path):
            context.session.del_tag_prop(path.node, name, prop(context, path))

    return apply


# Light edges -------------------------------------------------------------------------------------------------


def _edge_ends(compiler: Compiler, node: ast.Expression) -> Callable[[RunContext, Path], Iterator[Node]]:
    if isinstance(node, ast.SubqueryValue):
        body = compiler.nested(node.query)

        def of_query(context: RunContext, path: Path) -> Iterator[Node]:
            for row in context.rows_of_value(body.rows):
                yield row.node

        return of_query
    value = compiler.expression(node)

    def of_value(context: RunContext, path: Path) -> Iterator[Node]:
        found = value(context, path)
        for item in (found,) if isinstance(found, (Node, str)) else toiter(context, found):
            if isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], Node):
                item = item[0]
            if isinstance(item, str):
                item = context.session.node_by_iden(item)
            if item is not None:
                yield item

    return of_value


def _change_edge(compiler: Compiler, edit: ast.AddEdge | ast.DeleteEdge) -> Apply:
    verb = compiler.expression(edit.verb)
    ends = _edge_ends(compiler, edit.target)
    is_out = edit.direction is ast.Direction.OUT
    is_addition = isinstance(edit, ast.AddEdge)

    def apply(context: RunContext, path: Path) -> None:
        session = context.session
        change = session.add_edge if is_addition else session.del_edge
        verbs = _verbs(verb(context, path))
        for other in ends(context, path):
            context.tick()
            for text in verbs:
                if is_out:
                    change(path.node, text, other)
                else:
                    change(other, text, path.node)

    return apply


def _verbs(value: Any) -> list[str]:
    verbs = value if isinstance(value, (list, tuple, set)) else [value]
    found = []
    for verb in verbs:
        if not isinstance(verb, (str, int)):
            raise BadCast("the verb of a light edge is text", name="str", type=type(verb).__name__)
        found.append(tostr(verb))
    return found


APPLIES: dict[type, Callable[[Compiler, Any], Apply]] = {
    ast.SetProp: _set_prop,
    ast.DeleteProp: _delete_prop,
    ast.AddTag: _add_tag,
    ast.DeleteTag: _delete_tag,
    ast.SetTagProp: _set_tag_prop,
    ast.DeleteTagProp: _delete_tag_prop,
    ast.AddEdge: _change_edge,
    ast.DeleteEdge: _change_edge,
}
