"""Users, roles and gates as values: `$lib.auth.users.byname(name)` and the like. They hold idens: what they say is of now."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.auth.gates import Gate
from cellmesh.common.auth.principals import Role, User
from cellmesh.common.auth.rules import Rule, parse_path
from cellmesh.common.errors import BadArg, NoSuchIden
from cellmesh.cortex.storm.objects.kept import UserProfile, UserVars
from cellmesh.cortex.storm.rights.gates import ensure_gate, gate_of, gates_of
from cellmesh.cortex.storm.runtime.interface import (
    UNDEF,
    AttributeSpec,
    FunctionSpec,
    ParameterSpec,
    TypeSpec,
)
from cellmesh.cortex.storm.runtime.members import toiter
from cellmesh.cortex.storm.runtime.rights import AUTH
from cellmesh.cortex.storm.runtime.values import tobool, toint, toprim, tostr

if TYPE_CHECKING:
    from cellmesh.common.auth.records import ApiKey
    from cellmesh.common.auth.store import AuthStore
    from cellmesh.cortex.storm.runtime.context import RunContext

JSON_ROOT: Final = "users"
"""Where the JSON store keeps what belongs to users."""

NOTICES: Final = "notices"
"""The kind of user values that holds what a user was told."""


class UserObject:
    """A user, by its iden."""

    __slots__ = ("auth", "iden")

    def __init__(self, auth: AuthStore, iden: str) -> None:
        self.auth = auth
        self.iden = iden

    @property
    def record(self) -> User:
        """What is known of the user now; raises NoSuchUser."""
        return self.auth.get_user(self.iden)

    def storm_plain(self) -> dict[str, Any]:
        """Return what is known of the user."""
        user = self.record
        gates: dict[str, Any] = {}
        for gate in self.auth.policy.gates.values():
            own = gate.user(self.iden)
            if not own.is_nothing:
                gates[gate.gate_id] = {
                    **({"admin": True} if own.admin else {}),
                    **({"rules": rules_plain(own.rules)} if own.rules else {}),
                }
        return {
            "type": "user",
            "iden": self.iden,
            "name": user.name,
            "rules": rules_plain(user.rules),
            "roles": [RoleObject(self.auth, role).storm_plain() for role in user.role_ids],
            "admin": user.admin,
            "email": user.email or None,
            "locked": user.locked,
            "archived": user.archived,
            "authgates": gates,
        }

    def storm_text(self) -> str:
        """Return what is printed."""
        return f"auth:user: {self.iden}"


class RoleObject:
    """A role, by its iden."""

    __slots__ = ("auth", "iden")

    def __init__(self, auth: AuthStore, iden: str) -> None:
        self.auth = auth
        self.iden = iden

    @property
    def record(self) -> Role:
        """What is known of the role now; raises NoSuchRole."""
        return self.auth.get_role(self.iden)

    def storm_plain(self) -> dict[str, Any]:
        """Return what is known of the role."""
        role = self.record
        return {
            "type": "role",
            "iden": self.iden,
            "name": role.name,
            "rules": rules_plain(role.rules),
            "authgates": {
                gate.gate_id: {"rules": rules_plain(gate.roles[self.iden])}
                for gate in self.auth.policy.gates.values()
                if gate.roles.get(self.iden)
            },
        }

    def storm_text(self) -> str:
        """Return what is printed."""
        return f"auth:role: {self.iden}"


class GateObject:
    """An object that has rules of its own, as it is when it is made."""

    __slots__ = ("gate",)

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    def storm_plain(self) -> dict[str, Any]:
        """Return who has which rules."""
        return {
            "iden": self.gate.gate_id,
            "type": self.gate.kind,
            "users": [
                {"iden": iden, "rules": rules_plain(own.rules), "admin": own.admin}
                for iden, own in self.gate.users.items()
            ],
            "roles": [
                {"iden": iden, "rules": rules_plain(rules), "admin": False}
                for iden, rules in self.gate.roles.items()
            ],
        }

    def storm_text(self) -> str:
        """Return what is printed."""
        return f"auth:gate: {self.gate.gate_id}"


class OtherVars(UserVars):
    """The variables of a user, for administrators and itself."""

    __slots__ = ()


class OtherProfile(UserProfile):
    """The settings of a user, for those who may see them and itself."""

    __slots__ = ()


class UserJson:
    """What a user keeps in the JSON store."""

    __slots__ = ("owner",)

    def __init__(self, owner: str) -> None:
        self.owner = owner


Subject = UserObject | RoleObject


# Rules as values.


def rules_plain(rules: Sequence[Rule]) -> list[tuple[bool, tuple[str, ...]]]:
    """Return rules as queries have them."""
    return [(rule.allow, rule.path) for rule in rules]


def rule_of(value: Any) -> Rule:
    """Return the rule that a value stands for: a pair of whether it allows, and the path.

    Raises:
        BadArg: it is no rule.
    """
    found = toprim(value)
    if not isinstance(found, (list, tuple)) or len(found) != 2:
        raise BadArg("a rule is a pair: whether it allows, and the path", name="rule")
    allow, path = found
    if isinstance(path, str) or not isinstance(path, (list, tuple)):
        raise BadArg("the path of a rule is a list", name="rule")
    return Rule(tobool(allow), tuple(tostr(part) for part in path))


def path_of(value: Any) -> tuple[str, ...]:
    """Return the path of a permission given as text with dots."""
    return parse_path(tostr(value))


def _gate(context: RunContext, gate: Any) -> str:
    return "" if gate is None else ensure_gate(context, tostr(gate))


def _asked_gate(gate: Any) -> str:
    return "" if gate is None else tostr(gate)


def _confirm_rules(context: RunContext, self: Subject, gate: Any) -> None:
    kind = "user" if isinstance(self, UserObject) else "role"
    context.confirm(("auth", kind, "set", "rules"), _asked_gate(gate))


def _get_rules(context: RunContext, self: Subject, gate: Any) -> list[Any]:
    found = _asked_gate(gate)
    if found and found not in self.auth.policy.gates:
        gate_of(context, found)
        return []
    return rules_plain(self.auth.rules(self.record, found))


def _set_rules(context: RunContext, self: Subject, rules: Any, gate: Any) -> None:
    _confirm_rules(context, self, gate)
    wanted = [rule_of(rule) for rule in toiter(context, rules)]
    found = _gate(context, gate)
    context.session.pause()
    self.auth.set_rules(self.record, wanted, found)


def _add_rule(context: RunContext, self: Subject, rule: Any, gate: Any, index: Any) -> None:
    _confirm_rules(context, self, gate)
    wanted, found = rule_of(rule), _gate(context, gate)
    context.session.pause()
    self.auth.add_rule(self.record, wanted, found, None if index is None else toint(index))


def _del_rule(context: RunContext, self: Subject, rule: Any, gate: Any) -> None:
    _confirm_rules(context, self, gate)
    wanted, found = rule_of(rule), _gate(context, gate)
    context.session.pause()
    self.auth.remove_rule(self.record, wanted, found)


def _pop_rule(context: RunContext, self: Subject, index: Any, gate: Any) -> Any:
    _confirm_rules(context, self, gate)
    found, position = _gate(context, gate), toint(index)
    context.session.pause()
    with self.auth.changing():
        rules = list(self.auth.rules(self.record, found))
        if not -len(rules) <= position < len(rules):
            raise BadArg(f"there is no rule {position}, only {len(rules)} rules", name="indx")
        taken = rules.pop(position)
        self.auth.set_rules(self.record, rules, found)
    return (taken.allow, taken.path)


def _gates(context: RunContext, self: Subject) -> list[GateObject]:
    return [
        GateObject(gate)
        for gate in self.auth.policy.gates.values()
        if self.iden in gate.users or self.iden in gate.roles
    ]


def _get(context: RunContext, self: Subject, name: Any) -> Any:
    return self.storm_plain().get(tostr(name))


# Users.


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
    self.auth.update_user(self.iden, email="" if value is None else tostr(value))


def _set_password(context: RunContext, self: UserObject, password: Any) -> None:
    _confirm_set(context, self, "passwd")
    context.session.pause()
    context.capability("passwords").set_password(self.iden, "" if password is None else tostr(password))


def _set_admin(context: RunContext, self: UserObject, admin: Any, gate: Any) -> None:
    context.confirm(("auth", "user", "set", "admin"), _asked_gate(gate))
    wanted, found = tobool(admin), _gate(context, gate)
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
        raise NoSuchIden(f"there is no role {text[:64]}", iden=text[:64])
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
    wanted = [_role_iden(self.auth, iden) for iden in toiter(context, idens)]
    context.session.pause()
    self.auth.set_user_roles(self.iden, wanted)


def _allowed(context: RunContext, self: UserObject, name: Any, gate: Any, default: Any) -> bool:
    return self.auth.policy.allowed(self.iden, path_of(name), _asked_gate(gate), default=tobool(default))


def _reason(context: RunContext, self: UserObject, name: Any, gate: Any, default: Any) -> tuple[bool, str]:
    found = self.auth.policy.decide(self.iden, path_of(name), _asked_gate(gate))
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


def _del_key(context: RunContext, self: UserObject, iden: Any) -> bool:
    _confirm_set(context, self, "apikey")
    context.session.pause()
    self.auth.delete_api_key(_key(self, iden).key_id)
    return True


# What users keep.


def _confirm_vars(context: RunContext, self: UserObject) -> None:
    if not _is_self(context, self):
        context.confirm_admin("looking at the variables of another user")


def _vars(context: RunContext, self: UserObject) -> OtherVars:
    _confirm_vars(context, self)
    return OtherVars(context.capability("user.values"), self.iden, "vars")


def _profile(context: RunContext, self: UserObject) -> OtherProfile:
    return OtherProfile(context.capability("user.values"), self.iden, "profile")


def _confirm_profile(context: RunContext, owner: str, verb: str, name: str) -> None:
    rights = context.run.rights
    if rights is not None and rights.user_id != owner:
        context.confirm(("auth", "user", verb, "profile", *([name] if name else ())))


def _kept_get(context: RunContext, self: OtherVars | OtherProfile, name: Any) -> Any:
    if isinstance(self, OtherProfile):
        _confirm_profile(context, self.owner, "get", tostr(name))
    return self.store.get(context.session, self.owner, self.kind, tostr(name))


def _kept_set(context: RunContext, self: OtherVars | OtherProfile, name: Any, value: Any) -> None:
    context.check_writable()
    if isinstance(self, OtherProfile):
        _confirm_profile(context, self.owner, "pop" if value is UNDEF else "set", tostr(name))
    if value is UNDEF:
        self.store.pop(context.session, self.owner, self.kind, tostr(name))
    else:
        self.store.put(context.session, self.owner, self.kind, tostr(name), toprim(value))


def _kept_iterate(context: RunContext, self: OtherVars | OtherProfile) -> Iterator[Any]:
    if isinstance(self, OtherProfile):
        _confirm_profile(context, self.owner, "get", "")
    return iter(self.store.all(context.session, self.owner, self.kind))


def _json_path(self: UserJson, path: Any) -> tuple[str, ...]:
    found = toprim(path)
    steps = found if isinstance(found, (list, tuple)) else tostr(found or "").split("/")
    return (JSON_ROOT, self.owner, "json", *(tostr(step) for step in steps if step != ""))


def _prop_path(prop: Any) -> tuple[str, ...]:
    if prop is None:
        return ()
    found = toprim(prop)
    return tuple(
        tostr(step) for step in (found if isinstance(found, (list, tuple)) else tostr(found).split("/"))
    )


def _confirm_json(context: RunContext, self: UserJson, verb: str) -> None:
    rights = context.run.rights
    if rights is not None and rights.user_id != self.owner:
        context.confirm(("user", "json", verb))


def _json_get(context: RunContext, self: UserJson, path: Any, prop: Any) -> Any:
    _confirm_json(context, self, "get")
    return context.capability("jsonstor").get(context.session, _json_path(self, path), _prop_path(prop))


def _json_set(context: RunContext, self: UserJson, path: Any, value: Any, prop: Any) -> Any:
    _confirm_json(context, self, "set")
    store = context.capability("jsonstor")
    return store.set(context.session, _json_path(self, path), toprim(value), _prop_path(prop))


def _json_del(context: RunContext, self: UserJson, path: Any, prop: Any) -> Any:
    _confirm_json(context, self, "set")
    store = context.capability("jsonstor")
    return store.remove(context.session, _json_path(self, path), _prop_path(prop))


def _json_iter(context: RunContext, self: UserJson, path: Any) -> Iterator[Any]:
    _confirm_json(context, self, "get")
    steps, after = _json_path(self, path), None
    while True:
        page, after = context.capability("jsonstor").page(context.session, steps, after)
        for item in page:
            context.tick()
            yield item
        if after is None:
            return


# What users are told.


def notify(context: RunContext, owner: str, kind: str, data: dict[str, Any]) -> str:
    """Leave a notice for a user; returns its number as text."""
    store = context.capability("user.values")
    time_us = time.time_ns() // 1000
    known = {name for name, _ in store.all(context.session, owner, NOTICES)}
    number = time_us
    while f"{number:020}" in known:
        number += 1
    name = f"{number:020}"
    sender = context.model.iden_of("user", context.user) or ""
    store.put(
        context.session,
        owner,
        NOTICES,
        name,
        {"from": sender, "user": owner, "type": kind, "time": time_us // 1000, "data": data},
    )
    return name


def _tell(context: RunContext, self: UserObject, text: Any) -> None:
    _ = self.record
    notify(context, self.iden, "tell", {"text": tostr(text), "from": context.user})


def _notify(context: RunContext, self: UserObject, kind: Any, data: Any) -> None:
    context.confirm_admin("$user.notify()")
    notify(context, self.iden, tostr(kind), toprim(data))


_GATE: Final = ParameterSpec(
    "gateiden", None, "str", "The object that the rules are on; without it everywhere."
)
_RULE: Final = ParameterSpec("rule", type="list", doc="Whether it allows, and the path.")
_DEFAULT: Final = ParameterSpec("default", False, "bool", "What counts where no rule speaks of it.")
_PERMISSION: Final = ParameterSpec("permname", type="str", doc="Such as `node.add.inet:ipv4`.")
_ROLE: Final = ParameterSpec("iden", type="str", doc="The iden of the role.")
_KEY: Final = ParameterSpec("iden", type="str", doc="The iden of the key.")
_PATH: Final = ParameterSpec("path", type="str", doc="The path, with slashes.")
_PROP: Final = ParameterSpec("prop", None, "str", "A property inside of what is kept there.")

_SHARED: Final = (
    FunctionSpec(
        "addRule",
        "Add a rule, at the end or at a place.",
        _add_rule,
        (_RULE, _GATE, ParameterSpec("indx", None, "int", "The place among the rules.")),
        changes_state=True,
    ),
    FunctionSpec("delRule", "Remove a rule.", _del_rule, (_RULE, _GATE), changes_state=True),
    FunctionSpec("gates", "The objects on which it has rules.", _gates, (), "list"),
    FunctionSpec("get", "A fact.", _get, (ParameterSpec("name", type="str", doc="Which fact."),), "any"),
    FunctionSpec("getRules", "Its rules, in the order they are asked.", _get_rules, (_GATE,), "list"),
    FunctionSpec("pack", "All facts.", lambda c, s: s.storm_plain(), (), "dict"),
    FunctionSpec(
        "popRule",
        "Remove the rule at a place and give it back.",
        _pop_rule,
        (ParameterSpec("indx", type="int", doc="The place among the rules."), _GATE),
        "list",
        changes_state=True,
    ),
    FunctionSpec(
        "setRules",
        "Set all rules.",
        _set_rules,
        (ParameterSpec("rules", type="list", doc="The rules."), _GATE),
        changes_state=True,
    ),
)


def _role_name(context: RunContext, self: RoleObject, value: Any) -> None:
    context.check_writable()
    context.confirm(("auth", "role", "set", "name"))
    context.session.pause()
    self.auth.rename_role(self.iden, tostr(value))


TYPES: Final = (
    TypeSpec(
        "auth:user",
        UserObject,
        "A user of the cell.",
        (
            *_SHARED,
            FunctionSpec(
                "allowed", "Whether it may do something.", _allowed, (_PERMISSION, _GATE, _DEFAULT), "bool"
            ),
            FunctionSpec(
                "getAllowedReason",
                "Whether it may do something, and why.",
                _reason,
                (_PERMISSION, _GATE, _DEFAULT),
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
                (ParameterSpec("admin", type="bool", doc="Whether it may."), _GATE),
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
            FunctionSpec("listApiKeys", "What is known of its API keys.", _list_keys, (), "list"),
            FunctionSpec("delApiKey", "End an API key.", _del_key, (_KEY,), "bool", changes_state=True),
            FunctionSpec(
                "tell",
                "Leave it a message.",
                _tell,
                (ParameterSpec("text", type="str", doc="The message."),),
                changes_state=True,
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
            ),
        ),
        (
            AttributeSpec("iden", "Its iden.", lambda c, s: s.iden, "str"),
            AttributeSpec("name", "Its name.", lambda c, s: s.record.name, "str", _set_name),
            AttributeSpec(
                "email", "Its email, or null.", lambda c, s: s.record.email or None, "str", _set_email
            ),
            AttributeSpec("vars", "Its variables.", _vars, "auth:user:vars"),
            AttributeSpec("profile", "Its settings.", _profile, "auth:user:profile"),
            AttributeSpec(
                "json", "What it keeps in the JSON store.", lambda c, s: UserJson(s.iden), "auth:user:json"
            ),
        ),
    ),
    TypeSpec(
        "auth:role",
        RoleObject,
        "A role: rules that users share.",
        _SHARED,
        (
            AttributeSpec("iden", "Its iden.", lambda c, s: s.iden, "str"),
            AttributeSpec("name", "Its name.", lambda c, s: s.record.name, "str", _role_name),
        ),
    ),
    TypeSpec(
        "auth:gate",
        GateObject,
        "An object that has rules of its own.",
        (),
        (
            AttributeSpec("iden", "Its iden.", lambda c, s: s.gate.gate_id, "str"),
            AttributeSpec("type", "What it is, such as `layer`.", lambda c, s: s.gate.kind, "str"),
            AttributeSpec("users", "The rules of users.", lambda c, s: s.storm_plain()["users"], "list"),
            AttributeSpec("roles", "The rules of roles.", lambda c, s: s.storm_plain()["roles"], "list"),
        ),
    ),
    TypeSpec(
        "auth:user:vars",
        OtherVars,
        "The variables of a user.",
        get_item=_kept_get,
        set_item=_kept_set,
        iterate=_kept_iterate,
    ),
    TypeSpec(
        "auth:user:profile",
        OtherProfile,
        "The settings of a user.",
        get_item=_kept_get,
        set_item=_kept_set,
        iterate=_kept_iterate,
    ),
    TypeSpec(
        "auth:user:json",
        UserJson,
        "What a user keeps in the JSON store.",
        (
            FunctionSpec(
                "del", "Remove what is kept at a path.", _json_del, (_PATH, _PROP), "bool", changes_state=True
            ),
            FunctionSpec("get", "What is kept at a path, or null.", _json_get, (_PATH, _PROP), "any"),
            FunctionSpec(
                "iter",
                "Paths below one, and what is kept there.",
                _json_iter,
                (ParameterSpec("path", None, "str", "The path, with slashes."),),
                "pairs",
                is_generator=True,
            ),
            FunctionSpec(
                "set",
                "Keep something at a path.",
                _json_set,
                (_PATH, ParameterSpec("valu", type="prim", doc="What to keep."), _PROP),
                "bool",
                changes_state=True,
            ),
        ),
    ),
)

__all__ = ["AUTH", "GateObject", "RoleObject", "TYPES", "UserObject", "gates_of", "notify"]
