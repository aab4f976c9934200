"""`$lib.user.vars`, `$lib.user.profile`, `$lib.jsonstor` and `$lib.vault`: what users and queries keep."""

from __future__ import annotations

from collections.abc import Iterator
from time import time_ns
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common import hashing
from cellmesh.common.errors import BadArg, SchemaViolation, StormRuntimeError
from cellmesh.cortex.storm.library.graph import user_iden
from cellmesh.cortex.storm.objects.kept import (
    UserProfile,
    UserVars,
    VaultObject,
    confirm_vault,
    everyone_iden,
    vault_level,
)
from cellmesh.cortex.storm.objects.user_values import UserJson
from cellmesh.cortex.storm.runtime.interface import AttributeSpec, FunctionSpec, LibrarySpec, ParameterSpec
from cellmesh.cortex.storm.runtime.rights import AUTH, EASY_READ
from cellmesh.cortex.storm.runtime.values import tobool, toprim, tostored, tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext


def _vars(context: RunContext, self: object) -> UserVars:
    return UserVars(context.capability("user.values"), user_iden(context), "vars")


def _profile(context: RunContext, self: object) -> UserProfile:
    return UserProfile(context.capability("user.values"), user_iden(context), "profile")


def _json(context: RunContext, self: object) -> UserJson:
    return UserJson(user_iden(context))


# The JSON store.


def json_path(path: Any) -> tuple[str, ...]:
    """Return the steps of a path, given as text with slashes or as a list."""
    if path is None:
        return ()
    found = toprim(path)
    if isinstance(found, (list, tuple)):
        return tuple(tostr(step) for step in found)
    if not isinstance(found, str):
        raise StormRuntimeError(f"a path is text or a list, not a {type(found).__name__}", name="path")
    return tuple(found.split("/"))


def _require_path(path: Any) -> None:
    if path is None:
        raise StormRuntimeError("a path is text or a list, not null", name="path")


def _prop_path(prop: Any) -> tuple[str, ...]:
    """The steps of a path inside of a value, which may be told by a number too."""
    return json_path(prop if prop is None or isinstance(prop, (list, tuple)) else tostr(prop))


def _json_get(context: RunContext, path: Any, prop: Any) -> Any:
    _require_path(path)
    return context.capability("jsonstor").get(context.session, json_path(path), _prop_path(prop))


def _json_has(context: RunContext, path: Any) -> bool:
    _require_path(path)
    return bool(context.capability("jsonstor").has(context.session, json_path(path)))


def _json_set(context: RunContext, path: Any, value: Any, prop: Any) -> Any:
    _require_path(path)
    return context.capability("jsonstor").set(
        context.session, json_path(path), tostored(value), _prop_path(prop)
    )


def _json_del(context: RunContext, path: Any, prop: Any) -> Any:
    return context.capability("jsonstor").remove(context.session, json_path(path), _prop_path(prop))


def _json_iter(context: RunContext, path: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    steps, after = json_path(path), None
    while True:
        page, after = context.capability("jsonstor").page(context.session, steps, after)
        for item in page:
            context.tick()
            yield item
        if after is None:
            return


def _cache_path(path: Any, key: Any) -> tuple[str, ...]:
    return (*json_path(path), hashing.guid(toprim(key)))


def _cache_set(context: RunContext, path: Any, key: Any, value: Any) -> dict[str, Any]:
    steps, now_ms = _cache_path(path, key), time_ns() // 1_000_000
    envelope = {"key": toprim(key), "asof": now_ms, "data": toprim(value)}
    context.capability("jsonstor").set(context.session, steps, envelope)
    return {"asof": now_ms, "path": steps}


def _cache_get(context: RunContext, path: Any, key: Any, asof: Any, envelope: Any) -> Any:
    oldest = context.model.type("time").norm(toprim(asof))
    found = context.capability("jsonstor").get(context.session, _cache_path(path, key))
    if found is None or found["asof"] < oldest:
        return None
    return found if tobool(envelope) else found["data"]


def _cache_del(context: RunContext, path: Any, key: Any) -> Any:
    return context.capability("jsonstor").remove(context.session, _cache_path(path, key))


# Vaults.


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise BadArg(f"{name} is text", name=name)
    return value


def _holdings(value: Any, name: str) -> dict[str, Any]:
    found = toprim(value)
    if not isinstance(found, dict):
        raise SchemaViolation(f"the {name} of a vault are a dictionary", name=name)
    return found


def _vault_add(
    context: RunContext, name: Any, kind: Any, scope: Any, owner: Any, secrets: Any, configs: Any
) -> Any:
    if isinstance(owner, str) and scope != "global" and not hashing.isguid(owner):
        raise SchemaViolation("the owner of a vault is an iden", name="owner")
    return context.capability("vaults").add(
        context.session,
        _text(name, "name"),
        _text(kind, "vtype"),
        None if scope is None else _text(scope, "scope"),
        None if owner is None else _text(owner, "owner"),
        _holdings(secrets, "secrets"),
        _holdings(configs, "configs"),
        everyone_iden(context),
    )


def _vault(context: RunContext, known: dict[str, Any]) -> VaultObject:
    confirm_vault(context, known, EASY_READ)
    return VaultObject(context.capability("vaults"), known["iden"])


def _vault_get(context: RunContext, iden: Any) -> VaultObject:
    text = tostr(iden)
    if not hashing.isguid(text):
        raise BadArg(f"{text} is no iden", name="iden", valu=text)
    return _vault(context, context.capability("vaults").require(context.session, text))


def _vault_by_name(context: RunContext, name: Any) -> VaultObject:
    return _vault(context, context.capability("vaults").by_name(context.session, tostr(name)))


def _vault_by_type(context: RunContext, kind: Any, scope: Any) -> VaultObject | None:
    wanted = None if scope is None else tostr(scope)
    if wanted not in (None, "user", "role", "global"):
        raise BadArg(f"there is no scope {wanted}", name="scope", valu=wanted)
    auth: Any = context.run.engine.capabilities.get(AUTH)
    user = None if auth is None else auth.policy.find_user(context.user)
    roles = {everyone_iden(context), *(() if user is None else user.role_ids)}
    owners = {"user": {user_iden(context)}, "role": roles}
    found = context.capability("vaults").by_type(context.session, tostr(kind), wanted, owners)
    return None if found is None else _vault(context, found)


def _vault_list(context: RunContext) -> Iterator[VaultObject]:
    for _, known in context.capability("vaults").all(context.session):
        context.tick()
        if vault_level(context, known) >= EASY_READ:
            yield _vault(context, known)


_LEVELS: Final = ("deny", "read", "edit", "admin")


def _vault_print(context: RunContext, vault: Any) -> None:
    if not isinstance(vault, VaultObject):
        raise BadArg("what is to be printed is a vault", name="vault")
    known = vault.store.require(context.session, vault.iden)
    confirm_vault(context, known, EASY_READ)
    context.print(f"Vault: {vault.iden}")
    context.print(f"  Name: {known['name']}")
    context.print(f"  Type: {known['type']}")
    context.print(f"  Scope: {known['scope']}")
    context.print("  Permissions:")
    names = {user_iden(context): context.user, everyone_iden(context): "all"}
    for kind in ("users", "roles"):
        levels = known["permissions"][kind]
        context.print(f"    {kind.title()}:{'' if levels else ' None'}")
        for iden, level in levels.items():
            context.print(f"      {names.get(iden, iden)}: {_LEVELS[level]}")
    configs = known["configs"]
    context.print(f"  Configs:{'' if configs else ' None'}")
    for name, value in configs.items():
        context.print(f"    {name}: {value}")


_PATH: Final = ParameterSpec("path", type="str", doc="The path, with slashes or as a list.")
_PROP: Final = ParameterSpec("prop", None, "str", "The path of a property, with slashes or as a list.")
_KEY: Final = ParameterSpec("key", type="prim", doc="The key.")

LIBRARIES: Final = (
    LibrarySpec(
        ("user",),
        "The user of the query.",
        attributes=(
            AttributeSpec("json", "What the user keeps in the JSON store.", _json, "auth:user:json"),
            AttributeSpec("profile", "Settings that the user keeps.", _profile, "user:profile:dict"),
            AttributeSpec("vars", "Variables that the user keeps.", _vars, "user:vars:dict"),
        ),
    ),
    LibrarySpec(
        ("jsonstor",),
        "Values by path.",
        (
            FunctionSpec(
                "cachedel",
                "Forget the value of a key.",
                _cache_del,
                (_PATH, _KEY),
                "bool",
                changes_state=True,
            ),
            FunctionSpec(
                "cacheget",
                "The value of a key, if it is new enough.",
                _cache_get,
                (
                    _PATH,
                    _KEY,
                    ParameterSpec("asof", "now", "time", "The time since which it must have been set."),
                    ParameterSpec("envl", False, "bool", "Give it with its key and time."),
                ),
                "prim",
            ),
            FunctionSpec(
                "cacheset",
                "Set the value of a key, with the time.",
                _cache_set,
                (_PATH, _KEY, ParameterSpec("valu", type="prim", doc="The value.")),
                "dict",
                changes_state=True,
            ),
            FunctionSpec(
                "del", "Remove a value or a property.", _json_del, (_PATH, _PROP), "bool", changes_state=True
            ),
            FunctionSpec(
                "get", "A value or a property; null if there is none.", _json_get, (_PATH, _PROP), "prim"
            ),
            FunctionSpec("has", "Whether a path has a value.", _json_has, (_PATH,), "bool"),
            FunctionSpec(
                "iter",
                "The values at and below a path, with the further path of each.",
                _json_iter,
                (ParameterSpec("path", None, "str", "The path; all values without."),),
                "pairs",
                is_generator=True,
            ),
            FunctionSpec(
                "set",
                "Set a value or a property; gives false if there is no value that could have the property.",
                _json_set,
                (_PATH, ParameterSpec("valu", type="prim", doc="The value."), _PROP),
                "bool",
                changes_state=True,
            ),
        ),
    ),
    LibrarySpec(
        ("vault",),
        "Secrets and settings, of a user or role or for all.",
        (
            FunctionSpec(
                "add",
                "Make a vault; gives its iden.",
                _vault_add,
                (
                    ParameterSpec("name", type="str", doc="Its name."),
                    ParameterSpec("vtype", type="str", doc="What it is for."),
                    ParameterSpec("scope", type="str", doc="Whom it is for: user, role, global, or null."),
                    ParameterSpec("owner", type="str", doc="Iden of the user or role."),
                    ParameterSpec("secrets", type="dict", doc="Its secrets."),
                    ParameterSpec("configs", type="dict", doc="Its settings."),
                ),
                "str",
                changes_state=True,
            ),
            FunctionSpec(
                "byname",
                "The vault of a name.",
                _vault_by_name,
                (ParameterSpec("name", type="str", doc="The name."),),
                "vault",
                may_change=True,
            ),
            FunctionSpec(
                "bytype",
                "The vault of a type that is nearest to the user: their own, that of a role, the one for all.",
                _vault_by_type,
                (
                    ParameterSpec("vtype", type="str", doc="The type."),
                    ParameterSpec("scope", None, "str", "The only scope to look at."),
                ),
                "vault",
                may_change=True,
            ),
            FunctionSpec(
                "get",
                "A vault.",
                _vault_get,
                (ParameterSpec("iden", type="str", doc="Its iden."),),
                "vault",
                may_change=True,
            ),
            FunctionSpec(
                "list",
                "The vaults that the user may read.",
                _vault_list,
                (),
                "vaults",
                is_generator=True,
                may_change=True,
            ),
            FunctionSpec(
                "print",
                "Print what is known of a vault, without its secrets.",
                _vault_print,
                (ParameterSpec("vault", type="vault", doc="The vault."),),
            ),
        ),
    ),
)
