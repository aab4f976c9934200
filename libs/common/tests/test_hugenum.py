"""Exact decimals, held against Synapse's results."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from cellmesh.common import errors, hugenum
from hypothesis import given
from hypothesis import strategies as st

VECTORS = json.loads((Path(__file__).parent / "vectors" / "hugenum.json").read_text())
REFUSED = {"error": True}


def outcome(call: Any, *args: Any) -> Any:
    try:
        found = call(*args)
    except errors.BadTypeValu:
        return REFUSED
    return [str(item) for item in found] if isinstance(found, tuple) else str(found)


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div", "mod", "pow", "scaleb"])
def test_arithmetic_agrees(name: str) -> None:
    rows = [row for row in VECTORS["operations"] if row[0] == name]
    assert len(rows) > 300
    call = getattr(hugenum, name)
    wrong = [row for row in rows if outcome(call, Decimal(row[1]), Decimal(row[2])) != row[3]]
    assert wrong == []


@pytest.mark.parametrize(("text", "wanted"), VECTORS["round"])
def test_rounding_agrees(text: str, wanted: Any) -> None:
    assert outcome(hugenum.round, Decimal(text)) == wanted


@pytest.mark.parametrize(("text", "wanted"), VECTORS["parse"])
def test_parsing_agrees(text: str, wanted: Any) -> None:
    assert outcome(hugenum.hugenum, text) == wanted


@pytest.mark.parametrize(("text", "wanted"), VECTORS["norm"])
def test_stored_numbers_agree(text: str, wanted: Any) -> None:
    assert outcome(lambda: hugenum.text(hugenum.normalize(Decimal(text)))) == wanted


@pytest.mark.parametrize(
    ("value", "wanted"), [(1, "1"), (0.1, "0.1"), (True, "1"), (2**200, str(2**200)), (1e22, "1E+22")]
)
def test_numbers_are_taken_exactly(value: Any, wanted: str) -> None:
    assert str(hugenum.hugenum(value)) == wanted


@pytest.mark.parametrize("value", [None, b"1", [1], (0, (1,), 0)])
def test_other_kinds_are_refused(value: Any) -> None:
    with pytest.raises(errors.BadTypeValu, match="no number") as caught:
        hugenum.hugenum(value)
    assert caught.value.get("valu") == value


@pytest.mark.parametrize(
    ("value", "wanted"),
    [("1.10", "1.1"), ("100", "100"), ("1E+5", "100000"), ("0.00", "0"), ("6E-25", "0." + "0" * 23 + "1")],
)
def test_text_has_no_exponent_and_no_trailing_zeros(value: str, wanted: str) -> None:
    assert hugenum.text(hugenum.normalize(value)) == wanted


@pytest.mark.parametrize(
    "value", ["730750818665451459101842.000000000000000000000001", "-730750818665451459101843", "inf", "nan"]
)
def test_out_of_range_is_refused(value: str) -> None:
    with pytest.raises(errors.BadTypeValu):
        hugenum.normalize(value)
    with pytest.raises(errors.BadIndxValu):
        hugenum.encode_index(Decimal(value))


@pytest.mark.parametrize(("written", "wanted"), VECTORS["written"])
def test_written_numbers_agree(written: str, wanted: Any) -> None:
    units = {"g": Decimal(1), "kg": Decimal(1000), "mm": Decimal("0.001")}
    assert outcome(lambda: hugenum.text(hugenum.normalize(written, units=units))) == wanted


@pytest.mark.parametrize("written", ["5%", "1-5", "1/2", "1.2.3", "1_0", "1 kg?", "1" * 1000])
def test_what_follows_a_number_is_not_dropped(written: str) -> None:
    with pytest.raises(errors.BadTypeValu):
        hugenum.normalize(written)


def test_an_unknown_unit_is_named_with_those_that_are_known() -> None:
    with pytest.raises(errors.BadTypeValu, match=r"unknown unit stone.*units are g, kg"):
        hugenum.normalize("3 stone", units={"g": Decimal(1), "kg": Decimal(1000)})


def test_division_by_zero_says_so() -> None:
    for left in (0, 1):
        with pytest.raises(errors.BadTypeValu, match="division by zero"):
            hugenum.div(left, 0)


def test_errors_of_decimals_survive_the_wire() -> None:
    with pytest.raises(errors.BadTypeValu) as caught:
        hugenum.mul(Decimal("1E+999999"), 10)
    again = errors.from_status(errors.to_status(caught.value))
    assert again.get("valu") == [Decimal("1E+999999"), 10]


stored = st.decimals(hugenum.MIN, hugenum.MAX, places=24, allow_nan=False, allow_infinity=False)


@given(stored, stored)
def test_index_bytes_come_back_and_sort(left: Decimal, right: Decimal) -> None:
    first, second = hugenum.encode_index(left), hugenum.encode_index(right)
    assert len(first) == len(second) == hugenum.INDEX_SIZE
    assert hugenum.decode_index(first) == left
    assert (first < second) == (left < right)


@pytest.mark.parametrize("value", [hugenum.MIN, hugenum.MAX, Decimal(0), hugenum.UNIT, -hugenum.UNIT])
def test_index_bytes_at_the_edges(value: Decimal) -> None:
    assert hugenum.decode_index(hugenum.encode_index(value)) == value


def test_index_bytes_of_another_size_are_refused() -> None:
    with pytest.raises(errors.BadIndxValu):
        hugenum.decode_index(b"\0" * 19)


@given(stored)
def test_normal_numbers_stay_as_they_are_through_text(value: Decimal) -> None:
    normal = hugenum.normalize(value)
    assert hugenum.normalize(normal) == normal == value
    assert hugenum.normalize(hugenum.text(normal)) == normal
