"""Scanning Storm text: the patterns of each token and the cursor that moves over them.

What counts as a token depends on where it stands: `1.2.3.4` is one word after `=` and a fault inside `$( )`, `foo{bar`
is a word and `foo {bar}` a command with a query. So there is no stream of tokens: the parser asks the `Scanner` for
what may come next, by a compiled pattern matched at the cursor. Nothing is matched twice except short look-aheads, so
the work grows with the length of the text.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NoReturn

from cellmesh.common.errors import BadSyntax
from cellmesh.cortex.storm.parser.hints import hint_for
from cellmesh.cortex.storm.source import Source, Span

TEXT_LENGTH_MAX = 4_000_000
"""Longest query text, in characters."""

NESTING_MAX = 100
"""Most brackets, braces and parentheses open at once."""

TREE_DEPTH_MAX = 320
"""Deepest syntax tree, counted in nodes from the root to a leaf: a long chain of operators is a deep tree."""

CHAIN_CHECK_LENGTH = 32
"""A chain of operators, conditions or members longer than this makes the parser measure the tree."""

BLANKS = re.compile(r"(?:\s+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)

# Names.
VARIABLE_NAME = re.compile(r"\w+")
PROP_NAME = re.compile(r"[a-z_][a-z0-9_]*(?::[a-z0-9_]+)+(?:(?:::?|\.)[a-z0-9_]+)*")
UNIVERSAL_NAME = re.compile(r"\.[a-z_][a-z0-9_]*(?:[.:][a-z0-9_]+)*")
RELATIVE_NAME = re.compile(r":([a-z_][a-z0-9_]*(?:(?:::?|\.)[a-z0-9_]+)*)")
TAG_PROP_NAME = re.compile(r"[a-z_][a-z0-9_]*(?:[.:][a-z0-9_]+)*")
FORM_GLOB = re.compile(r"[a-z_][a-z0-9_]*(?::[a-z0-9_]+)*:[a-z0-9_]*\*(?![\w\[:*])")
COMMAND_NAME = re.compile(r"[a-z][a-z0-9.]+(?=[\s|}]|$)")
KEYWORD = re.compile(r"[a-z]+(?![a-z0-9_.:])")
TAG_SEGMENT = re.compile(r"\w+")
# A star that begins a comparison such as `*in=` is none of the tag's.
TAG_GLOB_SEGMENT = re.compile(r"(?:\w|\*(?!\w+=))+")

# Words: text without quotes, by the place they stand in.
VALUE_WORD = re.compile(r"[\w*+\-/?\\](?:[^\s$(),=\]|}])*")
ITEM_WORD = re.compile(r"[\w*+\-/?\\](?:[^,)]*[^,)\s])?")
ARGUMENT_WORD = re.compile(r"[\w*+\-/?\\<>\[](?:[^\s$()|}]*[^\s$()|},=\]])?")
OPTION_WITH_VALUE = re.compile(r"(-[\w\-]+)=")
CASE_WORD = re.compile(r"""[^\s"'*():][^\s"'():]*(?=\s*:\s*\{)""")
CASE_ITEM = re.compile(r"""[^\s"'(),:][^\s"'(),:]*""")
LOOKUP_WORD = re.compile(r"[^\s|]+")

# Numbers and operators.
NUMBER = re.compile(r"-?(?:0x[0-9a-fA-F]+|0o[0-7]+|[0-9]+(?:\.[0-9]*)?)(?=[\s)\]},+\-*/%<>=!~]|$)")
UNSIGNED_INTEGER = re.compile(r"0x[0-9a-fA-F]+|0o[0-7]+|[0-9]+")
COMPARATOR = re.compile(r"[!<>=@^~?]+|\*(\w+[!<>=@^~?]+)")
ELEMENT_COMPARATOR = re.compile(r"\w*[!<>=@^~?]+")
CONSTANT_NAME = re.compile(r"(?:true|false|null)(?=[\s),\]}=<>!~+*/%]|$)")

# Stretches that a search for a closing bracket passes over whole, then the brackets themselves.
BRACKET = re.compile(
    r"""(?<!\w)(?:'''.*?'''|'[^']*'|"(?:\\.|[^"\\])*"|`(?:\\.|[^`\\])*`)"""
    r"""|(?<!\S)//[^\n]*|/\*(?:.*?\*/|.*)|[(){}\[\],]""",
    re.DOTALL,
)

DOUBLE_QUOTED = re.compile(r'"((?:\\.|[^"\\])*)"', re.DOTALL)
TRIPLE_QUOTED = re.compile(r"'''(.*?)'''", re.DOTALL)
SINGLE_QUOTED = re.compile(r"'([^']*)'")
QUOTED = re.compile(r"""'''.*?'''|(?!''')'[^']*'|"(?:\\.|[^"\\])*\"""", re.DOTALL)
FORMAT_TEXT = re.compile(r"(?:\\.|[^`{\\])+", re.DOTALL)
ESCAPE = re.compile(
    r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|N\{[^}]*\}|[0-7]{1,3}|.)", re.DOTALL
)
SIMPLE_ESCAPES = {
    "\n": "",
    "\\": "\\",
    "'": "'",
    '"': '"',
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
}

_SURROGATES = range(0xD800, 0xE000)
"""Halves of characters in UTF-16: no text that is stored or sent can hold one."""

TOKEN_SHOWN = re.compile(r"[\w.:]+|\S")


class Scanner:
    """A cursor over one text.

    `position` is where the next token is looked for, `end` where the last one taken ended and `last` where it
    started. Blanks and comments are skipped by `peek`, which everything that allows them calls first.
    """

    __slots__ = ("chain_is_long", "end", "last", "nesting", "position", "source", "text")

    def __init__(self, source: Source) -> None:
        self.source = source
        self.text = source.text
        self.position = 0
        self.end = 0
        self.last = 0
        self.nesting = 0
        self.chain_is_long = False

    # The cursor.

    def peek(self) -> str:
        """Skip blanks and comments and return the next character, or "" at the end."""
        position = self.position
        char = self.text[position : position + 1]
        if char.isspace() or char == "/":
            match = BLANKS.match(self.text, position)
            assert match is not None  # the pattern matches the empty text
            self.position = position = match.end()
            char = self.text[position : position + 1]
            # Refused here, or each word after it would be searched for the end of the comment again.
            if char == "/" and self.text.startswith("/*", position):
                self.fail("the comment has no end '*/'", at=position)
        return char

    def take(self, length: int) -> None:
        """Take a token of this many characters at the cursor."""
        self.last = self.position
        self.position = self.end = self.last + length

    def accept(self, token: str) -> bool:
        """Skip blanks and take a token if it is next."""
        self.peek()
        if not self.text.startswith(token, self.position):
            return False
        self.take(len(token))
        return True

    def expect(self, token: str, where: str) -> None:
        """Take a token that must come next; `where` says what for."""
        if not self.accept(token):
            self.fail(f"expected '{token}' {where}")

    def match(self, pattern: re.Pattern[str]) -> str | None:
        """Take the text a pattern matches at the cursor, or return None. Skips nothing first."""
        found = pattern.match(self.text, self.position)
        if found is None:
            return None
        self.last = self.position
        self.position = self.end = found.end()
        return found.group()

    def looking_at(self, pattern: re.Pattern[str]) -> bool:
        """Whether a pattern matches at the cursor."""
        return pattern.match(self.text, self.position) is not None

    def span(self, start: int) -> Span:
        """Return the span from `start` to the end of the last token taken."""
        return Span(start, self.end)

    # Bounds.

    def open(self) -> None:
        """Note that a bracket was opened; the parser is recursive, so their number is bounded."""
        self.nesting += 1
        if self.nesting > NESTING_MAX:
            self.fail(f"brackets are nested more than {NESTING_MAX} deep", at=self.last)

    def close(self) -> None:
        """Note that a bracket was closed."""
        self.nesting -= 1

    def closing_bracket(self, opening: int) -> tuple[int, int]:
        """Look ahead for the bracket that closes the one at `opening`.

        Returns:
            Offset of the closing bracket and offset of the first comma between the two that is inside no
            further brackets; each -1 if there is none.
        """
        depth = 0
        comma = -1
        for found in BRACKET.finditer(self.text, opening):
            char = found.group()
            if char in "([{":
                depth += 1
            elif char in ")]}":
                depth -= 1
                if depth == 0:
                    return found.start(), comma
            elif char == "," and depth == 1 and comma < 0:
                comma = found.start()
        return -1, comma

    # Quoted text.

    def string(self, what: str = "text") -> str:
        """Take a quoted string at the cursor and return its text, escapes undone."""
        start = self.position
        text = self.text
        if text[start] == '"':
            found = DOUBLE_QUOTED.match(text, start)
        elif text.startswith("'''", start):
            found = TRIPLE_QUOTED.match(text, start)
        else:
            found = SINGLE_QUOTED.match(text, start)
        if found is None:
            self.fail(f"the quoted {what} has no closing quote", at=start)
        self.take(found.end() - start)
        value = found.group(1)
        if text[start] == '"' and "\\" in value:
            return self.unescape(value, start + 1)
        return value

    def unescape(self, raw: str, offset: int, also: str = "") -> str:
        """Undo the escapes of a double-quoted or format string.

        Args:
            raw: The text as written.
            offset: Where it starts in the source.
            also: Further characters that a backslash protects.

        An escape that means nothing stays as it is; one that starts like a code and isn't, is a fault.
        """

        def undo(found: re.Match[str]) -> str:
            body = found.group()[1:]
            if body in also:
                return body
            simple = SIMPLE_ESCAPES.get(body)
            if simple is not None:
                return simple
            if len(body) == 1 and body not in "xuUN01234567":
                return found.group()
            return self._escaped_code(body, offset + found.start())

        return ESCAPE.sub(undo, raw)

    def _escaped_code(self, body: str, at: int) -> str:
        try:
            if body[0] == "N":
                return unicodedata.lookup(body[2:-1])
            code = int(body, 8) if body[0].isdigit() else int(body[1:], 16)
            if code in _SURROGATES:
                raise ValueError
            return chr(code)
        except (ValueError, KeyError, OverflowError):
            self.fail(f"'\\{body}' is no character code", at=at)

    # Faults.

    def fail(self, message: str, *, at: int | None = None, hint: str = "") -> NoReturn:
        """Raise BadSyntax for the cursor or the offset given.

        A fault at the end of the text is placed on the last token, where people have to look.
        """
        if at is None:
            self.peek()
            at = self.position
        length = len(self.text)
        found = TOKEN_SHOWN.match(self.text, at)
        token = found.group() if found else ""
        if at >= length:
            shown, at = "the end of the text", self.last
            width = max(1, self.end - self.last)
        else:
            shown, width = repr(token), max(1, len(token))
        if message.startswith("expected"):
            message = f"{message}, found {shown}"
        where = self.source.location(at)
        excerpt = self.source.excerpt(Span(at, at + width))
        fields: dict[str, object] = {
            "at": where.offset,
            "line": where.line,
            "column": where.column,
            "token": token,
        }
        hint = hint_for(self.text, len(self.text) if not token else at, token, message, hint)
        suffix = f" ({hint})" if hint else ""
        if hint:
            fields["hint"] = hint
        if self.source.name:
            fields["source"] = self.source.name
        raise BadSyntax(
            f"{message}{suffix}, at line {where.line}, column {where.column}:\n{excerpt}", **fields
        )
