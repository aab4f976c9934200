"""Commands about users, roles and their rules: auth.*."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from cellmesh.cortex.storm.commands.acting import doing, lib
from cellmesh.cortex.storm.runtime.interface import Arguments, ArgumentSpec, CommandSpec
from cellmesh.cortex.storm.runtime.members import get_member, set_member

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

Act = Callable[["RunContext", Arguments], None]


def _call(context: RunContext, subject: Any, method: str, *arguments: Any) -> Any:
    """Call a method of a user or role, as the query could."""
    return context.call(get_member(context, subject, method), *arguments)


def _user(context: RunContext, name: str) -> Any:
    found = lib(context, "auth.users.byname", name)
    if found is None:
        context.warn(f"No user named: {name}")
    return found


def _role(context: RunContext, name: str) -> Any:
    found = lib(context, "auth.roles.byname", name)
    if found is None:
        context.warn(f"No role named: {name}")
    return found


_FINDERS: Final[dict[str, Callable[[RunContext, str], Any]]] = {"user": _user, "role": _role}


def _text(context: RunContext, rule: Any) -> str:
    found: str = lib(context, "auth.textFromRule", rule)
    return found


def _add_user(context: RunContext, arguments: Arguments) -> None:
    made = lib(context, "auth.users.add", arguments.name, email=arguments.email)
    context.print(f"User ({arguments.name}) added with iden: {get_member(context, made, 'iden')}")


def _add_role(context: RunContext, arguments: Arguments) -> None:
    made = lib(context, "auth.roles.add", arguments.name)
    context.print(f"Role ({arguments.name}) added with iden: {get_member(context, made, 'iden')}")


def _del_role(context: RunContext, arguments: Arguments) -> None:
    found = lib(context, "auth.roles.byname", arguments.name)
    if found is None:
        context.warn(f"Role ({arguments.name}) not found!")
        return
    lib(context, "auth.roles.del", get_member(context, found, "iden"))
    context.print(f"Role ({arguments.name}) deleted.")


def _list_users(context: RunContext, arguments: Arguments) -> None:
    users = sorted((_call(context, user, "pack") for user in lib(context, "auth.users.list")), key=_name)
    context.print("Users:")
    for user in users:
        if not user["locked"] and not user["archived"]:
            context.print(f"  {user['name']}")
    context.print("")
    context.print("Locked Users:")
    for user in users:
        if user["locked"] and not user["archived"]:
            context.print(f"  {user['name']}")


def _list_roles(context: RunContext, arguments: Arguments) -> None:
    context.print("Roles:")
    for role in sorted((_call(context, role, "pack") for role in lib(context, "auth.roles.list")), key=_name):
        context.print(f"  {role['name']}")


def _name(packed: dict[str, Any]) -> str:
    return str(packed["name"])


def _show_user(context: RunContext, arguments: Arguments) -> None:
    user = _user(context, arguments.username)
    if user is None:
        return
    known = _call(context, user, "pack")
    context.print(f"User: {known['name']} ({known['iden']})")
    context.print("")
    context.print(f"  Locked: {_flag(known['locked'])}")
    context.print(f"  Admin: {_flag(known['admin'])}")
    context.print(f"  Email: {known['email'] or '$lib.null'}")
    _show_rules(context, known["rules"])
    context.print("")
    context.print("  Roles:")
    for role in known["roles"]:
        context.print(f"    {role['iden']} - {role['name']}")
    _show_gates(context, known["authgates"], with_admin=True)


def _show_role(context: RunContext, arguments: Arguments) -> None:
    role = _role(context, arguments.rolename)
    if role is None:
        return
    known = _call(context, role, "pack")
    context.print(f"Role: {known['name']} ({known['iden']})")
    context.print("")
    _show_rules(context, known["rules"])
    _show_gates(context, known["authgates"], with_admin=False)


def _show_rules(context: RunContext, rules: Iterable[Any]) -> None:
    context.print("  Rules:")
    for place, rule in enumerate(rules):
        context.print(f"    [{place:<3}] - {_text(context, rule)}")


def _show_gates(context: RunContext, gates: dict[str, Any], *, with_admin: bool) -> None:
    context.print("")
    context.print("  Gates:")
    for iden, own in gates.items():
        gate = lib(context, "auth.gates.get", iden)
        kind = "" if gate is None else get_member(context, gate, "type")
        context.print(f"    {iden} - ({kind})")
        if with_admin:
            context.print(f"      Admin: {_flag(own.get('admin'))}")
        for place, rule in enumerate(own.get("rules") or ()):
            context.print(f"      [{place:<3}] - {_text(context, rule)}")


def _flag(value: object) -> str:
    return "true" if value else "false"


def _grant(context: RunContext, arguments: Arguments) -> None:
    user, role = _pair(context, arguments)
    if user is not None and role is not None:
        context.print(f"Granting role {arguments.rolename} to user {arguments.username}.")
        _call(context, user, "grant", get_member(context, role, "iden"), arguments.index)


def _revoke(context: RunContext, arguments: Arguments) -> None:
    user, role = _pair(context, arguments)
    if user is not None and role is not None:
        context.print(f"Revoking role {arguments.rolename} from user {arguments.username}.")
        _call(context, user, "revoke", get_member(context, role, "iden"))


def _pair(context: RunContext, arguments: Arguments) -> tuple[Any, Any]:
    user = _user(context, arguments.username)
    return user, None if user is None else _role(context, arguments.rolename)


def _add_rule(kind: str) -> Act:
    def act(context: RunContext, arguments: Arguments) -> None:
        found = _FINDERS[kind](context, arguments.name)
        if found is None:
            return
        rule = lib(context, "auth.ruleFromText", arguments.rule)
        _call(context, found, "addRule", rule, arguments.gate, arguments.index)
        context.print(f"Added rule {arguments.rule} to {kind} {arguments.name}.")

    return act


def _del_rule(kind: str) -> Act:
    def act(context: RunContext, arguments: Arguments) -> None:
        found = _FINDERS[kind](context, arguments.name)
        if found is None:
            return
        text = arguments.rule
        if arguments.index:
            text = _text(context, _call(context, found, "popRule", text, arguments.gate))
        else:
            _call(context, found, "delRule", lib(context, "auth.ruleFromText", text), arguments.gate)
        context.print(f"Removed rule {text} from {kind} {arguments.name}.")

    return act


def _allowed(context: RunContext, arguments: Arguments) -> None:
    user = _user(context, arguments.username)
    if user is not None:
        is_allowed, reason = _call(context, user, "getAllowedReason", arguments.permname, arguments.gate)
        context.print(f"allowed: {_flag(is_allowed)} - {reason}")


def _mod_role(context: RunContext, arguments: Arguments) -> None:
    role = _role(context, arguments.rolename)
    if role is not None and arguments.name is not None:
        set_member(context, role, "name", arguments.name)
        context.print(f"Role ({arguments.rolename}) renamed to {arguments.name}.")


def _mod_user(context: RunContext, arguments: Arguments) -> None:
    name = arguments.username
    user = _user(context, name)
    if user is None:
        return
    if arguments.name is not None:
        set_member(context, user, "name", arguments.name)
        context.print(f"User ({name}) renamed to {arguments.name}.")
    if arguments.email is not None:
        _call(context, user, "setEmail", arguments.email)
        context.print(f"User ({name}) email address set to {arguments.email}.")
    if arguments.passwd is not None:
        _call(context, user, "setPasswd", arguments.passwd)
        context.print(f"User ({name}) password updated.")
    if arguments.admin is not None:
        _call(context, user, "setAdmin", arguments.admin, arguments.gate)
        where = "" if arguments.gate is None else f" for auth gate {arguments.gate}"
        context.print(f"User ({name}) admin status set to {_flag(arguments.admin)}{where}.")
    if arguments.locked is not None:
        _call(context, user, "setLocked", arguments.locked)
        context.print(f"User ({name}) locked status set to {_flag(arguments.locked)}.")


def _show_gate(context: RunContext, arguments: Arguments) -> None:
    gate = lib(context, "auth.gates.get", arguments.gateiden)
    if gate is None:
        context.warn(f"No auth gate found for iden: {arguments.gateiden}.")
        return
    context.print(f"Gate Type: {get_member(context, gate, 'type')}")
    for kind in ("users", "roles"):
        context.print("")
        context.print(f"Auth Gate {kind.title()}:")
        for own in get_member(context, gate, kind):
            subject = lib(context, f"auth.{kind}.get", own["iden"])
            context.print(
                f"  {own['iden']} - {'' if subject is None else get_member(context, subject, 'name')}"
            )
            if kind == "users":
                context.print(f"    Admin: {_flag(own['admin'])}")
            context.print("    Rules:")
            for place, rule in enumerate(own["rules"]):
                context.print(f"      [{place:<3}] - {_text(context, rule)}")


def _list_permissions(context: RunContext, arguments: Arguments) -> None:
    for known in lib(context, "auth.getPermDefs"):
        name, said = ".".join(known["perm"]), known.get("desc") or ""
        if arguments.find and not any(arguments.find in text for text in (name, said)):
            continue
        context.print(name)
        context.print(f"    {said}")
        context.print(f"    gate: {known.get('gate') or '$lib.null'}")
        context.print(f"    default: {_flag(known.get('default'))}")
        context.print("")


_USER: Final = ArgumentSpec(("username",), "The name of the user.")
_ROLE: Final = ArgumentSpec(("rolename",), "The name of the role.")
_GATE: Final = ArgumentSpec(("--gate",), "The iden of the object that it is about, such as a view or layer.")


def _rule_commands(kind: str) -> tuple[CommandSpec, ...]:
    name = ArgumentSpec(("name",), f"The name of the {kind}.")
    add = f"""Add a rule to a {kind}: a permission, with ! before it to deny it.

        auth.{kind}.addrule ninjas node.tag.add.cno --index 0
    """
    return (
        CommandSpec(
            f"auth.{kind}.addrule",
            add,
            doing(_add_rule(kind)),
            (
                name,
                ArgumentSpec(("rule",), "The rule."),
                _GATE,
                ArgumentSpec(
                    ("--index",), "Before which of the rules; behind all when left out.", type="int"
                ),
            ),
            changes_state=True,
        ),
        CommandSpec(
            f"auth.{kind}.delrule",
            f"Remove a rule of a {kind}.",
            doing(_del_rule(kind)),
            (
                name,
                ArgumentSpec(("rule",), "The rule, or with --index its place."),
                _GATE,
                ArgumentSpec(("--index",), "The rule is told by its place, from 0.", action="store_true"),
            ),
            changes_state=True,
        ),
    )


COMMANDS: Final = (
    CommandSpec(
        "auth.gate.show",
        "Print who has which rules on an object.",
        doing(_show_gate),
        (ArgumentSpec(("gateiden",), "The iden of the object."),),
    ),
    CommandSpec(
        "auth.perms.list",
        "Print the permissions there are.",
        doing(_list_permissions),
        (ArgumentSpec(("--find",), "Only those whose name or description has this in it."),),
    ),
    CommandSpec(
        "auth.role.add",
        "Make a role.",
        doing(_add_role),
        (ArgumentSpec(("name",), "Its name."),),
        changes_state=True,
    ),
    CommandSpec(
        "auth.role.del",
        "Remove a role.",
        doing(_del_role),
        (ArgumentSpec(("name",), "Its name."),),
        changes_state=True,
    ),
    CommandSpec("auth.role.list", "Print the names of all roles.", doing(_list_roles)),
    CommandSpec(
        "auth.role.mod",
        "Rename a role.",
        doing(_mod_role),
        (_ROLE, ArgumentSpec(("--name",), "Its new name.")),
        changes_state=True,
    ),
    CommandSpec("auth.role.show", "Print the rules of a role.", doing(_show_role), (_ROLE,)),
    *_rule_commands("role"),
    CommandSpec(
        "auth.user.add",
        "Make a user.",
        doing(_add_user),
        (ArgumentSpec(("name",), "Its name."), ArgumentSpec(("--email",), "Its address.")),
        changes_state=True,
    ),
    CommandSpec(
        "auth.user.allowed",
        "Print whether a user may do something, and why.",
        doing(_allowed),
        (_USER, ArgumentSpec(("permname",), "The permission, such as node.add."), _GATE),
    ),
    CommandSpec(
        "auth.user.grant",
        "Give a user a role.",
        doing(_grant),
        (
            _USER,
            _ROLE,
            ArgumentSpec(("--index",), "Before which of its roles; behind all when left out.", type="int"),
        ),
        changes_state=True,
    ),
    CommandSpec("auth.user.list", "Print the names of all users.", doing(_list_users)),
    CommandSpec(
        "auth.user.mod",
        """Change a user.

            auth.user.mod visi --locked true
            auth.user.mod visi --admin true --gate $lib.view.get().iden
        """,
        doing(_mod_user),
        (
            _USER,
            ArgumentSpec(("--name",), "The new name."),
            ArgumentSpec(("--email",), "The new address."),
            ArgumentSpec(("--passwd",), "The new password."),
            ArgumentSpec(("--admin",), "Whether it may do everything.", type="bool"),
            ArgumentSpec(("--gate",), "With --admin: the iden of the object on which it may."),
            ArgumentSpec(("--locked",), "Whether it is kept out.", type="bool"),
        ),
        changes_state=True,
    ),
    CommandSpec(
        "auth.user.revoke", "Take a role from a user.", doing(_revoke), (_USER, _ROLE), changes_state=True
    ),
    CommandSpec("auth.user.show", "Print roles and rules of a user.", doing(_show_user), (_USER,)),
    *_rule_commands("user"),
)
