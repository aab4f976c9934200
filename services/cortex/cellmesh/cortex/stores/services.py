"""Storm services: where they are, and what they told of themselves when they were last reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Lock
from time import time_ns
from typing import Any, Final

from cellmesh.common import hashing
from cellmesh.common.errors import NoSuchName, NoSuchStormSvc
from cellmesh.cortex.stores.changes import Access, Changes, Rows
from cellmesh.cortex.stores.named import NamedValues, Reader
from cellmesh.cortex.stores.schema import SERVICES
from cellmesh.cortex.values.wire import decode_value, encode_value

Definition = dict[str, Any]

SHOWN: Final = ("name", "url", "iden", "evts", "svcname", "svcvers")
"""What queries see of a service."""


class StormServices(NamedValues):
    """The Storm services of a cell, by iden. Kept in memory as well: links to them follow what is stored."""

    def __init__(self, changes: Changes) -> None:
        super().__init__(SERVICES, changes, "service")
        self._lock = Lock()
        self._known: dict[str, Definition] = {}
        self._listeners: list[Callable[[Mapping[str, Definition]], None]] = []

    @property
    def known(self) -> dict[str, Definition]:
        """The services by iden, in the order they were added."""
        with self._lock:
            return dict(self._known)

    def follow(self, read: Reader) -> None:
        """Take what is stored.

        Args:
            read: Reads in the newest committed state.
        """
        with self._lock:
            rows = sorted(read(self.load), key=lambda row: int(row[1]["created"]))
            self._known = dict(rows)
            for listener in self._listeners:
                listener(self._known)

    def listen(self, listener: Callable[[Mapping[str, Definition]], None]) -> None:
        """Have all services told, now and after each change."""
        with self._lock:
            self._listeners.append(listener)
            listener(self._known)

    def find(self, name: str) -> Definition:
        """Return a service by its iden, the name it was added under, or the one it has itself.

        Raises:
            NoSuchName: there is none.
        """
        known = self.known
        if name in known:
            return known[name]
        for key in ("name", "svcname"):
            for row in known.values():
                if row[key] == name and name:
                    return row
        raise NoSuchName(f"no service has the name or iden {name}", name=name)

    def add(self, access: Access, name: str, url: str, user: str) -> Definition:
        """Add a service, durable on return.

        Args:
            access: What to write through.
            name: What queries may call it; others may be called so too, then the oldest is found.
            url: Where it is.
            user: Name of who adds it: what it wants run is run with this user's rights.
        """
        row: Definition = {
            "name": name,
            "url": url,
            "iden": hashing.guid(),
            "user": user,
            "created": time_ns(),
            "svcname": "",
            "svcvers": "",
            "evts": {},
            "is_added": False,
        }
        self.put(access, row["iden"], row)
        access.sync()
        self.follow(access.read)
        return row

    def tell(self, access: Access, iden: str, facts: Mapping[str, Any]) -> bool:
        """Note what a service tells of itself; returns whether it is still there. Not durable before a sync."""
        key = self.key(iden)

        def op(rows: Rows) -> bool:
            found = rows.txn.get(self.db, key)
            if found is None:
                return False
            old = decode_value(found)
            new = {**old, **facts}
            if new != old:
                rows.put(self.db, key, encode_value(new))
            return True

        return self.changes.run(access, op)

    def remove(self, access: Access, iden: str) -> None:
        """Remove a service, durable on return; raises NoSuchStormSvc."""
        if self.pop(access, iden) is None:
            raise NoSuchStormSvc(f"no service has the iden {iden}", iden=iden)
        access.sync()
        self.follow(access.read)
