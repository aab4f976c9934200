"""What comes of a query, as text: nodes, tree, table, JSON, JSON lines or CSV.

A renderer gets the messages in order and gives lines when it has them. JSON and CSV are for programs: there, what a query
prints and warns goes beside the data.
"""

from __future__ import annotations

import csv
import io
import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import click
from cellmesh.api.cortex.v1 import node_pb2, storm_pb2
from cellmesh.cli.commands.storm import error_text, excerpt, message_fields, node_fields
from cellmesh.cli.commands.storm_plan import plan_lines
from cellmesh.cli.output import plain, value_text
from cellmesh.common.errors import CellError, from_detail
from cellmesh.common.time.parse import print_time
from cellmesh.common.values import from_value

FORMATS: Final = ("nodes", "table", "tree", "json", "jsonl", "csv")
DATA_FORMATS: Final = frozenset({"json", "jsonl", "csv"})
SUFFIXES: Final = {".json": "json", ".jsonl": "jsonl", ".csv": "csv", ".txt": "nodes", ".tree": "tree"}

SPOOL_SIZE_MAX: Final = 32 * 1024 * 1024
"""Rows of a CSV wait in memory up to this, then in a temporary file: its columns are known at the end."""

INDENT: Final = " " * 8
JSON_INDENT: Final = 2

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Renderer(Protocol):
    """Turns messages into lines."""

    def lines(self, message: storm_pb2.StormMessage) -> Iterator[str]:
        """Give the lines that a message makes, and those that waited for it."""

    def flush(self) -> Iterator[str]:
        """Give what waits, for nothing has come for a while."""

    def end(self) -> Iterator[str]:
        """Give the lines at the end."""


@dataclass(frozen=True, slots=True)
class Paint:
    """Colours, or none."""

    on: bool

    def __call__(self, text: str, **style: Any) -> str:
        """The text in a style of `click.style`."""
        return click.style(text, **style) if self.on else text

    def form(self, text: str) -> str:
        """A form."""
        return self(text, fg="blue", bold=True)

    def prop(self, text: str) -> str:
        """A property."""
        return self(text, fg="cyan")

    def tag(self, text: str) -> str:
        """A tag."""
        return self(text, fg="yellow")

    def dim(self, text: str) -> str:
        """What matters less."""
        return self(text, dim=True)


# The parts of a node.


def node_text(node: node_pb2.Node) -> str:
    """The value of a node in one line."""
    return value_text(node.repr.value or from_value(node.value))


def prop_texts(node: node_pb2.Node) -> dict[str, str]:
    """The properties of a node, each in one line: universal ones, then by name."""
    names = sorted(node.props, key=lambda name: (not name.startswith("."), name))
    return {name: value_text(node.repr.props.get(name) or from_value(node.props[name])) for name in names}


def tag_texts(node: node_pb2.Node) -> dict[str, str]:
    """The tags of a node and their properties with what they hold, if anything, by name with #."""
    found: dict[str, str] = {}
    for name, tag in sorted(node.tags.items()):
        interval = tag.interval
        held = tag.HasField("interval")
        found[f"#{name}"] = f"({print_time(interval.min)}, {print_time(interval.max)})" if held else ""
        if name in node.tag_props:
            for key, value in sorted(node.tag_props[name].props.items()):
                found[f"#{name}:{key}"] = value_text(from_value(value))
    return found


def shown_prop(name: str) -> str:
    """A property as it is written in a query."""
    return name if name.startswith(".") else f":{name}"


def safe_text(text: str) -> str:
    """A text without what would move the cursor or change colours of the terminal it is shown on."""
    return _CONTROL.sub(lambda found: repr(found.group())[1:-1], text)


def shown_value(value: Any) -> str:
    """A value as JSON, in one line."""
    return safe_text(json.dumps(plain(value), ensure_ascii=False, default=str))


# What is no node.


def error_lines(error: CellError, text: str, paint: Paint) -> list[str]:
    """An error, with the place in the query."""
    head, *more = error_text(error, text).splitlines()
    lines = [paint(f"ERROR: {error.name}: {safe_text(head)}", fg="red"), *map(safe_text, more)]
    for line in excerpt(error, text):
        carets = set(line.strip()) == {"^"}
        lines.append(paint(line, fg="red", bold=True) if carets else safe_text(line))
    return lines


def other_lines(message: storm_pb2.StormMessage, text: str, paint: Paint) -> list[str]:
    """The lines of a message that is no node."""
    match message.WhichOneof("kind"):
        case "print":
            return safe_text(message.print.text).split("\n")
        case "warn":
            return [paint(f"WARNING: {safe_text(message.warn.text)}", fg="yellow")]
        case "fire":
            data = json.dumps(plain(from_value(message.fire.data)), ensure_ascii=False)
            return [f"fired {message.fire.type}: {safe_text(data)}"]
        case "csv_row":
            return [_csv_line([value_text(from_value(item)) for item in message.csv_row.row.items])]
        case "err":
            return error_lines(from_detail(message.err), text, paint)
        case "profile":
            return [safe_text(line) for line in plan_lines(message.profile, is_profiled=True)]
        case _:
            return []


# Formats.


class NodesRenderer:
    """Each node with its properties and tags, one a line."""

    def __init__(self, paint: Paint) -> None:
        self._paint = paint

    def lines(self, message: storm_pb2.StormMessage) -> Iterator[str]:
        """See Renderer."""
        if not message.HasField("node"):
            return
        node, paint = message.node, self._paint
        yield f"{paint.form(node.form)}={node_text(node)}"
        for name, text in prop_texts(node).items():
            yield f"{INDENT}{paint.prop(shown_prop(name))} = {text}"
        for name, text in tag_texts(node).items():
            yield f"{INDENT}{paint.tag(name)}{f' = {text}' if text else ''}"

    def flush(self) -> Iterator[str]:
        """See Renderer."""
        return iter(())

    def end(self) -> Iterator[str]:
        """See Renderer."""
        return iter(())


class TreeRenderer(NodesRenderer):
    """Each node with what hangs on it: :org:name under :org, #a.b under #a."""

    def lines(self, message: storm_pb2.StormMessage) -> Iterator[str]:
        """See Renderer."""
        if not message.HasField("node"):
            return
        node, paint = message.node, self._paint
        yield f"{paint.form(node.form)}={node_text(node)}"
        entries = {shown_prop(name): text for name, text in prop_texts(node).items()}
        rows = [(name, text, paint.prop(name)) for name, text in entries.items()]
        rows += [(name, text, paint.tag(name)) for name, text in tag_texts(node).items()]
        yield from _branches(rows)


def _branches(rows: Sequence[tuple[str, str, str]]) -> Iterator[str]:
    """Draw names as a tree: a name hangs on the longest other one that it goes on from, at a dot or colon."""
    parents: dict[str, list[int]] = {"": []}
    names = {row[0] for row in rows}
    for index, (name, _, _) in enumerate(rows):
        parent = name
        while parent := parent[: max(parent.rfind("."), parent.rfind(":"), 0)]:
            if parent in names:
                break
        parents.setdefault(parent, []).append(index)

    def draw(parent: str, before: str) -> Iterator[str]:
        children = parents.get(parent, [])
        for index in children:
            name, text, shown = rows[index]
            is_last = index == children[-1]
            yield f"{before}{'└─ ' if is_last else '├─ '}{shown}{f' = {text}' if text else ''}"
            yield from draw(name, before + ("   " if is_last else "│  "))

    return draw("", "")


class JsonRenderer:
    """One array of the nodes, however many there are.

    Args:
        indent: How far what is inside stands to the right; None for a node a line.
    """

    def __init__(self, indent: int | None = None) -> None:
        self._count = 0
        self._indent = indent

    def lines(self, message: storm_pb2.StormMessage) -> Iterator[str]:
        """See Renderer."""
        if not message.HasField("node"):
            return
        # The comma comes before the next one, so that what is there is shown as soon as it is.
        before = "[" if self._count == 0 else ","
        self._count += 1
        yield before + json.dumps(node_fields(message.node), ensure_ascii=False, indent=self._indent)

    def flush(self) -> Iterator[str]:
        """See Renderer."""
        return iter(())

    def end(self) -> Iterator[str]:
        """See Renderer."""
        yield "]" if self._count else "[]"


class JsonLinesRenderer:
    """Every message as JSON, one a line."""

    def lines(self, message: storm_pb2.StormMessage) -> Iterator[str]:
        """See Renderer."""
        kind = message.WhichOneof("kind")
        if kind is not None:
            yield json.dumps({"type": kind, **message_fields(message)}, ensure_ascii=False)

    def flush(self) -> Iterator[str]:
        """See Renderer."""
        return iter(())

    def end(self) -> Iterator[str]:
        """See Renderer."""
        return iter(())


class CsvRenderer:
    """One table of all nodes: form, value, every property that any of them has, tags.

    The rows that a query makes itself with $lib.csv.emit are given as they are instead.
    """

    def __init__(self) -> None:
        self._columns: dict[str, None] = {}
        # Closed by `end`: rows come in between.
        self._rows = tempfile.SpooledTemporaryFile(SPOOL_SIZE_MAX, mode="w+", encoding="utf-8")  # noqa: SIM115  see above

    def lines(self, message: storm_pb2.StormMessage) -> Iterator[str]:
        """See Renderer."""
        if message.HasField("csv_row"):
            yield _csv_line([_cell_text(from_value(item)) for item in message.csv_row.row.items])
        if not message.HasField("node"):
            return
        node = message.node
        cells = {
            "form": node.form,
            "value": node.repr.value or _cell_text(from_value(node.value)),
            **{
                shown_prop(name): node.repr.props.get(name) or _cell_text(from_value(value))
                for name, value in node.props.items()
            },
            "tags": " ".join(f"#{name}" for name in sorted(node.tags)),
        }
        self._columns.update(dict.fromkeys(cells))
        self._rows.write(json.dumps(cells, ensure_ascii=False) + "\n")

    def flush(self) -> Iterator[str]:
        """See Renderer."""
        return iter(())

    def end(self) -> Iterator[str]:
        """See Renderer."""
        with self._rows:
            if not self._columns:
                return
            props = sorted(
                self._columns.keys() - {"form", "value", "tags"},
                key=lambda name: (name.startswith("."), name),
            )
            columns = ["form", "value", *props, "tags"]
            yield _csv_line(columns)
            self._rows.seek(0)
            for line in self._rows:
                cells = json.loads(line)
                yield _csv_line([cells.get(column, "") for column in columns])


def _cell_text(value: Any) -> str:
    """A value in a cell: text as it is, also with line breaks, which CSV can hold; lists and mappings as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple, dict)):
        return json.dumps(plain(value), ensure_ascii=False)
    return "" if value is None else value_text(value)


def _csv_line(cells: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue().removesuffix("\r\n")


def make_renderer(name: str, paint: Paint, width: int | None) -> Renderer:
    """Return what renders in a format.

    Args:
        name: One of FORMATS.
        paint: Colours.
        width: Columns of the terminal; None when it is none: tables take what they need, JSON a line a node.
    """
    match name:
        case "table":
            from cellmesh.cli.shell.tables import TableRenderer

            return TableRenderer(paint, width)
        case "tree":
            return TreeRenderer(paint)
        case "json":
            return JsonRenderer(None if width is None else JSON_INDENT)
        case "jsonl":
            return JsonLinesRenderer()
        case "csv":
            return CsvRenderer()
        case _:
            return NodesRenderer(paint)
