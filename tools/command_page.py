"""The site's page on the command line: every command of `cellmesh`, from its own declarations.

It is made when the site is, so it is never older than the program; `cellmesh help COMMAND` tells the same.
"""

from __future__ import annotations

import html
import inspect
from collections.abc import Iterator

import click
from cellmesh.cli.main import cli

HEAD = """# Commands

Every command of `cellmesh`, as `cellmesh help COMMAND` explains it. What a command takes in place of an option from the
environment stands in brackets. The settings of `serve` are in [settings](settings.md).
"""
SETTINGS_OF = "serve"


def commands(
    group: click.Group = cli, above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """All commands with the words that call them, a group before those in it."""
    here = click.Context(group, info_name=" ".join(("cellmesh", *above)))
    for name in group.list_commands(here):
        command = group.get_command(here, name)
        if command is None or command.hidden:
            continue
        yield (*above, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*above, name))


def page() -> str:
    """The page as Markdown."""
    return "\n".join([HEAD, *(part for words, command in commands() for part in entry(words, command))])


def entry(words: tuple[str, ...], command: click.Command) -> Iterator[str]:
    """What the page says of one command."""
    context = click.Context(command, info_name=" ".join(("cellmesh", *words)), max_content_width=110)
    yield f"{'#' * min(len(words) + 1, 4)} {' '.join(words)}\n"
    yield f"```\n{context.command_path} {' '.join(command.collect_usage_pieces(context))}\n```\n"
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if paragraph.startswith("\b"):
            yield "```\n" + paragraph.removeprefix("\b").strip("\n") + "\n```\n"
        else:
            yield html.escape(" ".join(paragraph.split()), quote=False) + "\n"
    if words[-1] == SETTINGS_OF:
        return
    rows = [row for one in command.get_params(context) if (row := option(one, context))]
    if rows:
        yield "| option | |\n| --- | --- |"
        yield "\n".join(rows) + "\n"


def option(parameter: click.Parameter, context: click.Context) -> str:
    """A line of the table of options; empty for what is an argument, or the same for all."""
    record = parameter.get_help_record(context)
    if record is None or parameter.name == "help" or not isinstance(parameter, click.Option):
        return ""
    names, told = (text.replace("|", "\\|") for text in record)
    return f"| `{names}` | {html.escape(' '.join(told.split()), quote=False)} |"
