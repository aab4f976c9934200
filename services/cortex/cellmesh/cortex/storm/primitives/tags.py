"""Sets of tags: globs, leaves, and what must change to get from one set to another."""

from __future__ import annotations

import re
from collections.abc import Iterable, Set
from typing import Final

_GLOB_PARTS: Final = re.compile(r"(\*\*|\*)")
_STARS: Final = {"**": "(.+?)", "*": r"([^.]+?)"}


def glob_regex(glob: str) -> re.Pattern[str]:
    """Return the pattern of a tag glob: `*` is a segment or a part of one, `**` any number of them."""
    return re.compile("".join(_STARS.get(part) or re.escape(part) for part in _GLOB_PARTS.split(glob)))


def leaves(tags: Iterable[str]) -> list[str]:
    """Return the tags that no other of them lies below, in their order."""
    given = list(tags)
    above = {parent for tag in given for parent in parents(tag)}
    return [tag for tag in given if tag not in above]


def parents(tag: str) -> list[str]:
    """Return the tags above one: `a` and `a.b` for `a.b.c`."""
    segments = tag.split(".")
    return [".".join(segments[:count]) for count in range(1, len(segments))]


def difference(present: Set[str], wanted: Iterable[str], prefix: str | None) -> tuple[list[str], list[str]]:
    """Return the tags to put on and those to take off, each sorted, so that the leaves are those wanted.

    Args:
        present: All tags that are on.
        wanted: Tags to have; with a prefix they are taken to lie below it.
        prefix: Look only at this tag and those below it.
    """
    if prefix is not None:
        head = f"{prefix}."
        wanted = [head + tag for tag in wanted]
        present = {tag for tag in present if tag == prefix or tag.startswith(head)}
    goal = set(wanted)
    kept = goal.union(*(parents(tag) for tag in goal))
    return sorted(goal - present), sorted(present - kept)
