"""Every key codec sorts like its values and gives them back."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from cellmesh.common.storage import codecs
from hypothesis import given
from hypothesis import strategies as st

INTS = st.integers(-(1 << 70), 1 << 70)
CASES: list[tuple[str, Any, Any]] = [
    ("uint8", codecs.UINT8, st.integers(0, 255)),
    ("uint64", codecs.UINT64, st.integers(0, 2**64 - 1)),
    ("unsigned 5", codecs.Unsigned(5), st.integers(0, 2**40 - 1)),
    ("int16", codecs.INT16, st.integers(-(2**15), 2**15 - 1)),
    ("int64", codecs.INT64, st.integers(-(2**63), 2**63 - 1)),
    ("big int", codecs.BIG_INT, st.one_of(INTS, st.integers())),
    ("float", codecs.FLOAT, st.floats(allow_nan=False).map(lambda value: value + 0.0)),
    ("bytes", codecs.RAW, st.binary()),
    ("text", codecs.TEXT, st.text(st.characters())),
    ("terminated bytes", codecs.TERMINATED_BYTES, st.binary()),
    ("terminated text", codecs.TERMINATED_TEXT, st.text(st.characters())),
    (
        "tuple",
        codecs.Tuple(codecs.TERMINATED_BYTES, codecs.TERMINATED_TEXT, codecs.BIG_INT, codecs.RAW),
        st.tuples(st.binary(max_size=4), st.text(max_size=3), st.integers(-300, 300), st.binary(max_size=3)),
    ),
]


@pytest.mark.parametrize(("codec", "values"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_codec_sorts_like_its_values(codec: Any, values: Any) -> None:
    @given(values, values)
    def check(one: Any, other: Any) -> None:
        first, second = codec.encode(one), codec.encode(other)
        assert (first < second) == (one < other)
        assert (first == second) == (one == other)
        assert codec.decode(first) == one

    check()


@given(st.binary(), st.integers(), st.floats(allow_nan=False), st.binary())
def test_parts_of_a_tuple_know_their_ends(one: bytes, two: int, three: float, four: bytes) -> None:
    codec = codecs.Tuple(codecs.TERMINATED_BYTES, codecs.BIG_INT, codecs.FLOAT, codecs.RAW)
    value = (one, two, three, four)
    assert codec.decode(codec.encode(value)) == value
    assert codec.encode(value).startswith(codec.encode((one, two)))


def test_float_keeps_minus_zero_infinities_and_nan() -> None:
    values = [-math.inf, -1.5, -5e-324, -0.0, 0.0, 5e-324, math.inf]
    keys = [codecs.FLOAT.encode(value) for value in values]
    assert keys == sorted(keys)
    assert [struct.pack(">d", codecs.FLOAT.decode(key)) for key in keys] == [
        struct.pack(">d", v) for v in values
    ]
    assert math.isnan(codecs.FLOAT.decode(codecs.FLOAT.encode(math.nan)))


@pytest.mark.parametrize(
    ("codec", "value"),
    [(codecs.UINT8, 256), (codecs.UINT8, -1), (codecs.INT8, 128), (codecs.BIG_INT, 1 << (8 * 0x7FFF))],
    ids=["over", "under", "signed", "huge"],
)
def test_value_out_of_range_is_refused(codec: Any, value: int) -> None:
    with pytest.raises(ValueError):
        codec.encode(value)


@pytest.mark.parametrize(
    ("codec", "data"),
    [
        (codecs.TERMINATED_BYTES, b"abc"),
        (codecs.TERMINATED_BYTES, b"abc\x00"),
        (codecs.BIG_INT, b"\x80\x02a"),
    ],
)
def test_cut_key_is_refused(codec: Any, data: bytes) -> None:
    with pytest.raises(ValueError):
        codec.decode(data)


@given(st.binary(), st.binary())
def test_prefix_end_bounds_exactly_the_keys_with_the_prefix(prefix: bytes, key: bytes) -> None:
    end = codecs.prefix_end(prefix)
    assert (key >= prefix and (end is None or key < end)) == key.startswith(prefix)
