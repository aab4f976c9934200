"""Operators of expressions on values: numbers exact, integers whole, text of digits counts as its number."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from decimal import Decimal, DivisionByZero, InvalidOperation, Overflow
from typing import Any

from cellmesh.common.errors import LimitExceeded, StormRuntimeError
from cellmesh.cortex.storm.parser.ast import BinaryOperator
from cellmesh.cortex.storm.runtime.values import NUMBERS, equal, match_regex, tobool, tonumber, tostr

POWER_BIT_COUNT_MAX = 1 << 18
"""Most bits that a power of integers may have."""


def add(left: Any, right: Any) -> int | Decimal:
    """`left + right`."""
    left, right = tonumber(left), tonumber(right)
    if type(left) is int and type(right) is int:
        return left + right
    return _number(NUMBERS.add, left, right)


def subtract(left: Any, right: Any) -> int | Decimal:
    """`left - right`."""
    left, right = tonumber(left), tonumber(right)
    if type(left) is int and type(right) is int:
        return left - right
    return _number(NUMBERS.subtract, left, right)


def multiply(left: Any, right: Any) -> int | Decimal:
    """`left * right`."""
    left, right = tonumber(left), tonumber(right)
    if type(left) is int and type(right) is int:
        return left * right
    return _number(NUMBERS.multiply, left, right)


def divide(left: Any, right: Any) -> int | Decimal:
    """`left / right`; of integers the whole part, rounded down."""
    left, right = tonumber(left), tonumber(right)
    if type(left) is int and type(right) is int:
        if right == 0:
            raise _no_division()
        return left // right
    return _number(NUMBERS.divide, left, right)


def modulo(left: Any, right: Any) -> int | Decimal:
    """`left % right`; of integers it has the sign of the right side."""
    left, right = tonumber(left), tonumber(right)
    if type(left) is int and type(right) is int:
        if right == 0:
            raise _no_division()
        return left % right
    return _number(NUMBERS.remainder, left, right)


def power(left: Any, right: Any) -> int | Decimal:
    """`left ** right`."""
    left, right = tonumber(left), tonumber(right)
    if type(left) is int and type(right) is int and right >= 0:
        if left.bit_length() * right > POWER_BIT_COUNT_MAX:
            raise LimitExceeded("the power is too large", name="power_bits", limit=POWER_BIT_COUNT_MAX)
        return int(left**right)
    return _number(NUMBERS.power, left, right)


def negate(value: Any) -> int | Decimal:
    """`-value`."""
    value = tonumber(value)
    return -value if type(value) is int else NUMBERS.minus(value)


def _number(compute: Callable[[Any, Any], Decimal], left: int | Decimal, right: int | Decimal) -> Decimal:
    try:
        return compute(left, right)
    except DivisionByZero:
        raise _no_division() from None
    except (InvalidOperation, Overflow) as error:
        if right == 0:
            raise _no_division() from None
        raise StormRuntimeError(f"the numbers are out of range: {type(error).__name__}") from None


def _no_division() -> StormRuntimeError:
    return StormRuntimeError("division by zero")


def less(left: Any, right: Any) -> bool:
    """`left < right`, by number."""
    return bool(tonumber(left) < tonumber(right))


def less_or_equal(left: Any, right: Any) -> bool:
    """`left <= right`, by number."""
    return bool(tonumber(left) <= tonumber(right))


def greater(left: Any, right: Any) -> bool:
    """`left > right`, by number."""
    return bool(tonumber(left) > tonumber(right))


def greater_or_equal(left: Any, right: Any) -> bool:
    """`left >= right`, by number."""
    return bool(tonumber(left) >= tonumber(right))


def has_prefix(left: Any, right: Any) -> bool:
    """`left ^= right`."""
    return tostr(left).startswith(tostr(right))


def not_equal(left: Any, right: Any) -> bool:
    """`left != right`."""
    return not equal(left, right)


OPERATORS: Mapping[BinaryOperator, Callable[[Any, Any], Any]] = {
    BinaryOperator.ADD: add,
    BinaryOperator.SUBTRACT: subtract,
    BinaryOperator.MULTIPLY: multiply,
    BinaryOperator.DIVIDE: divide,
    BinaryOperator.MODULO: modulo,
    BinaryOperator.POWER: power,
    BinaryOperator.EQUAL: equal,
    BinaryOperator.NOT_EQUAL: not_equal,
    BinaryOperator.LESS: less,
    BinaryOperator.LESS_OR_EQUAL: less_or_equal,
    BinaryOperator.GREATER: greater,
    BinaryOperator.GREATER_OR_EQUAL: greater_or_equal,
    BinaryOperator.PREFIX: has_prefix,
    BinaryOperator.REGEX: match_regex,
}
"""AND and OR are not here: they stop early."""

INT_OPERATORS: Mapping[BinaryOperator, Callable[[int, int], Any]] = {
    BinaryOperator.ADD: operator.add,
    BinaryOperator.SUBTRACT: operator.sub,
    BinaryOperator.MULTIPLY: operator.mul,
    BinaryOperator.EQUAL: operator.eq,
    BinaryOperator.NOT_EQUAL: operator.ne,
    BinaryOperator.LESS: operator.lt,
    BinaryOperator.LESS_OR_EQUAL: operator.le,
    BinaryOperator.GREATER: operator.gt,
    BinaryOperator.GREATER_OR_EQUAL: operator.ge,
}
"""What two ints may take a shorter way through."""

__all__ = ["INT_OPERATORS", "OPERATORS", "negate", "tobool"]
