"""Values by name: the base of the small stores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from cellmesh.common.errors import BadArg
from cellmesh.common.storage import ReadTxn, SubDb
from cellmesh.common.storage.walking import walk
from cellmesh.cortex.stores.changes import Access, Changes, Rows
from cellmesh.cortex.values.wire import decode_value, encode_value

NAME_SIZE_MAX = 500
"""Bytes in UTF-8: what a key can hold."""


Load: TypeAlias = Callable[[ReadTxn], list[tuple[str, Any]]]
Reader: TypeAlias = Callable[[Load], list[tuple[str, Any]]]
"""Runs something that loads rows, in the newest committed state: `Access.read` after a sync."""


class NamedValues:
    """Values in one database, by name.

    Args:
        db: The database.
        changes: How changes are written.
        kind: What is named, for errors.
    """

    def __init__(self, db: SubDb, changes: Changes, kind: str) -> None:
        self.db = db
        self.changes = changes
        self.kind = kind

    def key(self, name: str) -> bytes:
        """Return the key of a name.

        Raises:
            BadArg: it is empty or too long.
        """
        key = name.encode()
        if not 0 < len(key) <= NAME_SIZE_MAX:
            raise BadArg(
                f"the name of a {self.kind} has 1 to {NAME_SIZE_MAX} bytes", name="name", valu=name[:80]
            )
        return key

    def get(self, access: Access, name: str, default: Any = None) -> Any:
        """Return the value of a name, or a default."""
        key = name.encode()
        if not 0 < len(key) <= NAME_SIZE_MAX:
            return default
        found = access.read(lambda txn: txn.get(self.db, key))
        return default if found is None else decode_value(found)

    def all(self, access: Access) -> list[tuple[str, Any]]:
        """Return all names with their values, in order of the names."""
        return access.read(self.load)

    def load(self, txn: ReadTxn) -> list[tuple[str, Any]]:
        """As `all`, in a transaction."""
        return [(key.decode(), decode_value(value)) for key, value in walk(txn, self.db)]

    def put(self, access: Access, name: str, value: Any) -> None:
        """Set the value of a name."""
        key, data = self.key(name), encode_value(value)
        self.changes.run(access, lambda rows: rows.put(self.db, key, data))

    def pop(self, access: Access, name: str, default: Any = None) -> Any:
        """Remove a name and return what its value was, or a default."""
        key = name.encode()
        if not 0 < len(key) <= NAME_SIZE_MAX:
            return default

        def op(rows: Rows) -> Any:
            found = rows.txn.get(self.db, key)
            if found is None:
                return default
            value = decode_value(found)
            rows.delete(self.db, key)
            return value

        return self.changes.run(access, op)
