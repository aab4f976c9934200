"""What notebooks show. Everything that came from a query is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

TEXT_SIZE_MAX: Final = 200
"""Letters of a value that are shown."""


def shortened(text: str) -> str:
    """A text that is not too long to show."""
    return text if len(text) <= TEXT_SIZE_MAX else text[: TEXT_SIZE_MAX - 1] + "…"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], note: str) -> str:
    """A table with a line below it."""
    titles = "".join(f"<th style='text-align:left'>{escape(shortened(name))}</th>" for name in head)
    lines = "".join(
        "<tr>"
        + "".join(f"<td style='text-align:left'>{escape(shortened(cell))}</td>" for cell in row)
        + "</tr>"
        for row in rows
    )
    return (
        f"<table><thead><tr>{titles}</tr></thead><tbody>{lines}</tbody></table>"
        f"<div><small>{escape(note)}</small></div>"
    )


def printed(lines: Sequence[str]) -> str:
    """What a query printed."""
    return f"<pre>{escape(chr(10).join(lines))}</pre>"
