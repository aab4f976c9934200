"""Names of interfaces and of their properties: they stand for those of all forms that carry the interface.

`inet:proto:request`, `inet:proto:request:flow=...`, `inet:proto:request#tag` lift so; filters, pivots and walks along
light edges take the names too. A form of the same name comes first. Interfaces have no values to compare with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cellmesh.cortex.model.registry import Form, Model, Prop


def forms_of(model: Model, name: str) -> tuple[Form, ...]:
    """Return the forms that carry an interface, in the order of their names; none if there is no such interface."""
    return model.forms_by_interface(name) if name in model.defs.interfaces else ()


def props_of(model: Model, name: str) -> tuple[Prop, ...]:
    """Return what `interface:prop` stands for, in the order of the forms; none if it is no such name."""
    known = model.defs.interfaces
    end = name.rfind(":")
    while end > 0:
        if name[:end] in known:
            inner = name[end + 1 :]
            if inner not in known[name[:end]].props:
                return ()
            found = (form.props.get(inner) for form in forms_of(model, name[:end]))
            return tuple(prop for prop in found if prop is not None)
        end = name.rfind(":", 0, end)
    return ()


def named_props(model: Model, name: str) -> tuple[Prop, ...]:
    """Return the properties that a name of an interface or of its property stands for, forms as that of their value."""
    return tuple(form.value_prop for form in forms_of(model, name)) or props_of(model, name)
