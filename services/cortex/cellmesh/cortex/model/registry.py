"""The compiled model: what the editor, the layers and the query engine look names up in.

Forms and types are compiled when first asked for, so that loading the whole catalog is cheap. Reads may
come from many threads; changes come from one at a time (the writer), and take effect for the next look-up.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from cellmesh.common.errors import (
    BadArg,
    BadEdgeDef,
    BadFormDef,
    BadPropDef,
    BadTypeDef,
    CantDelForm,
    CantDelType,
    DupEdgeType,
    DupFormName,
    DupPropName,
    DupTypeName,
    NoSuchEdge,
    NoSuchForm,
    NoSuchProp,
    NoSuchTagProp,
    NoSuchType,
    NoSuchUniv,
)
from cellmesh.common.time.clock import SYSTEM_CLOCK, Clock
from cellmesh.cortex.model import runtime
from cellmesh.cortex.model.definitions import (
    ROOT,
    EdgeDef,
    FormDef,
    InterfaceDef,
    ModelDefs,
    PropDef,
    TagPropDef,
    TypeDef,
    TypeRef,
)
from cellmesh.cortex.model.entries import Form, Prop, TagProp, TypeUse, full_name
from cellmesh.cortex.model.loader import catalog_files, load_files
from cellmesh.cortex.model.runtime import RuntimeNode
from cellmesh.cortex.model.types import FAMILIES
from cellmesh.cortex.model.types.base import BaseType

__all__ = ["Form", "IdentityLookup", "Model", "Prop", "TagProp", "TypeUse", "full_name"]

CHAIN_LENGTH_MAX = 32
NEAR_MATCHES_MAX = 3
NEAR_MATCH_CUTOFF = 0.75
SHORT_NAME_LENGTH = 5
SHORT_MATCH_CUTOFF = 0.6
"""Two letters changed places make a short name look more different than a long one."""


class IdentityLookup(Protocol):
    """Users and roles by name, for types whose values are their idens."""

    def iden_of(self, kind: str, name: str) -> str | None:
        """Return the iden of a `user` or `role` by its name, or None."""
        ...

    def name_of(self, kind: str, iden: str) -> str | None:
        """Return the name of a `user` or `role` by its iden, or None."""
        ...


class Model:
    """Types, forms, properties, tag properties, edges and interfaces by name.

    Args:
        defs: What the model files define. Kept, and changed by the `add_` and `remove_` methods.
        identities: Where user and role names are looked up; without it only idens are accepted.
        clock: Where `now` comes from.
    """

    def __init__(
        self, defs: ModelDefs, identities: IdentityLookup | None = None, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self.defs = defs
        self.clock = clock
        self.identities = identities
        self.version = 0
        self._types: dict[str, BaseType] = {}
        self._derived: dict[tuple[str, str], BaseType] = {}
        self._forms: dict[str, Form] = {}
        self._universal: dict[str, Prop] = {}
        self._tagprops: dict[str, TagProp] = {}
        self._uses: dict[str, tuple[TypeUse, ...]] | None = None

    @classmethod
    def load(
        cls,
        extra: Iterable[Path] = (),
        *,
        catalog: Iterable[Path] | None = None,
        identities: IdentityLookup | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> Model:
        """Load the shipped catalog and further model files.

        Args:
            extra: More model files; what they define replaces what the catalog does.
            catalog: Model files in place of the shipped ones.
            identities: Where user and role names are looked up.
            clock: Where `now` comes from.
        """
        files = list(catalog if catalog is not None else catalog_files())
        return cls(load_files([*files, *extra]), identities, clock)

    # ------------------------------------------------------------------ types

    def type(self, name: str) -> BaseType:
        """Return a type by name.

        Raises:
            NoSuchType: the model has no such type.
        """
        found = self._types.get(name)
        if found is None:
            definition = self.defs.types.get(name)
            if definition is None:
                raise NoSuchType(f"no type named {name}", name=name, **_hint(name, self.defs.types))
            found = self._types[name] = self._compile(definition)
        return found

    def has_type(self, name: str) -> bool:
        """Whether a type of this name exists."""
        return name in self.defs.types

    def resolve(self, reference: TypeRef) -> BaseType:
        """Return the type a reference names, with the reference's options on top of its own."""
        if not reference.options:
            return self.type(reference.name)
        key = (reference.name, json.dumps(reference.options, sort_keys=True, default=str))
        found = self._derived.get(key)
        if found is None:
            base = self.type(reference.name)
            options = {**base.options, **reference.options}
            found = self._derived[key] = self._make(type(base), base.name, base.chain, options)
        return found

    def _compile(self, definition: TypeDef) -> BaseType:
        chain = [definition]
        while chain[-1].base != ROOT:
            base = self.defs.types.get(chain[-1].base)
            if base is None:
                raise NoSuchType(
                    f"{chain[-1].name} derives from {chain[-1].base}, which is no type", name=chain[-1].base
                )
            chain.append(base)
            if len(chain) > CHAIN_LENGTH_MAX:
                raise BadTypeDef("the bases of this type form a circle", name=definition.name)
        options: dict[str, object] = {}
        for step in reversed(chain):
            options.update(step.options)
        for step in chain:
            family = FAMILIES.get(step.name)
            if family is not None:
                return self._make(family, definition.name, tuple(item.name for item in chain), options)
        raise BadTypeDef(f"no code implements the type {chain[-1].name}", name=definition.name)

    def _make(
        self, family: Callable[..., BaseType], name: str, chain: tuple[str, ...], options: dict[str, object]
    ) -> BaseType:
        try:
            return family(name, chain, options, self)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, re.error) as error:
            # Options come from users, in any shape; each type reads its own.
            raise BadTypeDef(f"the options of the type {name} cannot be used: {error}", name=name) from error

    # ------------------------------------------------------------------ forms

    def form(self, name: str) -> Form | None:
        """Return a form by name, or None."""
        found = self._forms.get(name)
        if found is None:
            definition = self.defs.forms.get(name)
            if definition is None:
                return None
            found = self._forms[name] = self._compile_form(definition)
        return found

    def require_form(self, name: str) -> Form:
        """Return a form by name.

        Raises:
            NoSuchForm: the model has no such form; the hint names near ones.
        """
        found = self.form(name)
        if found is None:
            raise NoSuchForm(f"no form named {name}", name=name, **_hint(name, self.defs.forms))
        return found

    def is_form(self, name: str) -> bool:
        """Whether a form of this name exists."""
        return name in self.defs.forms

    def form_names(self) -> Iterable[str]:
        """Return the names of all forms, in no order."""
        return self.defs.forms.keys()

    def forms(self) -> Iterator[Form]:
        """Yield every form, in the order of their names."""
        for name in sorted(self.defs.forms):
            yield self.require_form(name)

    def forms_by_prefix(self, prefix: str) -> tuple[Form, ...]:
        """Return the forms whose name starts with a text, in the order of their names."""
        names = sorted(name for name in self.defs.forms if name.startswith(prefix))
        return tuple(self.require_form(name) for name in names)

    def forms_by_wildcard(self, pattern: str) -> tuple[Form, ...]:
        """Return the forms that a pattern such as `inet:*` stands for.

        Raises:
            NoSuchForm: there are none.
        """
        found = self.forms_by_prefix(pattern[:-1]) if pattern.endswith("*") else ()
        if not found:
            raise NoSuchForm(f"no form matches {pattern}", name=pattern)
        return found

    def forms_by_interface(self, name: str) -> tuple[Form, ...]:
        """Return the forms that carry an interface, in the order of their names."""
        return tuple(form for form in self.forms() if name in form.interfaces)

    def form_type(self, name: str) -> BaseType:
        """Return the type of a form's value; raises NoSuchForm."""
        return self.require_form(name).type

    def form_interfaces(self, name: str) -> tuple[str, ...]:
        """Return the interfaces a form carries; empty if there is no such form."""
        found = self.form(name)
        return found.interfaces if found is not None else ()

    def _compile_form(self, definition: FormDef) -> Form:
        type_definition = self.defs.types.get(definition.name)
        if type_definition is None:
            raise NoSuchType(f"the form {definition.name} has no type of its name", name=definition.name)
        interfaces = tuple(dict.fromkeys(self._with_inherited(type_definition.interfaces)))
        doc = definition.doc or type_definition.doc
        deprecated = definition.deprecated or type_definition.deprecated
        form = Form(definition, self.type(definition.name), interfaces, deprecated, doc)
        form.value_prop = Prop(
            self, form, PropDef("", TypeRef(definition.name), read_only=True, deprecated=deprecated, doc=doc)
        )
        for prop in self._prop_defs(definition):
            form.props[prop.name] = Prop(self, form, prop)
        return form

    def _prop_defs(self, definition: FormDef) -> Iterator[PropDef]:
        """Yield what a form's properties are made of: its own, those of interfaces, the universal ones."""
        type_definition = self.defs.types.get(definition.name)
        given = dict(definition.props)
        for name in self._with_inherited(type_definition.interfaces if type_definition else ()):
            for prop in self.defs.interfaces[name].props.values():
                if prop.name not in given and not prop.type.name.startswith("{"):
                    given[prop.name] = _for_form(prop, definition.name)
        yield from given.values()
        yield from self.defs.universal.values()

    def _with_inherited(self, names: Iterable[str]) -> Iterator[str]:
        for name in names:
            definition = self.interface(name)
            yield name
            yield from self._with_inherited(definition.interfaces)

    def interface(self, name: str) -> InterfaceDef:
        """Return an interface by name; raises BadFormDef if there is none."""
        found = self.defs.interfaces.get(name)
        if found is None:
            raise BadFormDef(f"no interface named {name}", name=name, **_hint(name, self.defs.interfaces))
        return found

    # ------------------------------------------------------------------ properties

    def prop(self, full_name: str) -> Prop | None:
        """Return a property by full name, or None.

        `inet:ipv4:asn` is a form's property, `inet:ipv4` the form's own value, `inet:ipv4.seen` a universal
        property of one form, `.seen` the universal property itself.
        """
        if full_name.startswith("."):
            return self._universal_prop(full_name)
        form = self.form(full_name)
        if form is not None:
            return form.value_prop
        owner, dot, name = full_name.partition(".")
        if dot:
            form = self.form(owner)
            return form.props.get(f".{name}") if form is not None else None
        end = len(full_name)
        while (end := full_name.rfind(":", 0, end)) > 0:
            form = self.form(full_name[:end])
            if form is not None and (found := form.props.get(full_name[end + 1 :])) is not None:
                return found
        return None

    def require_prop(self, full_name: str) -> Prop:
        """Return a property by full name.

        Raises:
            NoSuchProp: the model has no such property; the hint names near ones.
        """
        found = self.prop(full_name)
        if found is None:
            raise NoSuchProp(f"no property named {full_name}", name=full_name, **self._prop_hint(full_name))
        return found

    def require_form_prop(self, form: str, name: str) -> Prop:
        """Return a form's property by relative name; raises NoSuchForm or NoSuchProp."""
        owner = self.require_form(form)
        found = owner.props.get(name)
        if found is None:
            whole = full_name(form, name)
            raise NoSuchProp(
                f"{form} has no property {name}", form=form, name=whole, **_hint(name, owner.props)
            )
        return found

    def prop_type(self, full_name: str) -> BaseType:
        """Return the type of a property; raises NoSuchProp."""
        return self.require_prop(full_name).type

    def _universal_prop(self, name: str) -> Prop | None:
        found = self._universal.get(name)
        if found is None:
            definition = self.defs.universal.get(name)
            if definition is None:
                return None
            found = self._universal[name] = Prop(self, None, definition)
        return found

    def universal_props(self) -> tuple[Prop, ...]:
        """Return the universal properties."""
        return tuple(self.require_prop(name) for name in self.defs.universal)

    def require_universal(self, name: str) -> Prop:
        """Return a universal property by name, with or without its dot; raises NoSuchUniv."""
        found = self._universal_prop(name if name.startswith(".") else f".{name}")
        if found is None:
            raise NoSuchUniv(f"no universal property named {name}", name=name)
        return found

    def _prop_hint(self, name: str) -> dict[str, str]:
        end = len(name)
        while (end := name.rfind(":", 0, end)) > 0:
            form = self.form(name[:end])
            if form is not None:
                return _hint(name, [full_name(form.name, prop) for prop in form.props])
        return _hint(name, self.defs.forms)

    # ------------------------------------------------------------------ who holds a type

    def uses_of_type(self, name: str) -> tuple[TypeUse, ...]:
        """Return every property whose values, or array elements, are of exactly this type.

        Forms' own values are among them. The order is that of full names.
        """
        uses = self._uses
        if uses is None:
            uses = self._uses = self._find_uses()
        return uses.get(name, ())

    def props_by_type(self, name: str) -> tuple[Prop, ...]:
        """Return every property, and form value, whose type has exactly this name."""
        return tuple(use.prop for use in self.uses_of_type(name) if not use.is_array)

    def array_props_by_type(self, name: str) -> tuple[Prop, ...]:
        """Return every array property whose elements have a type of exactly this name."""
        return tuple(use.prop for use in self.uses_of_type(name) if use.is_array)

    def _find_uses(self) -> dict[str, tuple[TypeUse, ...]]:
        found: dict[str, list[TypeUse]] = {}
        for form in self.forms():
            found.setdefault(form.name, []).append(TypeUse(form.value_prop, False))
            for prop in form.props.values():
                found.setdefault(prop.type_name, []).append(TypeUse(prop, False))
                if (element := self._element_name(prop.definition.type)) is not None:
                    found.setdefault(element, []).append(TypeUse(prop, True))
        return {name: tuple(sorted(uses, key=_use_key)) for name, uses in found.items()}

    def _element_name(self, reference: TypeRef) -> str | None:
        name: str | None = reference.name
        for _ in range(CHAIN_LENGTH_MAX):
            if name == "array":
                return self.resolve(reference).element_name
            definition = self.defs.types.get(name or "")
            if definition is None or definition.base == ROOT:
                return None
            name = definition.base
        return None

    # ------------------------------------------------------------------ tag properties and edges

    def tagprop(self, name: str) -> TagProp | None:
        """Return a tag property by name, or None."""
        found = self._tagprops.get(name)
        if found is None:
            definition = self.defs.tagprops.get(name)
            if definition is None:
                return None
            found = self._tagprops[name] = TagProp(self, definition)
        return found

    def require_tagprop(self, name: str) -> TagProp:
        """Return a tag property by name; raises NoSuchTagProp."""
        found = self.tagprop(name)
        if found is None:
            raise NoSuchTagProp(f"no tag property named {name}", name=name, **_hint(name, self.defs.tagprops))
        return found

    def tagprops(self) -> tuple[TagProp, ...]:
        """Return every tag property, in the order of their names."""
        return tuple(self.require_tagprop(name) for name in sorted(self.defs.tagprops))

    def edge(self, source: str | None, verb: str, target: str | None) -> EdgeDef | None:
        """Return the definition of exactly this edge, or None. None for a form means any form."""
        return self.defs.edges.get((source, verb, target))

    def edges(self) -> tuple[EdgeDef, ...]:
        """Return every edge the model describes."""
        return tuple(self.defs.edges.values())

    def edges_of(self, source: str | None, target: str | None) -> tuple[EdgeDef, ...]:
        """Return the edges that may lead from nodes of one form to nodes of another."""
        return tuple(
            edge
            for edge in self.defs.edges.values()
            if edge.source in (None, source) and edge.target in (None, target)
        )

    # ------------------------------------------------------------------ runtime forms

    def runtime_nodes(self, form: str) -> Iterator[RuntimeNode]:
        """Yield the nodes of a runtime form that describe this model; none for forms made elsewhere."""
        return runtime.runtime_nodes(self, form)

    def runtime_node(self, form: str, value: str) -> RuntimeNode | None:
        """Return one node of a runtime form by its value, or None."""
        return runtime.runtime_node(self, form, value)

    # ------------------------------------------------------------------ users and roles

    def iden_of(self, kind: str, name: str) -> str | None:
        """Return the iden of a `user` or `role`, or None."""
        return self.identities.iden_of(kind, name) if self.identities is not None else None

    def name_of(self, kind: str, iden: str) -> str | None:
        """Return the name of a `user` or `role`, or None."""
        return self.identities.name_of(kind, iden) if self.identities is not None else None

    # ------------------------------------------------------------------ changes at run time

    def add_type(self, definition: TypeDef) -> BaseType:
        """Add a type; raises DupTypeName, NoSuchType (its base) or BadTypeDef (its options)."""
        if definition.name in self.defs.types:
            raise DupTypeName(f"a type named {definition.name} exists", name=definition.name)
        for name in definition.interfaces:
            self.interface(name)
        if definition.base != ROOT:
            self.type(definition.base)
        made = self._compile(definition)
        self.defs.types[definition.name] = definition
        self._changed()
        return made

    def add_form(self, definition: FormDef, type_definition: TypeDef | None = None) -> Form:
        """Add a form, with the type of its name unless that exists.

        Raises:
            DupFormName: the form exists.
            NoSuchType: the base type does not exist.
        """
        if definition.name in self.defs.forms:
            raise DupFormName(f"a form named {definition.name} exists", name=definition.name)
        if type_definition is not None:
            self.add_type(type_definition)
        self.defs.forms[definition.name] = definition
        try:
            made = self._compile_form(definition)
        except Exception:
            del self.defs.forms[definition.name]
            if type_definition is not None:
                del self.defs.types[type_definition.name]
            raise
        self._changed()
        return made

    def add_prop(self, form: str, definition: PropDef) -> Prop:
        """Add a property to a form; raises NoSuchForm, DupPropName or NoSuchType."""
        owner = self.require_form(form)
        if definition.name in owner.props:
            raise DupPropName(f"{form} has a property {definition.name}", name=definition.name, form=form)
        self.resolve(definition.type)
        old = self.defs.forms[form]
        self.defs.forms[form] = replace(old, props={**old.props, definition.name: definition})
        self._changed()
        return self.require_form_prop(form, definition.name)

    def add_universal(self, definition: PropDef) -> Prop:
        """Add a property to every form; its name starts with a dot. Raises DupPropName or NoSuchType."""
        if not definition.name.startswith("."):
            raise BadPropDef("the name of a universal property starts with a dot", name=definition.name)
        if definition.name in self.defs.universal:
            raise DupPropName(f"a universal property named {definition.name} exists", name=definition.name)
        self.resolve(definition.type)
        self.defs.universal[definition.name] = definition
        self._changed()
        return self.require_prop(definition.name)

    def add_tagprop(self, definition: TagPropDef) -> TagProp:
        """Add a tag property; raises DupTagPropName or NoSuchType."""
        if definition.name in self.defs.tagprops:
            raise DupPropName(f"a tag property named {definition.name} exists", name=definition.name)
        self.resolve(definition.type)
        self.defs.tagprops[definition.name] = definition
        self._changed()
        return self.require_tagprop(definition.name)

    def add_edge(self, definition: EdgeDef) -> EdgeDef:
        """Add an edge; raises DupEdgeType or NoSuchForm."""
        if not definition.verb:
            raise BadEdgeDef("an edge needs a verb")
        if definition.key in self.defs.edges:
            raise DupEdgeType(
                f"the edge {definition.key} exists",
                n1form=definition.source,
                verb=definition.verb,
                n2form=definition.target,
            )
        for form in (definition.source, definition.target):
            if form is not None:
                self.require_form(form)
        self.defs.edges[definition.key] = definition
        self._changed()
        return definition

    def remove_type(self, name: str) -> TypeDef:
        """Remove a type that no form, property or other type uses; raises NoSuchType or CantDelType."""
        if name not in self.defs.types:
            raise NoSuchType(f"no type named {name}", name=name)
        if (used := self._user_of_type(name)) is not None:
            raise CantDelType(f"{used} uses the type {name}", name=name)
        removed = self.defs.types.pop(name)
        self._changed()
        return removed

    def remove_form(self, name: str) -> FormDef:
        """Remove a form and its type; raises NoSuchForm or CantDelForm when a property holds its values.

        That no nodes of it are left is for the caller to check.
        """
        self.require_form(name)
        if (used := self._user_of_type(name, except_form=name)) is not None:
            raise CantDelForm(f"{used} uses the form {name}", name=name)
        removed = self.defs.forms.pop(name)
        self.defs.types.pop(name, None)
        self._changed()
        return removed

    def remove_prop(self, form: str, name: str) -> PropDef:
        """Remove a form's own property; raises NoSuchForm or NoSuchProp. Values are for the caller to remove."""
        self.require_form_prop(form, name)
        old = self.defs.forms[form]
        if name not in old.props:
            raise BadArg(f"{name} is not a property of {form} alone", name=full_name(form, name))
        kept = dict(old.props)
        removed = kept.pop(name)
        self.defs.forms[form] = replace(old, props=kept)
        self._changed()
        return removed

    def remove_universal(self, name: str) -> PropDef:
        """Remove a universal property; raises NoSuchUniv."""
        self.require_universal(name)
        removed = self.defs.universal.pop(name if name.startswith(".") else f".{name}")
        self._changed()
        return removed

    def remove_tagprop(self, name: str) -> TagPropDef:
        """Remove a tag property; raises NoSuchTagProp."""
        self.require_tagprop(name)
        removed = self.defs.tagprops.pop(name)
        self._changed()
        return removed

    def remove_edge(self, source: str | None, verb: str, target: str | None) -> EdgeDef:
        """Remove an edge; raises NoSuchEdge."""
        removed = self.defs.edges.pop((source, verb, target), None)
        if removed is None:
            raise NoSuchEdge(
                f"no edge {source or '*'} -({verb})> {target or '*'}", n1form=source, verb=verb, n2form=target
            )
        self._changed()
        return removed

    def _user_of_type(self, name: str, except_form: str = "") -> str | None:
        for definition in self.defs.types.values():
            if definition.base == name:
                return definition.name
        if not except_form and name in self.defs.forms:
            return name
        for use in self.uses_of_type(name):
            if use.prop.full_name != except_form and (
                use.prop.form is None or use.prop.form.name != except_form
            ):
                return use.prop.full_name
        for tagprop in self.defs.tagprops.values():
            if tagprop.type.name == name:
                return f"#:{tagprop.name}"
        return None

    def _changed(self) -> None:
        """Drop what was compiled: types and forms are compiled again when next asked for."""
        self.version += 1
        self._types = {}
        self._derived = {}
        self._forms = {}
        self._universal = {}
        self._tagprops = {}
        self._uses = None


def _for_form(prop: PropDef, form: str) -> PropDef:
    """Return an interface's property for one form: `$self` in its type becomes the form."""
    reference = prop.type
    if reference.name == "$self":
        return replace(prop, type=replace(reference, name=form))
    if reference.options.get("type") == "$self":
        options = {**reference.options, "type": form}
        return replace(prop, type=replace(reference, options=options))
    return prop


def _use_key(use: TypeUse) -> tuple[str, bool]:
    return (use.prop.full_name, use.is_array)


def _hint(name: str, known: Iterable[str] | Mapping[str, object]) -> dict[str, str]:
    cutoff = SHORT_MATCH_CUTOFF if len(name) <= SHORT_NAME_LENGTH else NEAR_MATCH_CUTOFF
    near = difflib.get_close_matches(name, list(known), NEAR_MATCHES_MAX, cutoff)
    return {"hint": f"did you mean {' or '.join(near)}?"} if near else {}
