"""int, float, bool and hugenum."""

from __future__ import annotations

import decimal
from typing import Any, ClassVar

from cellmesh.common import hugenum
from cellmesh.common.errors import BadTypeDef, BadTypeValu
from cellmesh.cortex.model.encoding import encode_float, encode_signed, encode_unsigned
from cellmesh.cortex.model.scans import Predicate
from cellmesh.cortex.model.types.base import ORDER_TESTS, BaseType, Normed, shown

INT_SIZES = (1, 2, 4, 8, 16)

TRUE_WORDS = frozenset(("true", "t", "yes", "y", "on"))
FALSE_WORDS = frozenset(("false", "f", "no", "n", "off"))


class IntType(BaseType):
    """Whole numbers.

    Options: `size` in bytes and `signed` bound the range, as do `min` and `max`; `enums` is a list of
    (number, text) pairs, and with `enums:strict` other numbers are refused; `ismin` and
    `ismax` make a property keep the lowest or highest value it was ever set to.
    """

    ordered: ClassVar[bool] = True

    def compile(self) -> None:
        options = self.options
        self.size = self.number_of("size", 8)
        self.signed = bool(options.get("signed", True))
        if self.size not in INT_SIZES:
            raise BadTypeDef(f"an int has {INT_SIZES} bytes, not {self.size}", name=self.name)
        bits = self.size * 8
        lowest, highest = (-(1 << bits - 1), (1 << bits - 1) - 1) if self.signed else (0, (1 << bits) - 1)
        self.lowest = max(lowest, self.number_of("min", lowest))
        self.highest = min(highest, self.number_of("max", highest))
        if self.lowest > self.highest:
            raise BadTypeDef("the lowest value is above the highest", name=self.name)
        enums = options.get("enums") or ()
        self.text_by_number: dict[int, str] = {int(number): str(text) for number, text in enums}
        self.number_by_text: dict[str, int] = {
            text.lower(): number for number, text in self.text_by_number.items()
        }
        if len(self.number_by_text) != len(enums):
            raise BadTypeDef("two enums have the same number or text", name=self.name)
        self.strict = bool(enums) and bool(options.get("enums:strict", True))
        self.is_min, self.is_max = bool(options.get("ismin")), bool(options.get("ismax"))

    def number_of(self, option: str, default: int) -> int:
        """Return an option that is a whole number.

        Raises:
            BadTypeDef: it is something else.
        """
        given = self.options.get(option)
        try:
            return default if given is None else int(given)
        except (TypeError, ValueError, OverflowError):
            raise BadTypeDef(f"{option} is a whole number, not {shown(given)}", name=self.name) from None

    def normalize(self, value: object) -> Normed:
        number = self.to_number(value)
        if self.strict and number not in self.text_by_number:
            raise self.bad("not one of the values listed for it", value)
        if not self.lowest <= number <= self.highest:
            raise self.bad(f"must be from {self.lowest} to {self.highest}", value)
        return Normed(number)

    def to_number(self, value: object) -> int:
        """Read a number before it is checked against the bounds."""
        if isinstance(value, int):
            return int(value)
        if isinstance(value, str):
            if self.number_by_text and (found := self.number_by_text.get(value.lower())) is not None:
                return found
            try:
                return int(value, 0)
            except ValueError:
                # What starts with a zero is refused as well, as it may have been meant as octal.
                raise self.bad("not a whole number", value) from None
        if isinstance(value, (float, decimal.Decimal)):
            try:
                return hugenum.to_int(value)
            except (ValueError, OverflowError):
                raise self.bad("not a finite number, or far too large", value) from None
        raise self.bad_kind(value)

    def merge(self, old: object, new: object) -> object:
        if self.is_min:
            return min(old, new)  # type: ignore[call-overload]
        if self.is_max:
            return max(old, new)  # type: ignore[call-overload]
        return new

    def repr(self, value: Any) -> Any:
        text = self.text_by_number.get(value)
        return text if text is not None else str(value)

    def encode(self, value: Any) -> bytes:
        return encode_signed(value, self.size) if self.signed else encode_unsigned(value, self.size)


class FloatType(BaseType):
    """Floating point numbers. Options: `min`, `max`, `minisvalid`, `maxisvalid` (whether the bound itself is)."""

    ordered: ClassVar[bool] = True

    def compile(self) -> None:
        options = self.options
        self.lowest, self.highest = self.bound("min"), self.bound("max")
        self.lowest_valid = bool(options.get("minisvalid", True))
        self.highest_valid = bool(options.get("maxisvalid", True))

    def bound(self, option: str) -> float | None:
        """Return an option that is a number.

        Raises:
            BadTypeDef: it is something else.
        """
        given = self.options.get(option)
        try:
            return None if given is None else float(given)
        except (TypeError, ValueError, OverflowError):
            raise BadTypeDef(f"{option} is a number, not {shown(given)}", name=self.name) from None

    def normalize(self, value: object) -> Normed:
        if isinstance(value, bool) or not isinstance(value, (int, float, str, decimal.Decimal)):
            raise self.bad_kind(value)
        try:
            number = float(value)
        except (ValueError, OverflowError):
            raise self.bad("not a number", value) from None
        if self.lowest is not None and not (
            number >= self.lowest if self.lowest_valid else number > self.lowest
        ):
            raise self.bad(f"must be {'at least' if self.lowest_valid else 'above'} {self.lowest}", value)
        if self.highest is not None and not (
            number <= self.highest if self.highest_valid else number < self.highest
        ):
            raise self.bad(f"must be {'at most' if self.highest_valid else 'below'} {self.highest}", value)
        return Normed(number)

    def encode(self, value: Any) -> bytes:
        return encode_float(value)


class BoolType(BaseType):
    """True or false, stored as 1 or 0."""

    def normalize(self, value: object) -> Normed:
        if isinstance(value, int):
            return Normed(int(bool(value)))
        if isinstance(value, str):
            word = value.lower().strip()
            if word in TRUE_WORDS:
                return Normed(1)
            if word in FALSE_WORDS:
                return Normed(0)
            try:
                return Normed(int(bool(int(word, 0))))
            except ValueError:
                raise self.bad("say true or false", value) from None
        raise self.bad_kind(value)

    def repr(self, value: Any) -> Any:
        return "true" if value else "false"

    def encode(self, value: Any) -> bytes:
        return encode_unsigned(1 if value else 0, 1)


class HugeNumType(BaseType):
    """Exact decimals, stored as text.

    Options: `units` maps a unit's name to its factor; `modulo` wraps values into 0 <= value < modulo.
    """

    ordered: ClassVar[bool] = True

    def compile(self) -> None:
        units = self.options.get("units") or {}
        self.units = {str(name): decimal.Decimal(str(factor)) for name, factor in units.items()}
        modulo = self.options.get("modulo")
        self.modulo = None if modulo is None else decimal.Decimal(str(modulo))

    def normalize(self, value: object) -> Normed:
        if not isinstance(value, (int, float, str, decimal.Decimal)):
            raise self.bad_kind(value)
        try:
            number = (
                hugenum.parse_text(value, units=self.units)
                if isinstance(value, str)
                else hugenum.hugenum(value)
            )
            if self.modulo is not None and number.is_finite():
                _, number = hugenum.mod(number, self.modulo)
                if number < 0:
                    number = hugenum.add(number, self.modulo)
            return Normed(hugenum.text(hugenum.normalize(number)))
        except BadTypeValu as error:
            raise self.bad(error.message, value) from None

    def repr(self, value: Any) -> Any:
        return value

    def encode(self, value: Any) -> bytes:
        return hugenum.encode_index(decimal.Decimal(value))

    def compare_range(self, value: object) -> Predicate:
        # By text, as Synapse has it, where a lift goes by number: +:price*range=("1", "100") leaves out 19.99.
        low, high = self.range_of(value)
        return lambda stored: bool(low <= stored <= high)

    def compare_order(self, name: str, value: object) -> Predicate:
        test = ORDER_TESTS[name](decimal.Decimal(self.norm(value)))
        return lambda stored: test(decimal.Decimal(str(stored)))
