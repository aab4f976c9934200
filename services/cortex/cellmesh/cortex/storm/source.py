"""Query text and places in it.

Offsets count characters (code points) from 0. Lines and columns count from 1 and lines end at a line feed only,
so that a position means the same to every caller whatever encoding or editor is in use.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

EXCERPT_WIDTH_MAX = 100
"""Most characters of a source line an excerpt shows; a longer line is cut around the caret."""


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open stretch [start, end) of a query text, in characters.

    Attributes:
        start: Offset of the first character.
        end: Offset after the last character; equal to `start` for a place between two characters.
    """

    start: int
    end: int

    def to(self, other: Span) -> Span:
        """Return the span from the start of this one to the end of `other`."""
        return Span(self.start, other.end)


@dataclass(frozen=True, slots=True)
class Location:
    """A place in a text as people read it.

    Attributes:
        offset: Characters from the start of the text, from 0.
        line: Line, from 1.
        column: Character within the line, from 1.
    """

    offset: int
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Source:
    """A query text, with an optional name for messages (a package, a macro, a trigger).

    Attributes:
        text: The text as it came; nothing is normalised.
        name: What to call the text in messages, or empty.
    """

    text: str
    name: str = ""
    _line_starts: list[int] = field(default_factory=list, init=False, repr=False, compare=False)

    def location(self, offset: int) -> Location:
        """Return line and column of an offset; offsets past the end count as the end."""
        offset = min(max(offset, 0), len(self.text))
        starts = self._starts()
        line = bisect_right(starts, offset)
        return Location(offset, line, offset - starts[line - 1] + 1)

    def line_text(self, line: int) -> str:
        """Return one line (from 1) without its line feed."""
        starts = self._starts()
        end = starts[line] - 1 if line < len(starts) else len(self.text)
        return self.text[starts[line - 1] : end].rstrip("\r")

    def slice(self, span: Span) -> str:
        """Return the text a span covers."""
        return self.text[span.start : span.end]

    def excerpt(self, span: Span) -> str:
        """Return the line a span starts on and, below it, carets under the part the span covers.

        A span that goes on over further lines is marked to the end of its first line; an empty one gets one
        caret. Tabs are shown as single blanks so that the caret stands in its place.
        """
        where = self.location(span.start)
        line = self.line_text(where.line).replace("\t", " ")
        first = where.column - 1
        width = max(1, min(span.end - span.start, len(line) - first))
        cut = 0
        if len(line) > EXCERPT_WIDTH_MAX:
            cut = max(0, min(first - EXCERPT_WIDTH_MAX // 2, len(line) - EXCERPT_WIDTH_MAX))
            line = line[cut : cut + EXCERPT_WIDTH_MAX]
            width = max(1, min(width, len(line) - (first - cut)))
        return f"{line}\n{' ' * (first - cut)}{'^' * width}"

    def _starts(self) -> list[int]:
        # Found on first use: a query that parses never asks.
        if not self._line_starts:
            starts = [0]
            at = self.text.find("\n")
            while at != -1:
                starts.append(at + 1)
                at = self.text.find("\n", at + 1)
            self._line_starts.extend(starts)
        return self._line_starts
