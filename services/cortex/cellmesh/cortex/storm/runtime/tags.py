"""Tag globs: `*` stands for one segment or part of one, `**` for any number of characters."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

PATTERN_COUNT_MAX = 1024


@lru_cache(PATTERN_COUNT_MAX)
def tag_pattern(glob: str) -> Callable[[str], object]:
    """Return a test of tag names against a glob."""
    parts = re.split(r"(\*\*|\*)", glob)
    made = "".join(".+?" if part == "**" else r"[^.]+?" if part == "*" else re.escape(part) for part in parts)
    return re.compile(made).fullmatch
