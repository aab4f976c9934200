"""What every node of the tree has, and how a text is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from cellmesh.cortex.storm.source import Span


@dataclass(frozen=True, slots=True)
class Node:
    """Base of every node.

    Attributes:
        span: The text the node was read from, without surrounding blanks.
    """

    span: Span = field(compare=False, repr=False)


class ParseMode(Enum):
    """How the head of a text is read.

    STORM: all of it is Storm.
    LOOKUP, AUTOADD, SEARCH: words up to the first `|` are data to look up, add or search for; Storm follows.
    """

    STORM = "storm"
    LOOKUP = "lookup"
    AUTOADD = "autoadd"
    SEARCH = "search"
