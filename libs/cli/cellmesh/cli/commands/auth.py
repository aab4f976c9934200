"""`cellmesh auth`: the users of a cell."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from cellmesh.cli.connect import cell_options, open_by_options
from cellmesh.cli.records import echo_records, json_option

if TYPE_CHECKING:
    from cellmesh.api.common.v1.auth_service_pb2_grpc import AuthServiceStub

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

HOUR_S = 3600


def _cell(command: CommandT) -> CommandT:
    kind = click.option(
        "--cell",
        "kind",
        default="cortex",
        show_default=True,
        help="Which cell of a mesh, when no URL names one.",
    )
    return cell_options(kind(command))


@contextmanager
def _stub(
    kind: str, url: str | None, folder: Path | None, identity: Path | None
) -> Iterator[AuthServiceStub]:
    from cellmesh.api.common.v1 import auth_service_pb2_grpc

    with open_by_options(kind, url, folder, identity) as client:
        yield client.stub(auth_service_pb2_grpc.AuthServiceStub)


@click.group()
def auth() -> None:
    """Users, roles, rules and keys of a cell. Each cell has its own."""


@auth.group()
def user() -> None:
    """Users: add, list, lock, unlock, admin, passwd, del."""


@user.command("add")
@click.argument("name")
@click.option("--email", default="", help="Its email.")
@click.option("--admin", is_flag=True, help="It may do everything.")
@_cell
def user_add(name: str, email: str, admin: bool, **where: Any) -> None:
    """Make a user."""
    from cellmesh.api.common.v1 import auth_service_pb2 as pb

    with _stub(**where) as stub:
        made = stub.CreateUser(pb.CreateUserRequest(name=name, email=email, admin=admin)).user
    click.echo(f"user {made.name} has the identifier {made.user_id}")


@user.command("list")
@click.option("--all", "archived", is_flag=True, help="Archived ones too.")
@json_option
@_cell
def user_list(archived: bool, **where: Any) -> None:
    """List users with their roles and rules."""
    from cellmesh.api.common.v1 import auth_service_pb2 as pb
    from cellmesh.cli.output import table

    users: list[Any] = []
    token, names = "", {}
    with _stub(**where) as stub:
        while True:
            roles = stub.ListRoles(pb.ListRolesRequest(page_size=1000, page_token=token))
            names.update({role.role_id: role.name for role in roles.roles})
            token = roles.next_page_token
            if not token:
                break
        while True:
            page = stub.ListUsers(pb.ListUsersRequest(page_token=token, include_archived=archived))
            users += page.users
            token = page.next_page_token
            if not token:
                break
    if echo_records(users):
        return
    rows = []
    for found in users:
        state = [word for word in ("admin", "locked", "archived") if getattr(found, word)]
        roles_of = [names.get(role_id, role_id) for role_id in found.role_ids]
        rules = [rule_text(rule.allow, rule.path) for rule in found.rules]
        rows.append((found.name, found.email, " ".join(state), " ".join(roles_of), " ".join(rules)))
    click.echo(table(("NAME", "EMAIL", "STATE", "ROLES", "RULES"), rows))


def _switch(name: str, doc: str, **values: bool) -> None:
    @user.command(name, help=doc)
    @click.argument("name")
    @_cell
    def command(name: str, **where: Any) -> None:
        from cellmesh.api.common.v1 import auth_service_pb2 as pb

        with _stub(**where) as stub:
            stub.UpdateUser(pb.UpdateUserRequest(user=name, **values))  # type: ignore[arg-type]


_switch("lock", "Lock a user: it may do nothing until it is unlocked.", locked=True)
_switch("unlock", "Unlock a user and forget its wrong passwords.", locked=False)
_switch("archive", "Lock a user for good and keep it for the record.", archived=True)


@user.command("admin")
@click.argument("name")
@click.option("--off", is_flag=True, help="Take it away.")
@_cell
def user_admin(name: str, off: bool, **where: Any) -> None:
    """Let a user do everything."""
    from cellmesh.api.common.v1 import auth_service_pb2 as pb

    with _stub(**where) as stub:
        stub.UpdateUser(pb.UpdateUserRequest(user=name, admin=not off))


@user.command("passwd")
@click.argument("name", default="")
@click.option("--one-time", is_flag=True, help="Make a password for one call, good for a day, and print it.")
@_cell
def user_passwd(name: str, one_time: bool, **where: Any) -> None:
    """Set a password, asked for here or read from a pipe; without NAME one's own."""
    from cellmesh.api.common.v1 import auth_service_pb2 as pb

    with _stub(**where) as stub:
        if one_time:
            click.echo(stub.CreateOneTimePassword(pb.CreateOneTimePasswordRequest(user=name)).password)
            return
        me = stub.GetCurrentUser(pb.GetCurrentUserRequest()).user
        target = stub.GetUser(pb.GetUserRequest(user=name)).user
        current = ""
        if not me.admin and target.has_password:
            current = _ask("Present password")
        password = _ask("New password", confirm=True)
        stub.SetPassword(pb.SetPasswordRequest(user=name, password=password, current_password=current))


@user.command("del")
@click.argument("name")
@_cell
def user_del(name: str, **where: Any) -> None:
    """Remove a user with all it has."""
    from cellmesh.api.common.v1 import auth_service_pb2 as pb

    with _stub(**where) as stub:
        stub.DeleteUser(pb.DeleteUserRequest(user=name))


@auth.group()
def role() -> None:
    """Roles: add, list, grant, revoke, del."""


@role.command("add")
@click.argument("name")
@_cell
def role_add(name: str, **where: Any) -> None:
    """Make a role."""
    from cellmesh.api.common.v1 import auth_service_pb2 as pb

    with _stub(**where) as stub:
        stub.CreateRole(pb.CreateRoleRequest(name=name))


@role.command("list")
@json_option
@_cell
def role_list(**where: Any) -> None:
    """List roles with their rules."""
    from cellmesh.api.common.v1 import auth_service_pb2 as pb
    from cellmesh.cli.output import table

    roles: list[Any] = []
    token = ""
    with _stub(**where) as stub:
        while True:
            page = stub.ListRoles(pb.ListRolesRequest(page_token=token))
            roles += page.roles
            token = page.next_page_token
            if not token:
                break
    if echo_records(roles):
        return
    rows = [
        (found.name, " ".join(rule_text(rule.allow, rule.path) for rule in found.rules)) for found in roles
    ]
    click.echo(table(("NAME", "RULES"), rows))


@role.command("grant")
@click.argument("user_name", metavar="USER")
@click.argument("name", metavar="ROLE")
@_cell
def role_grant(user_name: str, name: str, **where: Any) -> None:
    """Give a user a role."""
    from cellmesh.api.common.v1 import auth_service_pb2 as pb

    with _stub(**where) as stub:
        stub.GrantRole(pb.GrantRoleRequest(user=user_name, role=name))


@role.command("revoke")
@click.argument("user_name", metavar="USER")
@click.argument("name", metavar="ROLE")
@_cell
def role_revoke(user_name: str, name: str, **where: Any) -> None:
    """Take a role from a user."""
    from cellmesh.api.common.v1 import auth_service_pb2 as pb

    with _stub(**where) as stub:
        stub.RevokeRole(pb.RevokeRoleRequest(user=user_name, role=name))


@role.command("del")
@click.argument("name")
@_cell
def role_del(name: str, **where: Any) -> None:
    """Remove a role; users lose it."""
    from cellmesh.api.common.v1 import auth_service_pb2 as pb

    with _stub(**where) as stub:
        stub.DeleteRole(pb.DeleteRoleRequest(role=name))


@auth.group()
def rule() -> None:
    """Rules, such as node.add or '!node.del': add, del. The first that matches decides."""


def _subject(command: CommandT) -> CommandT:
    for option in (
        click.option("--gate", default="", help="On which object; left out, everywhere."),
        click.option("--role", "role_name", default=None, help="Whose rule: a role's."),
        click.option("--user", "user_name", default=None, help="Whose rule: a user's."),
    ):
        command = option(command)
    return command


@rule.command("add")
@click.argument("text", metavar="RULE")
@_subject
@click.option("--first", is_flag=True, help="Before the others instead of after them.")
@_cell
def rule_add(
    text: str, user_name: str | None, role_name: str | None, gate: str, first: bool, **where: Any
) -> None:
    """Add a rule."""
    from cellmesh.api.common.v1 import auth_service_pb2 as pb

    owner = _owner(user_name, role_name)
    with _stub(**where) as stub:
        request = pb.AddRuleRequest(
            gate_id=gate, rule=rule_of_text(text), index=0 if first else None, **owner
        )
        _print_rules(stub.AddRule(request).rules)


@rule.command("del")
@click.argument("text", metavar="RULE")
@_subject
@_cell
def rule_del(text: str, user_name: str | None, role_name: str | None, gate: str, **where: Any) -> None:
    """Take a rule away."""
    from cellmesh.api.common.v1 import auth_service_pb2 as pb

    owner = _owner(user_name, role_name)
    with _stub(**where) as stub:
        request = pb.RemoveRuleRequest(gate_id=gate, rule=rule_of_text(text), **owner)
        _print_rules(stub.RemoveRule(request).rules)


@auth.command("check")
@click.argument("name")
@click.argument("path")
@click.option("--gate", default="", help="On which object; left out, nowhere in particular.")
@click.option(
    "--role", "is_role", is_flag=True, help="NAME is a role: tell what its rules say by themselves."
)
@_cell
def check(name: str, path: str, gate: str, is_role: bool, **where: Any) -> None:
    """Tell whether a user may do something, such as node.add, and why."""
    from cellmesh.api.common.v1 import auth_service_pb2 as pb
    from cellmesh.common.auth.rules import parse_path

    with _stub(**where) as stub:
        request = pb.CheckAccessRequest(
            user="" if is_role else name,
            role=name if is_role else "",
            path=parse_path(path),
            gate_id=gate,
        )
        found = stub.CheckAccess(request)
    click.echo(f"{'allowed' if found.allowed else 'denied'}: {found.reason}")


@auth.command("permissions")
@json_option
@_cell
def permissions(**where: Any) -> None:
    """List what each method of the cell needs: its level, and the permission that rules speak of."""
    from cellmesh.api.common.v1 import auth_pb2
    from cellmesh.api.common.v1 import auth_service_pb2 as pb
    from cellmesh.cli.output import table

    with _stub(**where) as stub:
        found = stub.ListPermissions(pb.ListPermissionsRequest()).permissions
    if echo_records(found):
        return
    rows = [
        (
            row.method.rpartition(".")[2],
            auth_pb2.PermissionLevel.Name(row.level).removeprefix("PERMISSION_LEVEL_"),
            ".".join(row.path),
        )
        for row in found
    ]
    click.echo(table(("METHOD", "LEVEL", "PERMISSION"), rows))


@auth.group()
def key() -> None:
    """API keys: add, list, revoke."""


@key.command("add")
@click.argument("name")
@click.option("--user", "user_name", default="", help="Whose key; left out, one's own.")
@click.option(
    "--hours", type=click.FloatRange(0, min_open=True), default=None, help="For how long it is good."
)
@_cell
def key_add(name: str, user_name: str, hours: float | None, **where: Any) -> None:
    """Make a key and print it; it is not shown again."""
    from cellmesh.api.common.v1 import auth_service_pb2 as pb
    from google.protobuf.duration_pb2 import Duration

    request = pb.CreateApiKeyRequest(user=user_name, name=name)
    if hours is not None:
        request.life_time.CopyFrom(Duration(seconds=max(int(hours * HOUR_S), 1)))
    with _stub(**where) as stub:
        click.echo(stub.CreateApiKey(request).text)


@key.command("list")
@click.option("--user", "user_name", default="", help="Whose keys; left out, one's own.")
@json_option
@_cell
def key_list(user_name: str, **where: Any) -> None:
    """List keys, without their secrets."""
    from cellmesh.api.common.v1 import auth_service_pb2 as pb
    from cellmesh.cli.output import table

    with _stub(**where) as stub:
        keys = stub.ListApiKeys(pb.ListApiKeysRequest(user=user_name)).api_keys
    if echo_records(keys):
        return
    rows = [
        (
            found.key_id,
            found.name,
            found.expire_time.ToJsonString() if found.HasField("expire_time") else "does not end",
        )
        for found in keys
    ]
    click.echo(table(("KEY", "NAME", "UNTIL"), rows))


@key.command("revoke")
@click.argument("key_id")
@_cell
def key_revoke(key_id: str, **where: Any) -> None:
    """End a key at once."""
    from cellmesh.api.common.v1 import auth_service_pb2 as pb

    with _stub(**where) as stub:
        stub.RevokeApiKey(pb.RevokeApiKeyRequest(key_id=key_id))


@auth.group()
def audit() -> None:
    """The log of what was done to users and what was refused: list, check."""


@audit.command("check")
@click.option(
    "--known",
    metavar="OFFSET:HASH",
    default="",
    help="A record and its hash, as printed by an earlier check: the log must still have it.",
)
@_cell
def audit_check(known: str, **where: Any) -> None:
    """Check the chain of hashes, and tell where it breaks."""
    from cellmesh.api.common.v1 import auth_service_pb2 as pb

    request = pb.CheckAuditLogRequest()
    if known:
        offset, _, digest = known.partition(":")
        try:
            request.known_offset, request.known_hash = int(offset), bytes.fromhex(digest)
        except ValueError:
            raise click.UsageError("--known is OFFSET:HASH, as printed by an earlier check") from None
    with _stub(**where) as stub:
        found = stub.CheckAuditLog(request, timeout=600)
    if not found.sound:
        raise click.ClickException(
            f"the audit log is not what was written: record {found.bad_offset}: {found.problem}"
        )
    before = f" after {found.first_offset} that were cut" if found.first_offset else ""
    last = found.first_offset + found.record_count - 1
    noted = f"; note {last}:{found.head_hash.hex()}" if found.record_count else ""
    click.echo(f"{found.record_count} records{before}, all sound{noted}")


@audit.command("list")
@click.option("--offset", type=click.IntRange(0), default=0, help="Where to begin.")
@json_option
@_cell
def audit_list(offset: int, **where: Any) -> None:
    """Print the records."""
    from cellmesh.api.common.v1 import auth_pb2
    from cellmesh.api.common.v1 import auth_service_pb2 as pb

    with _stub(**where) as stub:
        while True:
            page = stub.ListAuditRecords(pb.ListAuditRecordsRequest(offset=offset))
            for record in () if echo_records(page.records) else page.records:
                kind = auth_pb2.AuditKind.Name(record.kind).removeprefix("AUDIT_KIND_").lower()
                times = f" x{record.count}" if record.count > 1 else ""
                words = (record.actor or "-", record.action, record.target, record.detail, record.peer)
                told = " ".join(word for word in words if word)
                click.echo(f"{record.offset} {record.time.ToJsonString()} {kind}{times} {told}")
            if not page.records:
                return
            offset = page.next_offset


def _owner(user_name: str | None, role_name: str | None) -> dict[str, str]:
    """Whose rule, as fields of a request."""
    if (user_name is None) == (role_name is None):
        raise click.UsageError("whose rule is it? give --user or --role")
    return {"user": user_name} if user_name is not None else {"role": role_name or ""}


def rule_of_text(text: str) -> Any:
    """`!node.del` as a message. Raises BadArg."""
    from cellmesh.api.common.v1 import auth_pb2
    from cellmesh.common.auth.rules import Rule

    parsed = Rule.parse(text)
    return auth_pb2.Rule(allow=parsed.allow, path=parsed.path)


def rule_text(allow: bool, path: Any) -> str:
    """A rule in one word."""
    from cellmesh.common.auth.rules import Rule

    return str(Rule(allow, tuple(path)))


def _print_rules(rules: Any) -> None:
    click.echo("\n".join(rule_text(found.allow, found.path) for found in rules) or "no rules")


def _ask(text: str, *, confirm: bool = False) -> str:
    """A password from the terminal, unseen, or a line from a pipe."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    return str(click.prompt(text, hide_input=True, confirmation_prompt=confirm))
