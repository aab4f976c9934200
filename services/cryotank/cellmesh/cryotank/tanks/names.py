"""Names of tanks and of consumers."""

from __future__ import annotations

import re
from typing import Final

from cellmesh.common.errors import BadName

NAME: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)


def check_name(name: str, what: str = "tank") -> str:
    """Return the name. Raises BadName when it is malformed."""
    if not NAME.fullmatch(name):
        raise BadName(
            f"a {what}'s name has 1 to 128 letters, digits, dots, dashes, underscores and colons",
            name=name[:129],
        )
    return name
