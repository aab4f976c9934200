"""Vaults: named secrets and settings, of one user or role, or for all.

Secrets are values like others in the slab and the change log, so backups and mirrors hold them; they are never printed by
what shows a vault, and no line of a log has them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from cellmesh.common import hashing
from cellmesh.common.errors import BadArg, DupName, NoSuchIden, NoSuchName, SchemaViolation
from cellmesh.common.storage import ReadTxn
from cellmesh.cortex.stores.changes import Access, Changes, Rows
from cellmesh.cortex.stores.named import NamedValues
from cellmesh.cortex.stores.schema import VAULTS
from cellmesh.cortex.values.wire import decode_value, encode_value

SCOPES: Final = ("user", "role", "global")
TEXT_SIZE_MAX: Final = 128
"""Characters in the name or type of a vault."""

READ: Final = 1
ADMIN: Final = 3

Vault = dict[str, Any]


class Vaults(NamedValues):
    """The vaults of a cell, by iden."""

    def __init__(self, changes: Changes) -> None:
        super().__init__(VAULTS, changes, "vault")

    def add(
        self,
        access: Access,
        name: str,
        kind: str,
        scope: str | None,
        owner: str | None,
        secrets: dict[str, Any],
        configs: dict[str, Any],
        everyone: str,
    ) -> str:
        """Make a vault; returns its iden.

        Args:
            access: What to write through.
            name: Its name, of which there is one.
            kind: What it is for. There is one for all of each kind, and one a user and role.
            scope: One of SCOPES, or None.
            owner: Iden of the user or role it is of; None for one for all.
            secrets, configs: What it holds.
            everyone: Iden of the role that all users have.

        Raises:
            BadArg: it needs an owner.
            SchemaViolation: its name, kind or scope cannot be used.
            DupName: there is one such already.
        """
        if scope != "global" and owner is None:
            raise BadArg("a vault that is not for all has an owner", name="owner")
        for label, text in (("name", name), ("type", kind)):
            if not 0 < len(text) <= TEXT_SIZE_MAX:
                raise SchemaViolation(
                    f"the {label} of a vault has 1 to {TEXT_SIZE_MAX} characters", name=label
                )
        if scope is not None and scope not in SCOPES:
            raise SchemaViolation(
                f"the scope of a vault is one of {', '.join(SCOPES)}", name="scope", valu=scope
            )
        if scope == "global":
            owner = None
        users = {owner: ADMIN} if scope in (None, "user") else {}
        roles = {owner: READ} if scope == "role" else {everyone: READ} if scope == "global" else {}
        iden = hashing.guid()
        vault = {
            "name": name,
            "type": kind,
            "scope": scope,
            "owner": owner,
            "secrets": secrets,
            "configs": configs,
            "iden": iden,
            "permissions": {"users": users, "roles": roles, "default": 0},
        }

        def op(rows: Rows) -> str:
            for _, other in self.load(rows.txn):
                if scope is not None and [other[key] for key in ("type", "scope", "owner")] == [
                    kind,
                    scope,
                    owner,
                ]:
                    raise DupName(f"there is a vault of type {kind} and scope {scope} already", name=kind)
                _check_name(other, name)
            rows.put(VAULTS, self.key(iden), encode_value(vault))
            return iden

        return self.changes.run(access, op)

    def require(self, access: Access, iden: str) -> Vault:
        """Return a vault; raises NoSuchIden."""
        found: Vault | None = self.get(access, iden)
        if found is None:
            raise _no_such(iden)
        return found

    def by_name(self, access: Access, name: str) -> Vault:
        """Return the vault of a name; raises NoSuchName."""
        for _, vault in self.all(access):
            if vault["name"] == name:
                return dict(vault)
        raise NoSuchName(f"no vault named {name}", name=name)

    def by_type(
        self, access: Access, kind: str, scope: str | None, owners: dict[str, set[str]]
    ) -> Vault | None:
        """Return the vault of a type that is nearest to a user: the user's own, that of a role, the one for all.

        Args:
            access: What to read through.
            kind: The type.
            scope: The only scope to look at, or None.
            owners: Idens of the user under `user`, and of the user's roles under `role`.
        """
        known = [vault for _, vault in self.all(access) if vault["type"] == kind]
        for each in SCOPES if scope is None else (scope,):
            for vault in known:
                if vault["scope"] == each and (each == "global" or vault["owner"] in owners.get(each, ())):
                    return dict(vault)
        return None

    def rename(self, access: Access, iden: str, name: str) -> Vault:
        """Give a vault another name; raises NoSuchIden, DupName, SchemaViolation."""
        if not 0 < len(name) <= TEXT_SIZE_MAX:
            raise SchemaViolation(f"the name of a vault has 1 to {TEXT_SIZE_MAX} characters", name="name")

        def change(txn: ReadTxn, vault: Vault) -> None:
            for other_iden, other in self.load(txn):
                if other_iden != iden:
                    _check_name(other, name)
            vault["name"] = name

        return self._change(access, iden, change)

    def set_data(self, access: Access, iden: str, part: str, data: dict[str, Any]) -> Vault:
        """Set all secrets or configs of a vault; raises NoSuchIden."""
        return self._change(access, iden, lambda txn, vault: vault.update({part: data}))

    def set_item(
        self, access: Access, iden: str, part: str, name: str, value: Any, *, deletes: bool
    ) -> Vault:
        """Set or remove one of the secrets or configs of a vault; raises NoSuchIden."""

        def change(txn: ReadTxn, vault: Vault) -> None:
            if deletes:
                vault[part].pop(name, None)
            else:
                vault[part][name] = value

        return self._change(access, iden, change)

    def set_permission(self, access: Access, iden: str, holder: str, kind: str, level: int | None) -> Vault:
        """Set what a user or role (`kind` is "users" or "roles") may do with a vault, or nothing special with None."""

        def change(txn: ReadTxn, vault: Vault) -> None:
            if level is None:
                vault["permissions"][kind].pop(holder, None)
            else:
                vault["permissions"][kind][holder] = level

        return self._change(access, iden, change)

    def remove(self, access: Access, iden: str) -> None:
        """Remove a vault; raises NoSuchIden."""
        if self.pop(access, iden) is None:
            raise _no_such(iden)

    def _change(self, access: Access, iden: str, change: Callable[[ReadTxn, Vault], None]) -> Vault:
        key = self.key(iden)

        def op(rows: Rows) -> Vault:
            found = rows.txn.get(VAULTS, key)
            if found is None:
                raise _no_such(iden)
            vault: Vault = decode_value(found)
            change(rows.txn, vault)
            rows.put(VAULTS, key, encode_value(vault))
            return vault

        return self.changes.run(access, op)


def _check_name(other: Vault, name: str) -> None:
    if other["name"] == name:
        raise DupName(f"there is a vault named {name} already", name=name)


def _no_such(iden: str) -> NoSuchIden:
    return NoSuchIden(f"there is no vault {iden}", iden=iden)
