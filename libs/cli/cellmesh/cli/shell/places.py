"""Where the cursor is: what kind of word stands there, in which stage of the query, behind which form."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from cellmesh.cli.shell.names import Names
from cellmesh.cli.shell.scan import Kind, Token, scan


class Wanted(Enum):
    """What can stand at the cursor."""

    NOTHING = "nothing"
    VARIABLE = "variable"
    LIBRARY = "library"
    MEMBER = "member"
    TAG = "tag"
    TAG_PROP = "tag property"
    VERB = "verb"
    PROP = "property"
    FLAG = "flag"
    START = "start"
    PIPED = "piped"
    TARGET = "target"
    FORM = "form"


@dataclass(frozen=True, slots=True)
class Place:
    """What the cursor is at.

    Attributes:
        wanted: What can stand here.
        word: What of it is typed already.
        form: The form of the nodes that come to here, as far as the text tells.
        command: The command whose arguments these are; empty when it is none.
    """

    wanted: Wanted
    word: str
    form: str | None = None
    command: str = ""


_LIBRARY: Final = re.compile(r"\$lib(?:\.\w*)*$")
_VARIABLE: Final = re.compile(r"\$(\w*)$")
_MEMBER: Final = re.compile(r"(?:(?<=\))|\$\w+)(?:\.\w*)*\.(\w*)$")
_TAG_PROP: Final = re.compile(r"#[\w.]+:(\w*)$")
_TAG: Final = re.compile(r"#([\w.]*)$")
_VERB: Final = re.compile(r"(?:-\(|<\(|\+\(|<\+\()(?:[\w*, ]*[, (])?(\w*)$")
_PROP: Final = re.compile(r"(?:^|(?<=[\s(\[{+\-,=]))([:.][\w:.]*)$")
_FLAG: Final = re.compile(r"(?<=\s)(--?[\w-]*)$")
_WORD: Final = re.compile(r"(?<![\w$#:.])([a-z_][\w:.]*)$")

_STARTERS: Final = frozenset({Kind.OPEN, Kind.CLOSE, Kind.KEYWORD, Kind.WORD})


def expression_text(text: str) -> str:
    """Return a text without the quotes around the expression that the cursor is in: behind the { of a `text {$with}` one."""
    last = next(reversed(scan(text).tokens), None)
    if last is None or last.kind is not Kind.STRING or not last.text.startswith("`") or _is_closed(last.text):
        return text
    begin = last.text.rfind("{")
    if begin < 0 or last.text.find("}", begin) >= 0 or last.text[begin - 1] == "\\":
        return text
    return f"{text[: last.start]}({last.text[begin + 1 :]}"


def _is_closed(text: str) -> bool:
    return len(text) > 1 and re.fullmatch(r"`(?:\\.|[^`\\])*`", text, re.DOTALL) is not None


def place_of(text: str, names: Names) -> Place:
    """Return what the cursor is at, behind a text."""
    scanned = scan(text)
    if scanned.in_text:
        return Place(Wanted.NOTHING, "")
    tokens = [token for token in scanned.tokens if token.kind not in (Kind.BLANK, Kind.COMMENT)]
    if scanned.tokens and scanned.tokens[-1].kind is Kind.COMMENT:
        return Place(Wanted.NOTHING, "")
    if (found := _LIBRARY.search(text)) and found.group().rpartition(".")[0] in (*names.libraries, ""):
        return Place(Wanted.LIBRARY, found.group())
    if found := _MEMBER.search(text):
        return Place(Wanted.MEMBER, found[1])
    if found := _VARIABLE.search(text):
        return Place(Wanted.VARIABLE, found[1])
    if found := _TAG_PROP.search(text):
        return Place(Wanted.TAG_PROP, found[1])
    if found := _TAG.search(text):
        return Place(Wanted.TAG, found[1])
    form = form_before(tokens, text, names)
    command = _command_before(tokens, text, names)
    if (found := _VERB.search(text)) and not command:
        is_edit = "[" in scanned.brackets
        if is_edit or not found.group().startswith("+"):
            return Place(Wanted.VERB, found[1], form)
    if tokens and tokens[-1].kind in (Kind.VALUE, Kind.STRING) and not text[-1:].isspace():
        return Place(Wanted.NOTHING, "")
    if (found := _FLAG.search(text)) and command:
        return Place(Wanted.FLAG, found[1], form, command)
    if found := _PROP.search(text):
        return Place(Wanted.PROP, found[1], form)
    found = _WORD.search(text)
    word = found[1] if found else ""
    if word:
        tokens = [token for token in tokens if token.end <= len(text) - len(word)]
    elif text and not text[-1].isspace() and text[-1] not in "|[{(>+-":
        return Place(Wanted.NOTHING, "")
    return _place_of_word(tokens, word, form, command)


def _place_of_word(tokens: list[Token], word: str, form: str | None, command: str) -> Place:
    before = tokens[-1] if tokens else None
    if before is None:
        return Place(Wanted.START, word, form)
    if before.kind is Kind.COMPARATOR:
        return Place(Wanted.NOTHING, "")
    if before.kind is Kind.PIPE:
        return Place(Wanted.PIPED, word, form)
    if before.kind is Kind.ARROW and not before.text.endswith("("):
        return Place(Wanted.TARGET, word, form)
    if before.text == "{":
        return Place(Wanted.START, word, form)
    if command and not word:
        return Place(Wanted.FLAG, word, form, command)
    return Place(Wanted.FORM, word, form, command)


def form_before(tokens: list[Token], text: str, names: Names) -> str | None:
    """Return the form that nodes have behind these tokens, or None."""
    form: str | None = None
    outer: list[str | None] = []
    before: Token | None = None
    for token in tokens:
        if token.text in "{(":
            outer.append(form)
        elif token.text in "})" and outer:
            form = outer.pop()
        elif token.kind is Kind.WORD:
            # The word that is being typed is not yet what it may become.
            is_typed = token.end == len(text)
            if not is_typed and (found := names.form_of(token.text)):
                form = found
        elif _ends_form(token, before):
            form = None
        before = token
    return form


def _ends_form(token: Token, before: Token | None) -> bool:
    """Whether nodes of any form come: behind `-> *`, and of a tag that is lifted by."""
    is_target = before is not None and before.kind is Kind.ARROW
    return (token.text == "*" and is_target) or (token.kind is Kind.TAG and (before is None or is_target))


def _command_before(tokens: list[Token], text: str, names: Names) -> str:
    """The command whose arguments stand at the cursor."""
    depth = 0
    for index in range(len(tokens) - 1, -1, -1):
        token = tokens[index]
        if token.kind is Kind.CLOSE:
            depth += 1
        elif token.kind is Kind.OPEN:
            if depth == 0:
                return _command_at(tokens, index + 1, text, names) if token.text == "{" else ""
            depth -= 1
        elif token.kind is Kind.PIPE and depth == 0:
            return _command_at(tokens, index + 1, text, names)
    return _command_at(tokens, 0, text, names)


def _command_at(tokens: list[Token], index: int, text: str, names: Names) -> str:
    if index >= len(tokens) or tokens[index].end == len(text):
        return ""
    word = tokens[index].text
    return word if word in names.commands else ""


def variables_in(text: str) -> list[str]:
    """Return the names of the variables that a text sets: by =, in for, as parameters and functions."""
    found: list[str] = []
    for match in re.finditer(
        r"\$(\w+)\s*=(?!=)|\bfor\s+(\(?[$\w\s,]+\)?)\s+in\b|\bfunction\s+(\w+)\s*\(([^)]*)", text
    ):
        single, loop, function, parameters = match.groups()
        if single:
            found.append(single)
        found.extend(re.findall(r"\$(\w+)", loop or ""))
        if function:
            found.append(function)
            found.extend(re.findall(r"(?:^|,)\s*(\w+)", parameters))
    return list(dict.fromkeys(name for name in found if name != "lib"))
