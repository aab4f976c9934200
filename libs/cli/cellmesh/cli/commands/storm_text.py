"""`cellmesh storm fmt` and `cellmesh storm lint`: Storm in files and on standard input, without a Cortex.

The parser is the Cortex's own. It needs none of the Cortex's libraries and is imported when a text is there to read.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

if TYPE_CHECKING:
    from cellmesh.common.errors import CellError

STANDARD_INPUT: Final = "-"
STANDARD_INPUT_NAME: Final = "<stdin>"
MODES: Final = ("storm", "lookup", "autoadd", "search")

T = TypeVar("T")


def text_options(command: Callable[..., T]) -> Callable[..., T]:
    """The arguments both commands have."""
    for option in (
        click.option(
            "--mode", type=click.Choice(MODES), default="storm", help="How the head of a text is read."
        ),
        click.option(
            "--jsonl",
            is_flag=True,
            help='Read a query a line from standard input, {"query": ...}; answer each in a line of JSON.',
        ),
        click.argument("files", nargs=-1, type=click.Path(path_type=Path, allow_dash=True)),
    ):
        command = option(command)
    return command


@click.command()
@text_options
@click.pass_context
def lint(ctx: click.Context, files: tuple[Path, ...], jsonl: bool, mode: str) -> None:
    """Check that texts are Storm. Without files, or for -, the text is read from standard input.

    Nothing is run and no Cortex is asked; names of forms and commands are not looked at.

    With --jsonl each line that is read, {"query": "..."}, is answered by {"ok": true} or by
    {"ok": false, "error": {"name": ..., "line": ..., "column": ..., "message": ...}}.

    Exit code: 0 all are, 1 one is not, or could not be read.
    """
    from cellmesh.common.errors import BadSyntax

    if jsonl:
        ctx.exit(0 if _answer_lines(files, mode, lambda query, how: _checked(query, how)) else 1)
    is_right = True
    for name, text in _texts(files):
        try:
            _checked(text, mode)
        except BadSyntax as error:
            is_right = False
            _print_fault(name, error, text)
    ctx.exit(0 if is_right else 1)


@click.command()
@text_options
@click.option("--check", is_flag=True, help="Change nothing; tell which texts would change.")
@click.pass_context
def fmt(ctx: click.Context, files: tuple[Path, ...], jsonl: bool, mode: str, check: bool) -> None:
    """Lay Storm out anew: indents, blanks and line breaks; nothing else changes, comments stay.

    Files are rewritten where they stand. Without files, or for -, the text is read from standard input and printed.

    With --jsonl each line that is read, {"query": "..."}, is answered by {"ok": true, "query": "..."}, with --check by
    {"ok": true, "changed": ...}, or by {"ok": false, "error": ...} as `lint` does.

    Exit code: 0 done, 1 a text is not Storm or could not be read; with --check also when one would change.
    """
    from cellmesh.common.errors import BadSyntax

    if jsonl:
        is_changed = False

        def answer(query: str, how: str) -> dict[str, Any]:
            nonlocal is_changed
            made = _formatted(query, how)
            is_changed = is_changed or made != query
            return {"changed": made != query} if check else {"query": made}

        is_right = _answer_lines(files, mode, answer)
        ctx.exit(0 if is_right and not (check and is_changed) else 1)
    code = 0
    for name, text in _texts(files):
        try:
            made = _formatted(text, mode)
        except BadSyntax as error:
            code = 1
            _print_fault(name, error, text)
            continue
        made = made + "\n" if made else made
        if check:
            if made != text:
                code = 1
                click.echo(f"{name} would change")
        elif name == STANDARD_INPUT_NAME:
            click.echo(made, nl=False)
        elif made != text:
            _write(Path(name), made)
            click.echo(f"{name} changed", err=True)
    ctx.exit(code)


TOOLS: Final = {"fmt": fmt, "lint": lint}


def _checked(text: str, mode: str) -> dict[str, Any]:
    from cellmesh.cortex.storm.parser import parse_query
    from cellmesh.cortex.storm.parser.ast import ParseMode

    parse_query(text, ParseMode(mode))
    return {}


def _formatted(text: str, mode: str) -> str:
    from cellmesh.cortex.storm.parser.ast import ParseMode
    from cellmesh.cortex.storm.parser.formatter import format_query

    return format_query(text, ParseMode(mode))


def _texts(files: tuple[Path, ...]) -> Iterator[tuple[str, str]]:
    """Yield name and content of each file."""
    for path in files or (Path(STANDARD_INPUT),):
        if str(path) == STANDARD_INPUT:
            yield STANDARD_INPUT_NAME, _decoded(STANDARD_INPUT_NAME, sys.stdin.buffer.read())
        else:
            yield str(path), _decoded(str(path), path.read_bytes())


def _decoded(name: str, content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise click.ClickException(f"{name} is not UTF-8, at byte {error.start}") from None


def _write(path: Path, text: str) -> None:
    # Whole or not at all: the file is somebody's work.
    beside = path.with_name(f".{path.name}.tmp")
    beside.write_bytes(text.encode("utf-8"))
    beside.chmod(path.stat().st_mode)
    beside.replace(path.resolve())


def _answer_lines(files: tuple[Path, ...], mode: str, answer: Callable[[str, str], dict[str, Any]]) -> bool:
    """Answer each line of standard input; returns whether all were queries."""
    from cellmesh.common.errors import BadSyntax

    if any(str(path) != STANDARD_INPUT for path in files):
        raise click.UsageError("--jsonl reads standard input, not files")
    is_right = True
    for line in sys.stdin.buffer:
        if not line.strip():
            continue
        try:
            query, how = _query_of(line, mode)
            told = {"ok": True, **answer(query, how)}
        except BadSyntax as error:
            told = {"ok": False, "error": error_fields(error)}
        except ValueError as error:
            fields = {"name": "BadArg", "line": 1, "column": 1, "message": str(error)}
            told = {"ok": False, "error": fields}
        is_right = is_right and bool(told["ok"])
        click.echo(json.dumps(told))
    return is_right


def _query_of(line: bytes, mode: str) -> tuple[str, str]:
    """The query of a line and its mode; raises ValueError for a line that has none."""
    try:
        given = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("the line is not JSON") from None
    query = given.get("query") if isinstance(given, dict) else None
    if not isinstance(query, str):
        raise ValueError('the line is no object with a text as "query"')
    how = given.get("mode", mode)
    if how not in MODES:
        raise ValueError(f'"mode" is none of {", ".join(MODES)}')
    return query, how


def error_fields(error: CellError) -> dict[str, Any]:
    """An error of the parser as JSON has it."""
    return {
        "name": error.name,
        "line": error.get("line"),
        "column": error.get("column"),
        "message": error.message.partition("\n")[0].rstrip(":"),
    }


def _print_fault(name: str, error: CellError, text: str) -> None:
    from cellmesh.cli.commands.storm import excerpt

    fields = error_fields(error)
    message = fields["message"].removesuffix(f", at line {fields['line']}, column {fields['column']}")
    click.echo(f"{name}:{fields['line']}:{fields['column']}: {error.name}: {message}", err=True)
    for line in excerpt(error, text):
        click.echo(line, err=True)
