"""`$lib.auth` and `$lib.notifications`: users, roles and what they may do, and what users were told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.auth.rules import Rule, path_text
from cellmesh.common.errors import AuthDeny, BadArg, NoSuchRole, NoSuchUser
from cellmesh.common.hashing import isguid
from cellmesh.cortex.storm.library.graph import user_iden
from cellmesh.cortex.storm.objects.principals import GateObject, RoleObject, UserObject, rule_of
from cellmesh.cortex.storm.objects.user_values import NOTICES
from cellmesh.cortex.storm.rights.gates import gate_of, gates_of, kind_of_gate
from cellmesh.cortex.storm.rights.paths import BY_PATH, PERMISSIONS
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, LibrarySpec, ParameterSpec
from cellmesh.cortex.storm.runtime.members import toiter
from cellmesh.cortex.storm.runtime.rights import (
    AUTH,
    EASY_ADMIN,
    EASY_DENY,
    EASY_EDIT,
    EASY_READ,
)
from cellmesh.cortex.storm.runtime.values import toint, toprim, tostr

if TYPE_CHECKING:
    from cellmesh.common.auth.store import AuthStore
    from cellmesh.cortex.storm.runtime.context import RunContext


def _auth(context: RunContext) -> AuthStore:
    found: AuthStore = context.capability(AUTH)
    return found


def _given_iden(iden: Any) -> str | None:
    """Return the iden that a new user or role is to have; None for one that the cell makes."""
    if iden is None:
        return None
    text = tostr(iden)
    if not isguid(text):
        raise BadArg("an iden has 32 hexadecimal digits", name="iden", valu=text[:64])
    return text


# Users.


def _users_add(context: RunContext, name: Any, password: Any, email: Any, iden: Any) -> UserObject:
    wanted, auth = _given_iden(iden), _auth(context)
    context.session.pause()
    made = auth.add_user(tostr(name), "" if email is None else tostr(email), user_id=wanted)
    if password is not None:
        context.capability("passwords").set_password(made.user_id, tostr(password))
    return UserObject(auth, made.user_id)


def _users_del(context: RunContext, iden: Any) -> None:
    if not isinstance(iden, str):
        raise BadArg("an iden is text", name="iden")
    auth, text = _auth(context), tostr(iden)
    if text not in auth.policy.users:
        raise NoSuchUser(f"there is no user {text[:64]}", username=text[:64])
    context.session.pause()
    auth.delete_user(text)


def _users_get(context: RunContext, iden: Any) -> UserObject | None:
    auth = _auth(context)
    text = user_iden(context) if iden is None else tostr(iden)
    return UserObject(auth, text) if text in auth.policy.users else None


def _users_byname(context: RunContext, name: Any) -> UserObject | None:
    auth = _auth(context)
    found = auth.policy.user_names.get(tostr(name))
    return None if found is None else UserObject(auth, found)


def _users_byemail(context: RunContext, email: Any) -> UserObject | None:
    auth = _auth(context)
    found = auth.policy.user_emails.get(tostr(email))
    return None if found is None else UserObject(auth, found)


def _users_list(context: RunContext) -> list[UserObject]:
    auth = _auth(context)
    return [UserObject(auth, iden) for _, iden in sorted(auth.policy.user_names.items())]


# Roles.


def _roles_add(context: RunContext, name: Any, iden: Any) -> RoleObject:
    wanted, auth = _given_iden(iden), _auth(context)
    if not isinstance(name, str):
        raise BadArg("the name of a role is text", name="name")
    context.session.pause()
    return RoleObject(auth, auth.add_role(name, role_id=wanted).role_id)


def _roles_del(context: RunContext, iden: Any) -> None:
    auth, text = _auth(context), tostr(iden)
    if text not in auth.policy.roles:
        raise NoSuchRole(f"there is no role {text[:64]}", name=text[:64])
    context.session.pause()
    auth.delete_role(text)


def _roles_get(context: RunContext, iden: Any) -> RoleObject | None:
    auth, text = _auth(context), tostr(iden)
    return RoleObject(auth, text) if text in auth.policy.roles else None


def _roles_byname(context: RunContext, name: Any) -> RoleObject | None:
    auth = _auth(context)
    found = auth.policy.role_names.get(tostr(name))
    return None if found is None else RoleObject(auth, found)


def _roles_list(context: RunContext) -> list[RoleObject]:
    auth = _auth(context)
    return [RoleObject(auth, iden) for _, iden in sorted(auth.policy.role_names.items())]


# Gates.


def _gates_get(context: RunContext, iden: Any) -> GateObject | None:
    text = tostr(iden)
    return None if kind_of_gate(context, text) is None else GateObject(gate_of(context, text))


def _gates_list(context: RunContext) -> list[GateObject]:
    return [GateObject(gate_of(context, iden)) for iden, _ in list(gates_of(context))]


# Rules and permissions.


def _rule_from_text(context: RunContext, text: Any) -> tuple[bool, tuple[str, ...]]:
    """Read a rule; what could be no rule of a user is told in its parts all the same."""
    if not isinstance(text, str):
        raise BadArg("a rule is read from text", name="text")
    try:
        found = Rule.parse(text)
    except BadArg:
        return (not text.startswith("!"), tuple(text.removeprefix("!").split(".")))
    return (found.allow, found.path)


def _text_from_rule(context: RunContext, rule: Any) -> str:
    found = rule_of(rule)
    return f"{'' if found.allow else '!'}{path_text(found.path)}"


def _permission(context: RunContext, path: Any) -> Any:
    wanted = tuple(tostr(part) for part in toiter(context, path))
    known = BY_PATH.get(wanted)
    if known is not None:
        return dict(known)
    return next((one for one in _of_packages(context) if tuple(one["perm"]) == wanted), None)


def _of_packages(context: RunContext) -> Iterator[dict[str, Any]]:
    """The permissions that packages tell of."""
    for _, package in context.capability("packages").all(context.session):
        for known in package.get("perms") or ():
            yield {"default": False, **known}


def _permissions(context: RunContext) -> list[Any]:
    return [*(dict(known) for known in PERMISSIONS), *_of_packages(context)]


# Levels of users and roles, kept in a dictionary of the query's own.


def _permissions_of(definition: Any) -> dict[str, Any]:
    found = definition.get("permissions") if isinstance(definition, dict) else None
    if found is None and isinstance(definition, dict):
        return {"users": {}, "roles": {}, "default": EASY_READ}
    if not isinstance(found, dict):
        raise BadArg("the dictionary has no permissions: easyperm.init() adds them", name="edef")
    return found


def _easy_init(context: RunContext, definition: Any, default: Any) -> dict[str, Any]:
    made: dict[str, Any] = {} if definition is None else definition
    if not isinstance(made, dict):
        raise BadArg("edef is a dictionary", name="edef")
    made["permissions"] = {
        "users": {user_iden(context): EASY_ADMIN},
        "roles": {},
        "default": _level(default),
    }
    return made


def _level(level: Any) -> int:
    found = toint(level)
    if not EASY_DENY <= found <= EASY_ADMIN:
        raise BadArg(f"a level is from {EASY_DENY} to {EASY_ADMIN}", name="level", valu=found)
    return found


def _easy_set(context: RunContext, definition: Any, scope: Any, iden: Any, level: Any) -> Any:
    found, text, holder = _permissions_of(definition), tostr(scope), tostr(iden)
    if text not in ("users", "roles"):
        raise BadArg("the scope is users or roles", name="scope", valu=text)
    policy = _auth(context).policy
    if text == "users" and holder not in policy.users:
        raise NoSuchUser(f"there is no user {holder[:64]}", iden=holder[:64])
    if text == "roles" and holder not in policy.roles:
        raise NoSuchRole(f"there is no role {holder[:64]}", iden=holder[:64])
    known = found.setdefault(text, {})
    if level is None:
        known.pop(holder, None)
    else:
        known[holder] = _level(level)
    return definition


def _easy_allowed(context: RunContext, definition: Any, level: Any) -> bool:
    found, rights, wanted = _permissions_of(definition), context.run.rights, _level(level)
    return rights is None or rights.level(found) >= wanted


def _easy_confirm(context: RunContext, definition: Any, level: Any, message: Any) -> None:
    if not _easy_allowed(context, definition, level):
        text = "the user has not the level that is needed" if message is None else tostr(message)
        raise AuthDeny(text, user=user_iden(context), username=context.user)


# What the user was told.


def _notice(known: dict[str, Any]) -> tuple[Any, Any, Any, Any, Any]:
    return (known["user"], known["time"], known["type"], known["data"], known["from"])


def _notices(context: RunContext, size: Any) -> Iterator[tuple[int, Any]]:
    left = None if size is None else toint(size)
    store = context.capability("user.values")
    for name, known in reversed(store.all(context.session, user_iden(context), NOTICES)):
        if left is not None:
            left -= 1
            if left < 0:
                return
        context.tick()
        yield (int(name), _notice(known))


def _notices_get(context: RunContext, index: Any) -> Any:
    store = context.capability("user.values")
    known = store.get(context.session, user_iden(context), NOTICES, f"{toint(index):020}")
    if known is None:
        raise BadArg(f"there is no notice {toint(index)}", name="indx")
    return _notice(toprim(known))


def _notices_del(context: RunContext, index: Any) -> None:
    store = context.capability("user.values")
    if store.pop(context.session, user_iden(context), NOTICES, f"{toint(index):020}") is None:
        raise BadArg(f"there is no notice {toint(index)}", name="indx")


_USER_NAME: Final = ParameterSpec("name", type="str", doc="The name of the user.")
_ROLE_NAME: Final = ParameterSpec("name", type="str", doc="The name of the role.")
_IDEN: Final = ParameterSpec("iden", type="str", doc="Which.")
_NEW_IDEN: Final = ParameterSpec("iden", None, "str", "Its iden; a new one when left out.")
_DEFINITION: Final = ParameterSpec("edef", type="dict", doc="The dictionary, with `permissions` in it.")
_LEVEL: Final = ParameterSpec("level", type="int", doc="From 0, nothing, to 3, everything.")
_OLD_NOTICES: Final = "nothing takes the place of notices"
_INDEX: Final = ParameterSpec("indx", type="int", doc="The number of the notice.")

LIBRARIES: Final = (
    LibrarySpec(
        ("auth",),
        "Who may do what.",
        (
            FunctionSpec(
                "getPermDef",
                "What is known of a permission; null if there is none.",
                _permission,
                (ParameterSpec("perm", type="list", doc="The path."),),
                "dict",
            ),
            FunctionSpec("getPermDefs", "All permissions that queries ask for.", _permissions, (), "list"),
            FunctionSpec(
                "ruleFromText",
                "A rule from text such as `!node.del`.",
                _rule_from_text,
                (ParameterSpec("text", type="str", doc="The rule."),),
                "pair",
            ),
            FunctionSpec(
                "textFromRule",
                "A rule as text.",
                _text_from_rule,
                (ParameterSpec("rule", type="list", doc="Whether it allows, and the path."),),
                "str",
            ),
        ),
    ),
    LibrarySpec(
        ("auth", "users"),
        "The users of the cell.",
        (
            FunctionSpec(
                "add",
                "Make a user.",
                _users_add,
                (
                    _USER_NAME,
                    ParameterSpec("passwd", None, "str", "The password."),
                    ParameterSpec("email", None, "str", "The email."),
                    _NEW_IDEN,
                ),
                "auth:user",
                changes_state=True,
            ),
            FunctionSpec(
                "byemail",
                "The user of an email, or null.",
                _users_byemail,
                (ParameterSpec("email", type="str", doc="The email."),),
                "auth:user",
            ),
            FunctionSpec("byname", "The user of a name, or null.", _users_byname, (_USER_NAME,), "auth:user"),
            FunctionSpec("del", "Remove a user.", _users_del, (_IDEN,), changes_state=True),
            FunctionSpec(
                "get",
                "The user of an iden, or null.",
                _users_get,
                (ParameterSpec("iden", None, "str", "Which; the query's own when left out."),),
                "auth:user",
            ),
            FunctionSpec("list", "All users.", _users_list, (), "list"),
        ),
    ),
    LibrarySpec(
        ("auth", "roles"),
        "The roles of the cell.",
        (
            FunctionSpec(
                "add", "Make a role.", _roles_add, (_ROLE_NAME, _NEW_IDEN), "auth:role", changes_state=True
            ),
            FunctionSpec("byname", "The role of a name, or null.", _roles_byname, (_ROLE_NAME,), "auth:role"),
            FunctionSpec("del", "Remove a role.", _roles_del, (_IDEN,), changes_state=True),
            FunctionSpec("get", "The role of an iden, or null.", _roles_get, (_IDEN,), "auth:role"),
            FunctionSpec("list", "All roles.", _roles_list, (), "list"),
        ),
    ),
    LibrarySpec(
        ("auth", "gates"),
        "Objects that have rules of their own.",
        (
            FunctionSpec(
                "get", "The rules on an object; null if there is none.", _gates_get, (_IDEN,), "auth:gate"
            ),
            FunctionSpec("list", "All objects that may have rules.", _gates_list, (), "list"),
        ),
    ),
    LibrarySpec(
        ("auth", "easyperm"),
        "Levels of users and roles, kept in a dictionary of the query's own.",
        (
            FunctionSpec(
                "allowed", "Whether the user has a level.", _easy_allowed, (_DEFINITION, _LEVEL), "bool"
            ),
            FunctionSpec(
                "confirm",
                "Refuse to go on unless the user has a level.",
                _easy_confirm,
                (_DEFINITION, _LEVEL, ParameterSpec("mesg", None, "str", "What the error says.")),
            ),
            FunctionSpec(
                "init",
                "Add permissions to a dictionary; the user gets all.",
                _easy_init,
                (
                    ParameterSpec("edef", None, "dict", "The dictionary; without it a new one."),
                    ParameterSpec("default", EASY_READ, "int", "The level of everybody else."),
                ),
                "dict",
            ),
            FunctionSpec(
                "set",
                "Set the level of a user or role.",
                _easy_set,
                (
                    _DEFINITION,
                    ParameterSpec("scope", type="str", doc="`users` or `roles`."),
                    _IDEN,
                    ParameterSpec("level", type="int", doc="The level; null for none of its own."),
                ),
                "dict",
            ),
        ),
    ),
    LibrarySpec(
        ("auth", "easyperm", "level"),
        "The levels.",
        (),
        (),
        {"deny": EASY_DENY, "read": EASY_READ, "edit": EASY_EDIT, "admin": EASY_ADMIN},
    ),
    LibrarySpec(
        ("notifications",),
        "What the user was told.",
        (
            FunctionSpec(
                "del",
                "Remove a notice.",
                _notices_del,
                (_INDEX,),
                changes_state=True,
                deprecated=_OLD_NOTICES,
            ),
            FunctionSpec("get", "A notice.", _notices_get, (_INDEX,), "list", deprecated=_OLD_NOTICES),
            FunctionSpec(
                "list",
                "Numbers and notices, the newest first.",
                _notices,
                (ParameterSpec("size", None, "int", "At most so many."),),
                "pairs",
                is_generator=True,
                deprecated=_OLD_NOTICES,
            ),
        ),
    ),
)
