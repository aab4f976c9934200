"""How each property is indexed: its number's name and how its values become key bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cellmesh.cortex.model.registry import Form, Model, Prop, TagProp


@dataclass(frozen=True, slots=True)
class PropIndex:
    """How a property is indexed.

    Attributes:
        name: The name under which index keys hold it: universal properties have one for all forms.
        encode: Makes the key bytes of a stored value.
        encode_element: The same for one element, if values are arrays.
    """

    name: str
    encode: Callable[[Any], bytes]
    encode_element: Callable[[Any], bytes] | None


class IndexCatalog:
    """What the model says about indexes, looked up by the names that edits hold."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._version = model.version
        self._props: dict[tuple[str, str], PropIndex | None] = {}
        self._tag_props: dict[str, Callable[[Any], bytes] | None] = {}

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
        return None if prop is None else index_of(prop)

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


def index_name(prop: Prop) -> str:
    """Return the name under which index keys hold a property."""
    return prop.name if prop.is_universal else prop.full_name


def index_of(prop: Prop) -> PropIndex:
    """Return how a property of the model is indexed."""
    type_ = prop.type
    element = type_.element
    return PropIndex(index_name(prop), type_.encode, None if element is None else element.encode)


__all__ = ["Form", "IndexCatalog", "Model", "Prop", "PropIndex", "TagProp", "index_name", "index_of"]
