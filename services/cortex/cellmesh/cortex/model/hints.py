"""Names near to one that there is not, for the hint of an error."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

NEAR_MATCHES_MAX = 3
NEAR_MATCH_CUTOFF = 0.75
SHORT_NAME_LENGTH = 5
SHORT_MATCH_CUTOFF = 0.6
"""Two letters changed places make a short name look more different than a long one."""


def hint_of(name: str, known: Iterable[str] | Mapping[str, object]) -> dict[str, str]:
    """Return the fields of an error that say which known names were perhaps meant; empty if none is near."""
    cutoff = SHORT_MATCH_CUTOFF if len(name) <= SHORT_NAME_LENGTH else NEAR_MATCH_CUTOFF
    near = difflib.get_close_matches(name, list(known), NEAR_MATCHES_MAX, cutoff)
    return {"hint": f"did you mean {' or '.join(near)}?"} if near else {}
