"""Node definitions: (form, value) pairs, which are what nodes are known by outside of one Cortex."""

from __future__ import annotations

from typing import TypeAlias

from cellmesh.common import msgpack
from cellmesh.cortex.values.ids import Buid, buid_of

Ndef: TypeAlias = "tuple[str, object]"


def canonical_bytes(ndef: Ndef) -> bytes:
    """Return the bytes that a node's buid is the hash of."""
    return msgpack.encode(ndef)


def buid(ndef: Ndef) -> Buid:
    """Return the buid of a node definition."""
    return buid_of(*ndef)


def frozen(value: object) -> object:
    """Return a value with its lists made tuples, so that it can be hashed and compared with stored ones."""
    if isinstance(value, (list, tuple)):
        return tuple(frozen(item) for item in value)
    return value
