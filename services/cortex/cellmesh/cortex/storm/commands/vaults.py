"""Commands about vaults: vault.*."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadArg
from cellmesh.cortex.storm.commands.acting import doing, lib
from cellmesh.cortex.storm.objects.kept import confirm_vault
from cellmesh.cortex.storm.runtime.interface import UNDEF, Arguments, ArgumentSpec, CommandSpec
from cellmesh.cortex.storm.runtime.members import get_member, set_member
from cellmesh.cortex.storm.runtime.rights import EASY_EDIT
from cellmesh.cortex.storm.runtime.values import torepr

if TYPE_CHECKING:
    from collections.abc import Callable

    from cellmesh.cortex.storm.runtime.context import RunContext

LEVELS: Final = {"deny": 0, "read": 1, "edit": 2, "admin": 3}
"""What may be granted on a vault, by name."""


def _add(context: RunContext, arguments: Arguments) -> None:
    found = _scope(context, arguments)
    if found is None:
        context.warn("One of --user, --role, --unscoped and --global says whose the vault is.")
        return
    scope, owner = found
    iden = lib(
        context,
        "vault.add",
        arguments.name,
        arguments.type,
        scope,
        owner,
        arguments.secrets,
        arguments.configs,
    )
    context.print(f"Vault created with iden: {iden}.")
    lib(context, "vault.print", lib(context, "vault.get", iden))


def _scope(context: RunContext, arguments: Arguments) -> tuple[str | None, str | None] | None:
    """Return for whom a vault is to be, or None where the arguments do not say so."""
    given = [name for name in ("user", "role", "unscoped") if getattr(arguments, name) is not None]
    given += ["global"] if getattr(arguments, "global") else []
    if len(given) != 1:
        return None
    if given == ["global"]:
        return "global", None
    scope = None if given == ["unscoped"] else given[0]
    kind = "roles" if scope == "role" else "users"
    return scope, _iden(context, kind, getattr(arguments, given[0]))


def _iden(context: RunContext, kind: str, name: str) -> str:
    found = lib(context, f"auth.{kind}.byname", name)
    if found is None:
        raise BadArg(f"there are no {kind} of this name", name=name)
    iden: str = get_member(context, found, "iden")
    return iden


def _del(context: RunContext, arguments: Arguments) -> None:
    context.call(get_member(context, lib(context, "vault.byname", arguments.name), "delete"))
    context.print(f"Successfully deleted vault {arguments.name}.")


def _list(context: RunContext, arguments: Arguments) -> None:
    context.print("Available Vaults")
    context.print("----------------")
    for vault in lib(context, "vault.list"):
        if arguments.name and get_member(context, vault, "name") != arguments.name:
            continue
        if arguments.type and get_member(context, vault, "type") != arguments.type:
            continue
        lib(context, "vault.print", vault)
        if arguments.showsecrets:
            secrets: Any = get_member(context, vault, "secrets")
            context.print(f"  Secrets: {torepr(secrets)}")
        context.print("")


def _setting(kind: str) -> Callable[[RunContext, Arguments], None]:
    def act(context: RunContext, arguments: Arguments) -> None:
        if (arguments.value is UNDEF) is not arguments.delete:
            context.warn("Either --value or --delete is required.")
            return
        vault = lib(context, "vault.byname", arguments.name)
        confirm_vault(context, vault.store.require(context.session, vault.iden), EASY_EDIT)
        values = get_member(context, vault, kind)
        set_member(context, values, arguments.key, UNDEF if arguments.delete else arguments.value)
        where = f"vault {kind}: {arguments.name}."
        if arguments.delete:
            context.print(f"Removed {arguments.key} from {where}")
        else:
            # A secret is not shown, not even to who sets it.
            shown = arguments.key if kind == "secrets" else f"{arguments.key}={torepr(arguments.value)}"
            context.print(f"Set {shown} into {where}")

    return act


def _permission(context: RunContext, arguments: Arguments) -> None:
    if (arguments.level is None) is not arguments.revoke:
        context.warn("Either --level or --revoke is required.")
        return
    if (arguments.user is None) is (arguments.role is None):
        context.warn("Either --user or --role is required.")
        return
    if not arguments.revoke and arguments.level not in LEVELS:
        context.warn(
            f"Invalid level specified: {arguments.level}. Level must be one of: {', '.join(LEVELS)}."
        )
        return
    vault = lib(context, "vault.byname", arguments.name)
    kind, name = ("users", arguments.user) if arguments.user is not None else ("roles", arguments.role)
    level = None if arguments.revoke else LEVELS[arguments.level]
    context.call(get_member(context, vault, "setPerm"), _iden(context, kind, name), level)
    context.print(f"Successfully set permissions on vault {arguments.name}.")


_NAME: Final = ArgumentSpec(("name",), "The name of the vault.")
_SETTING: Final = (
    _NAME,
    ArgumentSpec(("key",), "The name of the value."),
    ArgumentSpec(("--value",), "The value.", type="any", default=UNDEF),
    ArgumentSpec(("--delete",), "Remove the value.", action="store_true"),
)

COMMANDS: Final = (
    CommandSpec(
        "vault.add",
        """Make a vault: values and secrets of a kind, for a user, a role or everybody.

            vault.add mykeys synapse-test ({"apikey": "foobar"}) ({"server": "api.foo.bar"}) --user visi
        """,
        doing(_add),
        (
            _NAME,
            ArgumentSpec(("type",), "What kind of values it holds."),
            ArgumentSpec(("secrets",), "A dictionary of secrets.", type="any"),
            ArgumentSpec(("configs",), "A dictionary of other values.", type="any"),
            ArgumentSpec(("--user",), "The name of the user it is for."),
            ArgumentSpec(("--role",), "The name of the role it is for."),
            ArgumentSpec(("--unscoped",), "The name of the user that owns it; it is for nobody by itself."),
            ArgumentSpec(("--global",), "It is for everybody.", action="store_true"),
        ),
        changes_state=True,
    ),
    CommandSpec("vault.del", "Remove a vault.", doing(_del), (_NAME,), changes_state=True),
    CommandSpec(
        "vault.list",
        "Print the vaults that the user may see.",
        doing(_list),
        (
            ArgumentSpec(("--name",), "Only the one of this name."),
            ArgumentSpec(("--type",), "Only those of this kind."),
            ArgumentSpec(("--showsecrets",), "Print secrets as well.", action="store_true"),
        ),
    ),
    CommandSpec(
        "vault.set.configs",
        "Set or remove a value of a vault.",
        doing(_setting("configs")),
        _SETTING,
        changes_state=True,
    ),
    CommandSpec(
        "vault.set.perm",
        "Set what a user or role may do with a vault.",
        doing(_permission),
        (
            _NAME,
            ArgumentSpec(("--user",), "The name of the user."),
            ArgumentSpec(("--role",), "The name of the role."),
            ArgumentSpec(("--level",), "deny, read, edit or admin."),
            ArgumentSpec(("--revoke",), "Take back what was set.", action="store_true"),
        ),
        changes_state=True,
    ),
    CommandSpec(
        "vault.set.secrets",
        "Set or remove a secret of a vault.",
        doing(_setting("secrets")),
        _SETTING,
        changes_state=True,
    ),
)
