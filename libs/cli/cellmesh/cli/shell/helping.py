"""`help NAME` in the shell: a form, a property, a type, an edge, a command, a library or a function."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Final

import click
from cellmesh.cli.commands.model import described
from cellmesh.cli.shell.rendering import safe_text

if TYPE_CHECKING:
    from cellmesh.cli.shell.names import Names
    from cellmesh.cli.shell.session import Session

NEAR_COUNT: Final = 3


def tell(session: Session, name: str) -> None:
    """Show what there is to know of a name."""
    names = session.names
    if name.startswith("$lib"):
        _print(session, f"help {name}")
        return
    if name.endswith("*"):
        session.show(form_lines(names, name.removesuffix("*")))
        return
    name = name.removeprefix("-(").removesuffix(")>")
    if name in names.commands:
        _print(session, f"{name} --help")
        return
    if name in names.verbs:
        session.show(_edge_lines(session.names, name))
        return
    if names.model:
        try:
            session.show(map(safe_text, described(names.model, name)))
            return
        except click.ClickException:
            pass
    if names.is_loading:
        session.say("the names are still coming, ask again in a moment")
        return
    matching = [command for command in names.commands if name in command]
    if matching:
        session.show(f"{command}  {names.commands[command]}" for command in matching)
        return
    near = difflib.get_close_matches(name, [*names.forms, *names.commands, *names.verbs], NEAR_COUNT)
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    session.say(f"no form, property, type, edge, command or function is named {name}{hint}")


def form_lines(names: Names, prefix: str) -> list[str]:
    """The forms that begin with a text, with what they mean."""
    found = [(name, doc) for name, doc in sorted(names.forms.items()) if name.startswith(prefix)]
    width = max((len(name) for name, _ in found), default=0)
    return [safe_text(f"{name:{width}}  {doc}".rstrip()) for name, doc in found] or [
        f"no form begins with {prefix}"
    ]


def command_lines(names: Names) -> list[str]:
    """The commands of the language, with what they do."""
    width = max(map(len, names.commands), default=0)
    return [f"{name:{width}}  {doc}".rstrip() for name, doc in sorted(names.commands.items())]


def _print(session: Session, text: str) -> None:
    lines = session.names.printed(text)
    while lines and not lines[0]:
        del lines[0]
    session.show(map(safe_text, lines))


def _edge_lines(names: Names, verb: str) -> list[str]:
    lines = [f"{verb}  (edge)", ""]
    for edge in names.model["edges"]:
        if edge["verb"] == verb:
            lines.append(f"  {edge['n1'] or '*'} -({verb})> {edge['n2'] or '*'}  {edge['doc']}".rstrip())
    return lines
