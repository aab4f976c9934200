"""Lines of tables of text: `$lib.tabular.printer()`."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadArg, SchemaViolation
from cellmesh.cortex.storm.objects.markup import JsonSchema
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, ParameterSpec, TypeSpec
from cellmesh.cortex.storm.runtime.values import toprim

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

TABLE_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "separators": {
            "type": "object",
            "properties": {
                "row:outline": {
                    "type": "boolean",
                    "default": False,
                    "description": "Lines around the table's rows.",
                },
                "column:outline": {
                    "type": "boolean",
                    "default": False,
                    "description": "Marks at both ends of rows.",
                },
                "header:row": {
                    "type": "string",
                    "default": "=",
                    "description": "What lines at the header are of.",
                },
                "data:row": {
                    "type": "string",
                    "default": "-",
                    "description": "What lines between rows are of.",
                },
                "column": {"type": "string", "default": "|", "description": "What stands between columns."},
            },
            "additionalProperties": False,
        },
        "columns": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string", "description": "The column's title."},
                    "width": {
                        "type": ["number", "null"],
                        "default": None,
                        "exclusiveMinimum": 0,
                        "description": "Characters in a cell; without it each cell is as wide as its text.",
                    },
                    "justify": {
                        "type": "string",
                        "default": "left",
                        "enum": ["left", "center", "right"],
                        "description": "Where in the cell its text stands.",
                    },
                    "overflow": {
                        "type": "string",
                        "default": "trim",
                        "enum": ["wrap", "trim"],
                        "description": "What happens to text that is too long: it goes on in the next line, or ends.",
                    },
                    "newlines": {
                        "type": "string",
                        "default": "replace",
                        "enum": ["replace", "split"],
                        "description": "Whether a line's end in a text becomes a space, or ends the cell's line.",
                    },
                },
                "required": ["name"],
                "additionalProperties": False,
            },
        },
    },
    "required": ["columns"],
    "additionalProperties": False,
}

_ELLIPSIS: Final = "..."


class TablePrinter:
    """Makes the lines of a table, row by row.

    Args:
        config: As TABLE_SCHEMA tells.

    Raises:
        SchemaViolation: it is not.
    """

    __slots__ = ("_columns", "_has_row", "_separators")

    def __init__(self, config: Any) -> None:
        is_good, found = JsonSchema(TABLE_SCHEMA, fills=True).check(config)
        if not is_good:
            raise SchemaViolation(f"the table cannot be laid out: {found['mesg']}", name="conf")
        self._columns: list[dict[str, Any]] = found["columns"]
        marks = {name: each["default"] for name, each in _separator_schema().items()}
        self._separators: dict[str, Any] = {**marks, **found.get("separators", {})}
        self._has_row = False

    def header(self) -> str:
        """Return the line of titles, and the line below it."""
        lines, line = self._lines([column["name"] for column in self._columns], "header:row")
        self._has_row = False
        return "\n".join([line, *lines, line] if self._separators["row:outline"] else [*lines, line])

    def row(self, cells: Any) -> str:
        """Return the lines of a row; a line stands between it and the one before.

        Raises:
            BadArg: there are too few or too many cells.
        """
        if not isinstance(cells, (list, tuple)) or len(cells) != len(self._columns):
            raise BadArg(f"a row has {len(self._columns)} cells", name="data")
        lines, line = self._lines(["" if cell is None else str(cell) for cell in cells], "data:row")
        if self._separators["row:outline"]:
            return "\n".join([*lines, line])
        first = [line] if self._has_row else []
        self._has_row = True
        return "\n".join([*first, *lines])

    def _lines(self, texts: list[str], mark: str) -> tuple[list[str], str]:
        cells = [_cell(column, text) for column, text in zip(self._columns, texts)]
        widths = [int(column["width"] or max(map(len, cell))) for column, cell in zip(self._columns, cells)]
        lines = []
        for place in range(max(map(len, cells), default=1)):
            parts = []
            for column, cell, width in zip(self._columns, cells, widths):
                text = cell[place] if place < len(cell) else ""
                parts.append(f" {_justified(text, column['justify'], width)} ")
            lines.append(self._joined(parts))
        return lines, self._joined([self._separators[mark] * (width + 2) for width in widths])

    def _joined(self, parts: list[str]) -> str:
        between = self._separators["column"]
        joined = str(between.join(parts))
        return f"{between}{joined}{between}" if self._separators["column:outline"] else joined


def _separator_schema() -> dict[str, Any]:
    found: dict[str, Any] = TABLE_SCHEMA["properties"]["separators"]["properties"]
    return found


def _cell(column: dict[str, Any], text: str) -> list[str]:
    """Return the lines of a cell."""
    lines = text.splitlines() if column["newlines"] == "split" else [" ".join(text.splitlines())]
    if column["width"] is None:
        return lines or [""]
    width, found = int(column["width"]), []
    for line in lines:
        if len(line) <= width:
            found.append(line)
        elif column["overflow"] == "wrap":
            found += textwrap.wrap(line, width)
        else:
            found.append((line[: max(0, width - len(_ELLIPSIS))] + _ELLIPSIS)[:width])
    return found or [""]


def _justified(text: str, side: str, width: int) -> str:
    if side == "left":
        return text.ljust(width)
    return text.rjust(width) if side == "right" else text.center(width)


def _row(context: RunContext, self: TablePrinter, data: Any) -> str:
    return self.row(toprim(data))


TYPES: Final = (
    TypeSpec(
        "tabular:printer",
        TablePrinter,
        "Makes lines of a table.",
        (
            FunctionSpec("header", "The titles of the columns.", lambda c, s: s.header(), (), "str"),
            FunctionSpec(
                "row",
                "The lines of a row.",
                _row,
                (ParameterSpec("data", type="list", doc="One cell a column."),),
                "str",
            ),
        ),
    ),
)
