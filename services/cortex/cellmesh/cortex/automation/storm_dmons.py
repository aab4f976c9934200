"""`$lib.dmon` and the command `dmon.list`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import CellError, SchemaViolation
from cellmesh.cortex.automation.dmons import Daemon, Daemons
from cellmesh.cortex.automation.store import writing_in
from cellmesh.cortex.automation.storm_values import iden_of_user, query_text
from cellmesh.cortex.storm.runtime.interface import (
    Arguments,
    CommandSpec,
    FunctionSpec,
    LibrarySpec,
    ParameterSpec,
)
from cellmesh.cortex.storm.runtime.path import Path
from cellmesh.cortex.storm.runtime.queries import StormQuery
from cellmesh.cortex.storm.runtime.values import toprim, tostr
from cellmesh.cortex.values.wire import encode_value

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

_KNOWN: Final = frozenset({"iden", "enabled", "name", "stormopts"})
_IDEN: Final = ParameterSpec("iden", type="str", doc="The iden of the daemon.")


def _daemons(context: RunContext) -> Daemons:
    found: Daemons = context.capability("daemons")
    return found


def _shown(context: RunContext, daemon: Daemon) -> dict[str, Any]:
    found = _daemons(context).describe(daemon)
    return {**found, "user": iden_of_user(context, daemon.row["user"])}


def _captured(query: Any) -> dict[str, Any]:
    """Return the variables that a query keeps and that can be stored."""
    found: dict[str, Any] = {}
    if isinstance(query, StormQuery):
        for name, value in query.vars.items():
            try:
                plain = toprim(value)
                encode_value(plain)
            except (CellError, TypeError, ValueError):
                continue
            found[name] = plain
    return found


def _add(context: RunContext, text: Any, name: Any, ddef: Any) -> dict[str, Any]:
    given = toprim(ddef) if ddef is not None else {}
    if not isinstance(given, dict) or given.keys() - _KNOWN:
        raise SchemaViolation("a daemon's definition has iden, enabled, name and stormopts", name="data")
    if not isinstance(given.get("name") or name, str):
        raise SchemaViolation("the name of a daemon is text", name="data.name")
    is_enabled = given.get("enabled", True)
    if not isinstance(is_enabled, bool):
        raise SchemaViolation("enabled is true or false", name="data.enabled")
    daemon = _daemons(context).add(
        writing_in(context),
        query_text(text),
        given.get("name") or tostr(name),
        _captured(text),
        user=context.user,
        view=str(context.view.id),
        iden=given.get("iden"),
        is_enabled=is_enabled,
    )
    return _shown(context, daemon)


def _get(context: RunContext, iden: Any) -> dict[str, Any] | None:
    found = _daemons(context).find(tostr(iden))
    return None if found is None else _shown(context, found)


def _log(context: RunContext, iden: Any) -> list[Any]:
    found = _daemons(context).find(tostr(iden))
    return [] if found is None else list(found.log)


def _switch(is_enabled: bool) -> Any:
    def run(context: RunContext, iden: Any) -> bool:
        return _daemons(context).enable(writing_in(context), tostr(iden), is_enabled, user=context.user)

    return run


LIBRARIES: Final = (
    LibrarySpec(
        ("dmon",),
        "Queries that are kept running.",
        (
            FunctionSpec(
                "add",
                "Make a daemon and start it.",
                _add,
                (
                    ParameterSpec("text", type="query", doc="What it runs; it keeps the variables it sees."),
                    ParameterSpec("name", "noname", "str", "A name."),
                    ParameterSpec("ddef", None, "dict", "iden, enabled."),
                ),
                "dict",
                changes_state=True,
            ),
            FunctionSpec(
                "bump",
                "Start a daemon anew; false if it is not enabled.",
                lambda c, iden: _daemons(c).bump(tostr(iden)),
                (_IDEN,),
                "bool",
                may_change=True,
            ),
            FunctionSpec(
                "del",
                "Remove a daemon; its query ends.",
                lambda c, iden: _daemons(c).delete(writing_in(c), tostr(iden), user=c.user),
                (_IDEN,),
                changes_state=True,
            ),
            FunctionSpec("get", "What is known of a daemon, or null.", _get, (_IDEN,), "dict"),
            FunctionSpec(
                "list",
                "What is known of all daemons.",
                lambda c: [_shown(c, daemon) for daemon in _daemons(c).by_iden.values()],
                (),
                "list",
            ),
            FunctionSpec("log", "What a daemon printed, warned of and failed with.", _log, (_IDEN,), "list"),
            FunctionSpec(
                "start",
                "Enable a daemon; false if it is.",
                _switch(True),
                (_IDEN,),
                "bool",
                changes_state=True,
            ),
            FunctionSpec(
                "stop",
                "Disable a daemon; false if it is.",
                _switch(False),
                (_IDEN,),
                "bool",
                changes_state=True,
            ),
        ),
    ),
)


def _list_command(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    context.print("Storm daemon list:")
    for daemon in _daemons(context).by_iden.values():
        context.print(f"    {daemon.iden}:  ({daemon.row['name']:20}): {daemon.status}")
    yield from rows


COMMANDS: Final = (CommandSpec("dmon.list", "List the daemons.", _list_command),)
