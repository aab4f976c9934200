"""How each property is indexed: its number's name and how its values become key bytes."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cellmesh.common.errors import CellError
from cellmesh.cortex.model.definitions import TypeRef
from cellmesh.cortex.model.registry import Form, Model, Prop, TagProp, full_name
from cellmesh.cortex.model.types.base import BaseType

WRONG_KIND: Final = (CellError, TypeError, ValueError, AttributeError, OverflowError, struct.error)
"""What encoding a value raises that is none of a type."""


@dataclass(frozen=True, slots=True)
class PropIndex:
    """How a property is indexed.

    Attributes:
        name: The name under which index keys hold it: universal properties have one for all forms.
        encode: Makes the key bytes of a stored value.
        encode_element: The same for one element, if values are arrays.
        former: For a property that had another type before, the same two by each of its types, the one of today first:
            an entry of a value from then is found by its type. The two above take values of all of them.
    """

    name: str
    encode: Callable[[Any], bytes]
    encode_element: Callable[[Any], bytes] | None
    former: tuple[tuple[Callable[[Any], bytes], Callable[[Any], bytes] | None], ...] = ()


@dataclass(frozen=True, slots=True)
class TagPropIndex:
    """How a tag property is indexed.

    Attributes:
        encode: Makes the key bytes of a stored value.
        former: For one that had another type before, or another name, what makes them by each of its types.
    """

    encode: Callable[[Any], bytes]
    former: tuple[Callable[[Any], bytes], ...] = ()


class IndexCatalog:
    """What the model says about indexes, looked up by the names that edits hold.

    Attributes:
        former_forms: Forms that the model no longer has, each with what it is called now.
        former_tag_props: The same of tag properties.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self._version = model.version
        self._props: dict[tuple[str, str], PropIndex | None] = {}
        self._tag_props: dict[str, TagPropIndex | None] = {}
        self._former: dict[tuple[str, str], tuple[TypeRef, ...]] = {}
        self._former_tag_types: dict[str, tuple[TypeRef, ...]] = {}
        self.former_forms: dict[str, str] = {}
        self.former_tag_props: dict[str, str] = {}

    def add_former(self, form: str, name: str, type_ref: TypeRef) -> None:
        """Note what type a property has had before, or one that the model no longer has."""
        known = self._former.get((form, name), ())
        if type_ref not in known:
            self._former[form, name] = (*known, type_ref)
            self._props.clear()

    def add_former_tag_prop(self, name: str, now: str, type_ref: TypeRef) -> None:
        """Note what a tag property that the model no longer has is called now, and the type that it had."""
        self.former_tag_props[name] = now
        known = self._former_tag_types.get(name, ())
        if type_ref not in known:
            self._former_tag_types[name] = (*known, type_ref)
            self._tag_props.clear()

    @property
    def has_former(self) -> bool:
        """Whether anything was called otherwise, or had another type, before."""
        return bool(self._former or self.former_forms or self.former_tag_props)

    def is_former(self, form: str, name: str) -> bool:
        """Whether a property had another type, or another name, before."""
        return (form, name) in self._former

    def form_now(self, name: str) -> Form | None:
        """Return a form by its name, or by one that it had before; None if there is none."""
        return self.model.form(name) or self.model.form(self.former_forms.get(name, name))

    def add_former_form(self, name: str, now: str) -> None:
        """Note what a form that the model no longer has is called now: its properties were those of that one."""
        self.former_forms[name] = now
        self._props.clear()

    def prop(self, form: str, name: str) -> PropIndex | None:
        """Return how a property is indexed; an empty name is the form's own value.

        None for one that the model does not know (any more): it is kept in records, but not indexed.
        """
        if self._version != self.model.version:
            self._props.clear()
            self._tag_props.clear()
            self._version = self.model.version
        key = (form, name)
        try:
            return self._props[key]
        except KeyError:
            found = self._props[key] = self._find(form, name)
            return found

    def _find(self, form_name: str, name: str) -> PropIndex | None:
        form = self.model.form(form_name)
        prop = None if form is None else _prop_of(form, name)
        is_former = (form_name, name) in self._former or (form is None and form_name in self.former_forms)
        if not is_former:
            return None if prop is None else index_of(prop)
        types = self.types_of(form_name, name)
        if not types:
            return None
        index = full_name(form_name, name) if prop is None else index_name(prop)
        if form is None and name in self.model.defs.universal:
            index = name
        encoders = tuple(
            (type_.encode, None if type_.element is None else type_.element.encode) for type_ in types
        )
        elements = [encode for _, encode in encoders if encode is not None]
        return PropIndex(
            index,
            _first_of([encode for encode, _ in encoders]),
            _first_of(elements) if elements else None,
            encoders,
        )

    def types_of(self, form_name: str, name: str) -> list[BaseType]:
        """Return the types that a property has, or had: that of today first."""
        form = self.model.form(form_name)
        prop = None if form is None else _prop_of(form, name)
        types = [] if prop is None else [prop.type]
        types += [self.model.resolve(ref) for ref in reversed(self._former.get((form_name, name), ()))]
        now = self.former_forms.get(form_name) if form is None else None
        return types if now is None else types + self.types_of(now, name)

    def tag_prop(self, name: str) -> TagPropIndex | None:
        """Return how a tag property is indexed, or None if the model does not know it."""
        if self._version != self.model.version or name not in self._tag_props:
            if self._version != self.model.version:
                self._props.clear()
                self._tag_props.clear()
                self._version = self.model.version
            self._tag_props[name] = self._find_tag_prop(name)
        return self._tag_props[name]

    def _find_tag_prop(self, name: str) -> TagPropIndex | None:
        found = self.model.tagprop(name)
        former = self._former_tag_types.get(name, ())
        types = [] if found is None else [found.type]
        types += [self.model.resolve(type_ref) for type_ref in reversed(former)]
        if not types:
            return None
        encoders = [type_.encode for type_ in types]
        return TagPropIndex(_first_of(encoders), tuple(encoders) if former else ())


def _first_of(encoders: Sequence[Callable[[Any], bytes]]) -> Callable[[Any], bytes]:
    """Return what makes key bytes by the first type that has such a value."""
    if len(encoders) == 1:
        return encoders[0]

    def encode(value: Any) -> bytes:
        for encoder in encoders[:-1]:
            try:
                return encoder(value)
            except WRONG_KIND:
                continue
        return encoders[-1](value)

    return encode


def _prop_of(form: Form, name: str) -> Prop | None:
    return form.props.get(name) if name else form.value_prop


def index_name(prop: Prop) -> str:
    """Return the name under which index keys hold a property."""
    return prop.name if prop.is_universal else prop.full_name


def index_of(prop: Prop) -> PropIndex:
    """Return how a property of the model is indexed."""
    type_ = prop.type
    element = type_.element
    return PropIndex(index_name(prop), type_.encode, None if element is None else element.encode)


__all__ = [
    "Form",
    "IndexCatalog",
    "Model",
    "Prop",
    "PropIndex",
    "TagProp",
    "TagPropIndex",
    "index_name",
    "index_of",
]
