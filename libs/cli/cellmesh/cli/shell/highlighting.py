"""Colours of Storm text while it is typed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cellmesh.cli.shell.names import Names
from cellmesh.cli.shell.scan import TEXT_SIZE_MAX, Kind, Token, scan
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.lexers import Lexer
from prompt_toolkit.styles import Style

STYLE: Final = Style.from_dict(
    {
        # Colours of the terminal's own palette: they suit dark and light ones.
        "storm.comment": "ansibrightblack italic",
        "storm.string": "ansigreen",
        "storm.value": "ansigreen",
        "storm.number": "ansigreen",
        "storm.variable": "ansimagenta",
        "storm.tag": "ansiyellow",
        "storm.prop": "ansicyan",
        "storm.form": "ansiblue bold",
        "storm.command": "bold",
        "storm.keyword": "ansimagenta bold",
        "storm.arrow": "ansired",
        "storm.comparator": "ansired",
        "storm.pipe": "ansired bold",
        "storm.flag": "ansicyan",
        "storm.meta": "ansicyan bold",
        "prompt": "bold",
        "continuation": "ansibrightblack",
        "bottom-toolbar": "noreverse ansibrightblack",
    }
)

_PLAIN: Final = frozenset({Kind.BLANK, Kind.OPEN, Kind.CLOSE, Kind.OTHER, Kind.WORD})


class StormLexer(Lexer):
    """Gives each token of a query its style; forms and commands once their names are known.

    Args:
        names: The names of the Cortex.
    """

    def __init__(self, names: Names) -> None:
        self._names = names

    def lex_document(self, document: Document) -> Callable[[int], StyleAndTextTuples]:
        """Return what gives a line its styles."""
        text = document.text
        if len(text) > TEXT_SIZE_MAX:
            return lambda number: [("", document.lines[number])]
        if text.startswith("\\"):
            return lambda number: [("class:storm.meta" if number == 0 else "", document.lines[number])]
        lines: list[StyleAndTextTuples] = [[]]
        for token in scan(text).tokens:
            style = self._style(token)
            for index, part in enumerate(token.text.split("\n")):
                if index:
                    lines.append([])
                if part:
                    lines[-1].append((style, part))
        return lambda number: lines[number] if number < len(lines) else []

    def _style(self, token: Token) -> str:
        if token.kind is Kind.WORD:
            if token.text in self._names.commands:
                return "class:storm.command"
            return "class:storm.form" if self._names.form_of(token.text) else ""
        return "" if token.kind in _PLAIN else f"class:storm.{token.kind.value}"

    def invalidation_hash(self) -> int:
        """Changes when names come in, so that what is typed already is coloured anew."""
        return self._names.version
