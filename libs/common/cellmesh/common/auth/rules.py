"""Rules: what may be done and what may not, as paths.

    node.add              allows everything whose path begins with node, add
    !node.del             denies
    node.tag.add."a.b"    a part with a dot, a space or a quote in it stands in quotes

Of a list of rules, the first that matches decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from cellmesh.common.errors import BadArg

PATH_COUNT_MAX: Final = 64
PART_SIZE_MAX: Final = 1024
RULE_COUNT_MAX: Final = 1000
"""Most rules of one user or role, everywhere or on one gate."""

_PLAIN = re.compile(r"[^\s.\"\\!]+")
_PART = re.compile(r'"((?:[^"\\]|\\["\\])*)"|([^\s."\\!]+)')
_ESCAPED = re.compile(r'\\(["\\])')

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """Allows or denies everything whose path begins with its own.

    Raises:
        BadArg: the path cannot be used (on construction).
    """

    allow: bool
    path: Path

    def __post_init__(self) -> None:
        check_path(self.path)

    def matches(self, path: Path) -> bool:
        """Whether it speaks of this path."""
        return path[: len(self.path)] == self.path

    def __str__(self) -> str:
        return f"{'' if self.allow else '!'}{path_text(self.path)}"

    @classmethod
    def parse(cls, text: str) -> Rule:
        """Read `node.add` or `!node.add`. Raises BadArg."""
        text = text.strip()
        return cls(False, parse_path(text[1:])) if text.startswith("!") else cls(True, parse_path(text))


def check_path(path: Path) -> None:
    """Raise BadArg unless this can be a path: a tuple of 1 to 64 texts that are neither empty nor endless."""
    if not isinstance(path, tuple) or not all(isinstance(part, str) for part in path):
        raise BadArg("a path is a tuple of texts", name="path")
    if not 0 < len(path) <= PATH_COUNT_MAX:
        raise BadArg(f"a path has 1 to {PATH_COUNT_MAX} parts, not {len(path)}", name="path")
    for part in path:
        if not 0 < len(part) <= PART_SIZE_MAX:
            raise BadArg(f"a part of a path has 1 to {PART_SIZE_MAX} characters", name="path", valu=part[:64])
        try:
            part.encode()
        except UnicodeEncodeError:
            raise BadArg("a part of a path is no proper text", name="path") from None


def path_text(path: Iterable[str]) -> str:
    """A path in one word; `parse_path` reads it."""
    return ".".join(part if _PLAIN.fullmatch(part) else _quoted(part) for part in path)


def parse_path(text: str) -> Path:
    """Read `node.tag.add."a.b"`. Raises BadArg."""
    parts: list[str] = []
    position = 0
    while True:
        found = _PART.match(text, position)
        if found is None:
            raise BadArg(f"{text[:200]!r} is no path such as node.tag.add", name="path", valu=text[:200])
        quoted, plain = found.groups()
        parts.append(plain if quoted is None else _ESCAPED.sub(r"\1", quoted))
        position = found.end()
        if position == len(text):
            break
        if text[position] != ".":
            raise BadArg(
                f"{text[:200]!r} is no path: a dot belongs between parts", name="path", valu=text[:200]
            )
        position += 1
    path = tuple(parts)
    check_path(path)
    return path


def first_match(rules: Sequence[Rule], path: Path) -> Rule | None:
    """The rule that decides, None when none speaks of the path."""
    for rule in rules:
        if path[: len(rule.path)] == rule.path:
            return rule
    return None


def check_rules(rules: Sequence[Rule]) -> None:
    """Raise BadArg when these are more rules than one list may have."""
    if len(rules) > RULE_COUNT_MAX:
        raise BadArg(f"a list has {RULE_COUNT_MAX} rules at most, not {len(rules)}", name="rules")


def _quoted(part: str) -> str:
    escaped = part.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
