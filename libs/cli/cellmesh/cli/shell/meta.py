"""What a command of the shell is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cellmesh.cli.shell.session import Session


class Wrong(Exception):
    """A command was not given what it needs."""


@dataclass(frozen=True, slots=True)
class MetaCommand:
    """A command of the shell.

    Attributes:
        name: With its backslash.
        usage: What stands behind it.
        doc: What it does.
        run: Does it, given the session and what stands behind the name.
        completes: What completes its argument: file, query, help, view, user, variable, "one of A B", or nothing.
        takes_query: Whether a query may stand behind it, over several lines.
    """

    name: str
    usage: str
    doc: str
    run: Callable[[Session, str], None]
    completes: str = ""
    takes_query: bool = False
