"""How a form is compiled: its own properties, those of its interfaces, the universal ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from cellmesh.common.errors import NoSuchType
from cellmesh.cortex.model.definitions import FormDef, PropDef, TypeRef
from cellmesh.cortex.model.entries import Form, Prop

if TYPE_CHECKING:
    from cellmesh.cortex.model.registry import Model


def compile_form(model: Model, definition: FormDef) -> Form:
    """Make a form, with its properties, of its definition and that of the type of its name.

    Raises:
        NoSuchType: there is no such type, or a base of it is none.
        BadFormDef: it carries an interface that does not exist.
    """
    type_definition = model.defs.types.get(definition.name)
    if type_definition is None:
        raise NoSuchType(f"the form {definition.name} has no type of its name", name=definition.name)
    interfaces = tuple(dict.fromkeys(_with_inherited(model, type_definition.interfaces)))
    doc = definition.doc or type_definition.doc
    deprecated = definition.deprecated or type_definition.deprecated
    form = Form(definition, model.type(definition.name), interfaces, deprecated, doc)
    form.value_prop = Prop(
        model, form, PropDef("", TypeRef(definition.name), read_only=True, deprecated=deprecated, doc=doc)
    )
    for prop in _prop_defs(model, definition):
        form.props[prop.name] = Prop(model, form, prop)
    return form


def _prop_defs(model: Model, definition: FormDef) -> Iterator[PropDef]:
    """Yield what a form's properties are made of: its own, those of interfaces, the universal ones."""
    type_definition = model.defs.types.get(definition.name)
    given = dict(definition.props)
    for name in _with_inherited(model, type_definition.interfaces if type_definition else ()):
        for prop in model.defs.interfaces[name].props.values():
            if prop.name not in given and not prop.type.name.startswith("{"):
                given[prop.name] = _for_form(prop, definition.name)
    yield from given.values()
    yield from model.defs.universal.values()


def _with_inherited(model: Model, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        definition = model.interface(name)
        yield name
        yield from _with_inherited(model, definition.interfaces)


def _for_form(prop: PropDef, form: str) -> PropDef:
    """Return an interface's property for one form: `$self` in its type becomes the form."""
    reference = prop.type
    if reference.name == "$self":
        return replace(prop, type=replace(reference, name=form))
    if reference.options.get("type") == "$self":
        options = {**reference.options, "type": form}
        return replace(prop, type=replace(reference, options=options))
    return prop
