"""Nodes as tables: one for each form, with the columns that fit the terminal."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from cellmesh.api.cortex.v1 import node_pb2, storm_pb2
from cellmesh.cli.shell.rendering import Paint, node_text, prop_texts, shown_prop
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

BLOCK_SIZE: Final = 500
"""Nodes that a table is made of at most; of more, another one follows."""

COLUMN_WIDTH_MAX: Final = 48
COLUMN_WIDTH_MIN: Final = 8
GAP: Final = 3
UNBOUNDED: Final = 1_000_000
TAGS: Final = "tags"


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its head, and its cells from top to bottom."""

    name: str
    cells: tuple[str, ...]

    @property
    def width(self) -> int:
        """The width of its widest cell."""
        return max(cell_len(self.name), *(cell_len(cell) for cell in self.cells))

    @property
    def is_numeric(self) -> bool:
        """Whether it holds numbers."""
        return all(not cell or cell.lstrip("-").replace(".", "", 1).isdigit() for cell in self.cells)


class TableRenderer:
    """Collects nodes and draws them as tables, behind what the query printed meanwhile.

    Args:
        paint: Colours.
        width: Columns of the terminal; None to leave nothing out.
    """

    def __init__(self, paint: Paint, width: int | None) -> None:
        self._paint = paint
        self._width = width
        self._forms: dict[str, list[node_pb2.Node]] = {}
        self._count = 0

    def lines(self, message: storm_pb2.StormMessage) -> Iterator[str]:
        """See Renderer."""
        if message.HasField("node"):
            self._forms.setdefault(message.node.form, []).append(message.node)
            self._count += 1
            if self._count >= BLOCK_SIZE:
                yield from self.end()

    def flush(self) -> Iterator[str]:
        """See Renderer."""
        return self.end()

    def end(self) -> Iterator[str]:
        """See Renderer."""
        forms, self._forms, self._count = self._forms, {}, 0
        for form, nodes in forms.items():
            yield from self._table(form, nodes)

    def _table(self, form: str, nodes: Sequence[node_pb2.Node]) -> Iterator[str]:
        columns = columns_of(form, nodes)
        shown, hidden = (columns, []) if self._width is None else fitting(columns, self._width)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
        for column in shown:
            table.add_column(
                Text(column.name),
                justify="right" if column.is_numeric else "left",
                no_wrap=True,
                overflow="ellipsis",
                max_width=None if self._width is None else max(COLUMN_WIDTH_MAX, self._width // 3),
            )
        for row in zip(*(column.cells for column in shown)):
            table.add_row(*(Text(cell) for cell in row))
        out = io.StringIO()
        Console(
            file=out,
            width=self._width or UNBOUNDED,
            force_terminal=self._paint.on,
            color_system="standard" if self._paint.on else None,
            no_color=not self._paint.on,
            highlight=False,
            legacy_windows=False,
        ).print(table)
        yield from (line.rstrip() for line in out.getvalue().rstrip("\n").split("\n"))
        if hidden:
            names = ", ".join(column.name for column in hidden)
            told = f"({len(hidden)} more that did not fit: {names})"
            if self._width is not None and len(told) > self._width:
                told = told[: max(1, self._width - 2)] + "…)"
            yield self._paint.dim(told)
        yield ""


def columns_of(form: str, nodes: Sequence[node_pb2.Node]) -> list[Column]:
    """The columns of nodes of one form: the value, the properties that any of them has, the tags."""
    props = [prop_texts(node) for node in nodes]
    names = sorted({name for row in props for name in row}, key=lambda name: (name.startswith("."), name))
    columns = [Column(form, tuple(map(node_text, nodes)))]
    columns += [Column(shown_prop(name), tuple(row.get(name, "") for row in props)) for name in names]
    tags = tuple(" ".join(leaf_tags(node)) for node in nodes)
    return [*columns, Column(TAGS, tags)] if any(tags) else columns


def leaf_tags(node: node_pb2.Node) -> list[str]:
    """The tags of a node that none of its others goes on from."""
    names = sorted(node.tags)
    return [f"#{name}" for name, after in zip(names, [*names[1:], ""]) if not after.startswith(f"{name}.")]


def fitting(columns: Sequence[Column], width: int) -> tuple[list[Column], list[Column]]:
    """Choose the columns that fit a width, and return them and the others, in their order.

    The value comes first, then what most of the nodes have; what is universal comes last, behind the tags.
    """
    first, *others = columns

    def rank(column: Column) -> tuple[bool, bool, int]:
        filled = sum(bool(cell) for cell in column.cells)
        return (column.name.startswith("."), column.name == TAGS, -filled)

    limit = max(COLUMN_WIDTH_MAX, width // 3)
    left = width - min(first.width, limit)
    kept = {first.name}
    for column in sorted(others, key=rank):
        needed = min(column.width, limit) + GAP
        # A long text is cut rather than left out, when there is room for some of it.
        if needed <= left or (left >= COLUMN_WIDTH_MIN + GAP and column.width > COLUMN_WIDTH_MAX):
            kept.add(column.name)
            left -= min(needed, left)
    return (
        [column for column in columns if column.name in kept],
        [column for column in columns if column.name not in kept],
    )
