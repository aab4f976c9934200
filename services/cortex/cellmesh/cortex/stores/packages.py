"""Storm packages: modules and commands that come together, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

from cellmesh.common.errors import NoSuchPkg
from cellmesh.cortex.stores.changes import Access, Changes
from cellmesh.cortex.stores.named import NamedValues, Reader
from cellmesh.cortex.stores.schema import PACKAGES

Definition = dict[str, Any]


class Packages(NamedValues):
    """The packages of a cell. Kept in memory as well, for queries use their commands and modules."""

    def __init__(self, changes: Changes) -> None:
        super().__init__(PACKAGES, changes, "package")
        self._lock = Lock()
        self._known: dict[str, Definition] = {}
        self._listeners: list[Callable[[Mapping[str, Definition]], None]] = []

    def follow(self, read: Reader) -> None:
        """Take what is stored.

        Args:
            read: Reads in the newest committed state.
        """
        with self._lock:
            self._known = dict(read(self.load))
            for listener in self._listeners:
                listener(self._known)

    def listen(self, listener: Callable[[Mapping[str, Definition]], None]) -> None:
        """Have all packages told, now and after each change."""
        with self._lock:
            self._listeners.append(listener)
            listener(self._known)

    def add(self, access: Access, name: str, definition: Definition) -> None:
        """Add a package, or put it in the place of another version; durable on return."""
        self.put(access, name, definition)
        access.sync()
        self.follow(access.read)

    def remove(self, access: Access, name: str) -> None:
        """Remove a package, durable on return; raises NoSuchPkg."""
        if self.pop(access, name) is None:
            raise NoSuchPkg(f"no package named {name}", name=name)
        access.sync()
        self.follow(access.read)
