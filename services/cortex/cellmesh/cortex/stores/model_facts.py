"""What is kept of the model: locks of deprecated names, what is said of edge verbs, and what users added."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from cellmesh.common.errors import CellError, NoSuchProp
from cellmesh.cortex.model import DeprecationLocks, Model
from cellmesh.cortex.model.extensions import Extensions
from cellmesh.cortex.stores.changes import Access, Changes
from cellmesh.cortex.stores.named import NamedValues
from cellmesh.cortex.stores.schema import DEPRECATION_LOCKS, EDGE_VERBS, MODEL_EXTENSIONS

T = TypeVar("T")

EDGE_KEYS = ("doc",)
"""What can be said of an edge verb."""

_WHOLE = "model"


class Locks(NamedValues):
    """Locks of deprecated names. `rules` is what edits are checked by."""

    def __init__(self, changes: Changes, model: Model) -> None:
        super().__init__(DEPRECATION_LOCKS, changes, "deprecated name")
        self.rules = DeprecationLocks(model)

    def take(self, names: list[str]) -> None:
        """Take what is stored; names that are deprecated no more stay stored, without effect."""
        self.rules = DeprecationLocks(self.rules.model, names)

    def set(self, access: Access, name: str, is_locked: bool) -> None:
        """Lock or unlock a name, durable on return; raises NoSuchProp if it is not deprecated."""
        if not self.rules.is_deprecated(name):
            raise NoSuchProp(f"nothing deprecated is named {name}", name=name)
        if is_locked:
            self.put(access, name, True)
        else:
            self.pop(access, name)
        access.sync()
        self.rules.set(name, is_locked)


class EdgeVerbs(NamedValues):
    """What is said of edge verbs."""

    def __init__(self, changes: Changes) -> None:
        super().__init__(EDGE_VERBS, changes, "edge verb")

    def say(self, access: Access, verb: str, key: str, text: str) -> None:
        """Say something of a verb; raises NoSuchProp."""
        known = dict(self.get(access, verb) or {})
        self.put(access, verb, {**known, _edge_key(key): text})

    def unsay(self, access: Access, verb: str, key: str) -> None:
        """Take back what was said of a verb; raises NoSuchProp if nothing was."""
        known = dict(self.get(access, verb) or {})
        if _edge_key(key) not in known:
            raise NoSuchProp(f"nothing named {key} is said of the verb {verb}", name=key)
        del known[key]
        self.put(access, verb, known)


def _edge_key(key: str) -> str:
    if key not in EDGE_KEYS:
        raise NoSuchProp(f"of a verb can be said: {', '.join(EDGE_KEYS)}; not {key}", name=key)
    return key


class KeptExtensions:
    """Extends the model, and keeps what was added. Used for one query; see `Extensions`.

    A change takes effect when it is durable; if storing it fails, the model is put back.
    """

    def __init__(self, model: Model, values: NamedValues, access: Access) -> None:
        self._extensions = Extensions(model)
        self._values = values
        self._access = access

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._extensions, name)
        if not name.startswith(("add_", "remove_")):
            return method
        return lambda *arguments: self._kept(lambda: method(*arguments))

    def dump(self) -> dict[str, list[list[Any]]]:
        """Return everything that users added."""
        return self._extensions.dump()

    def _kept(self, change: Callable[[], T]) -> T:
        before = self._extensions.dump()
        result = change()
        try:
            self._values.put(self._access, _WHOLE, self._extensions.dump())
            self._access.sync()
        except CellError:
            restore(self._extensions, before)
            raise
        return result


class ModelExtensions(NamedValues):
    """What users added to the model."""

    def __init__(self, changes: Changes, model: Model) -> None:
        super().__init__(MODEL_EXTENSIONS, changes, "model")
        self._model = model

    def of(self, access: Access) -> KeptExtensions:
        """Return what changes the model on behalf of a query."""
        return KeptExtensions(self._model, self, access)

    def apply(self, stored: list[tuple[str, Any]]) -> None:
        """Add to the model what is stored."""
        for _, dump in stored:
            restore(Extensions(self._model), dump)


_ADDERS = (
    ("types", "add_type", 4),
    ("forms", "add_form", 4),
    ("props", "add_prop", 4),
    ("univs", "add_universal", 3),
    ("tagprops", "add_tagprop", 3),
)
_REMOVERS = (
    ("tagprops", "remove_tagprop", 1),
    ("univs", "remove_universal", 1),
    ("props", "remove_prop", 2),
    ("forms", "remove_form", 1),
    ("types", "remove_type", 1),
)


def restore(extensions: Extensions, wanted: dict[str, Any]) -> None:
    """Add and remove until the model holds just what a dump says."""
    now = extensions.dump()
    for key, name, size in _REMOVERS:
        kept = [list(row[:size]) for row in wanted.get(key, ())]
        for row in now[key]:
            if row[:size] not in kept:
                getattr(extensions, name)(*row[:size])
    for key, name, _ in _ADDERS:
        known = [row[:2] if key == "props" else row[:1] for row in now[key]]
        for row in wanted.get(key, ()):
            if list(row[:2] if key == "props" else row[:1]) not in known:
                getattr(extensions, name)(*row)
    known_edges = [list(ends) for ends, _ in now["edges"]]
    wanted_edges = [list(ends) for ends, _ in wanted.get("edges", ())]
    for source, verb, target in known_edges:
        if [source, verb, target] not in wanted_edges:
            extensions.remove_edge(source, verb, target)
    for (source, verb, target), info in wanted.get("edges", ()):
        if [source, verb, target] not in known_edges:
            extensions.add_edge(source, verb, target, info)
