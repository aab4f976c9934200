"""The JSON store: values by path, `$lib.jsonstor`. A property of a value is reached by a path of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from cellmesh.common.errors import BadArg
from cellmesh.common.storage import Position
from cellmesh.cortex.stores.changes import Access, Changes, Rows
from cellmesh.cortex.stores.schema import JSON_VALUES
from cellmesh.cortex.values.wire import decode_value, encode_value

SCAN_COUNT_MAX: Final = 1000
"""Values of a chunk."""

PATH_SIZE_MAX: Final = 500
"""Bytes in UTF-8: what a key can hold."""

DEPTH_MAX: Final = 100
"""Steps of a path to a property."""

_END: Final = b"\0"

Steps = Sequence[str]


class JsonStore:
    """The JSON store of a cell."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    def get(self, access: Access, path: Steps, prop: Steps = ()) -> Any:
        """Return the value of a path, or a property of it; None if there is none. Raises BadArg if it can have none."""
        key = _key(path)
        found = access.read(lambda txn: txn.get(JSON_VALUES, key))
        value = None if found is None else decode_value(found)
        for step in prop:
            if value is None:
                return None
            value = _inside(value).get(step)
        return value

    def has(self, access: Access, path: Steps) -> bool:
        """Whether a path has a value, null too."""
        key = _key(path)
        return access.read(lambda txn: txn.has(JSON_VALUES, key))

    def set(self, access: Access, path: Steps, value: Any, prop: Steps = ()) -> bool:
        """Set the value of a path, or a property of it; returns False if there is nothing that could have it."""
        key = _key(path)

        def op(rows: Rows) -> bool:
            whole = value
            if prop:
                found = rows.txn.get(JSON_VALUES, key)
                if found is None:
                    return False
                whole = decode_value(found)
                holder = _holder(whole, prop, makes=True)
                assert holder is not None, "what is missing on the way is made"
                holder[prop[-1]] = value
            rows.put(JSON_VALUES, key, encode_value(whole))
            return True

        return self._changes.run(access, op)

    def remove(self, access: Access, path: Steps, prop: Steps = ()) -> bool:
        """Remove the value of a path, or a property of it.

        Returns True, also if there was no value; but False if a property of a path without a value was meant.
        """
        key = _key(path)

        def op(rows: Rows) -> bool:
            found = rows.txn.get(JSON_VALUES, key)
            if found is None:
                return not prop
            if not prop:
                rows.delete(JSON_VALUES, key)
                return True
            whole = decode_value(found)
            holder = _holder(whole, prop, makes=False)
            if holder is not None and prop[-1] in holder:
                del holder[prop[-1]]
                rows.put(JSON_VALUES, key, encode_value(whole))
            return True

        return self._changes.run(access, op)

    def page(
        self, access: Access, path: Steps, after: Position | None
    ) -> tuple[list[tuple[tuple[str, ...], Any]], Position | None]:
        """Return values at and below a path, by the further steps of theirs, and where to go on (None at the end).

        An empty path is the root, and has all.
        """
        low = _key(path) if path else b""
        high = low[:-1] + b"\x01" if low else None
        chunk = access.read(
            lambda txn: txn.scan(JSON_VALUES, low, high, count_max=SCAN_COUNT_MAX, after=after)
        )
        found = [
            (tuple(key[len(low) :].decode().split("\0")[:-1]), decode_value(data))
            for key, data in chunk.items
        ]
        return found, chunk.resume


def _holder(whole: Any, prop: Steps, *, makes: bool) -> dict[str, Any] | None:
    """Return the dictionary that has the last step of a path to a property."""
    if len(prop) > DEPTH_MAX:
        raise BadArg(f"a path to a property has at most {DEPTH_MAX} steps", name="prop")
    holder = whole
    for step in prop[:-1]:
        if holder is None:
            return None
        inside = _inside(holder)
        holder = inside.setdefault(step, {}) if makes else inside.get(step)
    return None if holder is None else _inside(holder)


def _inside(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadArg("a property is one of a dictionary, which is not what is kept there", name="prop")
    return value


def _key(path: Steps) -> bytes:
    """Return the key of a path: each step ends with a byte that no step has, so what lies below follows."""
    if any("\0" in step for step in path):
        raise BadArg("a path has no NUL characters", name="path")
    key = b"".join(step.encode() + _END for step in path)
    if not 0 < len(key) <= PATH_SIZE_MAX:
        raise BadArg(f"a path has 1 to {PATH_SIZE_MAX} bytes", name="path")
    return key
