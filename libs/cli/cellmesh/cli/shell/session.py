"""The shell: reads a query or a command, runs it, shows what comes, and again."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import IO, Any, Final

from cellmesh.api.cortex.v1 import storm_pb2, storm_service_pb2_grpc
from cellmesh.cli.output import error_line
from cellmesh.cli.shell.names import Names
from cellmesh.cli.shell.paging import PagerLeft, Screen, may_color, screen_size, silent_terminal
from cellmesh.cli.shell.rendering import (
    Paint,
    Renderer,
    error_lines,
    make_renderer,
    other_lines,
    safe_text,
    shown_value,
)
from cellmesh.cli.shell.running import RunningQuery
from cellmesh.cli.shell.scan import Kind, is_complete, only_reads, scan
from cellmesh.cli.totals import counted, speaks, time_text, totals_text
from cellmesh.client import CellClient
from cellmesh.common.errors import CellError
from cellmesh.common.values import from_value, to_value

KEPT_SIZE_MAX: Final = 64 * 1024 * 1024
"""The answer to the last query is kept up to this, so that \\save needs not ask again."""

CALL_TIMEOUT_S: Final = 60.0
FLUSH_AFTER_TICKS: Final = 20
"""Ticks without a message after which rows that wait for more are shown."""

LEAVE_WORDS: Final = frozenset({"exit", "quit"})
_HELP: Final = re.compile(r"help(?:\s+(\S+))?")
_EXPLAINED: Final = re.compile(r"(explain|profile)\s+\S", re.DOTALL)
_ASSIGNMENT: Final = re.compile(r"\$(\w+)\s*=\s*(?!=)")
_CHANGES_NAMES: Final = re.compile(r"\$lib\.(?:model\.ext|pkg|service)\.|\b(?:pkg|service)\.\w+")


class Leave(Exception):
    """The shell is to end."""


@dataclass(slots=True)
class Kept:
    """The messages of the last query.

    Attributes:
        text: The query.
        messages: What came.
        size: Bytes of it.
        is_whole: Whether that is all that came.
    """

    text: str = ""
    messages: list[storm_pb2.StormMessage] = field(default_factory=list)
    size: int = 0
    is_whole: bool = True

    def add(self, message: storm_pb2.StormMessage) -> None:
        """Keep a message if there is room."""
        self.size += message.ByteSize()
        if self.size > KEPT_SIZE_MAX:
            self.is_whole = False
            self.messages.clear()
        if self.is_whole:
            self.messages.append(message)


class Session:
    """What a shell knows and does, apart from reading lines.

    Args:
        client: The Cortex.
        url: Its URL as the person gave it.
        out: The screen.

    Attributes:
        names: The names of the Cortex.
        variables: Variables of this session, by name.
        view: The iden of the view; empty for the default one.
        view_name: What to call it.
        user: The user to run as; empty for the caller.
        format: One of FORMATS.
        limit: Nodes at most; 0 for all.
        readonly: Whether edits are refused.
        paged: Whether long answers go to a pager.
        kept: What came of the last query.
        next_text: A text to begin the next line with.
    """

    def __init__(self, client: CellClient, url: str, out: IO[str] | None = None) -> None:
        self.client = client
        self.url = url
        self.out = out or sys.stdout
        self.paint = Paint(may_color(self.out))
        self.names = Names(client, self.options)
        self.variables: dict[str, Any] = {}
        self.view = ""
        self.view_name = ""
        self.user = ""
        self.format = "nodes"
        self.limit = 0
        self.readonly = False
        self.paged = self.out.isatty()
        self.kept = Kept()
        self.next_text = ""

    # What the Cortex is told.

    def options(self) -> storm_pb2.StormOptions:
        """The options of a query in this session."""
        options = storm_pb2.StormOptions(
            view_id=self.view, user=self.user, limit=self.limit, readonly=self.readonly, repr=True
        )
        for name, value in self.variables.items():
            options.vars[name].CopyFrom(to_value(value))
        return options

    def call(self, text: str) -> Any:
        """Run a query for the value it returns. Raises CellError."""
        stub = self.client.stub(storm_service_pb2_grpc.StormServiceStub)
        request = storm_pb2.CallStormRequest(text=text, options=self.options())
        return from_value(stub.CallStorm(request, timeout=CALL_TIMEOUT_S).value)

    # Lines.

    def handle(self, text: str) -> None:
        """Do what a line says. Errors are shown. Raises Leave."""
        from cellmesh.cli.shell import commands

        stripped = text.strip()
        if not stripped:
            return
        try:
            if stripped in LEAVE_WORDS:
                raise Leave
            if stripped.startswith("\\"):
                commands.run(self, stripped)
            elif found := _HELP.fullmatch(stripped):
                commands.run(self, f"\\help {found[1] or ''}".strip())
            elif _EXPLAINED.match(stripped):
                commands.run(self, f"\\{stripped}")
            elif name := self._assignment(stripped):
                self.assign(name, stripped)
            else:
                self.run_query(text.strip("\n"))
        except CellError as error:
            self.say(self.paint(f"ERROR: {error.name}: {error_line(error)}", fg="red"))
        except KeyboardInterrupt:
            self.say("cancelled")

    def assign(self, name: str, text: str) -> None:
        """Keep the variable that a query sets, for the queries after it."""
        try:
            value = self.call(f"{text}\nreturn(${name})")
            to_value(value)
        except CellError as error:
            self.show(error_lines(error, text, self.paint))
            return
        self.variables[name] = value
        self.say(f"${name} = {shown_value(value)}")

    def _assignment(self, text: str) -> str | None:
        """The name of the variable, when a text is `$name = VALUE` and nothing else."""
        found = _ASSIGNMENT.match(text)
        if found is None or not is_complete(text):
            return None
        rest = [token for token in scan(text[found.end() :]).tokens if token.kind is not Kind.COMMENT]
        depth = 0
        previous: Kind | None = None
        for index, token in enumerate(rest):
            if token.kind is Kind.OPEN:
                # `foo {...}` is a query behind the value; `$x.f(...)` and `([...])` belong to it.
                if depth == 0 and (token.text == "{" or (token.text == "[" and index)):
                    return None
                depth += 1
            elif token.kind is Kind.CLOSE:
                depth -= 1
            elif depth == 0 and (
                token.kind in (Kind.PIPE, Kind.ARROW, Kind.COMPARATOR)
                or (token.kind is Kind.BLANK and index + 1 < len(rest))
                or (previous is Kind.CLOSE and not token.text.startswith("."))
            ):
                return None
            previous = token.kind
        return found[1]

    # Queries.

    def explain(self, text: str) -> None:
        """Show how a query would be done."""
        from cellmesh.cli.commands.storm_plan import plan_lines

        stub = self.client.stub(storm_service_pb2_grpc.StormServiceStub)
        request = storm_pb2.ExplainStormRequest(text=text, options=self.options())
        try:
            plan = stub.ExplainStorm(request, timeout=CALL_TIMEOUT_S).plan
        except CellError as error:
            self.show(error_lines(error, text, self.paint))
            return
        self.show(plan_lines(plan, is_profiled=False))

    def run_query(self, text: str, *, profile: bool = False) -> bool:
        """Run a query and show what comes; returns whether it succeeded.

        Args:
            text: The query.
            profile: Whether to show what its steps cost, too.
        """
        options = self.options()
        options.profile = profile
        request = storm_pb2.StormRequest(text=text, options=options)
        renderer = make_renderer(self.format, self.paint, screen_size()[1] if self.out.isatty() else None)
        screen = Screen(self.out, paged=self.paged and self.out.isatty(), live=self.out.isatty())
        self.kept = Kept(text)
        running = RunningQuery(self.client, request)
        succeeded = True
        try:
            try:
                try:
                    succeeded = self._show_answer(running, renderer, screen)
                except PagerLeft:
                    if only_reads(text) or self.readonly or self._is_ended():
                        raise
                    succeeded = self._finish_unseen(running, screen)
            except KeyboardInterrupt:
                running.cancel()
                succeeded = False
                self.kept.is_whole = False
                _write(screen, renderer.end())
                came = counted(running.node_count, "node")
                told = f"cancelled after {time_text(running.elapsed_s)}: {came} had come; what was changed by then stays"
                _write(screen, [self.paint(told, fg="yellow")])
            except CellError as error:
                succeeded = False
                _write(screen, renderer.end())
                _write(screen, error_lines(error, text, self.paint))
        except PagerLeft:
            self.kept.is_whole = self.kept.is_whole and self._is_ended()
        finally:
            running.cancel()
            screen.finish()
        if _CHANGES_NAMES.search(text):
            self.names.load_in_background()
        return succeeded

    def _is_ended(self) -> bool:
        messages = self.kept.messages
        return bool(messages) and messages[-1].HasField("fini")

    def _show_answer(self, running: RunningQuery, renderer: Renderer, screen: Screen) -> bool:
        succeeded, spoke = True, False
        quiet = 0
        for message in running.messages():
            if message is None:
                quiet += 1
                if quiet == FLUSH_AFTER_TICKS:
                    _write(screen, renderer.flush())
                screen.tick(self._progress(running))
                continue
            quiet = 0
            self.kept.add(message)
            _write(screen, renderer.lines(message))
            kind = message.WhichOneof("kind")
            if self.format != "jsonl" and not (kind == "csv_row" and self.format == "csv"):
                _write(screen, other_lines(message, running.text, self.paint))
            spoke = spoke or speaks(kind)
            if kind == "err":
                succeeded = False
            elif kind == "fini":
                _write(screen, renderer.end())
                _write(screen, [self.paint.dim(totals_text(message.fini, spoke=spoke))])
            screen.tick(self._progress(running))
        return succeeded

    def _finish_unseen(self, running: RunningQuery, screen: Screen) -> bool:
        """Go on with a query whose pager was left: it may be changing something, and half of that is seldom meant."""
        screen.leave_pager()
        _write(screen, [self.paint.dim("the query goes on; Ctrl-C cancels it")])
        succeeded = True
        for message in running.messages():
            screen.tick(self._progress(running))
            if message is None:
                continue
            self.kept.add(message)
            kind = message.WhichOneof("kind")
            if kind in ("err", "warn"):
                _write(screen, other_lines(message, running.text, self.paint))
                succeeded = succeeded and kind != "err"
            elif kind == "fini":
                _write(screen, [self.paint.dim(totals_text(message.fini))])
        return succeeded

    def _progress(self, running: RunningQuery) -> str:
        edits = f", {counted(running.edit_count, 'edit')}" if running.edit_count else ""
        return f"{counted(running.node_count, 'node')}{edits}, {running.elapsed_s:.1f} s  (Ctrl-C cancels)"

    # Output.

    def say(self, text: str) -> None:
        """Show a text of the shell itself."""
        self.out.write(text + "\n")
        self.out.flush()

    def show(self, lines: Iterable[str]) -> None:
        """Show lines, in the pager when they are many."""
        screen = Screen(self.out, paged=self.paged and self.out.isatty(), live=False)
        try:
            _write(screen, lines)
        except PagerLeft:
            pass
        finally:
            screen.finish()

    # The terminal.

    def prompt(self) -> str:
        """What stands before the line that is typed: whom and where, when it is not as it was at first."""
        where = [part for part in (self.user, self.view_name or self.view[:8]) if part]
        return f"storm ({', '.join(where)})> " if where else "storm> "

    def toolbar(self) -> str:
        """The line below the screen."""
        parts = [self.url, f"view {self.view_name or self.view[:8] or 'default'}", self.format]
        if self.user:
            parts.append(f"as {self.user}")
        if self.readonly:
            parts.append("read only")
        if self.limit:
            parts.append(f"limit {self.limit:,}")
        if self.names.is_loading:
            parts.append("names are coming")
        elif self.names.failure:
            parts.append(f"some names are missing: {self.names.failure}"[:60])
        return "  ·  ".join(parts)

    def loop(self) -> None:
        """Read lines and do what they say, until it is left.

        Raises:
            CellError: the Cortex cannot be reached, or lets the caller run no queries.
        """
        # Whoever cannot be reached, or refuses, is told of at once and not at the first query.
        user = self.call("return($lib.user.name())")
        from cellmesh.cli.shell.reading import make_reader

        reader = make_reader(self)
        where = f"{self.url} as {safe_text(str(user))}"
        self.say(f"Cellmesh storm shell at {where}. \\? tells what there is, Ctrl-D leaves.")
        self.names.on_change = reader.app.invalidate
        self.names.load_in_background()
        with silent_terminal():
            while True:
                try:
                    self.handle(reader.prompt(self.prompt, default=self._take_next_text()))
                except KeyboardInterrupt:
                    # At whatever moment it comes: it ends what is typed or done, never the shell.
                    continue
                except (EOFError, Leave):
                    return

    def _take_next_text(self) -> str:
        text, self.next_text = self.next_text, ""
        return text


def _write(screen: Screen, lines: Iterable[str]) -> None:
    for line in lines:
        for part in line.split("\n"):
            screen.write(part)
