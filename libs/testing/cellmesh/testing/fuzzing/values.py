"""Values of all kinds, for types to make something of or to refuse."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any, Final

LENGTH_MAX: Final = 6
DEPTH_MAX: Final = 2

PIECES: Final = ("1.2.3.4", "::1", "[", "]", "(", ")", ":", "/", "//", "://", "@", "#", "*", "?", "-", "+", ".", ",", ";", "=",
    "%", "\\", "\x00", "\ufffd", "\u00e9", "\u00df", "\uff10", "0x", "ff", "2020", "2020*", "now", "+1day", "-1", "inf", "nan",
    "1e400", "a.com", "http", "tcp", "host", "file", "sha256", "guid", "hex", "base64", "cpe:2.3:a", "cpe:/a", "D", "T1234",
    "C:", "xn--", "\ud800", "us.ca", "10", " ", "\n", "'", '"', "0" * 32, "f" * 64, "km", "kg", "USD", "~", "`", "{", "}")  # fmt: skip
NUMBERS: Final = (0, 1, -1, 255, 2**31, 2**32, 2**63, 2**64, 2**128, -(2**63), -(2**64), 10**40, 0.5, 1e308, float("inf"),
    float("-inf"), float("nan"), Decimal("0.1"), Decimal("1e400"), Decimal("NaN"), True, False, None)  # fmt: skip


class ValueMaker:
    """Makes values; the same seed gives the same ones."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def value(self, depth: int = 0) -> Any:
        """One value."""
        choose = self._random
        kind = choose.randrange(12)
        if kind < 7:
            return "".join(choose.choices(PIECES, k=choose.randrange(1, LENGTH_MAX)))
        if kind == 7:
            return choose.choice(NUMBERS)
        if kind == 8:
            return choose.randrange(-(2 ** choose.randrange(1, 130)), 2 ** choose.randrange(1, 130))
        if kind == 9:
            return choose.randbytes(choose.randrange(70))
        if depth >= DEPTH_MAX:
            return ""
        items = [self.value(depth + 1) for _ in range(choose.randrange(4))]
        if kind == 10:
            return items if choose.random() < 0.5 else tuple(items)
        return {choose.choice(PIECES): item for item in items}


__all__ = ["ValueMaker"]
