"""The nodes of runtime forms that describe the model itself: syn:form, syn:prop, syn:type, syn:tagprop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cellmesh.cortex.model.definitions import ROOT, TypeDef

if TYPE_CHECKING:
    from cellmesh.cortex.model.registry import Form, Model, Prop, TagProp

RuntimeProps = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class RuntimeNode:
    """A node that no layer stores: its form, value, and properties by relative name."""

    form: str
    value: object
    props: RuntimeProps


def runtime_nodes(model: Model, form: str) -> Iterator[RuntimeNode]:
    """Yield the nodes of a runtime form in the order of their values; none for forms made elsewhere."""
    maker = _MAKERS.get(form)
    if maker is not None:
        yield from maker(model)


def runtime_node(model: Model, form: str, value: str) -> RuntimeNode | None:
    """Return one node of a runtime form by its value, or None."""
    match form:
        case "syn:form":
            found = model.form(value)
            return _form_node(found) if found is not None else None
        case "syn:type":
            definition = model.defs.types.get(value)
            return _type_node(model, definition) if definition is not None else None
        case "syn:prop":
            prop = model.prop(value)
            return _prop_node(prop) if prop is not None else None
        case "syn:tagprop":
            tagprop = model.tagprop(value)
            return _tagprop_node(tagprop) if tagprop is not None else None
    return None


def is_made_here(form: str) -> bool:
    """Whether the nodes of a runtime form come from the model."""
    return form in _MAKERS


def _forms(model: Model) -> Iterator[RuntimeNode]:
    return (_form_node(form) for form in model.forms())


def _form_node(form: Form) -> RuntimeNode:
    props = {"doc": form.doc, "runt": int(form.is_runtime), "type": form.name}
    return RuntimeNode("syn:form", form.name, props)


def _types(model: Model) -> Iterator[RuntimeNode]:
    return (_type_node(model, model.defs.types[name]) for name in sorted(model.defs.types))


def _type_node(model: Model, definition: TypeDef) -> RuntimeNode:
    made = model.type(definition.name)
    props: dict[str, object] = {"doc": definition.doc, "ctor": type(made).__name__}
    if made.options:
        props["opts"] = dict(made.options)
    if definition.base != ROOT:
        props["subof"] = definition.base
    return RuntimeNode("syn:type", definition.name, props)


def _props(model: Model) -> Iterator[RuntimeNode]:
    found: list[Prop] = list(model.universal_props())
    for form in model.forms():
        found.append(form.value_prop)
        found.extend(form.props.values())
    found.sort(key=lambda prop: prop.full_name)
    return (_prop_node(prop) for prop in found)


def _prop_node(prop: Prop) -> RuntimeNode:
    props: dict[str, object] = {
        "doc": prop.doc,
        "type": prop.type_name,
        "univ": int(prop.form is None),
        # A form's own value counts as no extension, also of a form that users added.
        "extmodel": int(prop.is_extended and not prop.is_form),
    }
    if prop.form is not None:
        props["form"] = prop.form.name
    if not prop.is_form:
        props["relname"] = prop.name
        props["base"] = prop.name.rpartition(":")[2]
        props["ro"] = int(prop.read_only)
    return RuntimeNode("syn:prop", prop.full_name, props)


def _tagprops(model: Model) -> Iterator[RuntimeNode]:
    return (_tagprop_node(tagprop) for tagprop in model.tagprops())


def _tagprop_node(tagprop: TagProp) -> RuntimeNode:
    props = {"doc": tagprop.doc, "type": tagprop.definition.type.name}
    return RuntimeNode("syn:tagprop", tagprop.name, props)


_MAKERS: Mapping[str, Callable[[Model], Iterator[RuntimeNode]]] = {
    "syn:form": _forms,
    "syn:prop": _props,
    "syn:tagprop": _tagprops,
    "syn:type": _types,
}
