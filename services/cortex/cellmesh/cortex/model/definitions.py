"""What a model is made of, as plain values: what catalog files say and what users add at run time.

A definition only names things; `registry.Model` resolves the names and compiles types when they are used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

Options = Mapping[str, Any]

NO_OPTIONS: Options = MappingProxyType({})
ROOT = "base"


@dataclass(frozen=True, slots=True)
class TypeRef:
    """A use of a type: its name, and options that differ from the type's own."""

    name: str
    options: Options = field(default_factory=lambda: NO_OPTIONS)


@dataclass(frozen=True, slots=True)
class TypeDef:
    """A named type.

    Attributes:
        name: Full name, such as `inet:asn`.
        base: The type it derives from; `base` for the roots, which are implemented in code.
        options: Options set on top of those of the base.
        interfaces: Interfaces that a form of this type carries.
        deprecated: Whether new data should not use it.
        doc: One or two sentences.
    """

    name: str
    base: str = ROOT
    options: Options = field(default_factory=lambda: NO_OPTIONS)
    interfaces: tuple[str, ...] = ()
    deprecated: bool = False
    doc: str = ""


@dataclass(frozen=True, slots=True)
class PropDef:
    """A property of a form, of an interface, or of every form (then the name starts with a dot)."""

    name: str
    type: TypeRef
    read_only: bool = False
    deprecated: bool = False
    doc: str = ""


@dataclass(frozen=True, slots=True)
class FormDef:
    """A form: nodes whose value has the type of the same name.

    Attributes:
        name: The form, and its type.
        props: Properties by name, without those that come from interfaces or that all forms have.
        runtime: Whether nodes are made on the fly and cannot be edited.
    """

    name: str
    props: Mapping[str, PropDef] = field(default_factory=dict)
    runtime: bool = False
    deprecated: bool = False
    doc: str = ""


@dataclass(frozen=True, slots=True)
class InterfaceDef:
    """Properties shared by several forms. A property type of `$self` stands for the form itself."""

    name: str
    props: Mapping[str, PropDef] = field(default_factory=dict)
    interfaces: tuple[str, ...] = ()
    doc: str = ""


@dataclass(frozen=True, slots=True)
class EdgeDef:
    """A light edge that the model describes; None stands for any form."""

    source: str | None
    verb: str
    target: str | None
    doc: str = ""

    @property
    def key(self) -> tuple[str | None, str, str | None]:
        """What makes the edge unique: source form, verb, target form."""
        return (self.source, self.verb, self.target)


@dataclass(frozen=True, slots=True)
class TagPropDef:
    """A property that any tag on any node may carry."""

    name: str
    type: TypeRef
    doc: str = ""


@dataclass(slots=True)
class ModelDefs:
    """Everything a set of model files defines, by name."""

    types: dict[str, TypeDef] = field(default_factory=dict)
    forms: dict[str, FormDef] = field(default_factory=dict)
    interfaces: dict[str, InterfaceDef] = field(default_factory=dict)
    universal: dict[str, PropDef] = field(default_factory=dict)
    tagprops: dict[str, TagPropDef] = field(default_factory=dict)
    edges: dict[tuple[str | None, str, str | None], EdgeDef] = field(default_factory=dict)
