"""`cellmesh storm`: runs a query and prints what comes, for people or as JSON lines.

`cellmesh storm fmt` and `cellmesh storm lint` are in `storm_text.py`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from cellmesh.cli.connect import cell_options, open_by_options
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from cellmesh.api.cortex.v1 import node_pb2, storm_pb2
    from cellmesh.common.errors import CellError

INDENT = " " * 8
EXCERPT_SIZE = 100
COUNT_TIMEOUT_S = 86400.0
EXPLAIN_TIMEOUT_S = 60.0
FORMATS = ("nodes", "table", "tree", "json", "jsonl", "csv")
URL = re.compile(r"(?:aha|grpcs?|unix|cell)://")


TOOLS = {"fmt": "Lay texts out anew.", "lint": "Check that texts are Storm."}
"""Commands below `storm`, with what completion tells of them; they are in `storm_text.py`."""


class QueryOrTool(click.Command):
    """A command whose first word may name a tool instead of being a query: `storm fmt`, but `storm -- fmt`."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Read the arguments, those of the tool if it is one."""
        if args and args[0] in TOOLS:
            from cellmesh.cli.commands import storm_text

            name = args[0]
            return storm_text.TOOLS[name].make_context(f"{info_name} {name}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


def _tools_matching(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the names of the tools where a query, or nothing yet, stands."""
    if ctx.params.get("command"):
        return []
    return [CompletionItem(name, help=told) for name, told in TOOLS.items() if name.startswith(incomplete)]


@click.command(cls=QueryOrTool)
@click.argument("query", required=False, metavar="[QUERY | URL]", shell_complete=_tools_matching)
@cell_options
@click.option(
    "-c", "--command", "command", metavar="QUERY", default=None, help="Run this query; for scripts."
)
@click.option(
    "--format",
    "format_name",
    type=click.Choice(FORMATS),
    default=None,
    help="How to print: data on standard output, all else on standard error.",
)
@click.option("--jsonl", is_flag=True, help="Print every message as JSON, one a line.")
@click.option("--limit", type=click.IntRange(1), default=None, help="Stop after this many nodes.")
@click.option(
    "--var", "variables", multiple=True, metavar="NAME=VALUE", help="Set a variable: JSON, or else text."
)
@click.option("--view", default="", help="The view to run in: its name or iden.")
@click.option("--readonly", is_flag=True, help="Refuse every edit.")
@click.option(
    "--row-limit",
    type=click.IntRange(1),
    default=None,
    help="Fail after this many rows of lifts, pivots and turns of loops.",
)
@click.option(
    "--memory-limit",
    type=click.IntRange(1),
    metavar="BYTES",
    default=None,
    help="Fail when values take more memory.",
)
@click.option(
    "--depth-limit", type=click.IntRange(1, 2**32 - 1), default=None, help="Fail when calls nest deeper."
)
@click.option(
    "--time-limit",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    default=None,
    help="Fail after this long.",
)
@click.option("--count", "only_count", is_flag=True, help="Print only how many nodes come out.")
@click.option("--explain", is_flag=True, help="Print how the query would be done; it is not run.")
@click.option("--profile", is_flag=True, help="Run the query, then print what each step cost.")
@click.pass_context
def storm(
    ctx: click.Context,
    query: str | None,
    command: str | None,
    format_name: str | None,
    url: str | None,
    folder: Path | None,
    identity: Path | None,
    jsonl: bool,
    limit: int | None,
    variables: tuple[str, ...],
    view: str,
    readonly: bool,
    row_limit: int | None,
    memory_limit: int | None,
    depth_limit: int | None,
    time_limit: float | None,
    only_count: bool,
    explain: bool,
    profile: bool,
) -> None:
    """Run a Storm query on the Cortex and print what comes. The query `-` is read from standard input.

    Without a query a shell starts on a terminal, and anywhere else the query is read from standard input. The first word
    may then be the URL of the Cortex, or an alias of it: `cellmesh storm unix:///path -c QUERY`.

    \b
    cellmesh storm fmt [FILES]     lay texts out anew
    cellmesh storm lint [FILES]    check that texts are Storm

    Both need no Cortex. A query that is the word fmt or lint is given behind `--`.

    The limits make those of the Cortex tighter, never wider. The error names the one that was reached.

    Exit code: 0 the query ran, 1 it failed.
    """
    from cellmesh.api.cortex.v1 import storm_pb2, storm_service_pb2_grpc
    from cellmesh.cli.views import view_iden
    from cellmesh.common.errors import CellError

    url, given = query_of(query, command, url)
    if given is None and sys.stdin.isatty() and sys.stdout.isatty():
        if (
            only_count
            or explain
            or profile
            or jsonl
            or row_limit
            or memory_limit
            or depth_limit
            or time_limit
        ):
            raise click.UsageError("which query?")
        ctx.exit(_shell(url, folder, identity, view, readonly, limit, variables, format_name))
    text = sys.stdin.read() if given in (None, "-") else given
    options = storm_pb2.StormOptions(readonly=readonly, limit=limit or 0, repr=not jsonl)
    options.row_limit, options.memory_limit = row_limit or 0, memory_limit or 0
    options.depth_limit = depth_limit or 0
    if time_limit is not None:
        options.time_limit.FromNanoseconds(max(1, int(time_limit * 1e9)))
    for name, value in map(_read_variable, variables):
        options.vars[name].CopyFrom(value)
    with open_by_options("cortex", url, folder, identity) as client:
        options.view_id = view_iden(client, view)
        stub = client.stub(storm_service_pb2_grpc.StormServiceStub)
        if explain:
            from cellmesh.cli.commands.storm_plan import plan_fields, plan_lines

            try:
                explain_request = storm_pb2.ExplainStormRequest(text=text, options=options)
                plan = stub.ExplainStorm(explain_request, timeout=EXPLAIN_TIMEOUT_S).plan
            except CellError as error:
                _print_error(error, text)
                ctx.exit(1)
            is_json = jsonl or format_name in ("json", "jsonl")
            lines = [json.dumps(plan_fields(plan))] if is_json else plan_lines(plan, is_profiled=False)
            click.echo("\n".join(lines))
            return
        options.profile = profile
        if only_count:
            try:
                count_request = storm_pb2.CountStormRequest(text=text, options=options)
                click.echo(str(stub.CountStorm(count_request, timeout=COUNT_TIMEOUT_S).count))
            except CellError as error:
                _print_error(error, text)
                ctx.exit(1)
            return
        if format_name is not None and not jsonl:
            from cellmesh.cli.shell.oneshot import run_once

            options.repr = format_name not in ("json", "jsonl")
            request = storm_pb2.StormRequest(text=text, options=options)
            ctx.exit(0 if run_once(client, request, format_name, sys.stdout, sys.stderr) else 1)
        printer = JsonPrinter() if jsonl else TextPrinter(text)
        messages = stub.Storm(storm_pb2.StormRequest(text=text, options=options))
        for message in _messages(messages):
            printer.show(message)
    ctx.exit(1 if printer.failed else 0)


def query_of(word: str | None, command: str | None, url: str | None) -> tuple[str | None, str | None]:
    """Tell the URL and the query from what stands on the command line; None for what is not there.

    Args:
        word: The first word: a query, or the URL or alias of a Cortex.
        command: What is given by -c.
        url: What is given by --url.

    Raises:
        click.UsageError: there are two queries, or two URLs.
    """
    is_url = word is not None and (command is not None or is_cell(word))
    if is_url and url is not None:
        raise click.UsageError(f"{word} is a second URL or query")
    return (word, command) if is_url else (url, command if command is not None else word)


def is_cell(word: str) -> bool:
    """Whether a word is a URL of a cell, or an alias of one, rather than a query."""
    if URL.match(word):
        return True
    from cellmesh.client.aliases import NAME, read_aliases

    return NAME.fullmatch(word) is not None and word in read_aliases()


def _shell(
    url: str | None,
    folder: Path | None,
    identity: Path | None,
    view: str,
    readonly: bool,
    limit: int | None,
    variables: tuple[str, ...],
    format_name: str | None,
) -> int:
    """Run the shell; returns the exit code."""
    from cellmesh.cli.shell.session import Session
    from cellmesh.cli.views import view_iden
    from cellmesh.common.values import from_value

    with open_by_options("cortex", url, folder, identity) as client:
        session = Session(client, url or str(folder or "") or str(client.url))
        session.view, session.readonly, session.limit = view_iden(client, view), readonly, limit or 0
        if session.view != view and session.view:
            session.view_name = view
        session.format = format_name or session.format
        session.variables = {name: from_value(value) for name, value in map(_read_variable, variables)}
        session.loop()
    return 0


def _messages(batches: Iterable[storm_pb2.StormResponse]) -> Iterator[storm_pb2.StormMessage]:
    for batch in batches:
        yield from batch.messages


def _read_variable(text: str) -> tuple[str, Any]:
    from cellmesh.common.values import to_value

    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.BadParameter(f"{text!r} is not NAME=VALUE")
    try:
        return name, to_value(json.loads(value))
    except ValueError:
        return name, to_value(value)


class TextPrinter:
    """Prints messages for people: nodes with their properties and tags, then a line of totals.

    Args:
        text: The query, of which errors show the place at fault.
    """

    def __init__(self, text: str) -> None:
        self.failed = False
        self._text = text
        self._spoke = False

    def show(self, message: storm_pb2.StormMessage) -> None:
        """Print one message."""
        from cellmesh.cli.totals import speaks, totals_text

        kind = message.WhichOneof("kind")
        self._spoke = self._spoke or speaks(kind)
        match kind:
            case "node":
                click.echo("\n".join(node_lines(message.node)))
            case "print":
                click.echo(message.print.text)
            case "warn":
                click.secho(f"WARNING: {message.warn.text}", fg="yellow", err=True)
            case "fire":
                click.echo(f"fired {message.fire.type}: {_json_of(message.fire.data)}")
            case "csv_row":
                click.echo(_csv_line(message.csv_row))
            case "err":
                from cellmesh.common.errors import from_detail

                self.failed = True
                _print_error(from_detail(message.err), self._text)
            case "profile":
                from cellmesh.cli.commands.storm_plan import plan_lines

                click.echo("\n".join(plan_lines(message.profile, is_profiled=True)), err=True)
            case "fini":
                click.echo(totals_text(message.fini, spoke=self._spoke), err=True)


class JsonPrinter:
    """Prints every message as one line of JSON: {"type": ..., ...}."""

    def __init__(self) -> None:
        self.failed = False

    def show(self, message: storm_pb2.StormMessage) -> None:
        """Print one message."""
        kind = message.WhichOneof("kind")
        if kind == "err":
            self.failed = True
        if kind is not None:
            click.echo(json.dumps({"type": kind, **message_fields(message)}, ensure_ascii=False))


def message_fields(message: storm_pb2.StormMessage) -> dict[str, Any]:
    """What a message holds, as JSON holds it."""
    from cellmesh.cli.output import plain
    from cellmesh.common.errors import from_detail
    from cellmesh.common.values import from_value

    match message.WhichOneof("kind"):
        case "init":
            return {"task": message.init.task_id, "text": message.init.text, "time_ms": message.init.time_ms}
        case "node":
            return node_fields(message.node)
        case "print":
            return {"text": message.print.text}
        case "warn":
            fields = {key: plain(from_value(value)) for key, value in message.warn.fields.items()}
            return {"text": message.warn.text, "fields": fields}
        case "fire":
            return {"event": message.fire.type, "data": plain(from_value(message.fire.data))}
        case "csv_row":
            cells = [plain(from_value(item)) for item in message.csv_row.row.items]
            return {"row": cells, "table": message.csv_row.table}
        case "err":
            error = from_detail(message.err)
            return {"name": error.name, "message": error.message, "fields": plain(dict(error.items()))}
        case "profile":
            from cellmesh.cli.commands.storm_plan import plan_fields

            return plan_fields(message.profile)
        case "fini":
            fini = message.fini
            seconds = fini.duration.ToNanoseconds() / 1e9
            return {"nodes": fini.node_count, "edits": fini.edit_count, "seconds": seconds}
        case _:
            return {}


def node_fields(node: node_pb2.Node) -> dict[str, Any]:
    """A node as JSON holds it."""
    from cellmesh.cli.output import plain
    from cellmesh.common.values import from_value

    return {
        "form": node.form,
        "value": plain(from_value(node.value)),
        "iden": node.buid.hex(),
        "props": {name: plain(from_value(value)) for name, value in sorted(node.props.items())},
        "tags": {
            name: [tag.interval.min, tag.interval.max] if tag.HasField("interval") else None
            for name, tag in sorted(node.tags.items())
        },
        "tag_props": {
            name: {key: plain(from_value(value)) for key, value in sorted(found.props.items())}
            for name, found in sorted(node.tag_props.items())
        },
    }


def node_lines(node: node_pb2.Node) -> list[str]:
    """A node as people read it: form and value, then properties, then tags, indented."""
    from cellmesh.cli.output import value_text
    from cellmesh.common.values import from_value

    # Also what the Cortex made for people may hold line breaks: a node begins with its form, once.
    value = value_text(node.repr.value or from_value(node.value))
    lines = [f"{node.form}={value}"]
    for name in sorted(node.props, key=lambda name: (not name.startswith("."), name)):
        text = value_text(node.repr.props.get(name) or from_value(node.props[name]))
        lines.append(f"{INDENT}{name if name.startswith('.') else ':' + name} = {text}")
    for name, tag in sorted(node.tags.items()):
        lines.append(f"{INDENT}#{name}{_interval_text(tag)}")
        found = node.tag_props.get(name)
        if found is not None:
            for key, item in sorted(found.props.items()):
                lines.append(f"{INDENT}#{name}:{key} = {value_text(from_value(item))}")
    return lines


def _interval_text(tag: node_pb2.Tag) -> str:
    if not tag.HasField("interval"):
        return ""
    from cellmesh.common.time.parse import print_time

    return f" = ({print_time(tag.interval.min)}, {print_time(tag.interval.max)})"


def _json_of(value: Any) -> str:
    from cellmesh.cli.output import plain
    from cellmesh.common.values import from_value

    return json.dumps(plain(from_value(value)), ensure_ascii=False)


def _csv_line(row: storm_pb2.StormCsvRow) -> str:
    import csv
    import io

    from cellmesh.cli.output import value_text
    from cellmesh.common.values import from_value

    text = io.StringIO()
    csv.writer(text).writerow([value_text(from_value(item)) for item in row.row.items])
    return text.getvalue().rstrip("\r\n")


def _print_error(error: CellError, text: str) -> None:
    click.secho(f"ERROR: {error.name}: {error_text(error, text)}", fg="red", err=True)
    for line in excerpt(error, text):
        click.echo(line, err=True)


PLACE_FIELDS = frozenset({"at", "line", "column", "text", "end", "span", "highlight", "token", "excerpt"})


def error_text(error: CellError, text: str = "") -> str:
    """An error in one line, without its place and without the fields that its message tells already.

    Args:
        error: The error.
        text: The query. When it has several lines, it is said in which one the place is that the excerpt shows.
    """
    from cellmesh.common.errors import CellError

    message = error.message.splitlines()[0].rstrip(":")
    fields = {
        key: value
        for key, value in error.items()
        if key not in (*PLACE_FIELDS, "mesg") and not is_told(value, message)
    }
    shown = str(CellError(message, **fields))
    line, column = error.get("line"), error.get("column")
    if "\n" in text and isinstance(line, int) and error.get("excerpt"):
        shown = f"{shown}, at line {line}, column {column}"
    return shown


def is_told(value: Any, message: str) -> bool:
    """Whether a message has a field's value in it: as a word of its own, or each word of a list."""
    if isinstance(value, str):
        # The property asn is not told by the type inet:asn; the variable y is told by $y.
        return bool(value) and re.search(rf"(?<![\w:.]){re.escape(value)}(?!\w|[:.]\w)", message) is not None
    if isinstance(value, (list, tuple)):
        return bool(value) and all(is_told(item, message) for item in value)
    return False


def excerpt(error: CellError, text: str) -> list[str]:
    """The line of the query that an error is about, with a caret under the place at fault.

    As the Cortex shows it, in a field or in the lines of the message behind the first one; else made from
    line and column. Nothing when the error tells no place.
    """
    told = error.get("excerpt")
    shown_lines = told.splitlines() if isinstance(told, str) else error.message.splitlines()[1:]
    if shown_lines:
        return [f"  {line}" for line in shown_lines]
    line, column = error.get("line"), error.get("column")
    lines = text.split("\n")
    if not isinstance(line, int) or not isinstance(column, int) or not 1 <= line <= len(lines):
        return []
    shown, at = lines[line - 1].replace("\t", " "), max(column, 1) - 1
    if len(shown) > EXCERPT_SIZE:
        # The part around the place at fault.
        start = max(0, min(at - EXCERPT_SIZE // 2, len(shown) - EXCERPT_SIZE))
        shown, at = shown[start : start + EXCERPT_SIZE], at - start
    head = f"  line {line}, column {column}: "
    return [head + shown, " " * (len(head) + at) + "^"]
