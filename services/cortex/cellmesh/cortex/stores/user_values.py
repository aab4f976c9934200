"""Values that users keep by name: variables and settings, `$lib.user.vars` and `$lib.user.profile`."""

from __future__ import annotations

from typing import Any, Final

from cellmesh.common.errors import BadArg
from cellmesh.common.storage import ReadTxn
from cellmesh.common.storage.walking import walk
from cellmesh.cortex.stores.changes import Access, Changes, Rows
from cellmesh.cortex.stores.schema import USER_VALUES
from cellmesh.cortex.values.wire import decode_value, encode_value

NAME_SIZE_MAX: Final = 400
"""Bytes in UTF-8: what a key can hold beside the user's iden."""


class UserValues:
    """Values by owner, kind and name. The owner is an iden; kinds are `vars`, `profile` and the like."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    def get(self, access: Access, owner: str, kind: str, name: str, default: Any = None) -> Any:
        """Return a value, or a default."""
        key = _key(owner, kind, name)
        found = access.read(lambda txn: txn.get(USER_VALUES, key))
        return default if found is None else decode_value(found)

    def all(self, access: Access, owner: str, kind: str) -> list[tuple[str, Any]]:
        """Return all names of an owner's kind with their values, in order of the names."""
        head = _head(owner, kind)

        def read(txn: ReadTxn) -> list[tuple[str, Any]]:
            rows = walk(txn, USER_VALUES, head, head[:-1] + b"\x01")
            return [(key[len(head) :].decode(), decode_value(data)) for key, data in rows]

        return access.read(read)

    def put(self, access: Access, owner: str, kind: str, name: str, value: Any) -> Any:
        """Set a value; returns what it was before, or None."""
        key, data = _key(owner, kind, name), encode_value(value)

        def op(rows: Rows) -> Any:
            found = rows.txn.get(USER_VALUES, key)
            rows.put(USER_VALUES, key, data)
            return None if found is None else decode_value(found)

        return self._changes.run(access, op)

    def pop(self, access: Access, owner: str, kind: str, name: str, default: Any = None) -> Any:
        """Remove a value and return it, or a default."""
        key = _key(owner, kind, name)

        def op(rows: Rows) -> Any:
            found = rows.txn.get(USER_VALUES, key)
            if found is None:
                return default
            rows.delete(USER_VALUES, key)
            return decode_value(found)

        return self._changes.run(access, op)


def _head(owner: str, kind: str) -> bytes:
    return f"{owner}\0{kind}\0".encode()


def _key(owner: str, kind: str, name: str) -> bytes:
    key = name.encode()
    if not 0 < len(key) <= NAME_SIZE_MAX:
        raise BadArg(f"the name has 1 to {NAME_SIZE_MAX} bytes", name="name", valu=name[:80])
    return _head(owner, kind) + key
