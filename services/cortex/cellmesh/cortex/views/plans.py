"""What adding a node or setting a property implies, worked out from the model alone.

A plan is made before any transaction is entered: all that can fail for reasons of content fails here.
Plans of nodes depend on form and value only, so those of common nodes (a tag, a domain's parents) are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cellmesh.common.errors import BadTypeValu, IsRuntForm, LimitExceeded, NoSuchForm, NoSuchProp
from cellmesh.cortex.model.registry import Form, Model, Prop
from cellmesh.cortex.model.types.base import BaseType, Normed
from cellmesh.cortex.values.ids import buid_of
from cellmesh.cortex.values.wire import encode_value
from cellmesh.cortex.views.hooks import DERIVED, Derived

DEPTH_MAX: Final = 200
VARIED_COUNT: Final = 1000
"""After so many different values of a property it is looked at whether values come twice at all."""

KEPT_COUNT_MAX: Final = 20_000
FORM_NAME_SIZE_MAX: Final = 127

CACHED_ROOTS: Final = frozenset(
    ("int", "str", "bool", "loc", "hex", "float", "inet:fqdn", "inet:ipv4", "inet:ipv6")
)
"""Roots of types whose values normalise the same at any time and in any state, so that results can be kept."""

SETTLED_TYPES: Final = frozenset(("inet:fqdn", "inet:ipv4", "inet:ipv6"))
"""Types whose stored values normalise to themselves with the same sub-values, so that once is enough."""

_PLAIN_KINDS: Final = frozenset((str, int))


# Not frozen, as that doubles what making one costs; never changed all the same.
@dataclass(slots=True, eq=False)
class NodePlan:
    """A node that shall exist.

    Attributes:
        form: Its form.
        value: Its stored value.
        buid: Its buid.
        encoded: Its value as index keys hold it.
        props: Properties a new node starts with, by name: sub-values of its value.
        implied: Nodes that shall exist when it is made, those they imply before them.
        shape: Stands for `props` and `implied` where many nodes have the same.
    """

    form: Form
    value: Any
    buid: bytes
    encoded: bytes
    props: Mapping[str, Any]
    implied: tuple[NodePlan, ...]
    shape: Shape | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """What nodes of a form have in common whose values have the same sub-values, kept to be told by its identity."""

    props: Mapping[str, Any]
    implied: tuple[NodePlan, ...]


# Not frozen, as that doubles what making one costs; never changed all the same.
@dataclass(slots=True, eq=False)
class PropPlan:
    """Properties that shall be set.

    Attributes:
        prop: The property asked for.
        value: Its stored value.
        subs: Properties that its sub-values fill.
        implied: Nodes that shall exist.
        is_kept: Whether the plan is kept for later, so that what is made of it can be kept too.
    """

    prop: Prop
    value: Any
    subs: tuple[tuple[Prop, Any], ...]
    implied: tuple[NodePlan, ...]
    is_kept: bool = False


class _PropFacts:
    """What plans need to know of a property again and again.

    Attributes:
        prop, type: The property and its type.
        is_kept: Whether its values normalise the same at any time.
        is_form: Whether its values are nodes.
        form: The form of its values, if its type is that of the form and one of the settled ones.
        subs: The properties its sub-values fill, by sub-value; those seen so far.
        plans: Plans of values seen so far as sub-values, if they are kept.
        given: The same of values set.
        shapes: Of a form's own value: what its sub-values make of a node, where that is kept.
        hit_count, miss_count: How often a plan of a sub-value was there, and was not.
        is_varied: Whether its sub-values seldom come twice, so that nothing is kept of them.
        is_derived: Of a form's own value: whether further properties follow from it.
    """

    __slots__ = (
        "form",
        "given",
        "hit_count",
        "is_derived",
        "is_form",
        "is_kept",
        "is_varied",
        "miss_count",
        "plans",
        "prop",
        "shapes",
        "subs",
        "type",
    )

    def __init__(self, prop: Prop, model: Model) -> None:
        self.prop = prop
        self.type = prop.type
        self.is_kept = self.type.chain[-1] in CACHED_ROOTS
        self.is_form = model.is_form(prop.type_name)
        form = model.form(prop.type_name) if self.is_form and prop.type_name in SETTLED_TYPES else None
        self.form = form if form is not None and form.type is prop.type else None
        self.subs: dict[str, _PropFacts | None] = {}
        self.plans: dict[str | int, PropPlan] = {}
        self.given: dict[str | int, PropPlan] = {}
        self.shapes: dict[tuple[tuple[str, object], ...], Shape] = {}
        self.hit_count = 0
        self.miss_count = 0
        self.is_varied = False
        self.is_derived = prop.form is not None and (prop.form.name, "") in DERIVED


class Planner:
    """Makes plans. Used by one session, so by one thread."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._version = model.version
        self._nodes: dict[tuple[str, Any], NodePlan] = {}
        self._normed: dict[tuple[BaseType, type, object], Normed] = {}
        self._facts: dict[Prop, _PropFacts] = {}
        self._kept_count = 0

    def _renew(self) -> None:
        """Forget what the model may no longer say, or what has become too much."""
        if self._version != self.model.version:
            self._version = self.model.version
            self._facts.clear()
            self._nodes.clear()
            self._normed.clear()
        elif self._kept_count < KEPT_COUNT_MAX:
            return
        else:
            self._nodes.clear()
            self._normed.clear()
            for facts in self._facts.values():
                facts.plans.clear()
                facts.given.clear()
                facts.shapes.clear()
        self._kept_count = 0

    def normalize(self, type_: BaseType, value: object) -> Normed:
        """Normalise a value, and encode what comes of it: that too shall not fail later on."""
        kind = type(value)
        if (kind is not str and kind is not int) or type_.chain[-1] not in CACHED_ROOTS:
            normed = type_.normalize(value)
            type_.encode(normed.value)
            return normed
        key = (type_, kind, value)
        found = self._normed.get(key)
        if found is None:
            found = self._normed[key] = type_.normalize(value)
            self._kept_count += 1
            type_.encode(found.value)
        return found

    def form(self, name: str) -> Form:
        """Return a form whose nodes can be edited.

        Raises:
            NoSuchForm: the model has no such form.
            IsRuntForm: its nodes exist in no layer.
        """
        return self.editable(self.model.require_form(name))

    def editable(self, form: Form) -> Form:
        """Refuse a form whose nodes exist in no layer."""
        if form.is_runtime:
            raise IsRuntForm(f"nodes of {form.name} cannot be edited", form=form.name)
        return form

    def node(self, form: Form, value: object) -> NodePlan:
        """Plan a node, its value not yet normalised.

        Raises:
            BadTypeValu: the value, or one that it implies, does not normalise.
        """
        if form.is_runtime:
            self.editable(form)
        self._renew()
        try:
            # Not kept: values of a feed seldom come twice.
            normed = form.type.normalize(value)
            encoded = form.type.encode(normed.value)
        except BadTypeValu as error:
            error.setdefault("form", form.name)
            raise
        return self._plan(form, normed, encoded, 0)

    def stored_node(self, form: Form, value: Any) -> NodePlan:
        """Plan a node whose value is a stored one."""
        self._renew()
        return self._implied(form.name, value, 0)

    def set_prop(self, form: Form, name: str, value: object) -> PropPlan:
        """Plan the setting of a property, its value not yet normalised.

        Raises:
            NoSuchProp: the form has no such property.
            BadTypeValu: the value, or one that it implies, does not normalise.
        """
        prop = form.props.get(name)
        if prop is None:
            raise no_such_prop(self.model, form, name)
        return self.set_known_prop(prop, value)

    def set_known_prop(self, prop: Prop, value: Any) -> PropPlan:
        """As `set_prop`, for a property already looked up."""
        self._renew()
        facts = self._facts_of(prop)
        kind = type(value)
        is_kept = facts.is_kept and (kind is str or kind is int)
        if is_kept:
            found = facts.given.get(value)
            if found is not None:
                return found
        subs: list[tuple[Prop, Any]] = []
        implied: list[NodePlan] = []
        try:
            stored = self._set(facts, value, subs, implied, 0)
            if prop.form is not None:
                for rule in DERIVED.get((prop.form.name, prop.name), ()):
                    self._derive(prop.form, rule, stored, subs, implied)
        except (BadTypeValu, NoSuchForm) as error:
            error.setdefault("form", prop.form.name if prop.form is not None else "")
            error.setdefault("prop", prop.name)
            raise
        plan = PropPlan(prop, stored, tuple(subs), tuple(implied), is_kept)
        if is_kept:
            self._kept_count += 1
            facts.given[value] = plan
        return plan

    def _facts_of(self, prop: Prop) -> _PropFacts:
        facts = self._facts.get(prop)
        if facts is None:
            facts = self._facts[prop] = _PropFacts(prop, self.model)
        return facts

    def _sub_facts(self, facts: _PropFacts, sub: str) -> _PropFacts | None:
        """Return the property that a sub-value fills, if there is one."""
        try:
            return facts.subs[sub]
        except KeyError:
            prop = facts.prop.sub_prop(sub)
            found = facts.subs[sub] = None if prop is None else self._facts_of(prop)
            return found

    def _sub_plan(self, facts: _PropFacts, value: Any, depth: int) -> PropPlan:
        """Plan the property that a sub-value fills, keeping plans that will be the same next time."""
        kind = type(value)
        is_kept = facts.is_kept and not facts.is_varied and (kind is str or kind is int)
        if is_kept:
            found = facts.plans.get(value)
            if found is not None:
                facts.hit_count += 1
                return found
            facts.miss_count += 1
            if facts.miss_count >= VARIED_COUNT and facts.hit_count < facts.miss_count:
                facts.is_varied = True
                facts.plans.clear()
                is_kept = False
        subs: list[tuple[Prop, Any]] = []
        implied: list[NodePlan] = []
        stored = self._set(facts, value, subs, implied, depth)
        plan = PropPlan(facts.prop, stored, tuple(subs), tuple(implied))
        if is_kept:
            self._kept_count += 1
            facts.plans[value] = plan
        return plan

    def _set(
        self,
        facts: _PropFacts,
        value: object,
        subs: list[tuple[Prop, Any]],
        implied: list[NodePlan],
        depth: int,
    ) -> Any:
        if facts.is_varied:
            normed = facts.type.normalize(value)
            facts.type.encode(normed.value)
        else:
            normed = self.normalize(facts.type, value)
        if facts.is_form:
            self._imply(facts.prop.type_name, normed.value, implied, depth)
        for form, part in normed.adds:
            self._imply(form, part, implied, depth)
        for name, part in normed.subs:
            sub = self._sub_facts(facts, name)
            if sub is not None:
                stored = self._set(sub, part, subs, implied, depth)
                subs.append((sub.prop, stored))
        return normed.value

    def _derive(
        self, form: Form, rule: Derived, value: Any, subs: list[tuple[Prop, Any]], implied: list[NodePlan]
    ) -> None:
        made, target = rule.make(value), form.props[rule.prop]
        if made is None:
            return
        mark = len(subs)
        try:
            stored = self._set(self._facts_of(target), made, subs, implied, 0)
        except BadTypeValu:
            if not rule.is_optional:
                raise
            del subs[mark:]
            return
        subs.append((target, stored))

    def _imply(self, form: str, value: Any, implied: list[NodePlan], depth: int) -> None:
        plan = self._implied(form, value, depth + 1)
        if plan not in implied:
            implied.append(plan)

    def _settled(self, facts: _PropFacts, normed: Normed, depth: int) -> NodePlan:
        """Plan the node that is a property's value, of a settled type, and was normalised already."""
        form = facts.form
        assert form is not None, "the values of a settled property are nodes"
        key = (form.name, normed.value)
        found = self._nodes.get(key)
        if found is not None:
            facts.hit_count += 1
            return found
        plan = self._plan(self.editable(form), normed, form.type.encode(normed.value), depth + 1)
        if not facts.is_varied:
            facts.miss_count += 1
            facts.is_varied = facts.miss_count >= VARIED_COUNT and facts.hit_count < facts.miss_count
            self._kept_count += 1
            self._nodes[key] = plan
        return plan

    def _implied(self, form_name: str, value: Any, depth: int) -> NodePlan:
        key = (form_name, value)
        try:
            found = self._nodes.get(key)
        except TypeError:
            form = self.form(form_name)
            return self._planned(form, value, depth)
        if found is None:
            self._kept_count += 1
            found = self._nodes[key] = self._planned(self.form(form_name), value, depth)
        return found

    def _planned(self, form: Form, value: Any, depth: int) -> NodePlan:
        normed = self.normalize(form.type, value)
        return self._plan(form, normed, form.type.encode(normed.value), depth)

    def _plan(self, form: Form, normed: Normed, encoded: bytes, depth: int) -> NodePlan:
        if depth > DEPTH_MAX:
            raise LimitExceeded("a node implies others too deep", name="implied", limit=DEPTH_MAX)
        if len(form.name) > FORM_NAME_SIZE_MAX:
            raise LimitExceeded("the name of a form is too long", name=form.name, limit=FORM_NAME_SIZE_MAX)
        value = normed.value
        buid = buid_of(form.name, value)
        if not _is_plain(normed):
            # It will be part of a record, and not all text can be.
            encode_value(value)
        facts = self._facts_of(form.value_prop)
        # One sub-value, such as the kind of an address, is often one of few.
        may_share = len(normed.subs) == 1 and not normed.adds and not facts.is_derived
        may_share = may_share and type(normed.subs[0][1]) in _PLAIN_KINDS
        if may_share:
            shape = facts.shapes.get(normed.subs)
            if shape is not None:
                return NodePlan(form, value, buid, encoded, shape.props, shape.implied, shape)
        props: dict[str, Any] = {}
        implied: list[NodePlan] = []
        subs, parts = facts.subs, normed.parts
        for name, part in normed.subs:
            sub = subs.get(name, facts)
            if sub is facts:
                sub = self._sub_facts(facts, name)
            if sub is None:
                may_share = False
                continue
            may_share = may_share and sub.is_kept
            prop = sub.prop
            if prop.type_name == form.name and part == value:
                props[prop.name] = value
                may_share = False
                continue
            if parts is not None and sub.form is not None and name in parts:
                type_, own = parts[name]
                if type_ is sub.type:
                    # The part was normalised as what the property holds.
                    props[prop.name] = part
                    node = self._settled(sub, own, depth)
                    if node not in implied:
                        implied.append(node)
                    continue
            if sub.is_varied and not sub.is_form:
                found = sub.type.normalize(part)
                if not found.subs and not found.adds:
                    sub.type.encode(found.value)
                    props[prop.name] = found.value
                    continue
            plan = self._sub_plan(sub, part, depth)
            props[prop.name] = plan.value
            for sub_prop, stored in plan.subs:
                props.setdefault(sub_prop.name, stored)
            for node in plan.implied:
                if node not in implied:
                    implied.append(node)
        for rule in DERIVED.get((form.name, ""), ()):
            derived: list[tuple[Prop, Any]] = []
            self._derive(form, rule, value, derived, implied)
            props.update((prop.name, stored) for prop, stored in derived)
        for name, part in normed.adds:
            if not (name == form.name and part == value) and not _has(implied, name, part):
                self._imply(name, part, implied, depth)
        shape = None
        if may_share:
            self._kept_count += 1
            shape = facts.shapes[normed.subs] = Shape(props, tuple(implied))
        return NodePlan(form, value, buid, encoded, props, tuple(implied), shape)


def _is_plain(normed: Normed) -> bool:
    """Whether a value is known to go into a record."""
    value = normed.value
    if type(value) is int or (type(value) is str and value.isascii()):
        return True
    if normed.parts is None:
        return False
    return all(type_.name in SETTLED_TYPES for type_, _ in normed.parts.values())


def _has(plans: Sequence[NodePlan], form: str, value: Any) -> bool:
    """Whether a node is among plans."""
    return any(plan.form.name == form and plan.value == value for plan in plans)


def no_such_prop(model: Model, form: Form, name: str) -> NoSuchProp:
    """Make the error for a property that a form lacks, with a hint at near ones."""
    try:
        model.require_form_prop(form.name, name)
    except NoSuchProp as error:
        return error
    return NoSuchProp(f"{form.name} has no property {name}", form=form.name, name=name)
