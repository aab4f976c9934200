"""Who holds values of a type: properties, forms, elements of arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cellmesh.cortex.model.definitions import ROOT, TypeRef
from cellmesh.cortex.model.entries import TypeUse
from cellmesh.cortex.model.type_table import CHAIN_LENGTH_MAX

if TYPE_CHECKING:
    from cellmesh.cortex.model.registry import Model


def find_uses(model: Model) -> dict[str, tuple[TypeUse, ...]]:
    """Return, by the names of types, every property whose values or array elements are of exactly that type.

    Forms' own values are among them. The order of each is that of full names.
    """
    found: dict[str, list[TypeUse]] = {}
    for form in model.forms():
        found.setdefault(form.name, []).append(TypeUse(form.value_prop, False))
        for prop in form.props.values():
            found.setdefault(prop.type_name, []).append(TypeUse(prop, False))
            if (element := _element_name(model, prop.definition.type)) is not None:
                found.setdefault(element, []).append(TypeUse(prop, True))
    return {name: tuple(sorted(uses, key=_use_key)) for name, uses in found.items()}


def uses_of_derived(model: Model, uses: dict[str, tuple[TypeUse, ...]], name: str) -> tuple[TypeUse, ...]:
    """Return those of what `find_uses` gave that are of a type, or of one derived from it, by full names."""
    found: list[TypeUse] = []
    for kind, of_kind in uses.items():
        if name in _bases(model, kind):
            found.extend(of_kind)
    return tuple(sorted(found, key=_use_key))


def _bases(model: Model, name: str) -> Iterator[str]:
    """Yield a type's name and those of its bases."""
    for _ in range(CHAIN_LENGTH_MAX):
        yield name
        definition = model.defs.types.get(name)
        if definition is None or definition.base == ROOT:
            return
        name = definition.base


def _element_name(model: Model, reference: TypeRef) -> str | None:
    name: str | None = reference.name
    for _ in range(CHAIN_LENGTH_MAX):
        if name == "array":
            return model.resolve(reference).element_name
        definition = model.defs.types.get(name or "")
        if definition is None or definition.base == ROOT:
            return None
        name = definition.base
    return None


def _use_key(use: TypeUse) -> tuple[str, bool]:
    return (use.prop.full_name, use.is_array)
