"""Where in a query text something stands, and how an error comes to know it.

A compiled step has its Place as the default of a parameter named `place`, so that it costs nothing while all goes
well. When an error surfaces, `locate` looks for the innermost such step in the traceback.
"""

from __future__ import annotations

from dataclasses import dataclass

from cellmesh.common.errors import CellError
from cellmesh.cortex.storm.source import Source, Span

PLACE_LOCAL = "place"


@dataclass(frozen=True, slots=True)
class Place:
    """A span of a source text."""

    source: Source
    span: Span


def locate(error: CellError) -> None:
    """Add `at`, `line`, `column` and `excerpt` to an error raised by a compiled step, unless it has them."""
    if "line" in error.errinfo:
        return
    found: Place | None = None
    trace = error.__traceback__
    while trace is not None:
        place = trace.tb_frame.f_locals.get(PLACE_LOCAL)
        if isinstance(place, Place):
            found = place
        trace = trace.tb_next
    if found is None:
        return
    where = found.source.location(found.span.start)
    error.set("at", where.offset)
    error.set("line", where.line)
    error.set("column", where.column)
    error.set("excerpt", found.source.excerpt(found.span))
