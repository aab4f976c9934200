"""Query text laid out anew: the same characters, other blanks and line breaks.

`format_query` changes white space and nothing else, so comments, quotes, parentheses and `|` stay as they were written,
and the text means the same. What it does:

- Line breaks between operations, edits and cases are kept; of several empty lines one stays.
- A query in braces is indented by four blanks if it goes over several lines, with its braces at the ends of lines.
- Inside an operation the blanks are those that `printer.py` sets. Where the text is written in another way than the
  printer would, or has a comment or a line break inside an operation, that stretch is kept as it stands, its lines
  indented together.
- A line longer than LINE_WIDTH_MAX is broken between operations, or where that does not suffice in braces and edit
  blocks. Nothing else is broken.

An operation is taken as stretches of text with queries in braces between them. The printer prints it with a mark for
each such query; a stretch that differs from the printed one by blanks only is replaced by it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from cellmesh.common.errors import BadSyntax
from cellmesh.cortex.storm.parser import ast, lexer, parse_query, run_parser
from cellmesh.cortex.storm.parser.depth import children
from cellmesh.cortex.storm.parser.parser_query import QueryParser
from cellmesh.cortex.storm.parser.printer import Printer
from cellmesh.cortex.storm.source import Source

LINE_WIDTH_MAX: Final = 100
"""Longest line that is not broken, in characters."""

INDENT: Final = "    "
PASS_COUNT_MAX: Final = 4
"""Times a text is laid out at most until it stays the same."""

_MARK: Final = "\0"
_GAP: Final = re.compile(r"\s+|//[^\n]*|/\*.*?\*/|\|", re.DOTALL)

_Item: TypeAlias = ast.Operation | ast.Edit | ast.Case


def format_query(text: str, mode: ast.ParseMode = ast.ParseMode.STORM) -> str:
    """Return a query laid out anew, without a line break at its end.

    Formatting the result gives the result again.

    Raises:
        BadSyntax: the text is no query, as parse_query raises it.
    """
    tree = parse_query(text, mode)
    if _MARK in text:
        return text
    current = text
    for _ in range(PASS_COUNT_MAX):
        try:
            laid_out = layout(current, mode)
        except _Unexpected:
            return text
        if laid_out == current:
            return current
        if squashed(laid_out) != squashed(text) or not _parses_to(laid_out, mode, tree):
            return text
        current = laid_out
    return text


def layout(text: str, mode: ast.ParseMode = ast.ParseMode.STORM) -> str:
    """Lay a query out once, without looking whether the result means the same."""
    parser = _BraceParser(Source(text))
    tree = run_parser(parser, lambda: parser.whole_text(mode))
    return _Layout(text, parser.found).whole(tree)


def squashed(text: str) -> str:
    """Return a text without its white space."""
    return "".join(text.split())


def _parses_to(text: str, mode: ast.ParseMode, tree: ast.Query) -> bool:
    try:
        return parse_query(text, mode) == tree
    except BadSyntax:
        return False


class _Unexpected(Exception):
    """The text is not built as the layout takes it to be."""


class _BraceParser(QueryParser):
    """A parser that notes where the braces of each query stand."""

    __slots__ = ("found",)

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.found: dict[int, tuple[ast.Query, int, int]] = {}

    def braces(self, what: str) -> ast.Query:
        """Parse a query in braces at the cursor."""
        self.peek()
        start = self.position
        query = super().braces(what)
        self.found[id(query)] = (query, start, self.end)
        return query


class _SourcePrinter(Printer):
    """Prints texts and constants as they are written, and a mark for each query in braces."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def literal(self, node: ast.Literal | ast.Constant | ast.FormatString, text: str) -> str:
        """Print text or a constant as it is written."""
        return self._text[node.span.start : node.span.end]

    def braces(self, query: ast.Query) -> str:
        """Print a mark for a query in braces."""
        return _MARK


@dataclass(frozen=True, slots=True)
class _Token:
    """What stands in a row: an item, a comment or a bar.

    Attributes:
        content: The item, or the text of a comment or bar.
        break_count: Line breaks in front of it.
    """

    content: _Item | str
    break_count: int


class _Layout:
    """Lays out one text."""

    def __init__(self, text: str, braces: dict[int, tuple[ast.Query, int, int]]) -> None:
        self._text = text
        self._braces = braces
        self._printer = _SourcePrinter(text)

    def whole(self, query: ast.Query) -> str:
        """Return the text laid out."""
        tokens, _ = self._tokens(query.operations, 0, len(self._text))
        return "\n".join(self._lines(tokens, 0))

    # Rows of items.

    def _tokens(self, items: Sequence[_Item], start: int, end: int) -> tuple[list[_Token], int]:
        """Return what stands between two places, and the line breaks after the last of it."""
        tokens: list[_Token] = []
        breaks = 0
        at = start
        for item in items:
            first, last = item.span.start, item.span.end
            if isinstance(item, ast.Lookup):
                first += len(self._text[first:last]) - len(self._text[first:last].lstrip())
            breaks = self._gap(tokens, at, first, breaks)
            if last > first:
                tokens.append(_Token(item, breaks))
                breaks = 0
            at = last
        return tokens, self._gap(tokens, at, end, breaks)

    def _gap(self, tokens: list[_Token], at: int, end: int, breaks: int) -> int:
        while at < end:
            found = _GAP.match(self._text, at, end)
            if found is None:
                raise _Unexpected(self._text[at:end])
            piece = found.group()
            if piece.isspace():
                breaks += piece.count("\n")
            else:
                tokens.append(_Token(piece.rstrip(), breaks))
                breaks = 0
            at = found.end()
        return breaks

    def _lines(self, tokens: list[_Token], level: int) -> list[str]:
        """Return tokens as lines, each with its indent."""
        lines: list[str] = []
        for group in _groups(tokens):
            if lines and group[0].break_count > 1:
                lines.append("")
            parts = [group]
            if self._is_wide(group, level):
                parts = _split(group)
            for part in parts:
                shown = self._row(part, level, is_forced=False)
                if self._is_wide(part, level):
                    shown = self._row(part, level, is_forced=True)
                lines.append(INDENT * level + shown)
        return lines

    def _is_wide(self, row: list[_Token], level: int) -> bool:
        """Whether a row is too long; a comment at its end does not count."""
        count = len(row)
        while count > 1 and _is_comment(row[count - 1]):
            count -= 1
        shown = self._row(row[:count], level, is_forced=False)
        return len(INDENT) * level + len(shown.partition("\n")[0]) > LINE_WIDTH_MAX

    def _row(self, row: list[_Token], level: int, *, is_forced: bool) -> str:
        return " ".join([self._token(token, level, is_forced=is_forced) for token in row])

    def _token(self, token: _Token, level: int, *, is_forced: bool) -> str:
        item = token.content
        if isinstance(item, str):
            return item
        if isinstance(item, ast.EditBlock):
            return self._block(("[", "]"), item.edits, item.span.start, item.span.end, level, is_forced)
        if isinstance(item, ast.EditGroup):
            edits = (item.node, *item.edits)
            return self._block(("(", ")"), edits, item.span.start, item.span.end, level, is_forced)
        if isinstance(item, ast.Switch):
            return self._switch(item, level, is_forced)
        return self._item(item, level, is_forced)

    def _block(
        self,
        brackets: tuple[str, str],
        items: Sequence[_Item],
        start: int,
        end: int,
        level: int,
        is_forced: bool,
    ) -> str:
        """Lay out items in brackets; `start` and `end` are the places of the brackets, both included.

        What is in braces begins on a line of its own if it goes over several lines; else it begins where it began.
        """
        opening, closing = brackets
        tokens, breaks = self._tokens(items, start + 1, end - 1)
        if not tokens:
            return f"{opening} {closing}"
        is_query = opening == "{"
        if not (is_forced or breaks or any(token.break_count for token in tokens)):
            return f"{opening} {self._row(tokens, level, is_forced=False)} {closing}"
        if is_forced and not breaks:
            tokens = [token for part in _split(tokens) for token in _broken(part)]
            if not is_query:
                tokens[0] = _Token(tokens[0].content, 0)
        lines = self._lines(tokens, level + 1)
        is_closed_apart = is_query or is_forced or breaks
        end_text = f"\n{INDENT * level}{closing}" if is_closed_apart else f" {closing}"
        if is_query or tokens[0].break_count:
            return "\n".join([opening, *lines]) + end_text
        lines[0] = f"{opening} {lines[0].lstrip()}"
        return "\n".join(lines) + end_text

    # Items.

    def _switch(self, node: ast.Switch, level: int, is_forced: bool) -> str:
        head_end = self._text.find("{", node.subject.span.end)
        blanks = lexer.BLANKS.match(self._text, node.subject.span.end)
        if head_end < 0 or blanks is None or blanks.end() != head_end:
            raise _Unexpected("switch")
        written = self._text[node.span.start : head_end]
        printed = f"switch {self._printer.expression(node.subject)} "
        head = self._stretch(written, printed, node, node.span.start, level)
        return head + self._block(("{", "}"), node.cases, head_end, node.span.end, level, is_forced)

    def _item(self, item: _Item, level: int, is_forced: bool) -> str:
        """Lay out an item that has no rows of its own but those in braces."""
        bodies = [self._braces[id(query)] for query in _bodies(item)]
        printed = self._printed(item).split(_MARK)
        if len(printed) != len(bodies) + 1:
            raise _Unexpected("braces")
        shown: list[str] = []
        at, end = item.span.start, item.span.end
        if isinstance(item, ast.Lookup):
            at += len(self._text[at:end]) - len(self._text[at:end].lstrip())
        for (query, start, stop), text in zip(bodies, printed):
            shown.append(self._stretch(self._text[at:start], text, item, at, level))
            shown.append(self._block(("{", "}"), query.operations, start, stop, level, is_forced))
            at = stop
        shown.append(self._stretch(self._text[at:end], printed[-1], item, at, level))
        return "".join(shown)

    def _printed(self, item: _Item) -> str:
        if isinstance(item, ast.Case):
            return self._printer.case(item)
        if isinstance(item, _EDITS):
            return self._printer.edit(item)
        return self._printer.operation(item)

    def _stretch(self, written: str, printed: str, item: _Item, at: int, level: int) -> str:
        """Return a stretch of an item as it is printed or, if that is not the same, as it is written.

        Line breaks inside it are kept as well, so a dictionary over several lines stays so.
        """
        if squashed(written) == squashed(printed) and not self._is_broken(written, printed, item, at):
            return printed
        text = self._indented(written, item, at, level)
        # In front of a brace and behind it there is one blank, unless a comment is there.
        if printed[-1:] == " " and text[-1:].isspace() and "//" not in text.rstrip().rpartition("\n")[2]:
            text = text.rstrip() + " "
        if printed[:1] == " " and text[:1].isspace() and not text.lstrip().startswith("/"):
            text = " " + text.lstrip()
        return text

    def _is_broken(self, written: str, printed: str, item: _Item, at: int) -> bool:
        """Whether there is a line break in a stretch, but in quoted text or where a blank is printed next to a brace."""
        place = at + (len(written) - len(written.lstrip()) if printed[:1] == " " else 0)
        end = at + (len(written.rstrip()) if printed[-1:] == " " else len(written))
        while (place := self._text.find("\n", place, end)) >= 0:
            if not any(node.span.start <= place < node.span.end for node in _texts(item)):
                return True
            place += 1
        return False

    def _indented(self, written: str, item: _Item, at: int, level: int) -> str:
        """Return a stretch that is kept as it stands, its lines moved together below its item."""
        lines = written.split("\n")
        if len(lines) == 1:
            return written
        fixed = [(node.span.start, node.span.end) for node in _texts(item)]
        starts = [at]
        for line in lines:
            starts.append(starts[-1] + len(line) + 1)
        moved = [
            index
            for index in range(1, len(lines))
            if lines[index].strip() and not any(start < starts[index] <= end for start, end in fixed)
        ]
        least = min((_indent_of(lines[index]) for index in moved), default=0)
        first = [lines[index] for index in moved if _indent_of(lines[index]) == least]
        is_closing = any(line.lstrip()[0] in ")]}" for line in first)
        base = len(INDENT) * (level if is_closing else level + 1)
        for index in moved:
            lines[index] = " " * (base + _indent_of(lines[index]) - least) + lines[index].lstrip()
        for index in range(len(lines) - 1):
            if not any(start < starts[index + 1] <= end for start, end in fixed):
                lines[index] = lines[index].rstrip()
        return "\n".join(lines)


_EDITS: Final = (
    ast.AddNode,
    ast.SetProp,
    ast.DeleteProp,
    ast.AddTag,
    ast.DeleteTag,
    ast.SetTagProp,
    ast.DeleteTagProp,
    ast.AddEdge,
    ast.DeleteEdge,
    ast.EditGroup,
)


def _bodies(item: ast.Node) -> list[ast.Query]:
    """Return the outermost queries in braces below an item, in the order of the text."""
    found: list[ast.Query] = []
    below = children(item)
    while below:
        node = below.pop()
        if isinstance(node, ast.Query):
            found.append(node)
        elif not isinstance(node, ast.FormatString):
            below.extend(children(node))
    return sorted(found, key=lambda query: query.span.start)


def _texts(item: ast.Node) -> Iterator[ast.Node]:
    """Yield the quoted texts below an item, of which nothing may be moved."""
    below = [item]
    while below:
        node = below.pop()
        if isinstance(node, (ast.Literal, ast.FormatString)):
            yield node
        else:
            below.extend(children(node))


def _is_comment(token: _Token) -> bool:
    return isinstance(token.content, str) and token.content.startswith("/")


def _groups(tokens: list[_Token]) -> Iterator[list[_Token]]:
    """Yield the tokens of each line."""
    group: list[_Token] = []
    for token in tokens:
        if group and token.break_count:
            yield group
            group = []
        group.append(token)
    if group:
        yield group


def _split(row: list[_Token]) -> list[list[_Token]]:
    """Return a row in parts of one item each, with a bar in front of it and comments behind it."""
    parts: list[list[_Token]] = []
    has_item = True
    for token in row:
        if parts and (not has_item or _is_comment(token)):
            parts[-1].append(token)
        else:
            parts.append([token])
            has_item = False
        has_item = has_item or not isinstance(token.content, str)
    if len(parts) > 1 and all(isinstance(token.content, str) for token in parts[-1]):
        parts[-2].extend(parts.pop())
    return parts


def _broken(part: list[_Token]) -> list[_Token]:
    """Return a part that begins on a line of its own."""
    return [_Token(part[0].content, max(1, part[0].break_count)), *part[1:]]


def _indent_of(line: str) -> int:
    expanded = line.expandtabs(len(INDENT))
    return len(expanded) - len(expanded.lstrip(" "))
