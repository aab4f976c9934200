"""Phone numbers and the numbers of phones: tel:phone, tel:mob:imei, tel:mob:imsi."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from cellmesh.cortex.model.scans import Predicate
from cellmesh.cortex.model.types.base import BaseType, Normed
from cellmesh.cortex.model.types.numbers import IntType
from cellmesh.cortex.model.types.strings import TextType

_DIGITS = re.compile(r"\d")
IMEI_DIGITS = 15
IMSI_DIGITS_MAX = 15


class PhoneType(TextType):
    """A phone number: its digits. Sub-value: `loc`, the country that its code belongs to."""

    globs = True

    def normalize(self, value: object) -> Normed:
        if isinstance(value, int) and value < 1:
            raise self.bad("a phone number is above 0", value)
        digits = "".join(_DIGITS.findall(self.to_text(value)))
        if not digits:
            raise self.bad("has no digit", value)
        country = country_of(digits)
        return Normed(digits, (("loc", country),) if country else ())

    def glob_prefix(self, value: object) -> str | None:
        if isinstance(value, str) and value.endswith("*"):
            return value[:-1]  # as it is: the digits that a number is kept as have no signs between them
        return None

    def compare_prefix(self, value: object) -> Predicate:
        # A filter looks at the printed number, a lift at the digits.
        return BaseType.compare_prefix(self, value)

    def repr(self, value: Any) -> Any:
        if len(value) == 11 and value.startswith("1"):
            return f"+1 ({value[1:4]}) {value[4:7]}-{value[7:]}"
        return f"+{value}"


class ImeiType(IntType):
    """The number of a device; its last digit checks the others. Sub-values: `tac`, `serial`, `cd`."""

    def normalize(self, value: object) -> Normed:
        number = self.to_number(value)
        if number < 0:
            raise self.bad("is a number of digits, without a sign", value)
        text = str(number)
        if len(text) == IMEI_DIGITS - 1:
            number = number * 10 + check_digit(text)
            text = str(number)
        if len(text) != IMEI_DIGITS or check_digit(text[:-1]) != int(text[-1]):
            raise self.bad("needs 14 digits and a right check digit", value)
        return Normed(number, (("tac", int(text[:8])), ("serial", int(text[8:14])), ("cd", int(text[14]))))


class ImsiType(IntType):
    """The number of a subscriber. Sub-value: `mcc`, the country."""

    def normalize(self, value: object) -> Normed:
        number = self.to_number(value)
        text = str(number)
        if number < 0 or len(text) > IMSI_DIGITS_MAX:
            raise self.bad(f"has up to {IMSI_DIGITS_MAX} digits", value)
        return Normed(number, (("mcc", text[:3]),))


def check_digit(digits: str) -> int:
    """Return the digit that makes a number right by Luhn's rule."""
    total = 0
    for index, digit in enumerate(reversed(digits)):
        number = int(digit) * (2 if index % 2 == 0 else 1)
        total += number - 9 if number > 9 else number
    return -total % 10


def country_of(digits: str) -> str | None:
    """Return the ISO 3166 code of the country whose calling code a number starts with."""
    codes = _calling_codes()
    digits = digits.lstrip("0")
    for size in range(min(len(digits), max(map(len, codes))), 0, -1):
        found = codes.get(digits[:size])
        if found is not None:
            return found
    return None


@lru_cache(maxsize=1)
def _calling_codes() -> dict[str, str]:
    """Read the calling codes: source ITU-T E.164 and the North American Numbering Plan."""
    path = Path(__file__).parent / "calling_codes.json"
    codes: dict[str, str] = json.loads(path.read_bytes())
    return codes
