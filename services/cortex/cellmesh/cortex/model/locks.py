"""Locks on deprecated names: a locked form cannot be made and a locked property cannot be set any more."""

from __future__ import annotations

from collections.abc import Iterable

from cellmesh.common.errors import IsDeprLocked, NoSuchProp
from cellmesh.cortex.model.registry import Form, Model, Prop


class DeprecationLocks:
    """Which deprecated names are locked. Starts with none locked; keeping the set is for the caller.

    Args:
        model: Where names are looked up.
        locked: The names locked so far.
    """

    def __init__(self, model: Model, locked: Iterable[str] = ()) -> None:
        self.model = model
        self._locked = set(locked)

    def set(self, name: str, locked: bool) -> None:
        """Lock or unlock a deprecated form, property or type by its full name.

        Raises:
            NoSuchProp: nothing of this name is deprecated.
        """
        if not self.is_deprecated(name):
            raise NoSuchProp(f"nothing deprecated is named {name}", name=name)
        if locked:
            self._locked.add(name)
        else:
            self._locked.discard(name)

    def is_deprecated(self, name: str) -> bool:
        """Whether a form, property or type of this full name is deprecated."""
        prop = self.model.prop(name)
        if prop is not None and prop.deprecated:
            return True
        definition = self.model.defs.types.get(name)
        return definition is not None and definition.deprecated

    def all(self) -> dict[str, bool]:
        """Return every deprecated form and property by full name, and whether it is locked."""
        found: dict[str, bool] = {}
        for form in self.model.forms():
            for prop in (form.value_prop, *form.props.values()):
                if prop.deprecated:
                    found[prop.full_name] = prop.full_name in self._locked
        return found

    def locked(self) -> frozenset[str]:
        """Return the names that are locked."""
        return frozenset(self._locked)

    def check(self, used: Form | Prop) -> None:
        """Refuse to make a node of a locked form, or to set a locked property.

        Raises:
            IsDeprLocked: it is locked.
        """
        name = used.name if isinstance(used, Form) else used.full_name
        if self._locked and name in self._locked:
            raise IsDeprLocked(f"{name} is deprecated and locked", prop=name)
