"""Guid constructors: `ou:org=({"name": "acme"})` finds the node with these properties or makes one.

The guid of a new node is the hash of the (property, value) pairs in the order of the names, so that the same
properties always give the same node. Keys that begin with `$` say how: `$props` are set but take no part in the
match, `$try` skips values of those that do not fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cellmesh.common import hashing
from cellmesh.common.errors import BadArg, BadTypeValu, NoSuchProp
from cellmesh.cortex.storm.runtime.valuing import plain_value

if TYPE_CHECKING:
    from cellmesh.cortex.model.registry import Form, Prop
    from cellmesh.cortex.storm.runtime.context import RunContext
    from cellmesh.cortex.views.node import Node

PROPS_KEY = "$props"
TRY_KEY = "$try"

CANDIDATE_COUNT_MAX = 10_000
"""Nodes with the first property that are looked at for the others."""


def find_or_make(context: RunContext, form: Form, given: Mapping[str, Any], *, is_try: bool = False) -> Node:
    """Return the node of a form with some properties, made if there is none.

    Raises:
        NoSuchProp: the form has no such property.
        BadTypeValu: a value does not fit, or there is nothing to match by.
    """
    options = dict(given)
    extra = options.pop(PROPS_KEY, None)
    is_lenient = bool(options.pop(TRY_KEY, False))
    unknown = next((key for key in options if isinstance(key, str) and key.startswith("$")), None)
    if unknown is not None:
        raise BadArg(f"a guid constructor has no option {unknown}", name=unknown)
    if not options:
        raise BadTypeValu(f"a guid of {form.name} needs a property to match by", name=form.name)
    wanted = [(prop, _stored(context, form, prop, value)) for prop, value in _props(form, options)]
    wanted.sort(key=lambda pair: pair[0].name)
    extras = _extras(context, form, extra or {}, is_lenient=is_lenient or is_try)
    node = _find(context, wanted)
    if node is None:
        context.check_writable()
        guid = hashing.guid([(prop.name, value) for prop, value in wanted])
        node = context.session.add_node(form, guid, {prop.name: value for prop, value in wanted})
    for prop, value in extras:
        context.check_writable()
        context.session.set_prop(node, prop.name, value)
    return node


def _props(form: Form, given: Mapping[str, Any]) -> list[tuple[Prop, Any]]:
    found = []
    for name, value in given.items():
        prop = form.props.get(name)
        if prop is None:
            raise NoSuchProp(f"{form.name} has no property {name}", name=name, form=form.name)
        found.append((prop, value))
    return found


def _stored(context: RunContext, form: Form, prop: Prop, value: Any) -> Any:
    if type(value) is dict:
        target = context.model.form(prop.type.name)
        if target is not None and "guid" in target.type.chain:
            return find_or_make(context, target, value).value
    try:
        return prop.type.norm(plain_value(value))
    except BadTypeValu as error:
        error.setdefault("prop", prop.name)
        error.setdefault("form", form.name)
        raise


def _extras(
    context: RunContext, form: Form, given: Mapping[str, Any], *, is_lenient: bool
) -> list[tuple[Prop, Any]]:
    found = []
    for prop, value in _props(form, given):
        try:
            found.append((prop, _stored(context, form, prop, value)))
        except BadTypeValu:
            if not is_lenient:
                raise
    return found


def _alternates(prop: Prop) -> list[Prop]:
    """Return the properties whose value counts as this one's: `names` for `name`."""
    assert prop.form is not None, "a form's property has a form"
    names = prop.definition.alternates if hasattr(prop.definition, "alternates") else ()
    if not names:
        names = (f"{prop.name}s",)
    found = []
    for name in names:
        other = prop.form.props.get(name)
        element = other.type.element if other is not None else None
        if other is not None and element is not None and element.name == prop.type.name:
            found.append(other)
    return found


def _find(context: RunContext, wanted: list[tuple[Prop, Any]]) -> Node | None:
    session = context.session
    first, value = wanted[0]
    count = 0
    for prop in (first, *_alternates(first)):
        for _, node in session.nodes_with_value(prop, [value]):
            count += 1
            if count > CANDIDATE_COUNT_MAX:
                return None
            if all(_holds(node, other, stored) for other, stored in wanted[1:]):
                return node
    return None


def _holds(node: Node, prop: Prop, stored: Any) -> bool:
    if node.get(prop.name) == stored:
        return True
    return any(stored in (node.get(other.name) or ()) for other in _alternates(prop))
