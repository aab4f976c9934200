"""The compiled model: what the editor, the layers and the query engine look names up in.

Forms and types are compiled when first asked for, so that loading the whole catalog is cheap. Reads may
come from many threads; changes come from one at a time (the writer), and take effect for the next look-up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from cellmesh.common.errors import BadFormDef, NoSuchForm, NoSuchProp, NoSuchTagProp, NoSuchUniv
from cellmesh.common.time.clock import SYSTEM_CLOCK, Clock
from cellmesh.cortex.model import runtime
from cellmesh.cortex.model.definitions import EdgeDef, InterfaceDef, ModelDefs, TypeRef
from cellmesh.cortex.model.entries import Form, Prop, TagProp, TypeUse, full_name
from cellmesh.cortex.model.forms import compile_form
from cellmesh.cortex.model.hints import hint_of
from cellmesh.cortex.model.loader import catalog_files, load_files
from cellmesh.cortex.model.runtime import RuntimeNode
from cellmesh.cortex.model.type_table import TypeTable
from cellmesh.cortex.model.types.base import BaseType
from cellmesh.cortex.model.uses import find_uses, uses_of_derived

__all__ = ["Form", "IdentityLookup", "Model", "Prop", "TagProp", "TypeUse", "full_name"]


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
        defs: What the model files define. Kept, and changed by `ModelChanges`.
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
        self.types = TypeTable(defs, self)
        self._forms: dict[str, Form] = {}
        self._universal: dict[str, Prop] = {}
        self._tagprops: dict[str, TagProp] = {}
        self._uses: dict[str, tuple[TypeUse, ...]] | None = None
        self._uses_of_kind: dict[str, tuple[TypeUse, ...]] = {}

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
        return self.types.type(name)

    def has_type(self, name: str) -> bool:
        """Whether a type of this name exists."""
        return name in self.defs.types

    def resolve(self, reference: TypeRef) -> BaseType:
        """Return the type a reference names, with the reference's options on top of its own."""
        return self.types.resolve(reference)

    # ------------------------------------------------------------------ forms

    def form(self, name: str) -> Form | None:
        """Return a form by name, or None."""
        found = self._forms.get(name)
        if found is None:
            definition = self.defs.forms.get(name)
            if definition is None:
                return None
            found = self._forms[name] = compile_form(self, definition)
        return found

    def require_form(self, name: str) -> Form:
        """Return a form by name.

        Raises:
            NoSuchForm: the model has no such form; the hint names near ones.
        """
        found = self.form(name)
        if found is None:
            raise NoSuchForm(f"no form named {name}", name=name, **hint_of(name, self.defs.forms))
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

    def interface(self, name: str) -> InterfaceDef:
        """Return an interface by name; raises BadFormDef if there is none."""
        found = self.defs.interfaces.get(name)
        if found is None:
            raise BadFormDef(f"no interface named {name}", name=name, **hint_of(name, self.defs.interfaces))
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
                f"{form} has no property {name}", form=form, name=whole, **hint_of(name, owner.props)
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
                return hint_of(name, [full_name(form.name, prop) for prop in form.props])
        return hint_of(name, self.defs.forms)

    # ------------------------------------------------------------------ who holds a type

    def uses_of_type(self, name: str) -> tuple[TypeUse, ...]:
        """Return every property whose values, or array elements, are of exactly this type.

        Forms' own values are among them. The order is that of full names.
        """
        uses = self._uses
        if uses is None:
            uses = self._uses = find_uses(self)
        return uses.get(name, ())

    def uses_of_kind(self, name: str) -> tuple[TypeUse, ...]:
        """Return every property whose values, or array elements, are of this type or of one derived from it."""
        found = self._uses_of_kind.get(name)
        if found is None:
            self.uses_of_type(name)
            found = self._uses_of_kind[name] = uses_of_derived(self, self._uses or {}, name)
        return found

    def props_by_type(self, name: str) -> tuple[Prop, ...]:
        """Return every property, and form value, whose type has exactly this name."""
        return tuple(use.prop for use in self.uses_of_type(name) if not use.is_array)

    def array_props_by_type(self, name: str) -> tuple[Prop, ...]:
        """Return every array property whose elements have a type of exactly this name."""
        return tuple(use.prop for use in self.uses_of_type(name) if use.is_array)

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
            raise NoSuchTagProp(
                f"no tag property named {name}", name=name, **hint_of(name, self.defs.tagprops)
            )
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

    def changed(self) -> None:
        """Drop what was compiled, as definitions have changed: it is compiled again when next asked for."""
        self.version += 1
        self.types.forget()
        self._forms = {}
        self._universal = {}
        self._tagprops = {}
        self._uses = None
        self._uses_of_kind = {}
