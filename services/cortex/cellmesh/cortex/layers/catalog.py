"""How each property is indexed: its number's name and how its values become key bytes."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cellmesh.common.errors import CellError
from cellmesh.cortex.model.definitions import TypeRef
from cellmesh.cortex.model.registry import Form, Model, Prop, TagProp

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


class IndexCatalog:
    """What the model says about indexes, looked up by the names that edits hold."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._version = model.version
        self._props: dict[tuple[str, str], PropIndex | None] = {}
        self._tag_props: dict[str, Callable[[Any], bytes] | None] = {}
        self._former: dict[tuple[str, str], tuple[TypeRef, ...]] = {}

    def add_former(self, form: str, name: str, type_ref: TypeRef) -> None:
        """Note what type a property has had before, or one that the model no longer has."""
        known = self._former.get((form, name), ())
        if type_ref not in known:
            self._former[form, name] = (*known, type_ref)
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
        if form is None:
            return None
        prop = form.props.get(name) if name else form.value_prop
        former = self._former.get((form_name, name))
        if former is None:
            return None if prop is None else index_of(prop)
        types = [self.model.resolve(type_ref) for type_ref in reversed(former)]
        if prop is not None:
            types.insert(0, prop.type)
        encoders = tuple(
            (type_.encode, None if type_.element is None else type_.element.encode) for type_ in types
        )
        elements = [encode for _, encode in encoders if encode is not None]
        return PropIndex(
            f"{form_name}:{name}" if prop is None else index_name(prop),
            _first_of([encode for encode, _ in encoders]),
            _first_of(elements) if elements else None,
            encoders,
        )

    def tag_prop(self, name: str) -> Callable[[Any], bytes] | None:
        """Return what makes key bytes of a tag property's values, or None if the model does not know it."""
        if self._version != self.model.version or name not in self._tag_props:
            if self._version != self.model.version:
                self._props.clear()
                self._tag_props.clear()
                self._version = self.model.version
            found = self.model.tagprop(name)
            self._tag_props[name] = None if found is None else found.type.encode
        return self._tag_props[name]


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


def index_name(prop: Prop) -> str:
    """Return the name under which index keys hold a property."""
    return prop.name if prop.is_universal else prop.full_name


def index_of(prop: Prop) -> PropIndex:
    """Return how a property of the model is indexed."""
    type_ = prop.type
    element = type_.element
    return PropIndex(index_name(prop), type_.encode, None if element is None else element.encode)


__all__ = ["Form", "IndexCatalog", "Model", "Prop", "PropIndex", "TagProp", "index_name", "index_of"]
