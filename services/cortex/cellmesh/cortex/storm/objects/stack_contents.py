"""Methods of views and layers: how many nodes they have, of which values, and which light edges."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from cellmesh.common.errors import BadTypeValu
from cellmesh.cortex.storm.objects.stacks import Holder, reading
from cellmesh.cortex.storm.runtime.context import RunContext
from cellmesh.cortex.storm.runtime.interface import UNDEF, FunctionSpec, ParameterSpec
from cellmesh.cortex.storm.runtime.values import tostr
from cellmesh.cortex.storm.runtime.valuing import plain_value


def _form_counts(context: RunContext, self: Holder) -> dict[str, int]:
    found: dict[str, int] = {}
    with reading(context, self) as session:
        for name in sorted(context.model.form_names()):
            form = context.model.require_form(name)
            count = 0 if form.is_runtime else session.count_form(form)
            if count or (not form.is_runtime and session.has_had(form)):
                found[name] = count
    return found


def _prop_count(context: RunContext, self: Holder, name: Any, value: Any) -> int:
    prop = context.model.require_prop(tostr(name))
    with reading(context, self) as session:
        if value is UNDEF:
            return session.count_prop(prop)
        wanted = plain_value(value)
        counted = session.count_value(prop, "=", wanted)
        if counted is not None:
            return counted
        return _count(context, session.lift_value(prop, "=", wanted))


def _layer_prop_count(context: RunContext, self: Holder, name: Any, size_max: Any, value: Any) -> int:
    return _prop_count(context, self, name, value)


def _count(context: RunContext, nodes: Iterator[Any]) -> int:
    count = 0
    for _ in nodes:
        context.tick()
        count += 1
    return count


def _prop_array_count(context: RunContext, self: Holder, name: Any, value: Any) -> int:
    prop = context.model.require_prop(tostr(name))
    if not prop.is_array:
        raise BadTypeValu(f"{prop.full_name} is no array", name=prop.full_name)
    with reading(context, self) as session:
        if value is not UNDEF:
            return _count(context, session.lift_array(prop, "=", plain_value(value)))
        total = 0
        for node in session.lift_prop(prop):
            context.tick()
            total += len(node.get(prop.name) or ())
        return total


def _tag_prop_count(context: RunContext, self: Holder, tag: Any, name: Any, form: Any, value: Any) -> int:
    found_form = None if form is None else context.model.require_form(tostr(form))
    comparator = None if value is UNDEF else "="
    wanted = None if value is UNDEF else plain_value(value)
    with reading(context, self) as session:
        return _count(
            context,
            session.lift_tag_prop(
                tostr(tag), tostr(name), form=found_form, comparator=comparator, value=wanted
            ),
        )


def _tag_count(context: RunContext, self: Holder, tag: Any, form: Any) -> int:
    found_form = None
    if form is not None:
        found_form = context.model.form(tostr(form))
        if found_form is None:
            return 0
    with reading(context, self) as session:
        return session.count_tag(tostr(tag), found_form)


def _prop_values(context: RunContext, self: Holder, name: Any) -> Iterator[Any]:
    """Yield each value once: the index has equal values side by side."""
    prop = context.model.require_prop(tostr(name))
    last = UNDEF
    with reading(context, self) as session:
        for node in session.lift_prop(prop):
            context.tick()
            value = node.value if prop.is_form else node.get(prop.name)
            if last is UNDEF or value != last:
                yield value
            last = value


def _edge_verbs(context: RunContext, self: Holder) -> Iterator[str]:
    with reading(context, self) as session:
        yield from session.edge_verbs()


def _edges(context: RunContext, self: Holder, verb: Any) -> Iterator[tuple[str, str, str]]:
    with reading(context, self) as session:
        for name in session.edge_verbs() if verb is None else [tostr(verb)]:
            for node in session.lift_verb(name):
                for _, _, other in session.edges_out([node], [name]):
                    context.tick()
                    yield (node.iden, name, other.iden)


def _all_edges(context: RunContext, self: Holder) -> Iterator[tuple[str, str, str]]:
    return _edges(context, self, None)


_PROP_NAME: Final = ParameterSpec("propname", type="str", doc="The property by its full name.")

_VALUE: Final = ParameterSpec("valu", UNDEF, "any", "Count only this value.")

_ELEMENT: Final = ParameterSpec("valu", UNDEF, "any", "Count only this element.")

_SHARED: Final = (
    FunctionSpec("getEdgeVerbs", "The verbs of its light edges.", _edge_verbs, (), "str", is_generator=True),
    FunctionSpec("getFormCounts", "How many nodes it has of each form.", _form_counts, (), "dict"),
    FunctionSpec(
        "getPropArrayCount",
        "How many elements an array property has over all nodes.",
        _prop_array_count,
        (_PROP_NAME, _ELEMENT),
        "int",
    ),
    FunctionSpec(
        "getPropValues",
        "The values of a property, each once.",
        _prop_values,
        (_PROP_NAME,),
        "any",
        is_generator=True,
    ),
    FunctionSpec(
        "getTagPropCount",
        "How many nodes have a property of a tag.",
        _tag_prop_count,
        (
            ParameterSpec("tag", type="str", doc="The tag."),
            ParameterSpec("propname", type="str", doc="The tag property."),
            ParameterSpec("form", None, "str", "Count only nodes of this form."),
            _VALUE,
        ),
        "int",
    ),
)

VIEW_METHODS: Final = (
    *_SHARED,
    FunctionSpec(
        "getEdges",
        "Its light edges: iden, verb, iden.",
        _edges,
        (ParameterSpec("verb", None, "str", "Only edges with this verb."),),
        "lists",
        is_generator=True,
    ),
    FunctionSpec(
        "getPropCount",
        "How many nodes have a property.",
        _prop_count,
        (_PROP_NAME, _VALUE),
        "int",
    ),
)

LAYER_METHODS: Final = (
    *_SHARED,
    FunctionSpec(
        "getEdges", "Its light edges: iden, verb, iden.", _all_edges, (), "lists", is_generator=True
    ),
    FunctionSpec(
        "getPropCount",
        "How many nodes have a property.",
        _layer_prop_count,
        (
            _PROP_NAME,
            ParameterSpec("maxsize", None, "int", "Without effect: counts cost nothing."),
            _VALUE,
        ),
        "int",
    ),
    FunctionSpec(
        "getTagCount",
        "How many nodes have a tag.",
        _tag_count,
        (
            ParameterSpec("tagname", type="str", doc="The tag."),
            ParameterSpec("formname", None, "str", "Count only nodes of this form."),
        ),
        "int",
    ),
)
