"""Commands and their arguments: `sort --by $x`, `tree { -> * }`."""

from __future__ import annotations

import re

from cellmesh.cortex.storm.parser import ast, lexer
from cellmesh.cortex.storm.parser.parser_edit import EditParser
from cellmesh.cortex.storm.source import Span

_OPERATION_AHEAD = re.compile(
    r"(?:for|if|while|switch|try|function|stop|break|continue)(?=[\s|}({$]|$)"
    r"|(?:init|empty|fini)(?=\s*\{)|(?:yield|emit)(?=\s+[^\s|}])|return(?=\s*\()"
    r"|<\+?\(|<\+?--|<\+?-(?=\s)|-\(|-->|-\+>"
)
"""What ends the arguments without a `|`: statements, and pivots but for `->`, which is an argument."""


class CommandParser(EditParser):
    """Parses a command up to the `|`, the next statement or pivot, the closing brace or the end of the text."""

    __slots__ = ()

    def command(self) -> ast.Command:
        """Parse a command, whose name is known to be at the cursor."""
        start = self.position
        name = self.match(lexer.COMMAND_NAME)
        assert name is not None  # the caller looked
        name_span = Span(start, self.end)
        arguments: list[ast.Expression] = []
        while self.peek() not in ("|", "}", "") and not self.looking_at(_OPERATION_AHEAD):
            arguments.append(self._argument())
            self._option_value(arguments)
        return ast.Command(self.span(start), ast.Name(name_span, name), tuple(arguments))

    def _argument(self) -> ast.Expression:
        char = self.peek()
        start = self.position
        if char == "{":
            query = self.braces_apart("an argument")
            return ast.EmbeddedQuery(self.span(start), query, self.text[start + 1 : self.end - 1].strip())
        found = lexer.OPTION_WITH_VALUE.match(self.text, start) if char == "-" else None
        if found is not None:
            self.take(len(found.group(1)))
            return ast.Literal(Span(start, self.end), found.group(1), True)
        return self.value("an argument of the command, '|' or the end of the query", lexer.ARGUMENT_WORD)

    def _option_value(self, arguments: list[ast.Expression]) -> None:
        """Parse the value in `--name=value`, which follows without blanks."""
        option = arguments[-1]
        is_option = isinstance(option, ast.Literal) and option.is_bare and option.value.startswith("-")
        if not is_option or not self.text.startswith("=", self.position):
            return
        at = self.position
        self.take(1)
        if self.text[self.position : self.position + 1].isspace() or not self.peek():
            self.fail(f"expected a value for {self.text[option.span.start : at]}", at=at)
        arguments.append(self._argument())
