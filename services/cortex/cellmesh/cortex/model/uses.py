"""Who holds values of a type: properties, forms, elements of arrays."""

from __future__ import annotations

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
