"""Queries as values: `${ inet:ipv4 }`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cellmesh.cortex.storm.parser.ast import Query
from cellmesh.cortex.storm.source import Source

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.plan import Profile


class StormQuery:
    """A query to be run later, with the variables as they were when it was made.

    Attributes:
        text: The text between the braces.
        query: The parsed query, or None when only the text is known.
        vars: The captured variables, never changed.
        source: The text that `query` is part of, for places in errors.
        compiled: Where the engine keeps what it compiled of it, by the names of the variables.
        profile: Where its steps are measured, if the query that it is part of is profiled.
    """

    __slots__ = ("compiled", "profile", "query", "source", "text", "vars")

    def __init__(
        self,
        text: str,
        query: Query | None,
        vars: Mapping[str, Any],
        source: Source | None = None,
        compiled: dict[frozenset[str], Any] | None = None,
        profile: Profile | None = None,
    ) -> None:
        self.text = text
        self.source = source
        self.query = query
        self.compiled: dict[frozenset[str], Any] = compiled if compiled is not None else {}
        self.vars = vars
        self.profile = profile

    def storm_text(self) -> str:
        """Return a text for messages."""
        return f'storm:query: "{self.text}"'

    def storm_plain(self) -> str:
        """Return the text of the query."""
        return self.text
