"""How a query runs: its options and the bounds that apply to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

Number = TypeVar("Number", int, float)

FUNCTION_DEPTH_MAX = 100
"""Calls of Storm functions and nested queries within each other."""

ROW_COUNT_MAX = 2**63
"""Rows that the sources of one query (lifts, pivots, loops) may give, unless the limits say less."""


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """Bounds on one query; the error names the field that was reached (LimitExceeded, `name`).

    Attributes:
        row_count_max: Rows from all lifts, pivots and loop turns together.
        depth_max: Functions and nested queries within each other.
        time_max_s: Seconds the query may run, or None.
        memory_max_bytes: What its values may take, or None; see `runtime.memory`.
    """

    row_count_max: int = ROW_COUNT_MAX
    depth_max: int = FUNCTION_DEPTH_MAX
    time_max_s: float | None = None
    memory_max_bytes: int | None = None

    def within(self, options: QueryOptions) -> QueryLimits:
        """Return these limits, or those that a query sets for itself where they are tighter."""
        if not (
            options.time_limit_s is not None
            or options.row_limit
            or options.memory_limit
            or options.depth_limit
        ):
            return self
        return QueryLimits(
            min(self.row_count_max, options.row_limit or self.row_count_max),
            min(self.depth_max, options.depth_limit or self.depth_max),
            _least(self.time_max_s, options.time_limit_s),
            _least(self.memory_max_bytes, options.memory_limit),
        )


@dataclass(frozen=True, slots=True)
class QueryOptions:
    """Options of one query.

    Attributes:
        vars: Variables it can use, without `$`.
        view: Iden of the view, or None for the default one.
        user: Name of the user it runs as.
        mode: "storm", "lookup", "autoadd" or "search".
        limit: Stop after so many nodes; None for all.
        readonly: Refuse every edit.
        ndefs: Nodes to begin with, as (form, value).
        idens: Nodes to begin with, as 64 hexadecimal digits.
        repr: Add human text to each node.
        show: Kinds of message to send beside init, err and fini; empty for all.
        path: Send the variables of each node's row.
        time_limit_s: Stop after so many seconds; None for no limit.
        row_limit: Stop after so many rows; None for the engine's own limit.
        memory_limit: Stop when its values take more bytes; None for the engine's own limit.
        depth_limit: Functions and nested queries within each other; None for the engine's own limit.
        profile: Measure each step, and tell at the end; see `runtime.plan`.
        has_all_rights: Whether it may do everything whoever the user is: a cell of the mesh is no user here.
    """

    vars: Mapping[str, Any] = field(default_factory=dict)
    view: str | None = None
    user: str = "root"
    mode: str = "storm"
    limit: int | None = None
    readonly: bool = False
    ndefs: tuple[tuple[str, Any], ...] = ()
    idens: tuple[str, ...] = ()
    repr: bool = False
    show: frozenset[str] = frozenset()
    path: bool = False
    time_limit_s: float | None = None
    has_all_rights: bool = False
    profile: bool = False
    row_limit: int | None = None
    memory_limit: int | None = None
    depth_limit: int | None = None


def _least(limit: Number | None, asked: Number | None) -> Number | None:
    """The tighter of two bounds, each of which may be absent."""
    if limit is None or asked is None:
        return asked if limit is None else limit
    return min(limit, asked)
