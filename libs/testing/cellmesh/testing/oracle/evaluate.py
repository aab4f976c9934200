"""Runs queries on a world, by generators, a row at a time. Nothing is quick, planned or kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from cellmesh.testing.oracle import queries as q
from cellmesh.testing.oracle.world import PROPS, WAYS, Bad, Node, World

COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "": lambda a, b: True,
    "=": lambda a, b: bool(a == b),
    "!=": lambda a, b: bool(a != b),
    "<": lambda a, b: bool(a < b),
    "<=": lambda a, b: bool(a <= b),
    ">": lambda a, b: bool(a > b),
    ">=": lambda a, b: bool(a >= b),
    "*in=": lambda a, b: a in b,
    "*range=": lambda a, b: bool(b[0] <= a <= b[1]),
    "^=": lambda a, b: str(a).startswith(b),
    "~=": lambda a, b: b in str(a),
}


@dataclass(slots=True)
class Row:
    """A node and the variables set for it."""

    node: Node
    vars: dict[str, Any]


class Oracle:
    """Runs queries on its world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.vars: dict[str, Any] = {}
        self.steps = 0

    def run(self, query: q.Query) -> tuple[list[tuple[str, Any]], str | None]:
        """Run a query: the nodes it gave, and the name of the error that ended it."""
        self.vars = {}
        found: list[tuple[str, Any]] = []
        try:
            for row in self.rows(query, iter(())):
                found.append(row.node.ndef)
        except Bad as error:
            return found, str(error)
        return found, None

    def rows(self, query: q.Query, rows: Iterator[Row]) -> Iterator[Row]:
        """Put the steps of a query behind rows."""
        for at, operation in enumerate(query):
            rows = self._step(operation, query[at + 1 :], rows)
        return rows

    def _step(self, operation: q.Operation, following: q.Query, rows: Iterator[Row]) -> Iterator[Row]:
        match operation:
            case q.Lift():
                return self._added(
                    operation.value, rows, lambda row: self._lift(operation, following, row), is_edit=False
                )
            case q.Filter(condition=condition, is_keep=is_keep):
                return (row for row in rows if self._holds(condition, row) is is_keep)
            case q.Pivot() | q.Walk():
                return self._pivoted(operation, rows)
            case q.Edits(edits=edits):
                for edit in edits:
                    rows = self._edit(edit, rows)
                return rows
            case q.Command():
                return self._command(operation, rows)
            case q.Assign():
                return self._assign(operation, rows)
            case q.Sub():
                return self._sub(operation, rows)
            case q.For() | q.If():
                return self._branch(operation, rows)

    def _value(self, value: Any, row: Row | None) -> Any:
        if not isinstance(value, q.Variable):
            return value
        held = row.vars if row is not None else self.vars
        if value.name not in held:
            raise Bad("NoSuchVar")
        return held[value.name]

    # Lifts -----------------------------------------------------------------------------------------------------

    def _added(
        self, value: Any, rows: Iterator[Row], nodes: Callable[[Row | None], list[Node]], *, is_edit: bool
    ) -> Iterator[Row]:
        """Rows, and behind them what a lift gives; by each if its value needs a row: a new node stands in front."""
        if needs_row(value):
            for row in rows:
                if not is_edit:
                    yield row
                for node in nodes(row):
                    yield Row(node, dict(row.vars))
                if is_edit:
                    yield row
            return
        yield from rows
        for node in nodes(None):
            yield Row(node, dict(self.vars))

    def _lift(self, lift: q.Lift, following: q.Query, row: Row | None) -> list[Node]:
        found = self._found(lift, self._value(lift.value, row))
        if lift.form and not (lift.prop or lift.tag or lift.operator):
            found = self._in_order_of_hint(found, following)
        self.steps += len(found)
        return found[::-1] if lift.is_reverse else found

    def _found(self, lift: q.Lift, value: Any) -> list[Node]:
        world = self.world
        if lift.tag:
            return world.tagged(lift.tag, lift.form or None)
        kind = PROPS[lift.form][lift.prop] if lift.prop else lift.form
        if lift.operator == "[]":
            return world.holders(world.value(kind.removesuffix("[]"), value), lift.form, lift.prop)
        nodes = world.with_prop(lift.form, lift.prop) if lift.prop else world.of_form(lift.form)
        if not lift.operator:
            return nodes
        wanted = _wanted(kind, lift.operator, value)
        if lift.operator == "*in=":
            return [
                node
                for one in wanted
                for node in nodes
                if (node.props[lift.prop] if lift.prop else node.value) == one
            ]
        test = _test(kind, lift.operator)
        return [node for node in nodes if test(node.props[lift.prop] if lift.prop else node.value, wanted)]

    def _in_order_of_hint(self, nodes: list[Node], following: q.Query) -> list[Node]:
        """The filters behind a lift of all nodes of a form choose the index, and so the order."""
        for operation in following:
            if not isinstance(operation, q.Filter):
                return nodes
            hint = _hint(operation.condition) if operation.is_keep else None
            if isinstance(hint, q.HasTag):
                tag = hint.tag
                return sorted((node for node in nodes if tag in node.tags), key=lambda node: node.iden)
            if hint is not None:
                prop = hint.prop
                found = [node for node in nodes if prop in node.props]
                if found and hint.operator not in ("", "!=") and not needs_row(hint.value):
                    # The index is asked for the value: what else has the property comes to no filter in front.
                    kind = PROPS[found[0].form][prop]
                    if (kind, hint.operator) != ("loc", "~="):
                        wanted, test = (
                            _wanted(kind, hint.operator, self._value(hint.value, None)),
                            _test(kind, hint.operator),
                        )
                        found = [node for node in found if test(node.props[prop], wanted)]
                return sorted(found, key=lambda node: (node.props[prop], node.iden))
        return nodes

    # Filters ---------------------------------------------------------------------------------------------------

    def _holds(self, condition: q.Condition, row: Row) -> bool:
        node = row.node
        match condition:
            case q.HasTag(tag=tag):
                return tag in node.tags
            case q.Not(inner=inner):
                return not self._holds(inner, row)
            case q.Both(left=left, right=right, is_or=True):
                return self._holds(left, row) or self._holds(right, row)
            case q.Both(left=left, right=right):
                return self._holds(left, row) and self._holds(right, row)
            case q.Leads(body=body, operator=operator, count=count):
                found = self.rows(body, iter((Row(node, row.vars),)))
                if not operator:  # one is enough, whatever would come behind it
                    return next(found, None) is not None
                most = count if operator in (">=", "<") else count + 1  # more cannot change the answer
                return COMPARE[operator](sum(1 for _ in islice(found, max(most, 1))), count)
            case q.IsForm(form=form, prop="", operator=operator, value=value):
                return node.form == form and self._compares(form, node.value, operator, value, row)
            case q.IsForm(form=form, prop=prop, operator=operator, value=value):
                return node.form == form and self._has(node, prop, operator, value, row)
            case q.HasProp(prop=prop, operator=operator, value=value):
                return self._has(node, prop, operator, value, row)

    def _has(self, node: Node, prop: str, operator: str, value: Any, row: Row) -> bool:
        if operator:
            _known(node, prop)
        held = node.props.get(prop)
        return held is not None and self._compares(PROPS[node.form][prop], held, operator, value, row)

    def _compares(self, kind: str, held: Any, operator: str, value: Any, row: Row) -> bool:
        if not operator:
            return True
        return _test(kind, operator)(held, _wanted(kind, operator, self._value(value, row)))

    # Pivots ----------------------------------------------------------------------------------------------------

    def _pivoted(self, pivot: q.Pivot | q.Walk, rows: Iterator[Row]) -> Iterator[Row]:
        for row in rows:
            if isinstance(pivot, q.Pivot) and pivot.is_join:
                yield row
            # One way after the other: what a row of the first changes is seen by the next.
            found = self._walked(pivot, row.node) if isinstance(pivot, q.Walk) else self._led(pivot, row.node)
            for node in found:
                self.steps += 1
                yield Row(node, dict(row.vars))

    def _walked(self, walk: q.Walk, node: Node) -> Iterable[Node]:
        if walk.with_props:
            return self._all_ways(walk, node)
        found = self.world.over_edges(node, walk.verb, is_inward=walk.is_inward)
        return [other for other in found if walk.target in ("*", other.form)]

    def _all_ways(self, walk: q.Walk, node: Node) -> Iterator[Node]:
        yield from self._all_in(node) if walk.is_inward else self._all_out(node)
        yield from self.world.over_edges(node, "*", is_inward=walk.is_inward)

    def _led(self, pivot: q.Pivot, node: Node) -> Iterable[Node]:
        world, target = self.world, pivot.target
        if target == "#":
            leaves = [tag for tag in sorted(node.tags) if not any(t.startswith(tag + ".") for t in node.tags)]
            return [world.nodes["syn:tag", tag] for tag in leaves]
        if pivot.source:
            if target == "*" and pivot.source not in PROPS[node.form]:
                return []
            _known(node, pivot.source)
            found = list(world.referred(node, pivot.source))
            return [other for other in found if target in ("*", other.form)]
        if target == "*":
            return self._all_in(node) if pivot.is_inward else self._all_out(node)
        if pivot.prop:
            try:
                value = world.value(PROPS[target][pivot.prop].removesuffix("[]"), node.value)
            except Bad:
                return []
            return world.holders(value, target, pivot.prop)
        if node.form == "syn:tag":
            return world.tagged(node.value, target)
        if (node.form, target) not in WAYS:
            raise Bad("NoSuchPivot")
        return self._to_form(node, target)

    def _to_form(self, node: Node, target: str) -> Iterator[Node]:
        for name in PROPS[node.form]:
            yield from [other for other in self.world.referred(node, name) if other.form == target]
        yield from self._holding(node, target)

    def _holding(self, node: Node, form: str) -> Iterator[Node]:
        world = self.world
        names = [name for name, kind in PROPS[form].items() if world.form_of(kind) == node.form]
        for name in names:
            yield from world.holders(node.value, form, name)

    def _all_out(self, node: Node) -> Iterator[Node]:
        if node.form == "syn:tag":
            yield from self.world.tagged(node.value)
            return
        for name in PROPS[node.form]:
            yield from [other for other in self.world.referred(node, name) if other is not node]

    def _all_in(self, node: Node) -> Iterator[Node]:
        for form in PROPS:
            yield from self._holding(node, form)

    # Edits -----------------------------------------------------------------------------------------------------

    def _edit(self, edit: Any, rows: Iterator[Row]) -> Iterator[Row]:
        if isinstance(edit, q.Add):
            yield from self._added(edit.value, rows, lambda row: self._add(edit, row), is_edit=True)
            return
        for row in rows:
            self.steps += 1
            self._change(edit, row)
            yield row

    def _add(self, edit: q.Add, row: Row | None) -> list[Node]:
        self.steps += 1
        try:
            return [self.world.add(edit.form, self._value(edit.value, row))]
        except Bad as error:
            if str(error) == "BadTypeValu" and edit.operator == "?=":
                return []
            raise

    def _change(self, edit: Any, row: Row) -> None:
        world, node = self.world, row.node
        if isinstance(edit, q.Tag) and node.ndef not in world.nodes:
            return  # the row is there still, the node is not
        match edit:
            case q.Tag(tag=tag, is_added=is_added):
                (world.tag if is_added else world.untag)(node, tag)
            case q.Unset(prop=prop):
                _known(node, prop)
                node.props.pop(prop, None)
            case q.Set():
                self._set(edit, row)
            case q.Edge():
                for other in list(self.rows(edit.body, iter(()))):
                    ends = (other.node, node) if edit.is_inward else (node, other.node)
                    if edit.is_added:
                        world.link(ends[0], edit.verb, ends[1])
                    else:
                        world.edges.discard((ends[0].ndef, edit.verb, ends[1].ndef))

    def _set(self, edit: q.Set, row: Row) -> None:
        world, node, prop = self.world, row.node, edit.prop
        _known(node, prop)
        value = self._value(edit.value, row)
        try:
            if edit.operator in ("+=", "-="):
                world.change_items(node, prop, value, is_adding=edit.operator == "+=")
            elif edit.operator != "*unset=" or prop not in node.props:
                world.set(node, prop, value)
        except Bad as error:
            if str(error) != "BadTypeValu" or edit.operator != "?=":
                raise

    # Commands and statements -----------------------------------------------------------------------------------

    def _command(self, command: q.Command, rows: Iterator[Row]) -> Iterator[Row]:
        match command.name:
            case "limit":
                yield from islice(rows, max(command.count, 1))
            case "spin":
                for _ in rows:
                    pass
            case "uniq":
                seen = set()
                for row in rows:
                    if row.node.ndef not in seen:
                        seen.add(row.node.ndef)
                        yield row
            case _:
                for row in rows:
                    self.steps += 1
                    self.world.delete(row.node)

    def _assign(self, step: q.Assign, rows: Iterator[Row]) -> Iterator[Row]:
        name, is_first = step.variable.name, True
        for row in rows:
            is_first = False
            value = step.value if not step.variable.needs_row else _held(row.node, step.prop)
            row.vars[name] = self.vars[name] = value
            yield row
        if is_first and not step.variable.needs_row:
            self.vars[name] = step.value

    def _sub(self, step: q.Sub, rows: Iterator[Row]) -> Iterator[Row]:
        for row in rows:
            for found in self.rows(step.body, iter((Row(row.node, row.vars),))):
                if step.is_yielded:
                    yield found
            yield row

    def _branch(self, step: q.For | q.If, rows: Iterator[Row]) -> Iterator[Row]:
        is_first = True
        for row in rows:
            is_first = False
            yield from self._taken(step, row)
        # What stands in the body does not matter, only what is asked first.
        if is_first and not (isinstance(step, q.If) and step.variable is None):
            yield from self._taken(step, None)

    def _taken(self, step: q.For | q.If, row: Row | None) -> Iterator[Row]:
        def inbound() -> Iterator[Row]:
            return iter(() if row is None else (row,))

        if isinstance(step, q.If):
            if step.variable is not None:
                is_true = int(self._value(step.variable, row)) > step.limit
            else:
                assert row is not None
                is_true = bool(_held(row.node, step.prop))
            yield from self.rows(step.body if is_true else step.otherwise, inbound())
            return
        for item in step.items:
            self.vars[step.variable.name] = item
            if row is not None:
                row.vars[step.variable.name] = item
            yield from self.rows(step.body, inbound())


def _known(node: Node, prop: str) -> None:
    if prop not in PROPS[node.form]:
        raise Bad("NoSuchProp")


def _held(node: Node, prop: str) -> Any:
    """The value of a property, or of the node itself."""
    if not prop:
        return node.value
    _known(node, prop)
    return node.props.get(prop)


def needs_row(part: Any) -> bool:
    """Whether a value can only be known with a row."""
    if isinstance(part, q.Variable):
        return part.needs_row
    return isinstance(part, tuple) and any(map(needs_row, part))


def _hint(condition: q.Condition) -> q.HasTag | q.HasProp | None:
    match condition:
        case q.HasTag() | q.HasProp():
            return condition
        case q.Both(left=left, is_or=False):
            return _hint(left)
    return None


def _wanted(kind: str, operator: str, value: Any) -> Any:
    if operator in ("*in=", "*range="):
        return tuple(World.value(kind, one) for one in value)
    if operator in ("^=", "~="):
        return str(value)
    return World.value(kind, value)


def _test(kind: str, operator: str) -> Callable[[Any, Any], bool]:
    if kind == "loc" and operator == "^=":
        return lambda held, wanted: held == wanted or held.startswith(wanted + ".")
    return COMPARE[operator]
