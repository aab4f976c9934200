"""The messages of a running query."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from cellmesh.common.errors import CellError
from cellmesh.cortex.storm.runtime.plan import Plan
from cellmesh.cortex.views.node import Node


@dataclass(frozen=True, slots=True)
class Init:
    """The query began.

    Attributes:
        task_id: 32 hexadecimal digits.
        text: The query as received.
        time_ms: When, in milliseconds since 1970.
    """

    task_id: str
    text: str
    time_ms: int


@dataclass(slots=True)
class NodeRow:
    """A node came out.

    Attributes:
        node: The node; `node.packed()` gives its bytes on the wire.
        path: Values to send with it, or None.
    """

    node: Node
    path: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class NodeRecords:
    """Nodes came out of which nobody has to know more than what is stored: in place of a NodeRow for each.

    Attributes:
        records: Their bytes on the wire, at least one.
    """

    records: list[bytes]


@dataclass(frozen=True, slots=True)
class Print:
    """Printed text."""

    text: str


@dataclass(frozen=True, slots=True)
class Warn:
    """A warning, with further fields."""

    text: str
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fire:
    """An event the query fired; data is plain."""

    type: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class CsvRow:
    """A row of a table; cells are plain."""

    row: list[Any]
    table: str | None = None


@dataclass(frozen=True, slots=True)
class Error:
    """The query failed; Fini follows.

    Attributes:
        error: The error, its fields plain data. Where the place is known it has `line`, `column`, `at` and
            `excerpt` (the source line with carets below).
    """

    error: CellError


@dataclass(frozen=True, slots=True)
class Fini:
    """The query ended and all it changed is durable.

    Attributes:
        node_count: Nodes sent.
        duration_s: How long it ran.
        edit_count: Node edits made.
    """

    node_count: int
    duration_s: float
    edit_count: int


@dataclass(frozen=True, slots=True)
class Profiled:
    """What the steps of the query cost; comes before Fini if the options asked for it."""

    plan: Plan


Message: TypeAlias = Init | NodeRow | NodeRecords | Print | Warn | Fire | CsvRow | Error | Profiled | Fini
