"""A cheap scanner of Storm text, good enough to colour it and to tell what is open.

It knows no grammar: the Cortex parses. It must never fail, whatever half a query it is given, and its work grows with
the length of the text alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

TEXT_SIZE_MAX: Final = 50_000
"""Longer texts, which somebody pasted, are neither coloured nor completed."""


class Kind(StrEnum):
    """What a token is."""

    BLANK = "blank"
    COMMENT = "comment"
    STRING = "string"
    VARIABLE = "variable"
    TAG = "tag"
    PROP = "prop"
    ARROW = "arrow"
    COMPARATOR = "comparator"
    PIPE = "pipe"
    OPEN = "open"
    CLOSE = "close"
    FLAG = "flag"
    NUMBER = "number"
    KEYWORD = "keyword"
    WORD = "word"
    VALUE = "value"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Token:
    """A stretch of text.

    Attributes:
        kind: What it is.
        text: The stretch.
        start: Its offset.
    """

    kind: Kind
    text: str
    start: int

    @property
    def end(self) -> int:
        """The offset behind it."""
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class Scanned:
    """A text in tokens.

    Attributes:
        tokens: All of it, blanks too: their texts end to end are the text.
        brackets: Those that are open at the end, the outermost first.
        in_text: Whether it ends inside a quoted text or a comment.
    """

    tokens: tuple[Token, ...]
    brackets: str
    in_text: bool


KEYWORDS: Final = frozenset(
    {
        "for",
        "while",
        "if",
        "elif",
        "else",
        "switch",
        "function",
        "return",
        "emit",
        "stop",
        "init",
        "fini",
        "empty",
        "break",
        "continue",
        "try",
        "catch",
        "as",
        "and",
        "or",
        "not",
        "in",
        "yield",
        "true",
        "false",
        "null",
    }
)

_PATTERNS: Final = (
    (Kind.BLANK, r"\s+"),
    (Kind.COMMENT, r"(?<!\S)//[^\n]*|/\*(?:.*?\*/|.*)"),
    (
        Kind.STRING,
        r"""(?<!\w)(?:'''(?:.*?'''|.*)|'[^']*'?|"(?:\\.|[^"\\])*"?|`(?:\\.|[^`\\])*`?)""",
    ),
    (Kind.VARIABLE, r"\$\w+(?:\.\w+)*|\$"),
    (
        Kind.ARROW,
        r"-->|<--|->|<-(?![\w.])|-\+>|<\+-|-\((?=[\w*,\s]*\)[>-])|<\((?=[\w*,\s]*\)-)|\)[->](?=[\s*\w]|$)",
    ),
    (Kind.TAG, r"#[\w.*]*(?::\w+)?"),
    (Kind.COMPARATOR, r"\*\w+[!<>=@^~?]+|[!<>=@^~?]*=[!<>=@^~?]*|[<>]"),
    (Kind.FLAG, r"(?<=\s)--?[a-zA-Z][\w-]*"),
    (Kind.NUMBER, r"-?\d+(?:\.\d+)?(?![\w.:])"),
    (Kind.PIPE, r"\|"),
    (Kind.OPEN, r"[(\[{]"),
    (Kind.CLOSE, r"[)\]}]"),
    (Kind.PROP, r"(?<![\w:])[:.][a-z_][\w:.]*|(?<![\w:]):"),
    (Kind.WORD, r"[^\W\d][\w:.]*\*?"),
    (Kind.OTHER, r"\w[^\s()\[\]{},|\"'`]*|."),
)
_TOKEN: Final = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in _PATTERNS), re.DOTALL)

_VALUE: Final = re.compile(r"[\w*+\-/?\\.:][^\s$(),=\]|}{\"'`]*")
"""What stands behind a comparator without quotes, where // begins no comment and - no filter."""

_PAIRS: Final = {")": "(", "]": "[", "}": "{"}


def scan(text: str) -> Scanned:
    """Return the tokens of a text, and what is open at its end."""
    tokens: list[Token] = []
    position = 0
    after_comparator = False
    while position < len(text):
        found = _VALUE.match(text, position) if after_comparator else None
        kind = Kind.VALUE
        if found is None:
            found = _TOKEN.match(text, position)
            assert found is not None, "the last pattern matches anything"
            kind = Kind(found.lastgroup or Kind.OTHER)
        token = Token(kind, found.group(), position)
        if kind is Kind.WORD and token.text in KEYWORDS:
            token = Token(Kind.KEYWORD, token.text, position)
        tokens.append(token)
        position = token.end
        if kind is not Kind.BLANK:
            after_comparator = kind is Kind.COMPARATOR and token.text not in ("<", ">")
    return Scanned(tuple(tokens), _open_brackets(tokens), bool(tokens) and _is_unfinished(tokens[-1]))


def _open_brackets(tokens: list[Token]) -> str:
    brackets: list[str] = []
    for token in tokens:
        if token.kind is Kind.OPEN or (token.kind is Kind.ARROW and token.text.endswith("(")):
            brackets.append(token.text[-1])
        elif token.kind is Kind.CLOSE or (token.kind is Kind.ARROW and token.text.startswith(")")):
            if not brackets or brackets[-1] != _PAIRS[token.text[0]]:
                # A bracket that closes nothing: the Cortex says so best, more lines would not mend it.
                return ""
            brackets.pop()
    return "".join(brackets)


def _is_unfinished(token: Token) -> bool:
    text = token.text
    if token.kind is Kind.COMMENT:
        return text.startswith("/*") and not (len(text) >= 4 and text.endswith("*/"))
    if token.kind is not Kind.STRING:
        return False
    quote = "'''" if text.startswith("'''") else text[0]
    if len(text) < 2 * len(quote) or not text.endswith(quote):
        return True
    # The last quote may itself be escaped.
    return quote in '"`' and re.fullmatch(r"(?:\\.|[^\\])*", text[1:-1], re.DOTALL) is None


def is_complete(text: str) -> bool:
    """Whether a text can be a whole query: nothing is open, and it does not end with what must go on."""
    scanned = scan(text)
    if scanned.brackets or scanned.in_text:
        return False
    last = next(
        (token for token in reversed(scanned.tokens) if token.kind not in (Kind.BLANK, Kind.COMMENT)), None
    )
    return last is None or last.kind is not Kind.PIPE


READING_COMMANDS: Final = frozenset(
    {
        "count",
        "help",
        "limit",
        "max",
        "min",
        "sort",
        "spin",
        "stats.countby",
        "tree",
        "uniq",
        "version",
        "intersect",
    }
)


def only_reads(text: str) -> bool:
    """Whether a query surely changes nothing: no edits, no calls, and only commands that are known to read."""
    before: Token | None = None
    for token in scan(text).tokens:
        if token.kind in (Kind.BLANK, Kind.COMMENT):
            continue
        is_call = (
            token.text == "("
            and before is not None
            and before.kind is Kind.VARIABLE
            and before.end == token.start
        )
        is_edit = token.text == "[" and (before is None or before.text != "(")
        is_piped = before is not None and before.kind is Kind.PIPE
        if is_call or is_edit or (is_piped and token.text not in READING_COMMANDS):
            return False
        # A query may begin with a command, and a keyword says little of what follows.
        if (
            before is None
            and token.kind is Kind.WORD
            and ":" not in token.text
            and token.text not in READING_COMMANDS
        ):
            return False
        if token.kind is Kind.KEYWORD and token.text not in ("and", "or", "not", "in"):
            return False
        before = token
    return True
