"""How the lines of the shell are typed: keys, indents, and when Enter runs them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from cellmesh.cli.shell.scan import is_complete

if TYPE_CHECKING:
    from cellmesh.cli.shell.session import Session
    from prompt_toolkit import PromptSession
    from prompt_toolkit.formatted_text import StyleAndTextTuples

INDENT_SIZE: Final = 4


def make_reader(session: Session) -> PromptSession[str]:
    """Return what reads the lines of a session: with completion, colours and history."""
    from cellmesh.cli.shell import commands
    from cellmesh.cli.shell.completion import StormCompleter
    from cellmesh.cli.shell.highlighting import STYLE, StormLexer
    from cellmesh.cli.shell.history import ShellHistory, history_file
    from prompt_toolkit import PromptSession
    from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
    from prompt_toolkit.enums import EditingMode
    from prompt_toolkit.filters import Condition
    from prompt_toolkit.history import History, InMemoryHistory
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

    keys = KeyBindings()

    @keys.add("enter", filter=Condition(lambda: _is_typing(reader)))
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if is_ready(buffer.text) or buffer.document.text_before_cursor.endswith("\n\n"):
            buffer.validate_and_handle()
        else:
            buffer.insert_text("\n" + _indent(buffer.document.text_before_cursor))

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("}")
    @keys.add("]")
    @keys.add(")")
    def _(event: KeyPressEvent) -> None:
        # On a line of its own it stands as far left as the line that it closes.
        buffer = event.current_buffer
        before = buffer.document.current_line_before_cursor
        if buffer.document.cursor_position_row and before and not before.strip():
            buffer.delete_before_cursor(min(INDENT_SIZE, len(before)))
        buffer.insert_text(event.data)

    history: History
    try:
        history = ShellHistory(history_file())
    except OSError as error:
        session.say(f"no history is kept: {history_file()}: {error.strerror}")
        history = InMemoryHistory()
    is_vi = os.environ.get("EDITOR", "").endswith(("vi", "vim")) and bool(os.environ.get("CELLMESH_VI"))
    reader: PromptSession[str] = PromptSession(
        history=history,
        completer=StormCompleter(session.names, session, commands.COMMANDS),
        complete_in_thread=True,
        complete_while_typing=True,
        auto_suggest=AutoSuggestFromHistory(),
        lexer=StormLexer(session.names),
        style=STYLE,
        include_default_pygments_style=False,
        multiline=True,
        prompt_continuation=_continuation,
        key_bindings=keys,
        bottom_toolbar=session.toolbar,
        enable_open_in_editor=True,
        enable_suspend=True,
        tempfile_suffix=".storm",
        editing_mode=EditingMode.VI if is_vi else EditingMode.EMACS,
    )
    return reader


def _continuation(width: int, number: int, wrapped: int) -> StyleAndTextTuples:
    """What stands before the lines behind the first one; nothing where a long line only wraps."""
    return [] if wrapped else [("class:continuation", " " * (width - 4) + "... ")]


def _is_typing(reader: PromptSession[str]) -> bool:
    """Whether Enter is for the query: not while the history is searched."""
    return not reader.app.layout.is_searching


def is_ready(text: str) -> bool:
    """Whether Enter runs a text: it is whole, or a command of the shell whose query is."""
    if not text.startswith("\\"):
        return is_complete(text)
    from cellmesh.cli.shell import commands

    name, _, rest = text.partition(" ")
    command = commands.COMMANDS.get(name)
    return command is None or not command.takes_query or is_complete(rest)


def _indent(text: str) -> str:
    """The blanks that the next line begins with: as the last one, and more when it opens a bracket."""
    line = text.rpartition("\n")[2]
    blanks = line[: len(line) - len(line.lstrip())]
    return blanks + (" " * INDENT_SIZE if line.rstrip().endswith(("{", "[", "(")) else "")
