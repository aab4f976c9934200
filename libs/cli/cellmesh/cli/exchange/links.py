"""Edges between what is known by a name in the file only: kept on disk until all nodes of the file have come."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgpack
from cellmesh.cli.exchange.records import Record, Unusable, add_edge, make_node

ROWS_AT_ONCE: Final = 5000
CACHE_KIB: Final = 32 * 1024

_SCHEMA: Final = """
    PRAGMA journal_mode = OFF;
    PRAGMA synchronous = OFF;
    CREATE TABLE names (name TEXT PRIMARY KEY, form TEXT, value BLOB) WITHOUT ROWID;
    CREATE TABLE links (source TEXT, verb TEXT, target TEXT, place TEXT);
"""


class Links:
    """Names of nodes, and edges between names.

    Args:
        path: A file that is not there yet.

    Attributes:
        count: How many edges there are.
    """

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.executescript(_SCHEMA)
        self._database.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        self._database.execute("BEGIN")
        self._names: list[tuple[str, str, bytes]] = []
        self._links: list[tuple[str, str, str, str]] = []
        self.count = 0

    def close(self) -> None:
        """Forget everything."""
        self._database.close()

    def name(self, name: str, form: str, value: Any) -> None:
        """Say which node has a name; the first one that says so counts."""
        self._names.append((name, form, msgpack.packb(value, default=str)))
        if len(self._names) >= ROWS_AT_ONCE:
            self._flush()

    def link(self, source: str, verb: str, target: str, place: str) -> None:
        """Note an edge between two names."""
        self.count += 1
        self._links.append((source, verb, target, place))
        if len(self._links) >= ROWS_AT_ONCE:
            self._flush()

    def records(self) -> Iterator[Record]:
        """Yield the edges as records; those that lead nowhere as problems."""
        self._flush()
        rows = self._database.execute(
            "SELECT source, verb, target, place, a.form, a.value, b.form, b.value FROM links"
            " LEFT JOIN names AS a ON a.name = source LEFT JOIN names AS b ON b.name = target"
            " ORDER BY links.rowid"
        )
        for source, verb, target, place, form, value, to_form, to_value in rows:
            record = Record(place, what=f"{source} {verb} {target}", is_edge=True)
            if form is None or to_form is None:
                missing = source if form is None else target
                record.problems.append(f"the edge {verb} is left out: the file has no node {missing}")
            else:
                try:
                    node = make_node(form, msgpack.unpackb(value, strict_map_key=False))
                    add_edge(node, verb, to_form, msgpack.unpackb(to_value, strict_map_key=False))
                    record.nodes.append(node)
                except Unusable as problem:
                    record.problems.append(str(problem))
            yield record

    def _flush(self) -> None:
        self._database.executemany("INSERT OR IGNORE INTO names VALUES (?, ?, ?)", self._names)
        self._database.executemany("INSERT INTO links VALUES (?, ?, ?, ?)", self._links)
        self._names.clear()
        self._links.clear()
