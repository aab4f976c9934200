"""Legs of pivots: what leads from nodes of one form to other nodes.

A leg takes a sequence of nodes, all of the form it was made for, and yields (index of a node, node it leads to) in the
order of the nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from cellmesh.common.errors import BadTypeValu

if TYPE_CHECKING:
    from cellmesh.cortex.model.registry import Form, Prop
    from cellmesh.cortex.model.types.base import Type
    from cellmesh.cortex.storm.runtime.context import RunContext
    from cellmesh.cortex.views.node import Node

Leg: TypeAlias = "Callable[[RunContext, Sequence[Node]], Iterator[tuple[int, Node]]]"

EDGE_TYPES = frozenset({"edge", "timeedge"})
NDEF = "ndef"


def is_ndef(kind: Type) -> bool:
    """Whether a type's values are nodes by form and value: `ndef` and what derives from it."""
    return NDEF in kind.chain


def is_edge(form: Form) -> bool:
    """Whether the nodes of a form stand for an edge between two others, `n1` and `n2`."""
    return not EDGE_TYPES.isdisjoint(form.type.chain)


def _found(
    context: RunContext, prop: Prop, indexes: list[int], values: list[Any]
) -> Iterator[tuple[int, Node]]:
    """Yield the holders of some values, with the index that goes with each value."""
    for at, node in context.session.nodes_with_value(prop, values):
        yield indexes[at], node


# From the node's own value -----------------------------------------------------------------------------------


def value_to_prop(prop: Prop) -> Leg:
    """`-> inet:dns:a:fqdn`: holders of the node's value in a property of any type it fits."""
    if is_ndef(prop.type):
        return ndef_to_prop(prop)
    element = prop.type.element
    kind = element if element is not None else prop.type
    if element is not None and is_ndef(element):
        return ndef_to_prop(prop)

    def follow(context: RunContext, nodes: Sequence[Node]) -> Iterator[tuple[int, Node]]:
        same = nodes[0].form.type.name == kind.name
        for index, node in enumerate(nodes) if not same else ():
            stored = _fitted(context, kind, node.value)
            if stored is not None:
                yield from _found(context, prop, [index], [stored[0]])
        if same:
            yield from context.session.nodes_with_value(prop, [node.value for node in nodes])

    return follow


def _fitted(context: RunContext, kind: Any, value: Any) -> tuple[Any] | None:
    """Return a value as another type stores it, or None with a warning if it does not fit."""
    try:
        return (kind.normalize(value).value,)
    except BadTypeValu as error:
        context.warn(f"BadTypeValu [{value!r}] during pivot: {error.message}", valu=value, name=kind.name)
        return None


def ndef_to_prop(prop: Prop) -> Leg:
    """Holders of the node itself, by form and value."""

    def follow(context: RunContext, nodes: Sequence[Node]) -> Iterator[tuple[int, Node]]:
        return context.session.nodes_with_value(prop, [node.ndef for node in nodes])

    return follow


def _own_value_in(prop: Prop) -> Leg:
    """Holders of the node's value in a property of its own type."""

    def follow(context: RunContext, nodes: Sequence[Node]) -> Iterator[tuple[int, Node]]:
        return context.session.nodes_with_value(prop, [node.value for node in nodes])

    return follow


def _tagged(form: Form | None) -> Leg:
    """From syn:tag nodes to what carries the tag."""

    def follow(context: RunContext, nodes: Sequence[Node]) -> Iterator[tuple[int, Node]]:
        for index, node in enumerate(nodes):
            for other in context.session.lift_tag(node.value, form=form):
                yield index, other

    return follow


# From a property's value -------------------------------------------------------------------------------------


def _prop_to_form(name: str, form: Form, *, is_array: bool = False, skip_self: bool = False) -> Leg:
    """From a property, or the elements of an array, to the nodes of its form."""
    target = form.value_prop

    def follow(context: RunContext, nodes: Sequence[Node]) -> Iterator[tuple[int, Node]]:
        indexes: list[int] = []
        values: list[Any] = []
        for index, node in enumerate(nodes):
            held = node.get(name)
            if held is None:
                continue
            for value in held if is_array else (held,):
                if skip_self and value == node.value and node.form is form:
                    continue
                indexes.append(index)
                values.append(value)
        return _found(context, target, indexes, values)

    return follow


def ndef_of_prop(name: str, form: Form | None = None, *, is_array: bool = False) -> Leg:
    """From a property that holds a node by form and value to that node, if it is of a form."""

    def follow(context: RunContext, nodes: Sequence[Node]) -> Iterator[tuple[int, Node]]:
        for index, node in enumerate(nodes):
            held = node.get(name)
            if held is None:
                continue
            for form_name, value in held if is_array else (held,):
                target = context.model.form(form_name)
                if target is None or (form is not None and target is not form):
                    continue
                found = context.session.node(target, value, normalise=False)
                if found is not None:
                    yield index, found

    return follow


def out_of_prop(context: RunContext, prop: Prop) -> list[Leg]:
    """`:asn -> *`: to the node that a property, or each element of an array, refers to."""
    kind = prop.type
    element = kind.element
    is_array = element is not None
    inner = element if element is not None else kind
    if is_ndef(inner):
        return [ndef_of_prop(prop.name, is_array=is_array)]
    form = context.model.form(inner.name)
    if form is None:
        return [_no_form(prop)]
    return [_prop_to_form(prop.name, form, is_array=is_array)]


def _no_form(prop: Prop) -> Leg:
    def follow(context: RunContext, nodes: Sequence[Node]) -> Iterator[tuple[int, Node]]:
        for node in nodes:
            if node.has(prop.name):
                context.warn(
                    f'The source property "{prop.name}" type "{prop.type.name}" is not a form. Cannot pivot.'
                )
        return iter(())

    return follow


def prop_to_prop(source: Prop, target: Prop) -> Leg:
    """`:fqdn -> inet:dns:a:fqdn`: holders of a property's value in another property, or in a form's own value.

    From an array to an array they are holders of the same array; else each element counts.
    """
    if source.type.element is not None and target.type.element is not None:
        return _whole_array(source.name, target)
    element = source.type.element
    inner = element if element is not None else source.type
    target_element = target.type.element
    kind = target_element if target_element is not None else target.type
    name = source.name
    if is_ndef(inner) and target.is_form:
        return ndef_of_prop(name, target.form, is_array=element is not None)
    is_same = inner.name == kind.name

    def follow(context: RunContext, nodes: Sequence[Node]) -> Iterator[tuple[int, Node]]:
        indexes: list[int] = []
        values: list[Any] = []
        for index, node in enumerate(nodes):
            held = node.get(name)
            if held is None:
                continue
            for value in held if element is not None else (held,):
                stored = (value,) if is_same else _fitted(context, kind, value)
                if stored is not None:
                    indexes.append(index)
                    values.append(stored[0])
        return _found(context, target, indexes, values)

    return follow


def _whole_array(name: str, target: Prop) -> Leg:
    def follow(context: RunContext, nodes: Sequence[Node]) -> Iterator[tuple[int, Node]]:
        for index, node in enumerate(nodes):
            held = node.get(name)
            stored = None if held is None else _fitted(context, target.type, held)
            if stored is not None:
                for _, other in context.session.nodes_with_value_as_whole(target, stored[0]):
                    yield index, other

    return follow


def embedded(names: Sequence[str], targets: Sequence[Prop]) -> Leg:
    """`:org::name -> ou:name`: follow properties from node to node, then pivot from the last."""

    def follow(context: RunContext, nodes: Sequence[Node]) -> Iterator[tuple[int, Node]]:
        for index, node in enumerate(nodes):
            at: list[Node] = [node]
            for name in names[:-1]:
                at = [
                    other
                    for one in at
                    if name in one.form.props
                    for leg in out_of_prop(context, one.form.props[name])
                    for _, other in leg(context, [one])
                ]
            for one in at:
                prop = one.form.props.get(names[-1])
                if prop is None:
                    continue
                for target in targets:
                    for _, other in prop_to_prop(prop, target)(context, [one]):
                        yield index, other

    return follow


# All ways ----------------------------------------------------------------------------------------------------


def out_of(context: RunContext, form: Form) -> list[Leg]:
    """`-> *`: to every node that a property refers to, but not to the node itself."""
    if form.name == "syn:tag":
        return [_tagged(None)]
    if is_edge(form):
        return [ndef_of_prop("n2")]
    model = context.model
    found: list[Leg] = []
    for prop in form.props.values():
        kind = prop.type
        element = kind.element
        inner = element if element is not None else kind
        if is_ndef(inner):
            found.append(ndef_of_prop(prop.name, is_array=element is not None))
            continue
        target = model.form(inner.name)
        if target is not None:
            found.append(_prop_to_form(prop.name, target, is_array=element is not None, skip_self=True))
    return found


def into(context: RunContext, form: Form) -> list[Leg]:
    """`<- *`: to every node with a property that refers to this one."""
    if is_edge(form):
        return [ndef_of_prop("n1")]
    model = context.model
    found: list[Leg] = [
        _own_value_in(use.prop) for use in model.uses_of_type(form.name) if not use.prop.is_form
    ]
    found.extend(ndef_to_prop(use.prop) for use in model.uses_of_kind(NDEF) if not use.prop.is_form)
    return found


def between(context: RunContext, form: Form, target: Prop) -> list[Leg] | None:
    """`-> inet:fqdn`: along properties of either form that refer to the other; None if there are none."""
    other = target.form
    assert other is not None, "a form's own value has a form"
    if form.name == "syn:tag":
        return [_tagged(other)]
    if is_edge(other):
        return [ndef_to_prop(other.props["n1"])]
    if is_edge(form):
        return [ndef_of_prop("n2", other)]
    found: list[Leg] = []
    for prop in form.props.values():
        kind = prop.type
        element = kind.element
        inner = element if element is not None else kind
        if inner.name == other.name:
            found.append(_prop_to_form(prop.name, other, is_array=element is not None))
        elif is_ndef(inner):
            found.append(ndef_of_prop(prop.name, other, is_array=element is not None))
    for prop in other.props.values():
        kind = prop.type
        element = kind.element
        inner = element if element is not None else kind
        if inner.name == form.name:
            found.append(_own_value_in(prop))
        elif is_ndef(inner):
            found.append(ndef_to_prop(prop))
    return found or None


# Tags and light edges ----------------------------------------------------------------------------------------


def leaf_tags(context: RunContext, nodes: Sequence[Node]) -> Iterator[tuple[int, Node]]:
    """`-> #`: to the syn:tag nodes of tags that have none below them."""
    for index, node in enumerate(nodes):
        tags = sorted(node.tags)
        for at, name in enumerate(tags):
            # Sorted by characters, a tag below may stand further off: `a`, `a-b`, `a.b`.
            if not any(other.startswith(name + ".") for other in tags[at + 1 :]):
                yield from _tag_node(context, index, name)


def tags_like(matches: Callable[[str], object]) -> Leg:
    """`-> #a.*`: to the syn:tag nodes of the tags that match."""

    def follow(context: RunContext, nodes: Sequence[Node]) -> Iterator[tuple[int, Node]]:
        for index, node in enumerate(nodes):
            for name in sorted(node.tags):
                if matches(name):
                    yield from _tag_node(context, index, name)

    return follow


def _tag_node(context: RunContext, index: int, name: str) -> Iterator[tuple[int, Node]]:
    found = context.session.node(context.model.require_form("syn:tag"), name, normalise=False)
    if found is not None:
        yield index, found


def edges(verbs: Sequence[str] | None, *, is_inward: bool) -> Leg:
    """`-(refs)> *`: along light edges."""

    def follow(context: RunContext, nodes: Sequence[Node]) -> Iterator[tuple[int, Node]]:
        session = context.session
        found = session.edges_in(nodes, verbs) if is_inward else session.edges_out(nodes, verbs)
        return ((index, node) for index, _, node in found)

    return follow


def only(leg: Leg, accepts: Callable[[Node], bool]) -> Leg:
    """Return a leg to those nodes alone that a test accepts."""

    def follow(context: RunContext, nodes: Sequence[Node]) -> Iterator[tuple[int, Node]]:
        return ((index, node) for index, node in leg(context, nodes) if accepts(node))

    return follow
