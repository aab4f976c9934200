"""The nodes of runtime forms that describe the model itself: syn:form, syn:prop, syn:type, syn:tagprop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from cellmesh.cortex.model.definitions import TypeDef
from cellmesh.cortex.model.registry import Model, Prop

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


def is_made_here(form: str) -> bool:
    """Whether the nodes of a runtime form come from the model."""
    return form in _MAKERS


def _forms(model: Model) -> Iterator[RuntimeNode]:
    for form in model.forms():
        props = {"doc": form.doc, "runt": int(form.is_runtime), "type": form.name}
        yield RuntimeNode("syn:form", form.name, props)


def _types(model: Model) -> Iterator[RuntimeNode]:
    for name in sorted(model.defs.types):
        yield RuntimeNode("syn:type", name, _type_props(model, model.defs.types[name]))


def _type_props(model: Model, definition: TypeDef) -> RuntimeProps:
    props: dict[str, object] = {
        "doc": definition.doc,
        "ctor": type(model.type(definition.name)).__name__,
    }
    options = model.type(definition.name).options
    if options:
        props["opts"] = dict(options)
    if definition.base != "base":
        props["subof"] = definition.base
    return props


def _props(model: Model) -> Iterator[RuntimeNode]:
    found: list[RuntimeNode] = []
    for form in model.forms():
        found.append(RuntimeNode("syn:prop", form.name, _form_props(form.value_prop)))
        found.extend(
            RuntimeNode("syn:prop", prop.full_name, _prop_props(prop)) for prop in form.props.values()
        )
    found.extend(
        RuntimeNode("syn:prop", prop.full_name, _prop_props(prop)) for prop in model.universal_props()
    )
    found.sort(key=lambda node: str(node.value))
    yield from found


def _form_props(prop: Prop) -> RuntimeProps:
    return {
        "doc": prop.doc,
        "type": prop.type_name,
        "form": prop.full_name,
        "univ": 0,
        "extmodel": int(prop.full_name.startswith("_")),
    }


def _prop_props(prop: Prop) -> RuntimeProps:
    props: dict[str, object] = {
        "doc": prop.doc,
        "type": prop.type_name,
        "relname": prop.name,
        "base": prop.name.rpartition(":")[2],
        "ro": int(prop.read_only),
        "univ": int(prop.form is None),
        "extmodel": int(prop.is_extended),
    }
    if prop.form is not None:
        props["form"] = prop.form.name
    return props


def _tagprops(model: Model) -> Iterator[RuntimeNode]:
    for tagprop in model.tagprops():
        yield RuntimeNode(
            "syn:tagprop", tagprop.name, {"doc": tagprop.doc, "type": tagprop.definition.type.name}
        )


_MAKERS: Mapping[str, Callable[[Model], Iterator[RuntimeNode]]] = {
    "syn:form": _forms,
    "syn:prop": _props,
    "syn:tagprop": _tagprops,
    "syn:type": _types,
}
