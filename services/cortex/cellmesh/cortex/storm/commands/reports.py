"""Commands that tell: help, reindex, stats.countby, version."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING, Final

from cellmesh.common.errors import BadArg
from cellmesh.cortex.storm.objects.tally import Tally
from cellmesh.cortex.storm.runtime.functions import NativeFunction
from cellmesh.cortex.storm.runtime.interface import (
    REQUIRED,
    Arguments,
    ArgumentSpec,
    CommandSpec,
    FunctionSpec,
)
from cellmesh.cortex.storm.runtime.libraries import Library
from cellmesh.cortex.storm.runtime.values import torepr, tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext
    from cellmesh.cortex.storm.runtime.path import Path

NAME_WIDTH: Final = 26
BAR_WIDTH: Final = 50
DISTRIBUTION: Final = "cellmesh"
NO_VALUE: Final = object()


# Help.


def _help(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    yield from rows
    item = arguments.item
    if isinstance(item, Library):
        _help_library(context, item)
        return
    if isinstance(item, NativeFunction):
        _help_function(context, "", item.spec)
        return
    _help_commands(context, "" if item is None else tostr(item))


def _help_commands(context: RunContext, part: str) -> None:
    found = [spec for name, spec in sorted(context.engine.commands.items()) if part in name]
    if not found:
        context.print(f'No commands found matching "{part}"')
        return
    context.print("These commands are there:")
    width = max(len(spec.name) for spec in found) if part else NAME_WIDTH
    for spec in found:
        context.print(f"{spec.name.ljust(width)}: {summary(spec.doc)}")
    context.print("")
    context.print("For more about a command, use NAME --help")


def summary(doc: str) -> str:
    """Return the first line of a documentation text."""
    return doc.strip().partition("\n")[0]


def _help_library(context: RunContext, library: Library) -> None:
    context.print(library.name)
    for name, member in sorted(library.members.items()):
        if isinstance(member, NativeFunction):
            _help_function(context, f"{library.name}.", member.spec)
        elif isinstance(member, Library):
            context.print(f"{member.name}: a library")
        else:
            context.print(f"{library.name}.{name}: {torepr(member)}")
    for name, attribute in sorted(library.attributes.items()):
        context.print(f"{library.name}.{name}: {attribute.doc}")


def _help_function(context: RunContext, before: str, spec: FunctionSpec) -> None:
    context.print(f"{before}{spec.name}({', '.join(_signature(spec))})")
    context.print(f"    {spec.doc}")


def _signature(spec: FunctionSpec) -> Iterator[str]:
    for parameter in spec.parameters:
        shown = "" if parameter.default is REQUIRED else f"={torepr(parameter.default)}"
        yield f"{parameter.name}{shown}"
    if spec.rest is not None:
        yield f"*{spec.rest}"
    if spec.keywords is not None:
        yield f"**{spec.keywords}"


# Statistics.


def _countby(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    tally = Tally()
    for path in rows:
        value = path.node.repr() if arguments.valu is NO_VALUE else arguments.valu
        if isinstance(value, (list, tuple, dict, set)):
            raise BadArg(f"a {type(value).__name__} cannot be counted by", name="valu")
        name = tostr(value)
        tally.counts[name] = tally.counts.get(name, 0) + 1
        if getattr(arguments, "yield"):
            yield path
    if not tally.counts:
        context.print("No values to display!")
        return
    for line in _chart(tally, arguments):
        context.print(line)


def _chart(tally: Tally, arguments: Arguments) -> Iterator[str]:
    ranked = tally.ranked(arguments.by_name, False)
    if not arguments.reverse:
        ranked.reverse()
    if arguments.size:
        ranked = ranked[: arguments.size]
    longest = max(len(name) for name, _ in ranked)
    width = min(longest, arguments.label_max_width) if arguments.label_max_width else longest
    total = sum(tally.counts.values())
    largest = max(tally.counts.values())
    digits = len(str(largest))
    for name, count in ranked:
        share = f" | {100 * count / total:.2f}%" if arguments.percent else ""
        bar = arguments.char[:1] * (arguments.bar_width * count // largest)
        yield f"{name[:width].rjust(width)} | {count:>{digits}}{share} | {bar}"


def _reindex(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    context.warn("reindex does nothing: indexes are kept with every edit")
    yield from rows


def _version(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    try:
        context.print(f"Cellmesh {installed_version(DISTRIBUTION)}")
    except PackageNotFoundError:
        context.print("Cellmesh, not installed as a package")
    yield from rows


COMMANDS: Final = (
    CommandSpec(
        "help",
        """List commands, or tell about a library or function.

            help
            help tag
            help $lib.str
        """,
        _help,
        (
            ArgumentSpec(
                ("item",), "Part of a command's name, a library or a function.", type="any", count="?"
            ),
            ArgumentSpec(("-v", "--verbose"), "Without effect.", action="store_true"),
        ),
        needs_constant=True,
    ),
    CommandSpec(
        "reindex",
        "Does nothing: indexes are kept with every edit.",
        _reindex,
    ),
    CommandSpec(
        "stats.countby",
        """Count the nodes by a value and print a chart, the largest count first.

            inet:ipv4 | stats.countby :asn
        """,
        _countby,
        (
            ArgumentSpec(
                ("valu",), "What to count by; the node's own value.", type="any", count="?", default=NO_VALUE
            ),
            ArgumentSpec(("--reverse",), "The smallest first.", action="store_true"),
            ArgumentSpec(("--size",), "Print only so many lines.", type="int", count=None),
            ArgumentSpec(("--char",), "What bars are made of.", default="#"),
            ArgumentSpec(("--bar-width",), "How long the longest bar is.", type="int", default=BAR_WIDTH),
            ArgumentSpec(("--label-max-width",), "Cut values at so many characters.", type="int"),
            ArgumentSpec(("--yield",), "Pass the nodes on.", action="store_true"),
            ArgumentSpec(("--by-name",), "In the order of values, not of counts.", action="store_true"),
            ArgumentSpec(("--percent",), "Show shares.", action="store_true"),
        ),
    ),
    CommandSpec("version", "Print the version of the Cortex.", _version),
)
