"""Graph projections: rules by which the `graph` command grows a picture of the graph, kept under an iden."""

from __future__ import annotations

from collections.abc import Callable
from time import time_ns
from typing import Any

from cellmesh.common import hashing
from cellmesh.common.errors import NoSuchIden
from cellmesh.cortex.stores.changes import Access, Changes, Rows
from cellmesh.cortex.stores.named import NamedValues
from cellmesh.cortex.stores.schema import GRAPH_PROJECTIONS
from cellmesh.cortex.values.wire import decode_value, encode_value

ADMIN = 3
READ = 1

Projection = dict[str, Any]


class GraphProjections(NamedValues):
    """The graph projections of a cell."""

    def __init__(self, changes: Changes) -> None:
        super().__init__(GRAPH_PROJECTIONS, changes, "graph projection")

    def add(self, access: Access, rules: Projection, user: str) -> Projection:
        """Keep rules under a new iden; returns all that is known of them. `user` is the iden of who does so."""
        now_ms = time_ns() // 1_000_000
        made = {
            **rules,
            "permissions": {"users": {user: ADMIN}, "roles": {}, "default": READ},
            "iden": hashing.guid(),
            "scope": "user",
            "creator": user,
            "created": now_ms,
            "updated": now_ms,
        }
        self.put(access, made["iden"], made)
        return made

    def require(self, access: Access, iden: str) -> Projection:
        """Return a projection; raises NoSuchIden."""
        found: Projection | None = self.get(access, iden)
        if found is None:
            raise _no_such(iden)
        return found

    def modify(self, access: Access, iden: str, facts: Projection) -> None:
        """Set facts about a projection; raises NoSuchIden."""
        self._change(access, iden, lambda known: known.update(facts, updated=time_ns() // 1_000_000))

    def grant(self, access: Access, iden: str, kind: str, holder: str, level: int | None) -> None:
        """Set what a user or role (`kind` is "users" or "roles") may do, or take it back with None.

        Raises:
            NoSuchIden: there is no such projection.
        """

        def change(known: Projection) -> None:
            if level is None:
                known["permissions"][kind].pop(holder, None)
            else:
                known["permissions"][kind][holder] = level

        self._change(access, iden, change)

    def remove(self, access: Access, iden: str) -> None:
        """Remove a projection; raises NoSuchIden."""
        if self.pop(access, iden) is None:
            raise _no_such(iden)

    def _change(self, access: Access, iden: str, change: Callable[[Projection], None]) -> None:
        key = iden.encode()

        def op(rows: Rows) -> None:
            found = rows.txn.get(GRAPH_PROJECTIONS, key) if key else None
            if found is None:
                raise _no_such(iden)
            known = decode_value(found)
            change(known)
            rows.put(GRAPH_PROJECTIONS, key, encode_value(known))

        self.changes.run(access, op)


def _no_such(iden: str) -> NoSuchIden:
    return NoSuchIden(f"there is no graph projection {iden}", iden=iden)
