"""Commands about the mesh: aha.pool.*, aha.svc.*."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import CellError, NoSuchName
from cellmesh.cortex.storm.commands.acting import doing
from cellmesh.cortex.storm.outside.registry_calls import find_service, instances, registry
from cellmesh.cortex.storm.outside.remote_calls import call
from cellmesh.cortex.storm.runtime.interface import Arguments, ArgumentSpec, CommandSpec

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

ANSWER_TIMEOUT_S: Final = 5.0


def _pool(context: RunContext, name: str) -> dict[str, Any]:
    found: dict[str, Any] = call(registry(context), "getPool", {"name": name})["pool"]
    return found


def _pool_add(context: RunContext, arguments: Arguments) -> None:
    context.confirm_admin("aha.pool.add")
    made = call(registry(context), "createPool", {"name": arguments.name})["pool"]
    context.print(f"Created AHA service pool: {made['name']}")


def _pool_del(context: RunContext, arguments: Arguments) -> None:
    context.confirm_admin("aha.pool.del")
    found = _pool(context, arguments.name)
    call(registry(context), "deletePool", {"name": arguments.name})
    context.print(f"Removed AHA service pool: {found['name']}")


def _pool_list(context: RunContext, arguments: Arguments) -> None:
    context.confirm_admin("aha.pool.list")
    pools = call(registry(context), "listPools", {})["pools"]
    for pool in pools:
        context.print(f"Pool: {pool['name']}")
        for member in pool["members"]:
            context.print(f"    {member['name']}")
    context.print(f"{len(pools)} pools.")


def _pool_svc_add(context: RunContext, arguments: Arguments) -> None:
    context.confirm_admin("aha.pool.svc.add")
    wanted = {"name": arguments.poolname, "member": arguments.svcname}
    call(registry(context), "addPoolMember", wanted)
    context.print(f"AHA service ({arguments.svcname}) added to service pool ({arguments.poolname})")


def _pool_svc_del(context: RunContext, arguments: Arguments) -> None:
    context.confirm_admin("aha.pool.svc.del")
    wanted = {"name": arguments.poolname, "member": arguments.svcname}
    call(registry(context), "removePoolMember", wanted)
    context.print(f"AHA service ({arguments.svcname}) removed from service pool ({arguments.poolname})")


def _offset(context: RunContext, row: dict[str, Any]) -> str:
    """Return an instance's place in its change log, as text; a dash if it does not answer."""
    client = context.capability("mesh").client(f"aha://{row['name']}")
    try:
        return str(call(client, "getCellInfo", {}, ANSWER_TIMEOUT_S)["cell"]["change_offset"])
    except CellError:
        return "-"


def _row(context: RunContext, row: dict[str, Any], *, with_offset: bool) -> str:
    state = "down" if row["down"] else "ready" if row["ready"] else "not ready"
    role = "leader" if row["leader"] else "follower"
    text = f"{row['name']:<40} {role:<9} {state:<10} {row['address']:<24} {row['version']}"
    return f"{text} {_offset(context, row)}" if with_offset else text


def _svc_list(context: RunContext, arguments: Arguments) -> None:
    context.confirm_admin("aha.svc.list")
    rows = sorted(instances(registry(context)), key=lambda row: str(row["name"]))
    for row in rows:
        context.tick()
        context.print(_row(context, row, with_offset=arguments.nexus))
    context.print(f"Found {len(rows)} services.")


def _svc_stat(context: RunContext, arguments: Arguments) -> None:
    context.confirm_admin("aha.svc.stat")
    rows = find_service(context, arguments.svc)
    if not rows:
        raise NoSuchName(f"AHA knows no service {arguments.svc[:100]}", name=arguments.svc[:100])
    context.print(f"Service: {rows[0]['service']} ({rows[0]['kind']})")
    for row in rows:
        context.tick()
        context.print(f"    {_row(context, row, with_offset=arguments.nexus)}")


def _svc_mirror(context: RunContext, arguments: Arguments) -> None:
    context.confirm_admin("aha.svc.mirror")
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in instances(registry(context)):
        groups.setdefault(str(row["service"]), []).append(row)
    for service, rows in sorted(groups.items()):
        if len(rows) == 1:
            continue
        context.print(f"Service Mirror Group: {service}")
        offsets = set()
        for row in sorted(rows, key=lambda row: (not row["leader"], str(row["name"]))):
            context.tick()
            offset = _offset(context, row)
            offsets.add(offset)
            context.print(f"    {_row(context, row, with_offset=False)} {offset}")
        is_same = len(offsets) == 1 and "-" not in offsets
        context.print(f"    Group Status: {'In Sync' if is_same else 'Out of Sync'}")


_NAME: Final = ArgumentSpec(("name",), "The pool.")
_MEMBER: Final = (
    ArgumentSpec(("poolname",), "The pool."),
    ArgumentSpec(("svcname",), "The service."),
)
_NEXUS: Final = ArgumentSpec(
    ("--nexus",), "Ask each instance for its place in the change log.", action="store_true"
)

COMMANDS: Final = (
    CommandSpec("aha.pool.add", "Make a pool of services.", doing(_pool_add), (_NAME,), changes_state=True),
    CommandSpec("aha.pool.del", "Remove a pool of services.", doing(_pool_del), (_NAME,), changes_state=True),
    CommandSpec("aha.pool.list", "Print the pools of services.", doing(_pool_list)),
    CommandSpec(
        "aha.pool.svc.add", "Add a service to a pool.", doing(_pool_svc_add), _MEMBER, changes_state=True
    ),
    CommandSpec(
        "aha.pool.svc.del", "Take a service out of a pool.", doing(_pool_svc_del), _MEMBER, changes_state=True
    ),
    CommandSpec("aha.svc.list", "Print the instances that AHA knows.", doing(_svc_list), (_NEXUS,)),
    CommandSpec(
        "aha.svc.mirror",
        "Print the services that have mirrors, and whether these have all that the leader has.",
        doing(_svc_mirror),
        (
            ArgumentSpec(
                ("--timeout",), "Without effect: an instance has 5 s to answer.", type="int", default=10
            ),
            ArgumentSpec(("--wait",), "Without effect: mirrors catch up by themselves.", action="store_true"),
        ),
    ),
    CommandSpec(
        "aha.svc.stat",
        "Print the instances of a service.",
        doing(_svc_stat),
        (ArgumentSpec(("svc",), "The service."), _NEXUS),
    ),
)
