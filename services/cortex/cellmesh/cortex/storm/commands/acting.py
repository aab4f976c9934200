"""What commands are made of: functions of `$lib` called by path, acts done once or for each node, values said."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cellmesh.cortex.storm.runtime.interface import Arguments
from cellmesh.cortex.storm.runtime.libraries import Library
from cellmesh.cortex.storm.runtime.members import get_member
from cellmesh.cortex.storm.runtime.path import Path
from cellmesh.cortex.storm.runtime.values import tostr

if TYPE_CHECKING:
    from collections.abc import Callable

    from cellmesh.cortex.storm.runtime.context import RunContext


def lib(context: RunContext, path: str, *arguments: Any, **keywords: Any) -> Any:
    """Call a function of `$lib`, by its path, as the query could: it asks for permissions."""
    found: Any = context.run.library
    for name in path.split("."):
        found = found.get(context, name) if isinstance(found, Library) else get_member(context, found, name)
    return context.call(found, *arguments, **keywords)


def doing(
    act: Callable[[RunContext, Arguments], None],
) -> Callable[[RunContext, Arguments, Iterator[Path]], Iterator[Path]]:
    """Make the generator of a command that does something, once or for each node, and passes the nodes on."""

    def run(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
        is_done = False
        for path in rows:
            if not is_done or not arguments.is_constant:
                act(context, arguments)
            is_done = True
            yield path
        if not is_done and arguments.is_constant:
            act(context, arguments)

    return run


def say(context: RunContext, value: Any) -> None:
    """Print what a value says of itself in its method repr()."""
    text = context.call(get_member(context, value, "repr"))
    for line in tostr(text).split("\n"):
        context.print(line)
