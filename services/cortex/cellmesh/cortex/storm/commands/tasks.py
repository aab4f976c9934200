"""Commands about what runs: task.list, task.kill, ps.list, ps.kill, uptime."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pprint import pformat
from typing import TYPE_CHECKING, Final

from cellmesh.common.errors import NoSuchName
from cellmesh.cortex.storm.commands.acting import doing
from cellmesh.cortex.storm.running import end_query, visible_queries
from cellmesh.cortex.storm.runtime.interface import Arguments, ArgumentSpec, CommandSpec
from cellmesh.cortex.storm.runtime.path import Path

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

TEXT_SIZE_MAX: Final = 1000
LINE_SIZE: Final = 120
SHORT_LINE_COUNT: Final = 4
DAY_S: Final = 86_400


def _list(word: str, *, is_plain: bool) -> Callable[[RunContext, Arguments], None]:
    def act(context: RunContext, arguments: Arguments) -> None:
        found = visible_queries(context)
        for query in found:
            context.print(f"task iden: {query.task_id}")
            context.print("    name: storm")
            context.print(f"    user: {query.options.user}")
            context.print(f"    {word}: $lib.null")
            began = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(query.began_s))
            context.print(f"    start time: {began}")
            context.print("    metadata:")
            view = str(context.session.graph.view(query.options.view).id)
            known = {"query": query.text[:TEXT_SIZE_MAX], "view": view}
            lines = pformat(known, width=LINE_SIZE).split("\n")
            for line in lines if arguments.verbose else lines[:SHORT_LINE_COUNT]:
                context.print(f"    {line}")
        count = len(found)
        context.print(f"{count} tasks found." if is_plain or count != 1 else "1 task found.")

    return act


def _kill(context: RunContext, arguments: Arguments) -> None:
    end_query(context, arguments.iden)
    context.print("kill status: true")


def _instead(
    new: str, run: Callable[[RunContext, Arguments, Iterator[Path]], Iterator[Path]]
) -> Callable[[RunContext, Arguments, Iterator[Path]], Iterator[Path]]:
    """Make the generator of a command that has a newer name."""

    def warn_and_run(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
        context.warn(f"use {new} instead")
        yield from run(context, arguments, rows)

    return warn_and_run


def _uptime(context: RunContext, arguments: Arguments) -> None:
    if arguments.name is not None:
        raise NoSuchName(f"no service named {arguments.name}", name=arguments.name)
    started_s = context.engine.started_s
    context.print(f"up {_duration(time.time() - started_s)} (since {_moment(started_s)})")


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))


def _duration(seconds: float) -> str:
    days, rest = divmod(seconds, DAY_S)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    before = f"{int(days)}D " if days else ""
    return f"{before}{int(hours):02}:{int(minutes):02}:{rest:06.3f}"


_IDEN: Final = ArgumentSpec(("iden",), "The iden of the task, or what it begins with.")
_VERBOSE: Final = ArgumentSpec(("--verbose",), "Show all of a long query.", action="store_true")
_TIMEOUT: Final = ArgumentSpec(
    ("--timeout",), "Without effect: only the tasks of this Cortex are looked at.", type="int"
)

COMMANDS: Final = (
    CommandSpec(
        "ps.kill",
        "End a query that runs. The newer name is task.kill.",
        _instead("task.kill", doing(_kill)),
        (_IDEN,),
        may_change=True,
    ),
    CommandSpec(
        "ps.list",
        "List the queries that run. The newer name is task.list.",
        _instead("task.list", doing(_list("status", is_plain=True))),
        (_VERBOSE,),
    ),
    CommandSpec(
        "task.kill",
        """End a query that runs.

            task.kill 7a91e1fb
        """,
        doing(_kill),
        (_IDEN, _TIMEOUT),
        may_change=True,
    ),
    CommandSpec(
        "task.list",
        "List the queries that run: the own ones, and with the permission task.get all.",
        doing(_list("service", is_plain=False)),
        (_VERBOSE, _TIMEOUT),
    ),
    CommandSpec(
        "uptime",
        "Print for how long the Cortex has run.",
        doing(_uptime),
        (ArgumentSpec(("name",), "The name of a service, of which none is known yet.", count="?"),),
    ),
)
