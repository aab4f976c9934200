"""Values that name a form, with the form's new name: references to nodes of any form, to properties, and what is made of them."""

from __future__ import annotations

from typing import Any, Final

from cellmesh.cortex.layers.catalog import IndexCatalog
from cellmesh.cortex.model.types.base import Type
from cellmesh.cortex.model.types.composites import NdefType, NodePropType

PAIR_SIZE: Final = 2


class FormNames:
    """One form's rename in values.

    Args:
        catalog: Knows the forms of the model, and what they were called before.
        old, new: The names. The new one need not be that of today.
    """

    def __init__(self, catalog: IndexCatalog, old: str, new: str) -> None:
        self._catalog = catalog
        self._old = old
        self._new = new
        self.mark = old.encode()

    def may_hold(self, type_: Type) -> bool:
        """Whether values of a type can name a form."""
        if (
            isinstance(type_, NdefType | NodePropType)
            or "syn:form" in type_.chain
            or "syn:prop" in type_.chain
        ):
            return True
        if type_.element is not None:
            return self.may_hold(type_.element)
        return any(self.may_hold(part) for _, part in type_.fields)

    def value(self, type_: Type, value: Any) -> Any:
        """Return a stored value with the new name; the value itself if it does not hold the old one.

        What is inside of data of no type (`data`) is nobody's to change.
        """
        if isinstance(type_, NdefType):
            return self._ndef(value)
        if isinstance(type_, NodePropType):
            return self._node_prop(value)
        if isinstance(value, str):
            if "syn:form" in type_.chain:
                return self._new if value == self._old else value
            return self._prop_name(value) if "syn:prop" in type_.chain else value
        if not isinstance(value, tuple | list):
            return value
        element = type_.element
        if element is not None:
            items = [self.value(element, item) for item in value]
            if _are_same(items, value):
                return value
            # Where elements are sorted by value the new name may stand elsewhere.
            arrange = getattr(type_, "arrange", tuple)
            return arrange(items)
        fields = type_.fields
        if len(fields) != len(value):
            return value
        items = [self.value(part, item) for (_, part), item in zip(fields, value, strict=True)]
        return value if _are_same(items, value) else tuple(items)

    def _ndef(self, value: Any) -> Any:
        if not isinstance(value, tuple | list) or len(value) != PAIR_SIZE:
            return value
        form_name, inner = value
        if not isinstance(form_name, str):
            return value
        name = self._new if form_name == self._old else form_name
        form = self._catalog.form_now(name)
        fresh = inner if form is None else self.value(form.type, inner)
        return value if fresh is inner and name == form_name else (name, fresh)

    def _node_prop(self, value: Any) -> Any:
        if not isinstance(value, tuple | list) or len(value) != PAIR_SIZE or not isinstance(value[0], str):
            return value
        prop_name, inner = value
        form_name, name = self._split(prop_name)
        fresh = inner
        for type_ in self._catalog.types_of(form_name, name):
            fresh = self.value(type_, inner)
            if fresh is not inner:
                break
        renamed = self._prop_name(prop_name)
        return value if fresh is inner and renamed == prop_name else (renamed, fresh)

    def _prop_name(self, name: str) -> str:
        form_name, _ = self._split(name)
        return self._new + name.removeprefix(self._old) if form_name == self._old else name

    def _split(self, name: str) -> tuple[str, str]:
        """Return the form of a property's full name, and its name; `inet:web:acct` is a form, though `inet:web` may be, too."""
        end = len(name)
        while end > 0:
            if self._catalog.form_now(name[:end]) is not None:
                return name[:end], name[end:].removeprefix(":")
            end = max(name.rfind(":", 0, end), name.rfind(".", 0, end))
        return "", name


def _are_same(items: list[Any], value: Any) -> bool:
    return all(one is other for one, other in zip(items, value, strict=True))
