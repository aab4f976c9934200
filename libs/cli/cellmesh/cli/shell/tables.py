"""Nodes as tables: one for each form, with the columns that fit the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from cellmesh.api.cortex.v1 import node_pb2, storm_pb2
from cellmesh.cli.shell.rendering import Paint, node_text, prop_texts, shown_prop
from rich.cells import cell_len, set_cell_size

BLOCK_SIZE: Final = 500
"""Nodes that a table is made of at most; of more, another one follows."""

COLUMN_WIDTH_MAX: Final = 48
COLUMN_WIDTH_MIN: Final = 8
GAP: Final = 3
TAGS: Final = "tags"


@dataclass(frozen=True, slots=True)
class Column:
    """A column.

    Attributes:
        name: Its head.
        cells: From top to bottom.
        width: Of the widest of them, and of the head.
        is_numeric: Whether it holds numbers.
    """

    name: str
    cells: tuple[str, ...]
    width: int
    is_numeric: bool


def column_of(name: str, cells: tuple[str, ...]) -> Column:
    """Measure a column."""
    is_numeric = all(not cell or cell.lstrip("-").replace(".", "", 1).isdigit() for cell in cells)
    return Column(name, cells, max(_size(name), *map(_size, cells)), is_numeric)


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
        widths = [column.width for column in shown] if self._width is None else shrunk(shown, self._width)
        yield self._paint(_line([column.name for column in shown], shown, widths), bold=True)
        yield "─" * (sum(widths) + GAP * (len(widths) - 1))
        for row in zip(*(column.cells for column in shown)):
            yield _line(row, shown, widths)
        if hidden:
            names = ", ".join(column.name for column in hidden)
            told = f"({len(hidden)} more that did not fit: {names})"
            if self._width is not None and len(told) > self._width:
                told = told[: max(1, self._width - 2)] + "…)"
            yield self._paint.dim(told)
        yield ""


def _line(cells: Sequence[str], columns: Sequence[Column], widths: Sequence[int]) -> str:
    """A row, its cells as wide as their columns. Not by rich's tables: they take ten times as long."""
    parts = []
    for cell, column, width in zip(cells, columns, widths):
        size = _size(cell)
        if size > width:
            parts.append(set_cell_size(cell, width - 1) + "…")
        else:
            blanks = " " * (width - size)
            parts.append(blanks + cell if column.is_numeric else cell + blanks)
    return (" " * GAP).join(parts).rstrip()


def _size(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return len(text) if text.isascii() else cell_len(text)


def columns_of(form: str, nodes: Sequence[node_pb2.Node]) -> list[Column]:
    """The columns of nodes of one form: the value, the properties that any of them has, the tags."""
    props = [prop_texts(node) for node in nodes]
    names = sorted({name for row in props for name in row}, key=lambda name: (name.startswith("."), name))
    columns = [column_of(form, tuple(map(node_text, nodes)))]
    columns += [column_of(shown_prop(name), tuple(row.get(name, "") for row in props)) for name in names]
    tags = tuple(" ".join(leaf_tags(node)) for node in nodes)
    return [*columns, column_of(TAGS, tags)] if any(tags) else columns


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


def shrunk(columns: Sequence[Column], width: int) -> list[int]:
    """How wide each column is drawn, so that all fit: the widest give way first."""
    limit = max(COLUMN_WIDTH_MAX, width // 3)
    widths = [min(column.width, limit) for column in columns]
    excess = sum(widths) + GAP * (len(widths) - 1) - width
    while excess > 0:
        index = widths.index(max(widths))
        # Down to the next widest, or as far as needed.
        less = min(excess, max(1, widths[index] - sorted(widths)[-2 if len(widths) > 1 else -1]))
        widths[index] -= less
        excess -= less
        if max(widths) <= 1:
            break
    return widths
