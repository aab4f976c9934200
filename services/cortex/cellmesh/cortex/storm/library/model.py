"""`$lib.model` and `$lib.model.ext`: the data model, and what users add to it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadArg, BadEdgeDef, BadTypeDef, CantDelForm, CantDelProp, CantDelUniv
from cellmesh.cortex.model.extensions import Extensions
from cellmesh.cortex.storm.objects.models import ModelForm, ModelProp, ModelTagProp, ModelType
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, LibrarySpec, ParameterSpec
from cellmesh.cortex.storm.runtime.values import tobool, tostr
from cellmesh.cortex.storm.runtime.valuing import plain_value
from cellmesh.cortex.views.purge import purge_form, purge_prop, purge_tag_prop

if TYPE_CHECKING:
    from cellmesh.cortex.model.registry import Prop
    from cellmesh.cortex.storm.runtime.context import RunContext

EXTENSION_VERSION: Final = (1, 0)
TYPE_REFERENCE_SIZE: Final = 2
_VERB_NAME: Final = re.compile(r"_[\w.:]+")


# Looking up.


def _form(context: RunContext, name: Any) -> ModelForm | None:
    found = context.model.form(tostr(name))
    return None if found is None else ModelForm(found)


def _prop(context: RunContext, name: Any) -> ModelProp | None:
    found = context.model.prop(tostr(name))
    return None if found is None else ModelProp(found)


def _tag_prop(context: RunContext, name: Any) -> ModelTagProp | None:
    found = context.model.tagprop(tostr(name))
    return None if found is None else ModelTagProp(found)


def _type(context: RunContext, name: Any) -> ModelType | None:
    text = tostr(name)
    return ModelType(context.model.type(text)) if context.model.has_type(text) else None


# Extending. Changes take effect at once, for this and all later queries.


def _extensions(context: RunContext) -> Extensions:
    """Return what changes the model: the cell's own, which keeps the changes, or one that does not."""
    kept: Any = context.engine.capabilities.get("model.extensions")
    if kept is None:
        return Extensions(context.model)
    found: Extensions = kept.of(context.session)
    return found


def _info(value: Any, name: str) -> Mapping[str, Any]:
    plain = plain_value(value)
    if not isinstance(plain, dict):
        raise BadArg(f"{name} must be a dictionary, not a {type(value).__name__}", name=name)
    return plain


def _reference(context: RunContext, value: Any) -> Sequence[Any]:
    plain = plain_value(value)
    if not isinstance(plain, (list, tuple)) or len(plain) != TYPE_REFERENCE_SIZE:
        raise BadArg("typedef is the name of a type and a dictionary of options", name="typedef")
    options = _info(plain[1] or {}, "typedef")
    name = tostr(plain[0])
    element = options.get("type") if name == "array" else None
    if isinstance(element, str) and not context.model.has_type(element):
        raise BadTypeDef(f"an array of {element}, which is no type", name=name)
    return (name, plain[1])


def _end(value: Any) -> str | None:
    return None if value is None else tostr(value)


def _add_type(context: RunContext, name: Any, base: Any, options: Any, info: Any) -> None:
    _extensions(context).add_type(
        tostr(name), tostr(base), _info(options, "typeopts"), _info(info, "typeinfo")
    )


def _add_form(context: RunContext, name: Any, base: Any, options: Any, info: Any) -> None:
    _extensions(context).add_form(
        tostr(name), tostr(base), _info(options, "typeopts"), _info(info, "typeinfo")
    )


def _add_form_prop(context: RunContext, form: Any, name: Any, given: Any, info: Any) -> None:
    _extensions(context).add_prop(
        tostr(form), tostr(name), _reference(context, given), _info(info, "propinfo")
    )


def _add_universal(context: RunContext, name: Any, given: Any, info: Any) -> None:
    _extensions(context).add_universal(tostr(name), _reference(context, given), _info(info, "propinfo"))


def _add_tag_prop(context: RunContext, name: Any, given: Any, info: Any) -> None:
    _extensions(context).add_tagprop(tostr(name), _reference(context, given), _info(info, "propinfo"))


def _add_edge(context: RunContext, source: Any, verb: Any, target: Any, info: Any) -> None:
    text = tostr(verb)
    if not _VERB_NAME.fullmatch(text) or text != text.lower():
        raise BadEdgeDef(f"{text} is no verb for an extended edge, such as _owns", verb=text)
    _extensions(context).add_edge(_end(source), text, _end(target), _info(info, "edgeinfo"))


def _del_type(context: RunContext, name: Any) -> None:
    _extensions(context).remove_type(tostr(name))


def _del_form(context: RunContext, name: Any) -> None:
    text = tostr(name)
    form = context.model.form(text)
    if form is not None and form.is_extended and _is_used(context, form.value_prop):
        raise CantDelForm(f"there are nodes of {text}", form=text)
    try:
        if form is not None and form.is_extended and not form.definition.props:
            _purge(context, lambda: purge_form(context.session, form))
        _extensions(context).remove_form(text)
    finally:
        context.session.end_edits()


def _is_extension(context: RunContext, kind: str, name: tuple[str, ...]) -> bool:
    """Whether something of the model was added by users, so that it can be removed."""
    return any(tuple(row[: len(name)]) == name for row in _extensions(context).dump()[kind])


def _purge(context: RunContext, purge: Callable[[], int]) -> None:
    """Remove all values, and those made meanwhile in the transaction in which the property is removed."""
    purge()
    context.session.together.keep()
    purge()


def _is_used(context: RunContext, prop: Prop) -> bool:
    """Whether any view shows a value of a property."""
    graph = context.session.graph
    for view in list(graph.views.values()):
        if view.layers == context.view.layers:
            if context.session.count_prop(prop):
                return True
            continue
        with graph.begin(view, readonly=True) as session:
            if session.count_prop(prop):
                return True
    return False


def _del_form_prop(context: RunContext, form: Any, name: Any, force: Any) -> None:
    owner, text = tostr(form), tostr(name)
    found = context.model.form(owner)
    prop = None if found is None else found.props.get(text)
    if prop is not None and _is_extension(context, "props", (owner, text)):
        if tobool(force):
            _purge(context, lambda: purge_prop(context.session, prop))
        elif _is_used(context, prop):
            raise CantDelProp(f"nodes have the property {prop.full_name}", name=prop.full_name)
    try:
        _extensions(context).remove_prop(owner, text)
    finally:
        context.session.end_edits()


def _del_universal(context: RunContext, name: Any, force: Any) -> None:
    text = tostr(name)
    prop = context.model.prop(f".{text}")
    if prop is not None and _is_extension(context, "univs", (text,)):
        if tobool(force):
            _purge(context, lambda: purge_prop(context.session, prop))
        elif _is_used(context, prop):
            raise CantDelUniv(f"nodes have the property .{text}", name=text)
    try:
        _extensions(context).remove_universal(text)
    finally:
        context.session.end_edits()


def _del_tag_prop(context: RunContext, name: Any, force: Any) -> None:
    text = tostr(name)
    if context.model.tagprop(text) is not None and _is_extension(context, "tagprops", (text,)):
        if tobool(force):
            _purge(context, lambda: purge_tag_prop(context.session, text))
        elif _is_tag_prop_used(context, text):
            raise CantDelProp(f"tags have the property {text}", name=text)
    try:
        _extensions(context).remove_tagprop(text)
    finally:
        context.session.end_edits()


def _is_tag_prop_used(context: RunContext, name: str) -> bool:
    """Whether a tag of any node has a property. Tag properties are indexed by tag, so every tag is asked."""
    tags = context.model.require_form("syn:tag")
    session = context.session
    for node in session.lift_form(tags):
        context.tick()
        if next(session.lift_tag_prop(node.value, name), None) is not None:
            return True
    return False


def _del_edge(context: RunContext, source: Any, verb: Any, target: Any) -> None:
    _extensions(context).remove_edge(_end(source), tostr(verb), _end(target))


def _get_ext_model(context: RunContext) -> dict[str, Any]:
    return {**_extensions(context).dump(), "version": EXTENSION_VERSION}


def _add_ext_model(context: RunContext, model: Any) -> bool:
    """Add everything a dump holds, in an order in which each part finds what it needs.

    What the model has already is passed over if it is the same, and an error if it is not.
    """
    given = _info(model, "model")
    extensions = _extensions(context)
    steps: tuple[tuple[str, int, Callable[..., object]], ...] = (
        ("types", 4, extensions.add_type),
        ("forms", 4, extensions.add_form),
        ("props", 4, extensions.add_prop),
        ("univs", 3, extensions.add_universal),
        ("tagprops", 3, extensions.add_tagprop),
    )
    for key, size, add in steps:
        for row in given.get(key) or ():
            if not isinstance(row, (list, tuple)) or len(row) != size:
                raise BadArg(f"{key} holds lists of {size} items", name=key)
            if not extensions.knows(key, row):
                add(*row)
    for row in given.get("edges") or ():
        (source, verb, target), info = row
        if not extensions.knows("edges", row):
            extensions.add_edge(source, verb, target, info)
    return True


_NAME: Final = ParameterSpec("name", type="str", doc="Its full name.")
_FORM_NAME: Final = ParameterSpec("formname", type="str", doc="The form.")
_FORM_PROP: Final = ParameterSpec("propname", type="str", doc="The property, without the form.")
_PROP_NAME: Final = ParameterSpec("propname", type="str", doc="The property, without a dot.")
_TYPE_NAME: Final = ParameterSpec("typename", type="str", doc="The type.")
_BASE: Final = ParameterSpec("basetype", type="str", doc="The type it is made of.")
_OPTIONS: Final = ParameterSpec("typeopts", type="dict", doc="Options of the base type.")
_TYPE_INFO: Final = ParameterSpec("typeinfo", type="dict", doc="Facts such as `doc`.")
_REFERENCE: Final = ParameterSpec("typedef", type="list", doc="The name of a type, and its options.")
_PROP_INFO: Final = ParameterSpec("propinfo", type="dict", doc="Facts such as `doc` and `ro`.")
_SOURCE: Final = ParameterSpec("n1form", type="str", doc="The form it leads from; `*` for any.")
_VERB: Final = ParameterSpec("verb", type="str", doc="The verb, which begins with `_`.")
_TARGET: Final = ParameterSpec("n2form", type="str", doc="The form it leads to; `*` for any.")
_FORCE: Final = ParameterSpec("force", False, "bool", "Remove the values that nodes have of it, too.")

LIBRARIES: Final = (
    LibrarySpec(
        ("model",),
        "The data model.",
        (
            FunctionSpec("form", "A form, or null.", _form, (_NAME,), "model:form"),
            FunctionSpec("prop", "A property, or null.", _prop, (_NAME,), "model:property"),
            FunctionSpec("tagprop", "A property of tags, or null.", _tag_prop, (_NAME,), "model:tagprop"),
            FunctionSpec("type", "A type, or null.", _type, (_NAME,), "model:type"),
        ),
    ),
    LibrarySpec(
        ("model", "ext"),
        "What users add to the data model. Names begin with `_`.",
        (
            FunctionSpec(
                "addEdge",
                "Describe a light edge.",
                _add_edge,
                (_SOURCE, _VERB, _TARGET, ParameterSpec("edgeinfo", type="dict", doc="Facts such as `doc`.")),
                changes_state=True,
            ),
            FunctionSpec(
                "addExtModel",
                "Add all that `getExtModel` gave.",
                _add_ext_model,
                (ParameterSpec("model", type="dict", doc="Types, forms, properties and edges."),),
                "bool",
                changes_state=True,
            ),
            FunctionSpec(
                "addForm",
                "Add a form.",
                _add_form,
                (_FORM_NAME, _BASE, _OPTIONS, _TYPE_INFO),
                changes_state=True,
            ),
            FunctionSpec(
                "addFormProp",
                "Add a property to a form.",
                _add_form_prop,
                (_FORM_NAME, _FORM_PROP, _REFERENCE, _PROP_INFO),
                changes_state=True,
            ),
            FunctionSpec(
                "addTagProp",
                "Add a property of tags.",
                _add_tag_prop,
                (_PROP_NAME, _REFERENCE, _PROP_INFO),
                changes_state=True,
            ),
            FunctionSpec(
                "addType",
                "Add a type.",
                _add_type,
                (_TYPE_NAME, _BASE, _OPTIONS, _TYPE_INFO),
                changes_state=True,
            ),
            FunctionSpec(
                "addUnivProp",
                "Add a property to all forms.",
                _add_universal,
                (_PROP_NAME, _REFERENCE, _PROP_INFO),
                changes_state=True,
            ),
            FunctionSpec(
                "delEdge",
                "Remove the description of a light edge.",
                _del_edge,
                (_SOURCE, _VERB, _TARGET),
                changes_state=True,
            ),
            FunctionSpec(
                "delForm", "Remove a form that has no nodes.", _del_form, (_FORM_NAME,), changes_state=True
            ),
            FunctionSpec(
                "delFormProp",
                "Remove a property of a form.",
                _del_form_prop,
                (_FORM_NAME, _FORM_PROP, _FORCE),
                changes_state=True,
            ),
            FunctionSpec(
                "delTagProp",
                "Remove a property of tags.",
                _del_tag_prop,
                (_PROP_NAME, _FORCE),
                changes_state=True,
            ),
            FunctionSpec(
                "delType", "Remove a type that nothing uses.", _del_type, (_TYPE_NAME,), changes_state=True
            ),
            FunctionSpec(
                "delUnivProp",
                "Remove a property of all forms.",
                _del_universal,
                (_PROP_NAME, _FORCE),
                changes_state=True,
            ),
            FunctionSpec("getExtModel", "All that users added.", _get_ext_model, (), "dict"),
        ),
    ),
)
