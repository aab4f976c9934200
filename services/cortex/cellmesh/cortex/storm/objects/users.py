"""Users as values: `$lib.auth.users.byname(name)` and the like. They hold idens: what they say is of now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadArg, NoSuchIden, NoSuchRole
from cellmesh.cortex.storm.objects.principals import (
    GATE,
    SHARED,
    RoleObject,
    UserObject,
    asked_gate,
    fact_of,
    known_gate,
    path_of,
)
from cellmesh.cortex.storm.objects.user_values import OtherProfile, OtherVars, UserJson, notify
from cellmesh.cortex.storm.runtime.interface import AttributeSpec, FunctionSpec, ParameterSpec, TypeSpec
from cellmesh.cortex.storm.runtime.members import toiter
from cellmesh.cortex.storm.runtime.values import tobool, toint, toprim, tostr

if TYPE_CHECKING:
    from cellmesh.common.auth.records import ApiKey
    from cellmesh.common.auth.store import AuthStore
    from cellmesh.cortex.storm.runtime.context import RunContext


def _is_self(context: RunContext, self: UserObject) -> bool:
    rights = context.run.rights
    return rights is not None and rights.user_id == self.iden


def _confirm_set(context: RunContext, self: UserObject, name: str) -> None:
    if _is_self(context, self):
        context.confirm(("auth", "self", "set", name), default=True)
    else:
        context.confirm(("auth", "user", "set", name))


def _set_name(context: RunContext, self: UserObject, value: Any) -> None:
    context.check_writable()
    _confirm_set(context, self, "name")
    context.session.pause()
    self.auth.update_user(self.iden, new_name=tostr(value))


def _set_email(context: RunContext, self: UserObject, value: Any) -> None:
    context.check_writable()
    _confirm_set(context, self, "email")
    context.session.pause()
    self.auth.update_user(self.iden, email=tostr(value))


def _set_password(context: RunContext, self: UserObject, password: Any) -> None:
    _confirm_set(context, self, "passwd")
    context.session.pause()
    context.capability("passwords").set_password(self.iden, "" if password is None else tostr(password))


def _set_admin(context: RunContext, self: UserObject, admin: Any, gate: Any) -> None:
    context.confirm(("auth", "user", "set", "admin"), asked_gate(gate))
    wanted, found = tobool(admin), known_gate(context, gate)
    context.session.pause()
    if found:
        self.auth.set_gate_admin(self.iden, found, wanted)
    else:
        self.auth.update_user(self.iden, admin=wanted)


def _set_locked(context: RunContext, self: UserObject, locked: Any) -> None:
    context.confirm(("auth", "user", "set", "locked"))
    context.session.pause()
    self.auth.update_user(self.iden, locked=tobool(locked))


def _set_archived(context: RunContext, self: UserObject, archived: Any) -> None:
    context.confirm(("auth", "user", "set", "archived"))
    context.session.pause()
    self.auth.update_user(self.iden, archived=tobool(archived))


def _roles(context: RunContext, self: UserObject) -> list[RoleObject]:
    return [RoleObject(self.auth, iden) for iden in self.record.role_ids]


def _role_iden(auth: AuthStore, iden: Any) -> str:
    text = tostr(iden)
    if text not in auth.policy.roles:
        raise NoSuchRole(f"there is no role {text[:64]}", iden=text[:64])
    return text


def _grant(context: RunContext, self: UserObject, iden: Any, index: Any) -> None:
    context.confirm(("auth", "user", "grant"))
    context.session.pause()
    self.auth.grant(self.iden, _role_iden(self.auth, iden), None if index is None else toint(index))


def _revoke(context: RunContext, self: UserObject, iden: Any) -> None:
    context.confirm(("auth", "user", "revoke"))
    context.session.pause()
    self.auth.revoke(self.iden, _role_iden(self.auth, iden))


def _set_roles(context: RunContext, self: UserObject, idens: Any) -> None:
    context.confirm(("auth", "user", "grant"))
    context.confirm(("auth", "user", "revoke"))
    try:
        wanted = [_role_iden(self.auth, iden) for iden in toiter(context, idens)]
    except NoSuchRole as error:
        raise BadArg(error.message, name="idens") from error
    context.session.pause()
    self.auth.set_user_roles(self.iden, wanted)


def _allowed(context: RunContext, self: UserObject, name: Any, gate: Any, default: Any) -> bool:
    if name == "":  # no rule speaks of nothing
        return self.record.admin or tobool(default)
    return self.auth.policy.allowed(self.iden, path_of(name), asked_gate(gate), default=tobool(default))


def _reason(context: RunContext, self: UserObject, name: Any, gate: Any, default: Any) -> tuple[bool, str]:
    found = self.auth.policy.decide(self.iden, path_of(name), asked_gate(gate))
    return (tobool(default) if found.allowed is None else found.allowed, found.reason)


# API keys.


def _key_plain(key: ApiKey) -> dict[str, Any]:
    return {
        "iden": key.key_id,
        "name": key.name,
        "user": key.user_id,
        "created": key.create_time_us // 1000,
        "expires": key.expire_time_us // 1000 if key.expire_time_us else None,
    }


def _key(self: UserObject, iden: Any) -> ApiKey:
    found = self.auth.policy.api_keys.get(tostr(iden))
    if found is None or found.user_id != self.iden:
        raise NoSuchIden(f"the user has no API key {tostr(iden)[:64]}", iden=tostr(iden)[:64])
    return found


def _make_key(context: RunContext, self: UserObject, name: Any, duration: Any) -> tuple[str, Any]:
    _confirm_set(context, self, "apikey")
    life_s = None if duration is None else toint(duration) / 1000
    context.session.pause()
    key, text = context.capability("passwords").make_key(self.iden, tostr(name), life_s)
    return (text, _key_plain(key))


def _list_keys(context: RunContext, self: UserObject) -> list[Any]:
    _confirm_set(context, self, "apikey")
    return [_key_plain(key) for key in self.auth.policy.api_keys.values() if key.user_id == self.iden]


def _get_key(context: RunContext, self: UserObject, iden: Any) -> Any:
    _confirm_set(context, self, "apikey")
    return _key_plain(_key(self, iden))


def _mod_key(context: RunContext, self: UserObject, iden: Any, name: Any, value: Any) -> Any:
    _confirm_set(context, self, "apikey")
    found, what = _key(self, iden), tostr(name)
    if what != "name":
        raise BadArg(f"of an API key only the name can be changed, not {what[:64]}", name=what[:64])
    context.session.pause()
    return _key_plain(self.auth.rename_api_key(found.key_id, tostr(value)))


def _del_key(context: RunContext, self: UserObject, iden: Any) -> bool:
    _confirm_set(context, self, "apikey")
    context.session.pause()
    self.auth.delete_api_key(_key(self, iden).key_id)
    return True


# What users keep, and what they are told.


def _confirm_vars(context: RunContext, self: UserObject) -> None:
    if not _is_self(context, self):
        context.confirm_admin("looking at the variables of another user")


def _vars(context: RunContext, self: UserObject) -> OtherVars:
    _confirm_vars(context, self)
    return OtherVars(context.capability("user.values"), self.iden, "vars")


def _profile(context: RunContext, self: UserObject) -> OtherProfile:
    return OtherProfile(context.capability("user.values"), self.iden, "profile")


def _tell(context: RunContext, self: UserObject, text: Any) -> None:
    _ = self.record
    notify(context, self.iden, "tell", {"text": tostr(text), "from": context.user})


def _notify(context: RunContext, self: UserObject, kind: Any, data: Any) -> None:
    context.confirm_admin("$user.notify()")
    notify(context, self.iden, tostr(kind), toprim(data))


_DEFAULT: Final = ParameterSpec("default", False, "bool", "What counts where no rule speaks of it.")
_PERMISSION: Final = ParameterSpec("permname", type="str", doc="Such as `node.add.inet:ipv4`.")
_ROLE: Final = ParameterSpec("iden", type="str", doc="The iden of the role.")
_KEY: Final = ParameterSpec("iden", type="str", doc="The iden of the key.")

TYPES: Final = (
    TypeSpec(
        "auth:user",
        UserObject,
        "A user of the cell.",
        (
            *SHARED,
            FunctionSpec(
                "allowed", "Whether it may do something.", _allowed, (_PERMISSION, GATE, _DEFAULT), "bool"
            ),
            FunctionSpec(
                "getAllowedReason",
                "Whether it may do something, and why.",
                _reason,
                (_PERMISSION, GATE, _DEFAULT),
                "pair",
            ),
            FunctionSpec("roles", "Its roles, in the order their rules are asked.", _roles, (), "list"),
            FunctionSpec(
                "grant",
                "Give it a role.",
                _grant,
                (_ROLE, ParameterSpec("indx", None, "int", "The place among its roles.")),
                changes_state=True,
            ),
            FunctionSpec("revoke", "Take a role from it.", _revoke, (_ROLE,), changes_state=True),
            FunctionSpec(
                "setRoles",
                "Set its roles and their order; `all` is among them.",
                _set_roles,
                (ParameterSpec("idens", type="list", doc="The idens of the roles."),),
                changes_state=True,
            ),
            FunctionSpec(
                "setAdmin",
                "Say whether it may do everything, everywhere or on an object.",
                _set_admin,
                (ParameterSpec("admin", type="bool", doc="Whether it may."), GATE),
                changes_state=True,
            ),
            FunctionSpec(
                "setLocked",
                "Say whether it is locked, and may do nothing.",
                _set_locked,
                (ParameterSpec("locked", type="bool", doc="Whether it is."),),
                changes_state=True,
            ),
            FunctionSpec(
                "setArchived",
                "Say whether it is kept for the record only.",
                _set_archived,
                (ParameterSpec("archived", type="bool", doc="Whether it is."),),
                changes_state=True,
            ),
            FunctionSpec(
                "setEmail",
                "Set its email.",
                _set_email,
                (ParameterSpec("email", type="str", doc="The email."),),
                changes_state=True,
            ),
            FunctionSpec(
                "setPasswd",
                "Set its password.",
                _set_password,
                (ParameterSpec("passwd", type="str", doc="The password; null for none."),),
                changes_state=True,
            ),
            FunctionSpec(
                "genApiKey",
                "Make an API key; gives its text, which is told once, and what is known of it.",
                _make_key,
                (
                    ParameterSpec("name", type="str", doc="What to call it."),
                    ParameterSpec("duration", None, "int", "How long it lasts, in milliseconds."),
                ),
                "pair",
                changes_state=True,
            ),
            FunctionSpec("getApiKey", "What is known of an API key.", _get_key, (_KEY,), "dict"),
            FunctionSpec(
                "modApiKey",
                "Change the name of an API key; gives what is known of it.",
                _mod_key,
                (
                    _KEY,
                    ParameterSpec("name", type="str", doc="What to change: name."),
                    ParameterSpec("valu", type="any", doc="The new value."),
                ),
                "dict",
                changes_state=True,
            ),
            FunctionSpec("listApiKeys", "What is known of its API keys.", _list_keys, (), "list"),
            FunctionSpec("delApiKey", "End an API key.", _del_key, (_KEY,), "bool", changes_state=True),
            FunctionSpec(
                "tell",
                "Leave it a message.",
                _tell,
                (ParameterSpec("text", type="str", doc="The message."),),
                changes_state=True,
                deprecated="nothing takes its place",
            ),
            FunctionSpec(
                "notify",
                "Leave it a notice of any kind.",
                _notify,
                (
                    ParameterSpec("mesgtype", type="str", doc="The kind."),
                    ParameterSpec("mesgdata", type="dict", doc="What it says."),
                ),
                changes_state=True,
                deprecated="nothing takes its place",
            ),
        ),
        (
            AttributeSpec("iden", "Its iden.", lambda c, s: s.iden, "str"),
            AttributeSpec("name", "Its name.", lambda c, s: s.record.name, "str", _set_name),
            AttributeSpec(
                "email", "Its email, or null.", lambda c, s: s.record.email or None, "str", _set_email
            ),
            *(
                AttributeSpec(name, doc, fact_of(name), kind)
                for name, doc, kind in (
                    ("admin", "Whether it may do everything.", "bool"),
                    ("archived", "Whether it is kept for the record only.", "bool"),
                    ("authgates", "Its rules on objects, by their idens.", "dict"),
                    ("locked", "Whether it may do nothing.", "bool"),
                    ("rules", "Its rules, in the order they are asked.", "list"),
                    ("type", "Always `user`.", "str"),
                )
            ),
            AttributeSpec("vars", "Its variables.", _vars, "auth:user:vars"),
            AttributeSpec("profile", "Its settings.", _profile, "auth:user:profile"),
            AttributeSpec(
                "json", "What it keeps in the JSON store.", lambda c, s: UserJson(s.iden), "auth:user:json"
            ),
        ),
    ),
)
