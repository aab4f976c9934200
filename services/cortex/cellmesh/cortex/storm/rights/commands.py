"""What is asked before commands run that do not go through functions of `$lib`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from cellmesh.cortex.storm.rights.checks import confirm_cron_jobs, confirm_merging, confirm_reading
from cellmesh.cortex.storm.runtime.interface import Arguments, CommandSpec
from cellmesh.cortex.storm.runtime.values import tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext
    from cellmesh.cortex.storm.runtime.path import Path

CommandCheck = Callable[["RunContext", Arguments], None]


def _delnode(context: RunContext, arguments: Arguments) -> None:
    if arguments.force:
        context.confirm_admin("delnode --force")


def _merge(context: RunContext, arguments: Arguments) -> None:
    if arguments.apply:
        confirm_merging(context, context.view)


def _view_merge(context: RunContext, arguments: Arguments) -> None:
    confirm_merging(context, context.session.graph.view(tostr(arguments.iden)))


def _view_exec(context: RunContext, arguments: Arguments) -> None:
    confirm_reading(context, str(context.session.graph.view(tostr(arguments.view)).id))


def _adding(kind: str) -> CommandCheck:
    return lambda context, arguments: context.confirm((kind, "add"), str(context.view.id))


def _edits(context: RunContext, *path: str) -> None:
    rights = context.run.rights
    if rights is not None:
        rights.confirm_edit(context.session, path)


def _tag_prune(context: RunContext, arguments: Arguments) -> None:
    for tag in arguments.tags or ():
        _edits(context, "node", "tag", "del", *tostr(tag).removeprefix("#").split("."))


def _edges_del(context: RunContext, arguments: Arguments) -> None:
    verb = tostr(arguments.verb)
    _edits(context, "node", "edge", "del", *(() if verb == "*" else (verb,)))


COMMAND_CHECKS: Final[Mapping[str, CommandCheck]] = {
    "delnode": _delnode,
    "merge": _merge,
    "view.merge": _view_merge,
    "view.exec": _view_exec,
    "movenodes": lambda context, arguments: context.confirm_admin("movenodes"),
    "runas": lambda context, arguments: context.confirm_admin("runas"),
    # These ask even when there is nothing to do.
    "edges.del": _edges_del,
    "note.add": lambda context, arguments: _edits(context, "node", "add", "meta:note"),
    "tag.prune": _tag_prune,
    "cron.cleanup": lambda context, arguments: confirm_cron_jobs(context),
    "trigger.add": _adding("trigger"),
    "cron.add": _adding("cron"),
    "cron.at": _adding("cron"),
}


def guarded(spec: CommandSpec) -> CommandSpec:
    """Return a command that asks before it runs for a user who has not all rights."""
    check = COMMAND_CHECKS.get(spec.name)
    if check is None:
        return spec
    plain = spec.run

    def run(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
        if context.run.rights is None:
            return plain(context, arguments, rows)
        if arguments.is_constant:
            check(context, arguments)
            return plain(context, arguments, rows)
        return plain(context, arguments, _asking(context, arguments, rows, check))

    return replace(spec, run=run)


def _asking(context: RunContext, arguments: Arguments, rows: Iterator[Path], check: Any) -> Iterator[Path]:
    # The arguments belong to the row that was just handed over.
    for path in rows:
        check(context, arguments)
        yield path
