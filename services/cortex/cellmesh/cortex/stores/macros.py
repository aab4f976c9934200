"""Macros: queries kept under a name."""

from __future__ import annotations

from time import time_ns
from typing import Any

from cellmesh.common import hashing
from cellmesh.common.errors import BadArg, NoSuchName, SchemaViolation
from cellmesh.cortex.stores.changes import Access, Changes, Rows
from cellmesh.cortex.stores.named import NamedValues
from cellmesh.cortex.stores.schema import MACROS
from cellmesh.cortex.values.wire import decode_value, encode_value

CHANGEABLE = frozenset({"name", "desc", "storm"})


class Macros(NamedValues):
    """The macros of a cell. What is known of one is a dictionary."""

    def __init__(self, changes: Changes) -> None:
        super().__init__(MACROS, changes, "macro")

    def require(self, access: Access, name: str) -> dict[str, Any]:
        """Return a macro; raises NoSuchName."""
        found: dict[str, Any] | None = self.get(access, name)
        if found is None:
            raise NoSuchName(f"no macro named {name}", name=name)
        return found

    def set(self, access: Access, name: str, storm: str, user: str) -> dict[str, Any]:
        """Make a macro, or give one another query. `user` is the iden of who does so."""
        key, now_ms = self.key(name), time_ns() // 1_000_000

        def op(rows: Rows) -> dict[str, Any]:
            found = rows.txn.get(self.db, key)
            if found is None:
                known = {
                    "name": name,
                    "storm": storm,
                    "iden": hashing.guid(),
                    "updated": now_ms,
                    "created": now_ms,
                    "user": user,
                    "creator": user,
                    "permissions": {"users": {user: 3}, "roles": {}, "default": 1},
                    "desc": "",
                }
            else:
                known = {**decode_value(found), "storm": storm, "updated": now_ms}
            rows.put(self.db, key, encode_value(known))
            return known

        return self.changes.run(access, op)

    def change(self, access: Access, name: str, facts: dict[str, Any]) -> None:
        """Change facts about a macro.

        Raises:
            NoSuchName: there is no such macro.
            BadArg: a fact cannot be changed, or another macro has the new name.
            SchemaViolation: a fact is no text, or the name is empty.
        """
        for fact, value in facts.items():
            if fact not in CHANGEABLE:
                raise BadArg(f"{fact} of a macro cannot be changed so", name=fact)
            if not isinstance(value, str) or (fact == "name" and not value):
                raise SchemaViolation(f"{fact} of a macro is text", name=fact)
        new_name = facts.get("name", name)
        key, new_key, now_ms = self.key(name), self.key(new_name), time_ns() // 1_000_000

        def op(rows: Rows) -> None:
            found = rows.txn.get(self.db, key)
            if found is None:
                raise NoSuchName(f"no macro named {name}", name=name)
            if new_key != key:
                if rows.txn.has(self.db, new_key):
                    raise BadArg(f"there is a macro named {new_name} already", name=new_name)
                rows.delete(self.db, key)
            rows.put(self.db, new_key, encode_value({**decode_value(found), **facts, "updated": now_ms}))

        self.changes.run(access, op)

    def grant(self, access: Access, name: str, kind: str, holder: str, level: int | None) -> None:
        """Set what a user or role (`kind` is "users" or "roles") may do, or take it back with None.

        Raises:
            NoSuchName: there is no such macro.
        """
        key = self.key(name)

        def op(rows: Rows) -> None:
            found = rows.txn.get(self.db, key)
            if found is None:
                raise NoSuchName(f"no macro named {name}", name=name)
            known = decode_value(found)
            if level is None:
                known["permissions"][kind].pop(holder, None)
            else:
                known["permissions"][kind][holder] = level
            rows.put(self.db, key, encode_value(known))

        self.changes.run(access, op)

    def remove(self, access: Access, name: str) -> None:
        """Remove a macro; raises NoSuchName."""
        if self.pop(access, name) is None:
            raise NoSuchName(f"no macro named {name}", name=name)
