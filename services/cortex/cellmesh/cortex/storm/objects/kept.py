"""What users keep, as values: variables, settings, vaults."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common import hashing
from cellmesh.common.errors import AuthDeny, BadArg, NoSuchIden, StormRuntimeError
from cellmesh.cortex.storm.runtime.interface import (
    UNDEF,
    AttributeSpec,
    FunctionSpec,
    ParameterSpec,
    TypeSpec,
)
from cellmesh.cortex.storm.runtime.rights import AUTH, EASY_ADMIN, EASY_DENY, EASY_EDIT, EASY_READ
from cellmesh.cortex.storm.runtime.values import toint, toprim, torepr, tostored, tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext


class UserValuesObject:
    """The values of one kind that the user of a query keeps.

    Args:
        store: The store of all users' values.
        owner: Iden of the user.
        kind: `vars` or `profile`.
    """

    __slots__ = ("kind", "owner", "store")

    def __init__(self, store: Any, owner: str, kind: str) -> None:
        self.store = store
        self.owner = owner
        self.kind = kind


class UserVars(UserValuesObject):
    """The user's variables."""

    __slots__ = ()


class UserProfile(UserValuesObject):
    """The user's settings."""

    __slots__ = ()


def _name(name: Any) -> str:
    if not isinstance(name, str):
        raise StormRuntimeError("the name of a variable is text", name="name")
    return name


def _get(context: RunContext, self: UserValuesObject, name: Any, default: Any) -> Any:
    return self.store.get(context.session, self.owner, self.kind, _name(name), default)


def _set(context: RunContext, self: UserValuesObject, name: Any, value: Any) -> Any:
    return self.store.put(context.session, self.owner, self.kind, _name(name), tostored(value))


def _pop(context: RunContext, self: UserValuesObject, name: Any, default: Any) -> Any:
    return self.store.pop(context.session, self.owner, self.kind, _name(name), default)


def _list(context: RunContext, self: UserValuesObject) -> Any:
    return self.store.all(context.session, self.owner, self.kind)


def _iterate(context: RunContext, self: UserValuesObject) -> Iterator[Any]:
    return iter(_list(context, self))


def everyone_iden(context: RunContext) -> str:
    """Return the iden of the role that all users have; one made of its name where the cell keeps no roles."""
    known = context.model.iden_of("role", "all")
    return known if known is not None else hashing.guid(["role", "all"])


def vault_level(context: RunContext, known: dict[str, Any]) -> int:
    """Return what the user of a query may do with a vault: nothing, read, edit, or all."""
    rights = context.run.rights
    return EASY_ADMIN if rights is None else rights.level(known["permissions"])


def confirm_vault(context: RunContext, known: dict[str, Any], level: int) -> None:
    """Raise AuthDeny unless the user of a query may do so much with a vault."""
    if vault_level(context, known) < level:
        rights = context.run.rights
        assert rights is not None, "a user with all rights was refused"
        word = {EASY_READ: "read", EASY_EDIT: "edit", EASY_ADMIN: "administer"}[level]
        raise AuthDeny(
            f"user {rights.user} may not {word} the vault {known['iden']}",
            iden=known["iden"],
            user=rights.user_id,
            username=rights.user,
        )


class VaultObject:
    """A vault, by its iden. The queries that hold one may at least read it, unless that has changed since."""

    __slots__ = ("iden", "store")

    def __init__(self, store: Any, iden: str) -> None:
        self.store = store
        self.iden = iden

    def storm_text(self) -> str:
        """Return what is printed; no secrets."""
        return f"vault: {self.iden}"


class VaultData:
    """The secrets or configs of a vault, as they were when they were read, and what sets them."""

    __slots__ = ("data", "part", "vault")

    def __init__(self, vault: VaultObject, part: str, data: dict[str, Any]) -> None:
        self.vault = vault
        self.part = part
        self.data = data

    def storm_plain(self) -> dict[str, Any]:
        """Return what it holds."""
        return self.data

    def storm_text(self) -> str:
        """Return what is printed."""
        return torepr(self.data)

    def __len__(self) -> int:
        return len(self.data)


def _known(context: RunContext, self: VaultObject, level: int = EASY_READ) -> dict[str, Any]:
    """Return what is known of a vault, if the user may do so much with it."""
    known: dict[str, Any] = self.store.require(context.session, self.iden)
    confirm_vault(context, known, level)
    return known


def _fact(context: RunContext, self: VaultObject, name: str) -> Any:
    return _known(context, self)[name]


def _rename(context: RunContext, self: VaultObject, value: Any) -> None:
    context.check_writable()
    _known(context, self, EASY_EDIT)
    self.store.rename(context.session, self.iden, tostr(value))


def _configs(context: RunContext, self: VaultObject) -> VaultData:
    return VaultData(self, "configs", _fact(context, self, "configs"))


def _secrets(context: RunContext, self: VaultObject) -> VaultData | None:
    known = _known(context, self)
    # Who may only use a vault does not see its secrets.
    return VaultData(self, "secrets", known["secrets"]) if vault_level(context, known) >= EASY_EDIT else None


def _set_part(context: RunContext, self: VaultObject, part: str, value: Any) -> None:
    data = toprim(value)
    if not isinstance(data, dict):
        raise BadArg(f"the {part} of a vault are a dictionary", name="valu")
    context.check_writable()
    _known(context, self, EASY_EDIT)
    self.store.set_data(context.session, self.iden, part, data)


def _part_of(context: RunContext, self: VaultData) -> dict[str, Any]:
    level = EASY_EDIT if self.part == "secrets" else EASY_READ
    found: dict[str, Any] = _known(context, self.vault, level)[self.part]
    return found


def _get_item(context: RunContext, self: VaultData, key: Any) -> Any:
    return _part_of(context, self).get(tostr(key))


def _set_item(context: RunContext, self: VaultData, key: Any, value: Any) -> None:
    context.check_writable()
    known, is_gone = _known(context, self.vault, EASY_EDIT), value is UNDEF
    if is_gone and tostr(key) not in known[self.part]:
        raise BadArg(f"the {self.part} of the vault have no {tostr(key)}", name=tostr(key))
    self.vault.store.set_item(
        context.session,
        self.vault.iden,
        self.part,
        tostr(key),
        None if is_gone else toprim(value),
        deletes=is_gone,
    )


def _each_item(context: RunContext, self: VaultData) -> Iterator[Any]:
    return iter(list(_part_of(context, self).items()))


def _set_permission(context: RunContext, self: VaultObject, iden: Any, level: Any) -> Any:
    holder, wanted = tostr(iden), None if level is None else toint(level)
    if not hashing.isguid(holder):
        raise NoSuchIden(f"{holder} is no user or role", iden=holder)
    if wanted is not None and not EASY_DENY <= wanted <= EASY_ADMIN:
        raise BadArg(f"a level is from {EASY_DENY} to {EASY_ADMIN}, or null", name="level", valu=wanted)
    known = _known(context, self, EASY_ADMIN)
    roles = {everyone_iden(context), *known["permissions"]["roles"], *_role_idens(context)}
    return self.store.set_permission(
        context.session, self.iden, holder, "roles" if holder in roles else "users", wanted
    )


def _role_idens(context: RunContext) -> set[str]:
    auth: Any = context.run.engine.capabilities.get(AUTH)
    return set() if auth is None else set(auth.policy.roles)


def _delete(context: RunContext, self: VaultObject) -> None:
    _known(context, self, EASY_ADMIN)
    self.store.remove(context.session, self.iden)


_NAME: Final = ParameterSpec("name", type="str", doc="The name.")
_DEFAULT: Final = ParameterSpec("default", None, "prim", "What to give when there is none.")

_METHODS: Final = (
    FunctionSpec("get", "The value of a name.", _get, (_NAME, _DEFAULT), "prim"),
    FunctionSpec("list", "Names and values.", _list, (), "list"),
    FunctionSpec(
        "pop", "Remove a name; gives what its value was.", _pop, (_NAME, _DEFAULT), "prim", changes_state=True
    ),
    FunctionSpec(
        "set",
        "Set the value of a name; gives what it was before.",
        _set,
        (_NAME, ParameterSpec("valu", type="prim", doc="The value.")),
        "prim",
        changes_state=True,
    ),
)

TYPES: Final = (
    TypeSpec("user:vars:dict", UserVars, "Variables that the user keeps.", _METHODS, iterate=_iterate),
    TypeSpec("user:profile:dict", UserProfile, "Settings that the user keeps.", _METHODS, iterate=_iterate),
    TypeSpec(
        "vault",
        VaultObject,
        "Secrets and settings by name.",
        (
            FunctionSpec("delete", "Remove the vault.", _delete, (), changes_state=True),
            FunctionSpec(
                "setPerm",
                "Set what a user or role may do with it; gives what is known of the vault.",
                _set_permission,
                (
                    ParameterSpec("iden", type="str", doc="The user or role."),
                    ParameterSpec(
                        "level", type="int", doc="0 nothing, 1 read, 2 edit, 3 all; null takes it back."
                    ),
                ),
                "dict",
                changes_state=True,
            ),
        ),
        (
            AttributeSpec(
                "configs",
                "Its settings.",
                _configs,
                "vault:data",
                lambda c, s, value: _set_part(c, s, "configs", value),
            ),
            AttributeSpec("iden", "Its iden.", lambda c, s: s.iden, "str"),
            AttributeSpec("name", "Its name.", lambda c, s: _fact(c, s, "name"), "str", _rename),
            AttributeSpec(
                "owner", "Iden of the user or role it is of.", lambda c, s: _fact(c, s, "owner"), "str"
            ),
            AttributeSpec("permissions", "Who may do what.", lambda c, s: _fact(c, s, "permissions"), "dict"),
            AttributeSpec("scope", "Whom it is for.", lambda c, s: _fact(c, s, "scope"), "str"),
            AttributeSpec(
                "secrets",
                "Its secrets; null for who may not edit it.",
                _secrets,
                "vault:data",
                lambda c, s, value: _set_part(c, s, "secrets", value),
            ),
            AttributeSpec("type", "What it is for.", lambda c, s: _fact(c, s, "type"), "str"),
        ),
    ),
    TypeSpec(
        "vault:data",
        VaultData,
        "The secrets or settings of a vault.",
        get_item=_get_item,
        set_item=_set_item,
        iterate=_each_item,
    ),
)
