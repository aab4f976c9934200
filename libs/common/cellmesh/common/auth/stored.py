"""A policy as the databases hold it: reading all of it, and what to write for a change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cellmesh.common.auth import schema
from cellmesh.common.auth.policy import Policy
from cellmesh.common.auth.records import (
    Stored,
    api_key_of_bytes,
    credentials_of_bytes,
    gate_of_bytes,
    role_of_bytes,
    to_bytes,
    user_of_bytes,
)
from cellmesh.common.errors import StorageCorrupt
from cellmesh.common.storage import Slab, WriteTxn
from cellmesh.common.storage.walking import walk_apart


def load_policy(slab: Slab) -> Policy:
    """Read everything that is stored. Raises StorageCorrupt."""
    found: dict[bytes, list[bytes]] = {kind: [] for kind in _KINDS}
    for key, value in walk_apart(slab, schema.AUTH):
        if key[:1] not in found:
            raise StorageCorrupt(f"auth has a record of an unknown kind, {key[:1]!r}")
        found[key[:1]].append(value)
    return Policy(
        map(user_of_bytes, found[schema.USER]),
        map(role_of_bytes, found[schema.ROLE]),
        map(gate_of_bytes, found[schema.GATE]),
        map(credentials_of_bytes, found[schema.CREDENTIALS]),
        map(api_key_of_bytes, found[schema.API_KEY]),
    )


def write_difference(txn: WriteTxn, before: Policy, after: Policy) -> None:
    """Store the second policy where the first one is stored."""
    for kind, old, new in zip(_KINDS, _parts(before), _parts(after), strict=True):
        for name, value in new.items():
            # What did not change is the same object in both.
            if old.get(name) is not value:
                txn.put(schema.AUTH, kind + name.encode(), to_bytes(value))
        for name in old:
            if name not in new:
                txn.delete(schema.AUTH, kind + name.encode())


_KINDS: Final = (schema.USER, schema.ROLE, schema.GATE, schema.CREDENTIALS, schema.API_KEY)


def _parts(policy: Policy) -> tuple[Mapping[str, Stored], ...]:
    """What is stored of a policy, in the order of the kinds."""
    return policy.users, policy.roles, policy.gates, policy.credentials, policy.api_keys
