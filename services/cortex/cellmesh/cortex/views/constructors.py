"""Nodes of guid forms by their properties: `ou:org=({"name": "acme"})` finds the node that has them all, or
makes one whose guid is worked out from them.

Besides properties the mapping may hold `$props`, further properties that are set but take no part in the
match, and `$try`, whether those of them that do not normalise are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common import hashing
from cellmesh.common.errors import BadTypeValu
from cellmesh.cortex.model.registry import Form, Prop
from cellmesh.cortex.views.node import Node

if TYPE_CHECKING:
    from cellmesh.cortex.views.session import GraphSession

MORE_PROPS: Final = "$props"
TRY: Final = "$try"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A property that a node must have.

    Attributes:
        prop: The property.
        value: Its stored value.
        alternate: An array property that may have the value in place of it, such as `names` for `name`.
    """

    prop: Prop
    value: Any
    alternate: Prop | None

    def is_met_by(self, node: Node) -> bool:
        """Whether a node has it."""
        if node.get(self.prop.name) == self.value:
            return True
        return self.alternate is not None and self.value in (node.get(self.alternate.name) or ())


def find_by_props(session: GraphSession, form: Form, props: Mapping[str, object]) -> Node | None:
    """Return a node that has the given properties, or None.

    Raises:
        BadTypeValu: the form is not known by guids, there are no properties, or one does not normalise.
        NoSuchProp: the form has no such property.
    """
    return _find(session, _wanted(session, form, props))


def add_by_props(
    session: GraphSession,
    form: Form,
    props: Mapping[str, object],
    *,
    try_: bool = False,
    may_wait: bool = False,
) -> Node:
    """Return a node that has the given properties, made if there is none; `$props` are set in either case.

    For `may_wait` see `GraphSession.edit_later`.

    Raises:
        BadTypeValu, NoSuchProp: as `find_by_props`.
    """
    wanted = _wanted(session, form, props)
    more = props.get(MORE_PROPS) or {}
    if not isinstance(more, Mapping):
        raise BadTypeValu("$props must be a mapping of properties", form=form.name, name=form.name)
    is_lenient = try_ or bool(props.get(TRY))
    node = _find(session, wanted)
    if node is None:
        guid = hashing.guid(sorted((item.prop.name, item.value) for item in wanted))
        first = {item.prop.name: item.value for item in wanted}
        node = session.add_node(form, guid, first, may_wait=may_wait)
    for name, value in more.items():
        try:
            session.set_prop(node, str(name), value, may_wait=may_wait)
        except BadTypeValu:
            if not is_lenient:
                raise
    return node


def _wanted(session: GraphSession, form: Form, props: Mapping[str, object]) -> list[Wanted]:
    if "guid" not in form.type.chain:
        raise BadTypeValu(f"{form.name} is not known by guids", form=form.name, name=form.name)
    wanted: list[Wanted] = []
    for name, value in props.items():
        if name not in (MORE_PROPS, TRY):
            plan = session.plan_prop(form, name, value)
            wanted.append(Wanted(plan.prop, plan.value, _alternate(form, plan.prop)))
    if not wanted:
        raise BadTypeValu("no properties to find or make a node by", form=form.name, name=form.name)
    return wanted


def _alternate(form: Form, prop: Prop) -> Prop | None:
    several = form.props.get(f"{prop.name}s")
    if several is None or several.type.element is None or several.type.element.name != prop.type_name:
        return None
    return several


def _find(session: GraphSession, wanted: list[Wanted]) -> Node | None:
    # The property that fewest nodes share is lifted, the others are looked at.
    rarest = min(wanted, key=lambda item: session.count_value(item.prop, "=", item.value) or 0)
    others = [item for item in wanted if item is not rarest]
    for _, node in session.nodes_with_value_as_whole(rarest.prop, rarest.value):
        if all(item.is_met_by(node) for item in others):
            return node
    if rarest.alternate is not None:
        for _, node in session.nodes_with_value(rarest.alternate, (rarest.value,)):
            if all(item.is_met_by(node) for item in others):
                return node
    return None
