"""What users add to the model: rules for names, and the definitions as plain data to store and send.

Extended types, forms, properties and verbs start with an underscore, so that they never meet a name of the
catalog; a property of an extended form, and a tag property, need none. Whether data still uses what is to be
removed is for the caller to check.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from cellmesh.common.errors import (
    BadEdgeDef,
    BadFormDef,
    BadPropDef,
    BadTypeDef,
    CantDelForm,
    NoSuchEdge,
    NoSuchName,
    NoSuchProp,
    NoSuchUniv,
)
from cellmesh.cortex.model.changes import ModelChanges
from cellmesh.cortex.model.definitions import EdgeDef, FormDef, PropDef, TagPropDef, TypeDef, TypeRef
from cellmesh.cortex.model.registry import Form, Model, Prop, TagProp, full_name
from cellmesh.cortex.model.types.base import BaseType

ANY_FORM = "*"
NAME_SIZE_MAX = 256

_FORM_NAME = re.compile(r"_[a-z0-9_]+(?::[a-z0-9_]+)+")
_TYPE_NAME = re.compile(r"_[a-z0-9_]+(?::[a-z0-9_]+)*")
_PROP_NAME = re.compile(r"[a-z0-9_]+(?::[a-z0-9_]+)*")

Info = Mapping[str, Any]
TypeGiven = Sequence[Any]


class Extensions:
    """Adds to and removes from a model what users define, under the rules for their names.

    Args:
        model: The model that is extended.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self._changes = ModelChanges(model)

    def add_type(self, name: str, base: str, options: Info, info: Info) -> BaseType:
        """Add a type; raises BadTypeDef, DupTypeName or NoSuchType."""
        if not _fits(_TYPE_NAME, name):
            raise BadTypeDef(f"{name} is no name for an extended type, such as _corp:code", type=name)
        return self._changes.add_type(_type_def(name, base, options, info))

    def remove_type(self, name: str) -> TypeDef:
        """Remove an extended type; raises BadTypeDef, NoSuchType or CantDelType."""
        if not name.startswith("_"):
            raise BadTypeDef("only extended types can be removed", type=name)
        return self._changes.remove_type(name)

    def add_form(self, name: str, base: str, options: Info, info: Info) -> Form:
        """Add a form and its type.

        Raises:
            BadFormDef: extended forms have no such name.
            DupFormName: the form exists.
            DupTypeName: there is a type of its name.
            NoSuchType: the base type does not exist.
            NoSuchName: an interface does not exist.
        """
        if not _fits(_FORM_NAME, name):
            raise BadFormDef(
                f"{name} is no name for an extended form, such as _corp:asset", name=name, form=name
            )
        for interface in info.get("interfaces", ()):
            if interface not in self.model.defs.interfaces:
                raise NoSuchName(f"no interface named {interface}", name=interface)
        definition = FormDef(name, doc=str(info.get("doc", "")))
        return self._changes.add_form(definition, _type_def(name, base, options, info))

    def remove_form(self, name: str) -> FormDef:
        """Remove an extended form.

        Raises:
            BadFormDef: it is not an extended one.
            NoSuchForm: it does not exist.
            CantDelForm: it has extended properties.
            CantDelType: a property or a type is of its type.
        """
        if not name.startswith("_"):
            raise BadFormDef("only extended forms can be removed", form=name)
        form = self.model.require_form(name)
        if form.definition.props:
            raise CantDelForm(f"{name} has extended properties", form=name)
        return self._changes.remove_form(name)

    def add_prop(self, form: str, name: str, given: TypeGiven, info: Info) -> Prop:
        """Add a property to a form; raises BadPropDef, NoSuchForm, DupPropName or NoSuchType."""
        extended_form = form.startswith("_")
        if not _fits(_PROP_NAME, name) or not (name.startswith("_") or extended_form):
            raise BadPropDef(f"{name} is no name for an extended property, such as _score", prop=name)
        return self._changes.add_prop(form, _prop_def(name, given, info))

    def remove_prop(self, form: str, name: str) -> PropDef:
        """Remove an extended property of a form; raises NoSuchProp, also if there is no such form."""
        owner = self.model.form(form)
        if (
            owner is None
            or name not in owner.definition.props
            or not (name.startswith("_") or form.startswith("_"))
        ):
            raise NoSuchProp(
                f"{form} has no extended property {name}", form=form, prop=name, name=full_name(form, name)
            )
        return self._changes.remove_prop(form, name)

    def add_universal(self, name: str, given: TypeGiven, info: Info) -> Prop:
        """Add a property to all forms; its name has no dot here. Raises BadPropDef, DupPropName or NoSuchType."""
        if not _fits(_PROP_NAME, name) or not name.startswith("_"):
            raise BadPropDef(
                f"{name} is no name for an extended universal property, such as _score", name=name
            )
        return self._changes.add_universal(_prop_def(f".{name}", given, info))

    def remove_universal(self, name: str) -> PropDef:
        """Remove an extended universal property, named without its dot; raises NoSuchUniv."""
        if not name.startswith("_"):
            raise NoSuchUniv(f"no extended universal property named {name}", name=name)
        return self._changes.remove_universal(name)

    def add_tagprop(self, name: str, given: TypeGiven, info: Info) -> TagProp:
        """Add a tag property; raises BadPropDef, DupPropName or NoSuchType."""
        if not _fits(_PROP_NAME, name):
            raise BadPropDef(f"{name} is no name for a tag property, such as score", name=name)
        return self._changes.add_tagprop(_tagprop_def(name, given, info))

    def remove_tagprop(self, name: str) -> TagPropDef:
        """Remove a tag property; raises NoSuchTagProp."""
        return self._changes.remove_tagprop(name)

    def add_edge(self, source: str | None, verb: str, target: str | None, info: Info) -> EdgeDef:
        """Add an edge; None and `*` both mean any form. Raises BadEdgeDef, DupEdgeType or NoSuchForm."""
        if not verb.startswith("_") or len(verb) > NAME_SIZE_MAX:
            raise BadEdgeDef(
                f"{verb} is no verb for an extended edge, such as _owns",
                n1form=source,
                verb=verb,
                n2form=target,
            )
        return self._changes.add_edge(_edge_def(source, verb, target, info))

    def remove_edge(self, source: str | None, verb: str, target: str | None) -> EdgeDef:
        """Remove an extended edge; raises NoSuchEdge, also for one of the catalog."""
        if not verb.startswith("_"):
            raise NoSuchEdge(f"no extended edge has the verb {verb}", n1form=source, verb=verb, n2form=target)
        return self._changes.remove_edge(_end(source), verb, _end(target))

    def knows(self, kind: str, row: Sequence[Any]) -> bool:
        """Whether the model holds what a row of a dump says.

        Args:
            kind: A key of the dump.
            row: One of the rows under it.

        Raises:
            BadTypeDef, BadFormDef, BadPropDef, BadEdgeDef: it holds something else of that name.
        """
        defs = self.model.defs
        error = {"types": BadTypeDef, "forms": BadFormDef, "edges": BadEdgeDef}.get(kind, BadPropDef)
        name = row[0]
        held: object
        given: object
        match kind:
            case "types":
                held, given = defs.types.get(name), _type_def(*row)
            case "forms":
                form = defs.forms.get(name)
                held = None if form is None else defs.types.get(name)
                given = _type_def(*row)
            case "props":
                owner = defs.forms.get(name)
                name = row[1]
                held, given = None if owner is None else owner.props.get(name), _prop_def(*row[1:])
            case "univs":
                held, given = defs.universal.get(f".{name}"), _prop_def(f".{name}", *row[1:])
            case "tagprops":
                held, given = defs.tagprops.get(name), _tagprop_def(*row)
            case _:
                source, verb, target = name
                given = _edge_def(source, verb, target, row[1])
                held = defs.edges.get((given.source, verb, given.target))
        if held is not None and held != given:
            raise error(f"the model has another {name} than the one to add", name=str(name))
        return held is not None

    def dump(self) -> dict[str, list[list[Any]]]:
        """Return everything that users added, as lists that JSON and msgpack hold."""
        defs = self.model.defs
        forms = [form for form in defs.forms.values() if form.name.startswith("_")]
        form_names = {form.name for form in forms}
        return {
            "types": [
                [
                    item.name,
                    item.base,
                    dict(item.options),
                    _info(item.doc, item.interfaces, deprecated=item.deprecated),
                ]
                for item in defs.types.values()
                if item.name.startswith("_") and item.name not in form_names
            ],
            "forms": [
                [
                    form.name,
                    item.base,
                    dict(item.options),
                    _info(form.doc or item.doc, item.interfaces, deprecated=item.deprecated),
                ]
                for form in forms
                for item in (defs.types[form.name],)
            ],
            "props": [
                [form.name, prop.name, [prop.type.name, dict(prop.type.options)], _prop_info(prop)]
                for form in defs.forms.values()
                for prop in form.props.values()
                if prop.name.startswith("_") or form.name in form_names
            ],
            "univs": [
                [prop.name.removeprefix("."), [prop.type.name, dict(prop.type.options)], _prop_info(prop)]
                for prop in defs.universal.values()
                if prop.name.startswith("._")
            ],
            "tagprops": [
                [item.name, [item.type.name, dict(item.type.options)], _info(item.doc)]
                for item in defs.tagprops.values()
            ],
            "edges": [
                [[edge.source, edge.verb, edge.target], _info(edge.doc)]
                for edge in defs.edges.values()
                if edge.verb.startswith("_")
            ],
        }


def _fits(pattern: re.Pattern[str], name: str) -> bool:
    return len(name) <= NAME_SIZE_MAX and pattern.fullmatch(name) is not None


def _end(form: str | None) -> str | None:
    return None if form == ANY_FORM else form


def _type_ref(given: TypeGiven) -> TypeRef:
    try:
        name, options = given
    except (TypeError, ValueError):
        raise BadTypeDef("a type is told as its name and its options", name="typedef") from None
    return TypeRef(str(name), dict(options or {}))


def _type_def(name: str, base: str, options: Info, info: Info) -> TypeDef:
    interfaces = tuple(str(item) for item in info.get("interfaces", ()))
    return TypeDef(
        name, base, dict(options), interfaces, bool(info.get("deprecated")), str(info.get("doc", ""))
    )


def _prop_def(name: str, given: TypeGiven, info: Info) -> PropDef:
    return PropDef(
        name, _type_ref(given), bool(info.get("ro")), bool(info.get("deprecated")), str(info.get("doc", ""))
    )


def _tagprop_def(name: str, given: TypeGiven, info: Info) -> TagPropDef:
    return TagPropDef(name, _type_ref(given), str(info.get("doc", "")))


def _edge_def(source: str | None, verb: str, target: str | None, info: Info) -> EdgeDef:
    return EdgeDef(_end(source), verb, _end(target), str(info.get("doc", "")))


def _prop_info(prop: PropDef) -> dict[str, Any]:
    info = _info(prop.doc, deprecated=prop.deprecated)
    return {**info, "ro": True} if prop.read_only else info


def _info(doc: str, interfaces: Sequence[str] = (), *, deprecated: bool = False) -> dict[str, Any]:
    info: dict[str, Any] = {"doc": doc} if doc else {}
    if interfaces:
        info["interfaces"] = list(interfaces)
    if deprecated:
        info["deprecated"] = True
    return info
