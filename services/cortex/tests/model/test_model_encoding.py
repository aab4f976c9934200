"""Index bytes sort as the values do, and never grow beyond the bound."""

from __future__ import annotations

from cellmesh.cortex.model import encoding
from hypothesis import given
from hypothesis import strategies as st

INT64 = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False)
SHORT_TEXT = st.text(max_size=40)


def order(left: object, right: object) -> int:
    return (left > right) - (left < right)  # type: ignore[operator]


@given(INT64, INT64)
def test_signed_integers_sort_as_numbers(left: int, right: int) -> None:
    keys = encoding.encode_signed(left, 8), encoding.encode_signed(right, 8)
    assert order(*keys) == order(left, right)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_unsigned_integers_sort_as_numbers(left: int, right: int) -> None:
    keys = encoding.encode_unsigned(left, 4), encoding.encode_unsigned(right, 4)
    assert order(*keys) == order(left, right)


@given(FLOATS, FLOATS)
def test_floats_sort_as_numbers(left: float, right: float) -> None:
    keys = encoding.encode_float(left), encoding.encode_float(right)
    assert order(*keys) == order(left, right)


def test_nan_sorts_after_infinity() -> None:
    assert encoding.encode_float(float("nan")) > encoding.encode_float(float("inf"))


@given(SHORT_TEXT, SHORT_TEXT)
def test_text_sorts_by_code_point(left: str, right: str) -> None:
    keys = encoding.encode_text(left), encoding.encode_text(right)
    assert order(*keys) == order([ord(c) for c in left], [ord(c) for c in right])


@given(st.text(min_size=200, max_size=600), st.text(min_size=200, max_size=600))
def test_long_texts_keep_equality_and_the_order_of_their_prefixes(left: str, right: str) -> None:
    keys = encoding.encode_text(left), encoding.encode_text(right)
    assert max(map(len, keys)) <= encoding.KEY_SIZE_MAX
    assert (keys[0] == keys[1]) == (left == right)
    starts = [text.encode("utf-8", "surrogatepass")[: encoding.LONG_PREFIX_SIZE] for text in (left, right)]
    if starts[0] != starts[1]:
        assert order(*keys) == order(*starts)


def test_a_long_key_equals_no_short_one() -> None:
    long = encoding.bounded(b"x" * 300)
    assert len(long) == encoding.KEY_SIZE_MAX
    assert encoding.bounded(long) != long
