"""Changes of a model at run time: what is added and removed, and what must not be."""

from __future__ import annotations

from dataclasses import replace

from cellmesh.common.errors import (
    BadArg,
    BadEdgeDef,
    BadPropDef,
    CantDelType,
    DupEdgeType,
    DupFormName,
    DupPropName,
    DupTypeName,
    NoSuchEdge,
    NoSuchType,
)
from cellmesh.cortex.model.definitions import ROOT, EdgeDef, FormDef, PropDef, TagPropDef, TypeDef
from cellmesh.cortex.model.entries import Form, Prop, TagProp, full_name
from cellmesh.cortex.model.forms import compile_form
from cellmesh.cortex.model.registry import Model
from cellmesh.cortex.model.types.base import BaseType


class ModelChanges:
    """Adds to and removes from a model; one at a time, the next look-up shows it.

    Args:
        model: The model that is changed.
    """

    def __init__(self, model: Model) -> None:
        self.model = model

    def add_type(self, definition: TypeDef) -> BaseType:
        """Add a type; raises DupTypeName, NoSuchType (its base) or BadTypeDef (its options)."""
        if definition.name in self.model.defs.types:
            raise DupTypeName(f"a type named {definition.name} exists", name=definition.name)
        for name in definition.interfaces:
            self.model.interface(name)
        if definition.base != ROOT:
            self.model.type(definition.base)
        made = self.model.types.compile(definition)
        self.model.defs.types[definition.name] = definition
        self.model.changed()
        return made

    def add_form(self, definition: FormDef, type_definition: TypeDef | None = None) -> Form:
        """Add a form, with the type of its name unless that exists.

        Raises:
            DupFormName: the form exists.
            NoSuchType: the base type does not exist.
        """
        if definition.name in self.model.defs.forms:
            raise DupFormName(f"a form named {definition.name} exists", name=definition.name)
        if type_definition is not None:
            self.add_type(type_definition)
        self.model.defs.forms[definition.name] = definition
        try:
            made = compile_form(self.model, definition)
        except Exception:
            del self.model.defs.forms[definition.name]
            if type_definition is not None:
                del self.model.defs.types[type_definition.name]
            raise
        self.model.changed()
        return made

    def add_prop(self, form: str, definition: PropDef) -> Prop:
        """Add a property to a form; raises NoSuchForm, DupPropName or NoSuchType."""
        owner = self.model.require_form(form)
        if definition.name in owner.props:
            raise DupPropName(f"{form} has a property {definition.name}", name=definition.name, form=form)
        self.model.resolve(definition.type)
        old = self.model.defs.forms[form]
        self.model.defs.forms[form] = replace(old, props={**old.props, definition.name: definition})
        self.model.changed()
        return self.model.require_form_prop(form, definition.name)

    def add_universal(self, definition: PropDef) -> Prop:
        """Add a property to every form; its name starts with a dot. Raises DupPropName or NoSuchType."""
        if not definition.name.startswith("."):
            raise BadPropDef("the name of a universal property starts with a dot", name=definition.name)
        if definition.name in self.model.defs.universal:
            raise DupPropName(f"a universal property named {definition.name} exists", name=definition.name)
        self.model.resolve(definition.type)
        self.model.defs.universal[definition.name] = definition
        self.model.changed()
        return self.model.require_prop(definition.name)

    def add_tagprop(self, definition: TagPropDef) -> TagProp:
        """Add a tag property; raises DupTagPropName or NoSuchType."""
        if definition.name in self.model.defs.tagprops:
            raise DupPropName(f"a tag property named {definition.name} exists", name=definition.name)
        self.model.resolve(definition.type)
        self.model.defs.tagprops[definition.name] = definition
        self.model.changed()
        return self.model.require_tagprop(definition.name)

    def add_edge(self, definition: EdgeDef) -> EdgeDef:
        """Add an edge; raises DupEdgeType or NoSuchForm."""
        if not definition.verb:
            raise BadEdgeDef("an edge needs a verb")
        if definition.key in self.model.defs.edges:
            raise DupEdgeType(
                f"the edge {definition.key} exists",
                n1form=definition.source,
                verb=definition.verb,
                n2form=definition.target,
            )
        for form in (definition.source, definition.target):
            if form is not None:
                self.model.require_form(form)
        self.model.defs.edges[definition.key] = definition
        self.model.changed()
        return definition

    def remove_type(self, name: str) -> TypeDef:
        """Remove a type that no form, property or other type uses; raises NoSuchType or CantDelType."""
        if name not in self.model.defs.types:
            raise NoSuchType(f"no type named {name}", name=name)
        if (used := _user_of_type(self.model, name)) is not None:
            raise CantDelType(f"{used} uses the type {name}", name=name)
        removed = self.model.defs.types.pop(name)
        self.model.changed()
        return removed

    def remove_form(self, name: str) -> FormDef:
        """Remove a form and its type; raises NoSuchForm or CantDelType when a property holds its values.

        That no nodes of it are left is for the caller to check.
        """
        self.model.require_form(name)
        if (used := _user_of_type(self.model, name, except_form=name)) is not None:
            raise CantDelType(f"{used} uses the type of the form {name}", name=name)
        removed = self.model.defs.forms.pop(name)
        self.model.defs.types.pop(name, None)
        self.model.changed()
        return removed

    def remove_prop(self, form: str, name: str) -> PropDef:
        """Remove a form's own property; raises NoSuchForm or NoSuchProp. Values are for the caller to remove."""
        self.model.require_form_prop(form, name)
        old = self.model.defs.forms[form]
        if name not in old.props:
            raise BadArg(f"{name} is not a property of {form} alone", name=full_name(form, name))
        kept = dict(old.props)
        removed = kept.pop(name)
        self.model.defs.forms[form] = replace(old, props=kept)
        self.model.changed()
        return removed

    def remove_universal(self, name: str) -> PropDef:
        """Remove a universal property; raises NoSuchUniv."""
        self.model.require_universal(name)
        removed = self.model.defs.universal.pop(name if name.startswith(".") else f".{name}")
        self.model.changed()
        return removed

    def remove_tagprop(self, name: str) -> TagPropDef:
        """Remove a tag property; raises NoSuchTagProp."""
        self.model.require_tagprop(name)
        removed = self.model.defs.tagprops.pop(name)
        self.model.changed()
        return removed

    def remove_edge(self, source: str | None, verb: str, target: str | None) -> EdgeDef:
        """Remove an edge; raises NoSuchEdge."""
        removed = self.model.defs.edges.pop((source, verb, target), None)
        if removed is None:
            raise NoSuchEdge(
                f"no edge {source or '*'} -({verb})> {target or '*'}", n1form=source, verb=verb, n2form=target
            )
        self.model.changed()
        return removed


def _user_of_type(model: Model, name: str, except_form: str = "") -> str | None:
    """Return what uses a type: the name of another type, a form, a property or a tag property; None if nothing."""
    for definition in model.defs.types.values():
        if definition.base == name:
            return definition.name
    if not except_form and name in model.defs.forms:
        return name
    for use in model.uses_of_type(name):
        if use.prop.full_name != except_form and (use.prop.form is None or use.prop.form.name != except_form):
            return use.prop.full_name
    for tagprop in model.defs.tagprops.values():
        if tagprop.type.name == name:
            return f"#:{tagprop.name}"
    return None
