"""What look-ups in the model give: forms, properties and tag properties, with their types at hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from cellmesh.cortex.model.definitions import FormDef, PropDef, TagPropDef, TypeRef
from cellmesh.cortex.model.types.base import BaseType


class TypeResolver(Protocol):
    """Where the types of properties are looked up."""

    def resolve(self, reference: TypeRef) -> BaseType:
        """Return the type that a reference names."""
        ...


class Form:
    """A form with its properties compiled.

    Attributes:
        name: Full name, which is also that of its type.
        props: Properties by relative name (`asn`, `.seen`), universal ones included.
        interfaces: Every interface it carries, inherited ones included.
        is_runtime: Whether its nodes are made on the fly and cannot be edited.
    """

    __slots__ = (
        "definition",
        "deprecated",
        "doc",
        "interfaces",
        "is_extended",
        "is_runtime",
        "name",
        "props",
        "type",
        "value_prop",
    )

    def __init__(
        self, definition: FormDef, type: BaseType, interfaces: tuple[str, ...], deprecated: bool, doc: str
    ) -> None:
        self.definition = definition
        self.name = definition.name
        self.type = type
        self.interfaces = interfaces
        self.is_runtime = definition.runtime
        self.is_extended = definition.name.startswith("_")
        self.deprecated = deprecated
        self.doc = doc
        self.props: dict[str, Prop] = {}
        self.value_prop: Prop

    def __repr__(self) -> str:
        return f"<Form {self.name}>"

    def prop(self, name: str) -> Prop | None:
        """Return a property by its relative name, such as `asn` or `.seen`."""
        return self.props.get(name)


class Prop:
    """A property, or a form's own value seen as one (`name` is empty then).

    Attributes:
        form: The form, or None for a universal property itself.
        name: Relative name: `asn`, `.seen`, or empty.
        full_name: `inet:ipv4:asn`, `inet:ipv4.seen`, `.seen` or `inet:ipv4`.
    """

    __slots__ = (
        "_type",
        "definition",
        "deprecated",
        "doc",
        "form",
        "full_name",
        "is_extended",
        "is_form",
        "is_universal",
        "model",
        "name",
        "read_only",
    )

    def __init__(self, model: TypeResolver, form: Form | None, definition: PropDef) -> None:
        self.model = model
        self.form = form
        self.definition = definition
        self.name = definition.name
        self.is_form = not definition.name
        self.is_universal = definition.name.startswith(".")
        self.full_name = full_name(form.name if form is not None else "", definition.name)
        self.read_only = definition.read_only
        self.deprecated = definition.deprecated
        self.doc = definition.doc
        self.is_extended = definition.name.lstrip(".").startswith("_")
        self._type: BaseType | None = form.type if form is not None and self.is_form else None

    def __repr__(self) -> str:
        return f"<Prop {self.full_name}>"

    @property
    def type(self) -> BaseType:
        """The property's type, compiled when first asked for."""
        if self._type is None:
            self._type = self.model.resolve(self.definition.type)
        return self._type

    @property
    def type_name(self) -> str:
        """The name of the type, without compiling it."""
        return self.definition.type.name

    @property
    def is_array(self) -> bool:
        """Whether values are arrays."""
        return self.type.is_array

    def sub_prop(self, sub: str) -> Prop | None:
        """Return the property that a sub-value of this one fills: `src` and `port` give `src:port`."""
        if self.form is None:
            return None
        return self.form.props.get(f"{self.name}:{sub}" if self.name else sub)


@dataclass(frozen=True, slots=True)
class TypeUse:
    """Where values of a type are held: a property, as its value or as elements of its array."""

    prop: Prop
    is_array: bool


class TagProp:
    """A property that tags may carry."""

    __slots__ = ("definition", "doc", "model", "name", "type")

    def __init__(self, model: TypeResolver, definition: TagPropDef) -> None:
        self.model = model
        self.definition = definition
        self.name = definition.name
        self.doc = definition.doc
        self.type = model.resolve(definition.type)

    def __repr__(self) -> str:
        return f"<TagProp {self.name}>"


def full_name(form: str, name: str) -> str:
    """Return the full name of a form's property: `inet:ipv4:asn`, `inet:ipv4.seen`."""
    if not name:
        return form
    return f"{form}{name}" if name.startswith(".") else f"{form}:{name}"
