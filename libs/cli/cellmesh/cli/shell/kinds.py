"""What kind of value stands before a dot, as far as the text tells: calls of `$lib`, variables, literals.

It follows declared types only and runs nothing. Where it cannot tell, there is nothing to complete.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cellmesh.cli.shell.declarations import ROOT, Declarations, Member
from cellmesh.cli.shell.scan import Kind, Token, scan

DEPTH_MAX: Final = 8
"""Variables that are set to what depends on other variables."""

OF_EVERY_QUERY: Final = {"node": "node", "path": "node:path"}
"""Variables that are there in every query, with their types."""

_PYTHON: Final[tuple[tuple[type, str], ...]] = (
    (bool, "boolean"),
    (str, "str"),
    (int, "int"),
    (bytes, "bytes"),
    (dict, "dict"),
    (list, "list"),
    (tuple, "list"),
)
OF_LOOPS: Final = {
    "$lib.auth.gates.list": "auth:gate",
    "$lib.auth.roles.list": "auth:role",
    "$lib.auth.users.list": "auth:user",
    "$lib.cortex.httpapi.list": "http:api",
    "$lib.cron.list": "cronjob",
    "$lib.layer.list": "layer",
    "$lib.range": "int",
    "$lib.trigger.list": "trigger",
    "$lib.vault.list": "vault",
    "$lib.view.list": "view",
    "auth:user.roles": "auth:role",
    "proj:sprint.tickets": "proj:ticket",
    "str.rsplit": "str",
    "str.split": "str",
    "view.children": "view",
    "view.layers": "layer",
    "view.triggers": "trigger",
}
"""The types of what loops go over, by the function, or by a type and its member: lists are declared as lists only."""

_LITERALS: Final = {"[": "list", "{": "dict"}


@dataclass(frozen=True, slots=True)
class Found:
    """What an expression is.

    Attributes:
        type: The name of the type of its value; empty for a namespace.
        library: The namespace it is, such as `$lib.inet`.
        is_function: Whether the value is what a call of it returns.
    """

    type: str = ""
    library: str = ""
    is_function: bool = False


class Kinds:
    """Tells kinds of values in one text.

    Args:
        text: The query up to the dot.
        declared: What the language has.
        variables: Those of the session.
    """

    def __init__(self, text: str, declared: Declarations, variables: Mapping[str, Any]) -> None:
        self._text = text
        self._declared = declared
        self._variables = variables

    def members(self) -> Sequence[Member]:
        """Return the members of what the text ends with; none if that cannot be told."""
        found = self._of_end(scan(self._text).tokens, DEPTH_MAX)
        if found is None or found.is_function:
            return ()
        if found.library:
            return self._declared.libraries.get(found.library, ())
        return self._declared.types.get(found.type, ())

    def _of_end(self, tokens: Sequence[Token], depth: int) -> Found | None:
        """The kind of the expression that a row of tokens ends with."""
        if not tokens or depth == 0:
            return None
        last = tokens[-1]
        if last.kind is Kind.VARIABLE:
            name, *rest = last.text[1:].split(".")
            return self._through(self._of_variable(name, last.start, depth), rest)
        if last.kind is Kind.PROP and last.text.startswith("."):
            return self._through(self._of_end(tokens[:-1], depth), last.text[1:].split("."))
        if last.text == ")":
            opened = _opening(tokens)
            if opened is None:
                return None
            if opened and tokens[opened - 1].kind in (Kind.VARIABLE, Kind.PROP):
                called = self._of_end(tokens[:opened], depth)
                return Found(called.type) if called is not None and called.is_function else None
            return self._of_brackets(tokens[opened + 1 : -1], depth)
        return None

    def _through(self, found: Found | None, names: Sequence[str]) -> Found | None:
        for name in names:
            if found is None or found.is_function:
                return None
            declared = self._declared
            members = declared.libraries if found.library else declared.types
            member = next(
                (one for one in members.get(found.library or found.type, ()) if one.name == name), None
            )
            if member is None:
                return None
            if member.is_library:
                found = Found(library=f"{found.library}.{name}")
            else:
                found = Found(member.type, is_function=bool(member.signature))
        return found

    def _of_variable(self, name: str, before: int, depth: int) -> Found | None:
        if name == ROOT[1:]:
            return Found(library=ROOT)
        looped: re.Match[str] | None = None
        for match in re.finditer(rf"\bfor\s+\${re.escape(name)}\s+in\s+(\$[\w.]+)", self._text[:before]):
            looped = match
        set_at: re.Match[str] | None = None
        for match in re.finditer(rf"\${re.escape(name)}\s*=(?!=)\s*", self._text[:before]):
            set_at = match
        if looped is not None and (set_at is None or set_at.start() < looped.start()):
            return self._of_loop(looped[1], looped.start(1), depth)
        if set_at is not None:
            return self._of_value(
                scan(f"={self._text[set_at.end() : before]}").tokens[1:], set_at.end(), depth
            )
        if name in self._variables:
            value = self._variables[name]
            return next((Found(kind) for python, kind in _PYTHON if isinstance(value, python)), None)
        return Found(OF_EVERY_QUERY[name]) if name in OF_EVERY_QUERY else None

    def _of_loop(self, path: str, before: int, depth: int) -> Found | None:
        """The kind of what a loop goes over, by the path of names behind `in`, which stands at an offset of the text."""
        if not path.startswith(f"{ROOT}."):
            name, _, member = path[1:].partition(".")
            of = self._of_variable(name, before, depth - 1) if depth else None
            path = f"{of.type}.{member}" if of is not None else path
        return Found(OF_LOOPS[path]) if path in OF_LOOPS else None

    def _of_value(self, tokens: Sequence[Token], offset: int, depth: int) -> Found | None:
        """The kind of the value that a row of tokens begins with; it stands at an offset of the text."""
        if not tokens:
            return None
        if tokens[0].kind in (Kind.VALUE, Kind.STRING):
            return Found("str")
        if tokens[0].kind is not Kind.VARIABLE and tokens[0].text != "(":
            return None
        end, open_count = 0, 0
        for token in tokens:
            if token.kind is Kind.OPEN:
                open_count += 1
            elif token.kind is Kind.CLOSE:
                open_count -= 1
            elif open_count == 0 and end and token.kind is not Kind.PROP:
                break
            end += 1
        # Tokens know where they stand in what was scanned; variables in them are looked up before that.
        moved = [Token(one.kind, one.text, one.start - 1 + offset) for one in tokens[:end]]
        return self._of_end(moved, depth - 1)

    def _of_brackets(self, tokens: Sequence[Token], depth: int) -> Found | None:
        """The kind of an expression in parentheses."""
        inner = [token for token in tokens if token.kind is not Kind.BLANK]
        if not inner:
            return Found("list")
        if inner[0].text in _LITERALS and _opening(inner) == 0:
            return Found(_LITERALS[inner[0].text])
        if _has_comma(inner):
            return Found("list")
        if len(inner) == 1:
            match inner[0].kind:
                case Kind.STRING:
                    return Found("str")
                case Kind.NUMBER:
                    return Found("int" if "." not in inner[0].text else "number")
        return self._of_end(inner, depth - 1) if inner[0].kind is Kind.VARIABLE else None


def _opening(tokens: Sequence[Token]) -> int | None:
    """The index of the bracket that the last token closes."""
    depth = 0
    for index in range(len(tokens) - 1, -1, -1):
        if tokens[index].kind is Kind.CLOSE:
            depth += 1
        elif tokens[index].kind is Kind.OPEN:
            depth -= 1
            if depth == 0:
                return index
    return None


def _has_comma(tokens: Sequence[Token]) -> bool:
    depth = 0
    for token in tokens:
        depth += (token.kind is Kind.OPEN) - (token.kind is Kind.CLOSE)
        if depth == 0 and token.text == ",":
            return True
    return False
