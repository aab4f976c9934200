"""Python values to and from Value, lossless."""

from __future__ import annotations

import enum
import math
from collections import OrderedDict
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from cellmesh.api.common.v1 import value_pb2
from cellmesh.common import errors
from cellmesh.common.values import from_value, to_value
from hypothesis import given
from hypothesis import strategies as st

text = st.text(st.characters(exclude_categories=("Cs",)))
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(2**300), max_value=2**300)
    | st.floats(allow_nan=False)
    | st.decimals(allow_nan=False)
    | st.binary()
    | text
)
keys = st.recursive(
    st.none() | st.booleans() | st.integers() | st.binary() | text,
    lambda inner: st.tuples(inner),
    max_leaves=2,
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(keys, inner, max_size=4), max_leaves=20
)


def exact(value: Any) -> Any:
    """A form in which 1, True, 1.0 and Decimal(1) differ, and so do orders of keys."""
    if isinstance(value, list | tuple):
        return ["list", *map(exact, value)]
    if isinstance(value, dict):
        return ["dict", *((exact(key), exact(item)) for key, item in value.items())]
    return type(value), str(value)


@given(values)
def test_values_come_back_the_same_through_bytes(value: Any) -> None:
    again = from_value(value_pb2.Value.FromString(to_value(value).SerializeToString()))
    assert exact(again) == exact(value)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "null_value"),
        (True, "bool_value"),
        (-(2**63), "int_value"),
        (2**63 - 1, "int_value"),
        (2**63, "big_int_value"),
        (-(2**63) - 1, "big_int_value"),
        (0.0, "double_value"),
        (Decimal("1.50"), "decimal_value"),
        ("", "string_value"),
        (b"", "bytes_value"),
        ([], "list_value"),
        ((), "list_value"),
        ({}, "map_value"),
    ],
)
def test_kinds(value: Any, kind: str) -> None:
    assert to_value(value).WhichOneof("kind") == kind


def test_odd_floats() -> None:
    assert math.isnan(from_value(to_value(math.nan)))
    assert from_value(to_value(-math.inf)) == -math.inf
    assert math.copysign(1, from_value(to_value(-0.0))) == -1


def test_value_with_no_kind_is_null() -> None:
    assert from_value(value_pb2.Value()) is None


class _Colour(enum.IntEnum):
    RED = 1


class _Pair(NamedTuple):
    left: int
    right: int


def test_subclasses_travel_as_what_they_extend() -> None:
    assert exact(
        from_value(to_value([_Colour.RED, _Pair(1, 2), OrderedDict(b=1, a=2), bytearray(b"x")]))
    ) == exact([1, [1, 2], {"b": 1, "a": 2}, b"x"])


@pytest.mark.parametrize("value", [object(), {1}, 1j, [object()], {"a": object()}, {(1, object()): 2}])
def test_other_kinds_are_refused(value: Any) -> None:
    with pytest.raises(errors.BadDataValu, match="has no place in a Value"):
        to_value(value)


@pytest.mark.parametrize("value", ["a\ud800b", {"a\ud800": 1}, ["\udfff"]])
def test_lone_surrogates_are_refused(value: Any) -> None:
    with pytest.raises(errors.BadDataValu, match="UTF-8"):
        to_value(value)


def nest(depth: int, make: Any) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = make(value)
    return value


@pytest.mark.parametrize(("depth", "make"), [(45, lambda value: [value]), (30, lambda value: {"a": value})])
def test_deepest_values_pass_and_deeper_ones_are_refused_by_the_sender(depth: int, make: Any) -> None:
    deepest = nest(depth, make)
    assert from_value(value_pb2.Value.FromString(to_value(deepest).SerializeToString())) == deepest
    with pytest.raises(errors.LimitExceeded, match="nest too deep"):
        to_value(make(deepest))


def test_integers_too_long_for_decimal_text_are_refused() -> None:
    with pytest.raises(errors.LimitExceeded, match="too many digits"):
        to_value(10**5000)


def test_broken_numbers_from_the_wire_are_refused() -> None:
    for broken in (
        value_pb2.Value(big_int_value="12x"),
        value_pb2.Value(decimal_value="--1"),
        value_pb2.Value(big_int_value="1" * 5000),
    ):
        with pytest.raises(errors.BadDataValu, match="is no"):
            from_value(broken)


def test_map_keys_that_are_maps_are_refused() -> None:
    broken = value_pb2.Value()
    broken.map_value.entries.add().value_key.map_value.SetInParent()
    with pytest.raises(errors.BadDataValu, match="key"):
        from_value(broken)
