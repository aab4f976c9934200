"""Tag globs: in filters `*` stands for one segment or part of one, `**` for any number of characters.

In pivots to tags (`-> #a.*`) every `*` stands for any number of characters, dots too.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

PATTERN_COUNT_MAX = 1024


@lru_cache(PATTERN_COUNT_MAX)
def tag_pattern(glob: str) -> Callable[[str], object]:
    """Return a test of tag names against a glob, as filters take it."""
    parts = re.split(r"(\*\*|\*)", glob)
    made = "".join(".+?" if part == "**" else r"[^.]+?" if part == "*" else re.escape(part) for part in parts)
    return re.compile(made).fullmatch


@lru_cache(PATTERN_COUNT_MAX)
def text_pattern(glob: str) -> Callable[[str], object]:
    """Return a test of tag names against a glob, as pivots take it: `*` goes over dots, and may stand for nothing."""
    return re.compile(".*?".join(map(re.escape, re.split(r"\*+", glob)))).fullmatch
