"""`$lib.cell` and `$lib.backup`: the cell that runs the query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import NeedConfValu
from cellmesh.cortex.storm.outside.remote_calls import call
from cellmesh.cortex.storm.runtime.interface import AttributeSpec, FunctionSpec, LibrarySpec, ParameterSpec
from cellmesh.cortex.storm.runtime.values import tobool, tostr

if TYPE_CHECKING:
    from cellmesh.cortex.cell_facts import CellFacts
    from cellmesh.cortex.storm.runtime.context import RunContext


def facts(context: RunContext) -> CellFacts:
    """Return the cell's facts about itself; raises FeatureNotSupported outside of one."""
    found: CellFacts = context.capability("cell")
    return found


def _uptime(context: RunContext, name: Any) -> dict[str, int]:
    if name is None:
        return {"starttime": facts(context).start_time_ms, "uptime": facts(context).uptime_ms}
    told = call(_service(context, tostr(name)), "getCellInfo", {})["cell"]
    return {"starttime": told["start_time"], "uptime": told["uptime"]}


def _service(context: RunContext, name: str) -> Any:
    """Return a client of a Storm service that is a cell; raises NoSuchName."""
    found = context.capability("services").find(name)
    context.session.pause()
    return context.capability("mesh").client(found["url"])


def _mirrors(context: RunContext, name: Any) -> list[str]:
    if name is not None:
        told = call(_service(context, tostr(name)), "getCellInfo", {})["cell"]
        service = str(told.get("name", "")).partition(".")[2]
    else:
        service = facts(context).service
    if not facts(context).has_identity or not service:
        raise NeedConfValu("mirrors are known to AHA, and the Cortex belongs to no mesh", name="aha")
    context.session.pause()
    registry = context.capability("mesh").registry()
    told = call(registry, "getService", {"name": service})
    return [f"aha://{row['name']}" for row in told["instances"] if not row["leader"]]


def _trim(context: RunContext, consumers: Any, timeout: Any) -> int:
    # Followers, backups and named readers hold the log by themselves: none has to be named, and none is waited for.
    context.session.pause()
    return facts(context).trim_log()


def _hot_fixes_apply(context: RunContext) -> list[int]:
    return [facts(context).storage_version, 0, 0]


def _backup_run(context: RunContext, name: Any, waits: Any) -> str:
    wanted = "" if name is None else tostr(name)
    context.session.sync()
    context.session.pause()
    if tobool(waits):
        return facts(context).make_backup(wanted)
    facts(context).begin_backup(wanted)
    return wanted


def _backup_list(context: RunContext) -> list[str]:
    return facts(context).backup_names()


def _backup_del(context: RunContext, name: Any) -> None:
    context.session.pause()
    facts(context).delete_backup(tostr(name))


_NAME: Final = ParameterSpec(
    "name", None, "str", "A Storm service that is a cell; null for the Cortex itself."
)

LIBRARIES: Final = (
    LibrarySpec(
        ("cell",),
        "The cell that runs the query.",
        (
            FunctionSpec(
                "getBackupInfo",
                "When the last backup was made from Storm, and how large it is.",
                lambda context: facts(context).backup_info(),
                (),
                "dict",
            ),
            FunctionSpec(
                "getCellInfo",
                "Who the cell is and how it does.",
                lambda context: facts(context).info(),
                (),
                "dict",
            ),
            FunctionSpec(
                "getHealthCheck",
                "How the parts of the cell do.",
                lambda context: facts(context).health(),
                (),
                "dict",
            ),
            FunctionSpec("getMirrorUrls", "Where the mirrors of the Cortex are.", _mirrors, (_NAME,), "list"),
            FunctionSpec(
                "getSystemInfo",
                "What the cell runs on: disk, memory, versions. Sizes are in bytes.",
                lambda context: facts(context).system(),
                (),
                "dict",
            ),
            FunctionSpec(
                "hotFixesApply",
                "The version of the storage; it is migrated before a cell serves, so nothing is left to be applied.",
                _hot_fixes_apply,
                (),
                "list",
                may_change=True,
            ),
            FunctionSpec(
                "hotFixesCheck",
                "Whether something of the storage is to be migrated: never while the cell serves.",
                lambda context: False,
                (),
                "bool",
            ),
            FunctionSpec(
                "trimNexsLog",
                "Remove the change records that nothing needs; gives the offset of the oldest that is left.",
                _trim,
                (
                    ParameterSpec(
                        "consumers", None, "list", "Without effect: who reads the log holds it by itself."
                    ),
                    ParameterSpec("timeout", 30, "int", "Without effect: nobody is waited for."),
                ),
                "int",
                changes_state=True,
            ),
            FunctionSpec(
                "uptime",
                "When the cell started, and for how long it has run, in milliseconds.",
                _uptime,
                (_NAME,),
                "dict",
            ),
        ),
        (AttributeSpec("iden", "The cell's identifier.", lambda context, self: facts(context).iden, "str"),),
    ),
    LibrarySpec(
        ("backup",),
        "Backups of the cell.",
        (
            FunctionSpec(
                "del",
                "Remove a backup.",
                _backup_del,
                (ParameterSpec("name", type="str", doc="The backup."),),
                changes_state=True,
            ),
            FunctionSpec("list", "The names of the backups, oldest first.", _backup_list, (), "list"),
            FunctionSpec(
                "run",
                "Make a backup in the cell's folder; gives its name.",
                _backup_run,
                (
                    ParameterSpec("name", None, "str", "What to call it; by default by the time."),
                    ParameterSpec("wait", True, "bool", "Wait until it is finished."),
                ),
                "str",
                changes_state=True,
            ),
        ),
    ),
)
