"""What people may have meant: hints for faults in a text.

A hint is made when a text has turned out to be no query, never before. It goes by the words of the fault and by the text
around it, so a rule that does not apply costs nothing but itself.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Final

KEYWORDS: Final = (
    "break",
    "catch",
    "continue",
    "elif",
    "else",
    "emit",
    "empty",
    "fini",
    "for",
    "function",
    "if",
    "init",
    "return",
    "reverse",
    "stop",
    "switch",
    "try",
    "while",
    "yield",
)

_BRACKET: Final = re.compile(
    r"""(?<!\w)(?:'''.*?'''|'[^']*'|"(?:\\.|[^"\\])*"|`(?:\\.|[^`\\])*`)"""
    r"""|(?<!\S)//[^\n]*|/\*(?:.*?\*/|.*)|[(){}\[\]]""",
    re.DOTALL,
)
_PARTNERS: Final = {"(": ")", "[": "]", "{": "}"}
_WORD: Final = re.compile(r"[A-Za-z_]\w*")
_METHOD_OF_WORD: Final = re.compile(r"=\s*([\w.]+)\.(\w+)\([^()]*\)?\s*$")
_OPERATORS: Final = frozenset("=<>!+-*/%~^")


def near_keyword(word: str) -> str:
    """Return a hint naming the keyword a word may have been meant for, or ""."""
    close = get_close_matches(word.lower(), KEYWORDS, n=1, cutoff=0.75)
    return f"did you mean '{close[0]}'?" if close and close[0] != word else ""


def hint_for(text: str, at: int, token: str, message: str, given: str = "") -> str:
    """Return a hint for a fault, or "".

    Args:
        text: The whole text.
        at: Where the fault is; the length of the text for its end.
        token: What stands there, "" at the end.
        message: What is wrong, as it will be told: "expected ...".
        given: The hint of whoever found the fault; it wins over the general ones, but not over those that know better.
    """
    if not token:
        return given or _at_end(text, message)
    return _certain(text, at, token, message) or given or _likely(text, at, token, message)


def _certain(text: str, at: int, token: str, message: str) -> str:
    around = text[max(at - 1, 0) : at + 2]
    is_operation = message.startswith("expected a lift")
    if "==" in around:
        return "values are compared with one '='"
    if "&&" in around or "||" in around:
        return "conditions are joined by 'and' and 'or', operations by one '|'"
    if token in ("else", "elif", "catch"):
        return f"'{token}' follows the block of {'try' if token == 'catch' else 'an if'}"
    if ":" in token and token.lower() != token:
        return f"form and property names are in lower case: did you mean '{token.lower()}'?"
    if token in ("and", "or") and is_operation:
        return f"put conditions that are joined in parentheses: +(:a=1 {token} :b=2)"
    if token == "!":
        return "write 'not'"
    if token == ";" and is_operation:
        return "operations stand side by side, or with '|' between them"
    if token == "-" and text[at - 1 : at + 1] == "--":
        return "a comment begins with '//'"
    return ""


def _likely(text: str, at: int, token: str, message: str) -> str:
    before = text[:at].rstrip()
    behind = text[at + len(token) :].lstrip()
    is_word = _WORD.fullmatch(token) is not None
    if message.startswith("expected an edit"):
        if token == ",":
            return "edits stand side by side, without commas"
        return f"a property begins with ':': write :{token}" if is_word and behind[:1] == "=" else ""
    if message.startswith("expected a condition") and is_word:
        return f"write :{token} for a property, #{token} for a tag"
    if message.startswith("expected a tag, '+#tag'"):
        return f"write +#{token}" if is_word else "write '+#' without a blank" if token == "#" else ""
    if message.startswith("expected what to delete") and re.search(r"#[\w.]+-$", before):
        return "a tag is made of letters, digits, '_' and '.'"
    if message.startswith("expected a query in braces or a variable"):
        return "put the query in braces"
    if message.startswith("expected a query in braces for the 'else'") and token == "if":
        return "write 'elif'"
    if message.startswith("expected a query in braces for the") and token[:1] in _OPERATORS:
        return "put the condition in parentheses"
    if message.startswith(("expected a variable, or", "expected a variable to switch")) and is_word:
        return f"a variable begins with '$': ${token}"
    if message.startswith("expected a value") and token == "[":
        return "a list is written ([1, 2])"
    if message.startswith("expected an argument of the command"):
        return "a '|' ends the command"
    if message.startswith("expected a lift"):
        return _for_operation(before, token, behind, is_word=is_word)
    return ""


def _for_operation(before: str, token: str, behind: str, *, is_word: bool) -> str:
    is_in_value = re.search(r"=\s*\{$", before) is not None
    if is_in_value and (token[:1] in ("'", '"') or (is_word and behind[:1] in ("=", ":"))):
        return 'a dictionary is written ({"name": "value"})'
    if not is_word:
        return ""
    if behind[:1] == "=":
        return f"a variable begins with '$': ${token}"
    if behind[:1] == "(":
        return f"a function is called by its variable: ${token}(…)"
    if token.lower() != token:
        return "names of commands are in lower case"
    return ""


def _at_end(text: str, message: str) -> str:
    if not message.startswith("expected"):
        return ""
    if message.startswith("expected '=' after the variables"):
        found = _METHOD_OF_WORD.search(text)
        if found is not None:
            return f'text has methods in parentheses of its own: ("{found[1]}").{found[2]}()'
    return _unclosed(text)


def _unclosed(text: str) -> str:
    """Return a hint on the innermost bracket that is not closed, or "" if the fault is another."""
    opened: list[tuple[str, int]] = []
    for found in _BRACKET.finditer(text):
        token = found.group()
        if token in _PARTNERS:
            opened.append((token, found.start()))
        elif token in ")]}" and opened and _PARTNERS[opened[-1][0]] == token:
            opened.pop()
    if not opened:
        return ""
    token, at = opened[-1]
    line = text.count("\n", 0, at) + 1
    column = at - text.rfind("\n", 0, at)
    return f"the '{token}' at line {line}, column {column} is not closed"
