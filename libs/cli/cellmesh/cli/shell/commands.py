"""What begins with a backslash: commands of the shell itself."""

from __future__ import annotations

import difflib
import json
import subprocess
from typing import TYPE_CHECKING, Any, Final

from cellmesh.cli.shell import filing
from cellmesh.cli.shell.meta import MetaCommand, Wrong
from cellmesh.cli.shell.rendering import (
    FORMATS,
    safe_text,
    shown_value,
)
from cellmesh.cli.views import DEFAULT, no_view, pick_view
from cellmesh.common.errors import CellError

if TYPE_CHECKING:
    from cellmesh.cli.shell.session import Session


def run(session: Session, line: str) -> None:
    """Run a line that begins with a backslash.

    Raises:
        CellError: the Cortex refused it.
        Leave: the shell is to end.
    """
    name, _, rest = line.partition(" ")
    command = COMMANDS.get(_ALIASES.get(name, name))
    if command is None:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        session.say(
            f"there is no command {name}{f'; did you mean {near[0]}?' if near else ''}. \\? lists them"
        )
        return
    try:
        command.run(session, rest.strip())
    except Wrong as wrong:
        session.say(f"{wrong}\nusage: {command.name} {command.usage}".rstrip())
    except OSError as error:
        session.say(f"{error.filename or command.name}: {error.strerror or error}")


# Help.


def _commands(session: Session, rest: str) -> None:
    width = max(len(f"{command.name} {command.usage}") for command in COMMANDS.values())
    lines = [f"  {f'{command.name} {command.usage}':{width}}  {command.doc}" for command in COMMANDS.values()]
    session.show(
        [
            "A line is a query in Storm. Enter runs it once its brackets and quotes are closed;",
            "Alt-Enter begins a new line, Tab completes, Ctrl-R searches the history, Ctrl-X Ctrl-E opens an editor,",
            "Ctrl-C clears the line or cancels the query, Ctrl-D leaves.",
            "",
            *lines,
            "",
            "help NAME, explain QUERY, profile QUERY, exit and quit work without the backslash.",
            "`$x = VALUE` alone on a line keeps $x for the queries that follow.",
        ]
    )


def _help(session: Session, rest: str) -> None:
    from cellmesh.cli.shell import helping

    if not rest:
        _commands(session, "")
    elif rest == "commands":
        session.show(helping.command_lines(session.names))
    else:
        helping.tell(session, rest)


# How answers look.


def _format(session: Session, rest: str) -> None:
    if not rest:
        session.say(f"format {session.format}; there are {', '.join(FORMATS)}")
    elif rest in FORMATS:
        session.format = rest
    else:
        raise Wrong(f"there is no format {rest}")


def _pager(session: Session, rest: str) -> None:
    session.paged = _on_or_off(session, "pager", session.paged, rest)


def _limit(session: Session, rest: str) -> None:
    if not rest:
        session.say(f"limit {session.limit:,}" if session.limit else "no limit")
        return
    if not rest.isdigit():
        raise Wrong("a limit is a number of nodes, 0 for none")
    session.limit = int(rest)


def _readonly(session: Session, rest: str) -> None:
    session.readonly = _on_or_off(session, "readonly", session.readonly, rest)


def _on_or_off(session: Session, name: str, present: bool, rest: str) -> bool:
    if not rest:
        session.say(f"{name} {'on' if present else 'off'}")
        return present
    if rest not in ("on", "off"):
        raise Wrong("either on or off")
    return rest == "on"


# Where queries run.


def _view(session: Session, rest: str) -> None:
    views = session.names.views()
    if not rest:
        own = session.view or session.call("return($lib.view.get().iden)")
        for view in views:
            session.say(safe_text(f"{'*' if view.iden == own else ' '} {view.iden}  {view.name}".rstrip()))
        return
    if rest == DEFAULT:
        session.view, session.view_name = "", ""
        session.names.forget()
        return
    found = pick_view(views, rest)
    if found is None:
        raise Wrong(f"{no_view(views, rest)}; \\view lists them")
    session.view, session.view_name = found.iden, found.name
    session.names.forget()


def _user(session: Session, rest: str) -> None:
    if not rest:
        session.say(str(session.call("return($lib.user.name())")))
        return
    before = session.user
    session.user = "" if rest == "-" else rest
    try:
        session.call("return($lib.user.name())")
    except CellError:
        session.user = before
        raise
    session.names.forget()


# How queries are done.


def _explain(session: Session, rest: str) -> None:
    session.explain(_one_query(rest))


def _profile(session: Session, rest: str) -> None:
    session.run_query(_one_query(rest), profile=True)


def _one_query(text: str) -> str:
    if not text:
        raise Wrong("which query?")
    return text


# Variables.


def _set(session: Session, rest: str) -> None:
    if not rest:
        for name, value in session.variables.items():
            session.say(f"${name} = {shown_value(value)}")
        return
    name, _, text = rest.removeprefix("$").partition(" ")
    text = text.strip()
    if not name.isidentifier() or name == "lib" or not text:
        raise Wrong("a variable needs a name and a value")
    if text.startswith("="):
        session.assign(name, f"${name} = {text[1:].strip()}")
        return
    try:
        session.variables[name] = json.loads(text)
    except ValueError:
        session.variables[name] = text


def _unset(session: Session, rest: str) -> None:
    name = rest.removeprefix("$")
    if name not in session.variables:
        raise Wrong(f"there is no variable {name}" if name else "which variable?")
    del session.variables[name]


# The rest.


def _refresh(session: Session, rest: str) -> None:
    session.names.load()
    names = session.names
    if names.failure:
        raise Wrong(names.failure)
    session.say(
        f"{len(names.forms):,} forms, {sum(map(len, names.props.values())):,} properties, "
        f"{len(names.commands):,} commands, {len(names.libraries):,} libraries"
    )


def _outside(session: Session, rest: str) -> None:
    if not rest:
        raise Wrong("which command?")
    subprocess.run(rest, shell=True, check=False)


def _quit(session: Session, rest: str) -> None:
    from cellmesh.cli.shell.session import Leave

    raise Leave


_EVERY: Final = (
    MetaCommand("\\?", "", "Show this.", _commands),
    MetaCommand(
        "\\help", "[NAME]", "Tell about a form, property, edge, command or $lib function.", _help, "help"
    ),
    MetaCommand(
        "\\format",
        "[FORMAT]",
        f"How nodes are shown: {', '.join(FORMATS)}.",
        _format,
        f"one of {' '.join(FORMATS)}",
    ),
    MetaCommand("\\pager", "[on|off]", "Whether long answers go to the pager.", _pager, "one of on off"),
    MetaCommand("\\limit", "[NUMBER]", "End queries after so many nodes; 0 for never.", _limit),
    MetaCommand("\\readonly", "[on|off]", "Refuse every edit.", _readonly, "one of on off"),
    MetaCommand(
        "\\view", "[NAME|IDEN|default]", "Run queries in a view; alone it lists them.", _view, "view"
    ),
    MetaCommand(
        "\\user", "[NAME|-]", "Run queries as a user, for administrators; - as yourself.", _user, "user"
    ),
    MetaCommand(
        "\\explain",
        "QUERY",
        "Show how a query would be done, without running it.",
        _explain,
        "query",
        takes_query=True,
    ),
    MetaCommand(
        "\\profile",
        "QUERY",
        "Run a query and show what each step cost.",
        _profile,
        "query",
        takes_query=True,
    ),
    MetaCommand(
        "\\set",
        "[NAME VALUE | NAME = EXPRESSION]",
        "Keep a variable: text or JSON, or what Storm makes of it.",
        _set,
        "variable",
    ),
    MetaCommand("\\unset", "NAME", "Forget a variable.", _unset, "variable"),
    MetaCommand("\\run", "FILE", "Run the query in a file.", filing.run, "file"),
    MetaCommand(
        "\\save",
        "FILE [QUERY]",
        "Write the last answer, or a query's: .csv, .json, .jsonl, .txt.",
        filing.save,
        "file",
        takes_query=True,
    ),
    MetaCommand(
        "\\edit", "[FILE]", "Edit the last query, or a file, for the next line.", filing.edit, "file"
    ),
    MetaCommand("\\history", "[TEXT]", "Show the last lines, or all with a text in them.", filing.history),
    MetaCommand("\\refresh", "", "Ask the Cortex for its names again.", _refresh),
    MetaCommand("\\!", "COMMAND", "Run a command of the system.", _outside),
    MetaCommand("\\quit", "", "Leave.", _quit),
)

COMMANDS: Final[dict[str, MetaCommand]] = {command.name: command for command in _EVERY}
_ALIASES: Final[dict[str, Any]] = {
    "\\q": "\\quit",
    "\\h": "\\help",
    "\\e": "\\edit",
    "\\i": "\\run",
    "\\vars": "\\set",
}
