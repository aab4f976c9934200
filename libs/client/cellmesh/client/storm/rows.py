"""Rows: the nodes of a query that has run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, overload

from cellmesh.client.storm import html
from cellmesh.client.storm.node import StormNode, plain_text
from cellmesh.client.storm.request import Told

SHOWN_ROWS: Final = 50
SHOWN_COLUMNS: Final = 12


class Rows(Sequence[StormNode]):
    """The nodes in order, and what the query told beside them. Notebooks show it as a table.

    Attributes:
        prints: What the query printed.
        warnings: What it warned of.
        edit_count: How many node edits it made.
        duration_s: For how long it ran.
    """

    def __init__(self, nodes: Iterable[StormNode], told: Told) -> None:
        self._nodes = tuple(nodes)
        self.prints = tuple(told.prints)
        self.warnings = tuple(told.warnings)
        self.fired = tuple(told.fired)
        self.edit_count = told.edit_count
        self.duration_s = told.duration_s

    def __len__(self) -> int:
        return len(self._nodes)

    @overload
    def __getitem__(self, index: int) -> StormNode: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[StormNode, ...]: ...
    def __getitem__(self, index: int | slice) -> StormNode | tuple[StormNode, ...]:
        return self._nodes[index]

    def __repr__(self) -> str:
        return (
            f"<{_counted(len(self), 'node')}, {_counted(self.edit_count, 'edit')}, {self.duration_s:.3f} s>"
        )

    def _repr_html_(self) -> str:
        shown = self._nodes[:SHOWN_ROWS]
        names = list(dict.fromkeys(name for node in shown for name in node.props if name[0] != "."))
        left_out = len(names) - SHOWN_COLUMNS
        names = names[:SHOWN_COLUMNS]
        rows = [
            (
                node.form,
                node.text(),
                *(_prop_text(node, name) for name in names),
                " ".join(f"#{name}" for name in leaves(node.tags)),
            )
            for node in shown
        ]
        head = ("form", "value", *(f":{name}" for name in names), "tags")
        notes = [_counted(len(self), "node")]
        if len(shown) < len(self):
            notes[0] += f", the first {len(shown)} shown"
        if left_out > 0:
            notes.append(f"{_counted(left_out, 'property', 'properties')} not shown")
        if self.edit_count:
            notes.append(_counted(self.edit_count, "edit"))
        notes.append(f"{self.duration_s:.3f} s")
        notes += [f"warning: {text}" for text in self.warnings]
        text = "" if not self.prints else html.printed(self.prints)
        return text + html.table(head, rows, ", ".join(notes))


def leaves(tags: Iterable[str]) -> list[str]:
    """Tags that no other one is below of, sorted."""
    names = sorted(tags)
    return [a for a, b in zip(names, [*names[1:], ""]) if not b.startswith(f"{a}.")]


def _prop_text(node: StormNode, name: str) -> str:
    if name not in node.props:
        return ""
    return node.prop_reprs.get(name) or plain_text(node.props[name])


def _counted(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"
