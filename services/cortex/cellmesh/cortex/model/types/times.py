"""time, ival and duration, all in milliseconds; the text forms are those of cellmesh.common.time."""

from __future__ import annotations

from typing import Any, ClassVar, cast

from cellmesh.common.errors import BadCmprValu, BadTypeValu
from cellmesh.common.time import durations, intervals, parse
from cellmesh.cortex.model.encoding import encode_signed
from cellmesh.cortex.model.scans import Filtered, IndexScan, Predicate, Range
from cellmesh.cortex.model.types.base import ORDER_TESTS, BaseType, Normed, order_range, shown

TIME_SIZE = 8


class TimeType(BaseType):
    """Milliseconds since 1970, UTC; "?" is a time to come.

    Options: `ismin` and `ismax` make a property keep the earliest or latest time it was ever set to.
    Comparisons also take `2020*`, the whole year, and so on down to the second.
    """

    ordered: ClassVar[bool] = True
    more_comparators: ClassVar[tuple[str, ...]] = ("@=",)

    def compile(self) -> None:
        self.is_min, self.is_max = bool(self.options.get("ismin")), bool(self.options.get("ismax"))

    def normalize(self, value: object) -> Normed:
        try:
            return Normed(parse.normalize_time(value, clock=self.model.clock))
        except BadTypeValu as error:
            raise self.bad(error.message, value) from None

    def merge(self, old: object, new: object) -> object:
        if self.is_min:
            return min(old, new)  # type: ignore[call-overload]
        if self.is_max:
            return max(old, new)  # type: ignore[call-overload]
        return new

    def repr(self, value: Any) -> Any:
        return parse.print_time(value)

    def encode(self, value: Any) -> bytes:
        return encode_signed(value, TIME_SIZE)

    def span(self, value: object) -> tuple[int, int] | None:
        """Return the span of `2020*`, its end excluded, or None if the operand has no star."""
        if not isinstance(value, str) or not value.strip().endswith("*"):
            return None
        try:
            return parse.parse_range(value)
        except BadTypeValu as error:
            raise self.bad(error.message, value) from None

    def bound(self, name: str, value: object) -> int:
        """Return the time that an order comparison means: of a span, `<` and `<=` mean the end."""
        span = self.span(value)
        if span is None:
            return cast("int", self.norm(value))
        return span[1] if name in ("<", "<=") else span[0]

    def compare_order(self, name: str, value: object) -> Predicate:
        return ORDER_TESTS[name](self.bound(name, value))

    def lift_order(self, name: str, value: object) -> tuple[IndexScan, ...]:
        return (order_range(name, self.encode(self.bound(name, value))),)

    def compare_equal(self, value: object) -> Predicate:
        span = self.span(value)
        return self.equal_to(value) if span is None else _within(*span)

    def lift_equal(self, value: object) -> tuple[IndexScan, ...]:
        span = self.span(value)
        if span is None:
            return super().lift_equal(value)
        # The first moment of the next year, month or day counts as well, unlike in a filter.
        return self.scan_between(*span)

    def range_of(self, value: object) -> tuple[Any, Any]:
        return self.pair(value)

    def pair(self, value: object) -> tuple[int, int]:
        """Return two times, the second of which may be relative to the first."""
        items = self.operands(value)
        if len(items) != 2:
            raise BadCmprValu(f"needs two times: {shown(value)}", name=self.name)
        try:
            return intervals.normalize_pair(list(items), clock=self.model.clock)
        except BadTypeValu as error:
            raise self.bad(error.message, value) from None

    def compare_overlap(self, value: object) -> Predicate:
        """Test for a time within an interval, its end excluded; for equality with a single time."""
        if isinstance(value, (list, tuple)):
            return _within(*self.pair(value))
        return self.equal_to(value)

    def lift_overlap(self, value: object) -> tuple[IndexScan, ...]:
        """Scan the times within an interval, its end excluded."""
        if not isinstance(value, (list, tuple)):
            return super().lift_equal(value)
        low, high = self.pair(value)
        return (Range(self.encode(low), self.encode(high)),) if low < high else ()


class IntervalType(BaseType):
    """A stretch of time: start and end, which is excluded. Setting one widens the one that is there."""

    more_comparators: ClassVar[tuple[str, ...]] = ("@=",)

    def comparators(self) -> tuple[str, ...]:
        return tuple(name for name in super().comparators() if name != "range=")

    def normalize(self, value: object) -> Normed:
        given = list(value) if isinstance(value, tuple) else value
        try:
            return Normed(intervals.normalize_interval(given, clock=self.model.clock))
        except BadTypeValu as error:
            raise self.bad(error.message, value) from None

    def merge(self, old: object, new: object) -> object:
        return intervals.merge(cast("tuple[int, int]", old), cast("tuple[int, int]", new))

    def repr(self, value: Any) -> Any:
        return intervals.print_interval(tuple(value))

    def encode(self, value: Any) -> bytes:
        low, high = value
        return encode_signed(low, TIME_SIZE) + encode_signed(high, TIME_SIZE)

    def compare_equal(self, value: object) -> Predicate:
        low, high = self.norm(value)
        return lambda stored: tuple(cast("tuple[int, int]", stored)) == (low, high)

    def compare_overlap(self, value: object) -> Predicate:
        """Test for an interval that shares a moment with the operand."""
        low, high = self.window(value)
        return lambda stored: _overlap(cast("tuple[int, int]", stored), low, high)

    def lift_overlap(self, value: object) -> tuple[IndexScan, ...]:
        """Scan the intervals that start before the operand's end, keeping those that end after its start."""
        low, high = self.window(value)
        scanned = Range(b"", encode_signed(high, TIME_SIZE))
        return (Filtered(scanned, lambda stored: _overlap(cast("tuple[int, int]", stored), low, high)),)

    def window(self, value: object) -> tuple[int, int]:
        """Return the interval that an operand of `@=` means."""
        if isinstance(value, (list, tuple)):
            time = self.model.type("time")
            assert isinstance(time, TimeType)
            low, high = time.pair(value)
            return low, high if high > low else low + 1
        return cast("tuple[int, int]", self.norm(value))


class DurationType(BaseType):
    """A length of time, as `2D 03:04:05.678` or in milliseconds."""

    ordered: ClassVar[bool] = True

    def normalize(self, value: object) -> Normed:
        try:
            return Normed(durations.normalize_duration(value))
        except BadTypeValu as error:
            raise self.bad(error.message, value) from None

    def repr(self, value: Any) -> Any:
        return durations.print_duration(value)

    def encode(self, value: Any) -> bytes:
        return encode_signed(value, TIME_SIZE)


def _within(low: int, high: int) -> Predicate:
    return lambda stored: low <= stored < high  # type: ignore[operator]


def _overlap(stored: tuple[int, int], low: int, high: int) -> bool:
    return stored[0] < high and low < stored[1]
