"""Whatever comes in, a type gives a value it can encode and print, or a typed error: never another exception."""

from __future__ import annotations

from decimal import Decimal

import pytest
from cellmesh.common.errors import CellError
from cellmesh.cortex.model.encoding import KEY_SIZE_MAX
from cellmesh.cortex.model.registry import Model
from cellmesh.cortex.model.types import FAMILIES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

MODEL = Model.load()

# Types that need options are stood for by one that has them.
STAND_INS = {
    "comp": "inet:dns:a",
    "array": "array",
    "edge": "edge:refs",
    "timeedge": "edge:wentto",
    "taxonomy": "meta:event:taxonomy",
}
NAMES = sorted({STAND_INS.get(name, name) for name in FAMILIES} | {"inet:mac", "it:sec:cve", "geo:bbox", "mass", "inet:net4", "inet:net6", "inet:asnet6", "econ:price", "crypto:currency:address", "transport:direction"})  # fmt: skip

PIECES = st.sampled_from(
    [
        "1.2.3.4",
        "::1",
        "[",
        "]",
        "(",
        ")",
        ":",
        "/",
        "//",
        "://",
        "@",
        "#",
        "*",
        "?",
        "-",
        "+",
        ".",
        ",",
        ";",
        "=",
        "%",
        "\\",
        "\x00",
        "�",
        "é",
        "ß",
        "０",
        "２",
        "0x",
        "ff",
        "2020",
        "2020*",
        "now",
        "+1day",
        "-1",
        "inf",
        "nan",
        "1e400",
        "a.com",
        "http",
        "tcp",
        "host",
        "file",
        "sha256",
        "guid",
        "hex",
        "base64",
        "cpe:2.3:a",
        "cpe:/a",
        "D",
        "T1234",
        "C:",
        "AV:N",
        "us.va",
        "5km",
        "3",
        "mph",
    ]
)
TEXT = st.lists(PIECES, max_size=7).map("".join) | st.text(max_size=20)
NUMBERS = st.integers() | st.integers(-300, 300) | st.floats() | st.decimals() | st.booleans()
PLAIN = st.none() | NUMBERS | TEXT | st.binary(max_size=8)
NESTED = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=2), max_leaves=6
)
PAIRS = st.tuples(st.sampled_from(["inet:fqdn", "inet:ipv4", "inet:ipv4:asn", "ou:org", "no:such"]), PLAIN)
VALUES = TEXT | NESTED | PAIRS | st.tuples(PAIRS, PAIRS) | st.tuples(PAIRS, PAIRS, TEXT)


@pytest.mark.parametrize("name", NAMES)
def test_no_input_breaks_a_type(name: str) -> None:
    type_ = MODEL.type(name)

    @settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(VALUES)
    def check(value: object) -> None:
        try:
            normed = type_.normalize(value)
        except CellError:
            return
        assert len(type_.encode(normed.value)) <= KEY_SIZE_MAX
        type_.repr(normed.value)

    check()


@pytest.mark.parametrize("name", NAMES)
def test_no_operand_breaks_a_comparison(name: str) -> None:
    type_ = MODEL.type(name)
    names = type_.comparators()

    @settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(st.sampled_from(names), VALUES)
    def check(comparison: str, value: object) -> None:
        for make in (type_.comparator, type_.lift):
            try:
                make(comparison, value)
            except CellError:
                continue

    check()


def test_a_decimal_is_taken_where_numbers_are() -> None:
    assert MODEL.type("int").normalize(Decimal("5.0")).value == 5
    assert MODEL.type("hugenum").normalize(Decimal("5.50")).value == "5.5"
    assert MODEL.type("str").normalize(Decimal("5.50")).value == "5.5"


@pytest.mark.parametrize("value", [-60905851785824, "-490154203237518", "-1"])
def test_a_negative_imei_is_refused(value: object) -> None:
    with pytest.raises(CellError):
        MODEL.type("tel:mob:imei").normalize(value)
