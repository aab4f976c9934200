"""Comparisons: filters as observed from Synapse 2.256, and index scans that answer the same as the filters."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from cellmesh.common.errors import BadCmprValu, BadTypeValu, NoSuchCmpr
from cellmesh.cortex.model.registry import Model
from cellmesh.cortex.model.scans import Exact, Filtered, IndexScan, Prefix, Range
from cellmesh.cortex.model.types.base import BaseType
from hypothesis import given, settings
from hypothesis import strategies as st

MODEL = Model.load()
VECTORS = json.loads((Path(__file__).parent / "comparison_vectors.json").read_bytes())


def stored_of(value: Any) -> Any:
    return tuple(stored_of(item) for item in value) if isinstance(value, list) else value


@pytest.mark.parametrize(
    "vector", VECTORS, ids=lambda item: f"{item['type']}{item['comparison']}{item['operand']}"
)
def test_filters_match_as_observed(vector: dict[str, Any]) -> None:
    test = MODEL.type(vector["type"]).comparator(vector["comparison"], vector["operand"])
    assert [value for value in vector["matches"] if not test(stored_of(value))] == []
    assert [value for value in vector["misses"] if test(stored_of(value))] == []


def answer(type_: BaseType, scans: Iterable[IndexScan], values: Iterable[Any]) -> list[Any]:
    """Answer scans as an index does: entries sorted by key."""
    entries = sorted(((type_.encode(value), value) for value in values), key=lambda entry: entry[0])
    found: list[Any] = []
    for scan in scans:
        for key, value in entries:
            if hit(scan, key, value):
                found.append(value)
    return found


def hit(scan: IndexScan, key: bytes, value: Any) -> bool:
    match scan:
        case Exact(wanted):
            return key == wanted
        case Prefix(prefix):
            return key.startswith(prefix)
        case Range(low, high):
            return low <= key and (high is None or key < high)
        case Filtered(scanned, predicate):
            return hit(scanned, key, value) and predicate(value)


WORDS = st.text("ab.", min_size=1, max_size=6)
LONG = st.text("ab", min_size=230, max_size=270)
TIMES = st.integers(1577836800000 - 5, 1577836800000 + 400 * 86400000)
IPV4 = st.integers(0, 600) | st.integers(2**32 - 300, 2**32 - 1)

CASES: list[tuple[str, Any, list[tuple[str, Any]]]] = [
    ("int", st.integers(-9, 9), [("=", 3), ("<", 3), (">", -2), ("<=", 3), (">=", 3), ("range=", (-2, 4)), ("in=", (1, 5))]),
    ("float", st.floats(-3, 3), [("<", "0.5"), (">=", -1), ("range=", (-1, 1))]),
    ("str", WORDS | LONG, [("=", "ab"), ("^=", "a"), ("^=", "a" * 250), ("~=", "b$"), ("in=", ("a", "b"))]),
    ("loc", WORDS, [("=", "a.b"), ("^=", "a"), ("^=", "a.b")]),
    ("time", TIMES, [("=", "2020*"), ("=", "2020-01*"), ("<", "2020*"), ("<=", "2020"), (">", "2020-06"), ("@=", ("2020", "2020-06")), ("range=", ("2020", "2020-06"))]),
    ("ival", st.tuples(TIMES, TIMES).map(lambda pair: (min(pair), max(pair) + 1)), [("@=", ("2020-02", "2020-06")), ("@=", "2020-06")]),
    ("hugenum", st.integers(-50, 50).map(lambda number: str(number / 4)), [("<", 3), (">=", "-2.5"), ("=", "2.50")]),
    ("inet:ipv4", IPV4, [("=", "0.0.1.0/24"), ("=", "0.0.0.5-0.0.1.9"), ("<", "0.0.1.0"), ("range=", ("0.0.0.9", "0.0.1.1")), ("in=", (1, 2))]),
    ("inet:ipv6", st.integers(0, 600).map(lambda number: MODEL.type("inet:ipv6").norm(number)), [("=", "::/120"), ("=", "::5-::120"), ("<", "::100"), (">=", "::1f")]),
    ("inet:fqdn", st.sampled_from(["foo.com", "a.foo.com", "b.a.foo.com", "xfoo.com", "com", "foo.net"]), [("=", "foo.com"), ("=", "*.foo.com"), ("=", "*foo.com"), ("=", "*"), ("~=", "^a")]),
    ("guid", st.sampled_from(["00" * 16, "ab" + "00" * 15, "ac" + "00" * 15]), [("^=", "ab"), ("=", "00" * 16)]),
    ("inet:dns:a", st.tuples(st.sampled_from(["a.com", "b.com"]), st.integers(0, 3)), [("=", ("a.com", 1)), ("in=", (("a.com", 1), ("b.com", 2)))]),
    ("geo:latlong", st.tuples(st.floats(-2, 2) | st.floats(88, 90), st.floats(-2, 2) | st.sampled_from([179.5, -179.5, 180.0, 90.0])), [("near=", ((0, 0), "100km")), ("near=", ((89.5, 3), "100km")), ("near=", ((1, 179.9), "300km")), ("=", (0, 0))]),
    ("meta:event:taxonomy", st.sampled_from(["foo.", "foo.bar.", "food.", "bar."]), [("^=", "foo."), ("=", "foo"), ("~=", "bar")]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "values", "comparisons"), CASES, ids=[case[0] for case in CASES])
def test_index_scans_find_what_filters_match(
    name: str, values: Any, comparisons: list[tuple[str, Any]]
) -> None:
    type_ = MODEL.type(name)

    @settings(deadline=None)
    @given(st.lists(values, max_size=12, unique=True))
    def check(given_values: list[Any]) -> None:
        for comparison, operand in comparisons:
            test = type_.comparator(comparison, operand)
            wanted = [value for value in given_values if test(value)]
            found = answer(type_, type_.lift(comparison, operand), given_values)
            assert sorted(found, key=repr) == sorted(wanted, key=repr), (comparison, operand)

    check()


def test_scans_of_in_keep_the_order_of_the_operands() -> None:
    ints = MODEL.type("int")
    assert answer(ints, ints.lift("in=", (5, 1)), [1, 3, 5]) == [5, 1]


def test_a_glob_lifts_by_prefix() -> None:
    phone = MODEL.type("tel:phone")
    numbers = ["17035551212", "18005551212"]
    assert answer(phone, phone.lift("=", "1703*"), numbers) == ["17035551212"]
    assert answer(phone, phone.lift("=", "+1 (703)*"), numbers) == []  # looked for as it is written
    md5 = MODEL.type("hash:md5")
    assert md5.lift("=", "AB*") == (Prefix(b"ab"),)


@pytest.mark.parametrize(
    ("name", "comparison"), [("int", "@="), ("int", "near="), ("str", "<"), ("ival", "range=")]
)
def test_a_comparison_the_type_lacks_is_an_error(name: str, comparison: str) -> None:
    with pytest.raises(NoSuchCmpr) as caught:
        MODEL.type(name).comparator(comparison, 3)
    assert caught.value.get("cmpr") == comparison


@pytest.mark.parametrize(
    ("name", "comparison"),
    [
        ("int", "!="),
        ("int", "^="),
        ("int", "~="),
        ("loc", "~="),
        ("guid", "~="),
        ("time", "~="),
        ("inet:fqdn", "^="),
    ],
)
def test_what_no_index_answers_cannot_be_lifted(name: str, comparison: str) -> None:
    with pytest.raises(NoSuchCmpr):
        MODEL.type(name).lift(comparison, 3)


def test_the_star_before_a_word_is_part_of_no_name() -> None:
    assert MODEL.type("int").comparator("*in=", (1, 2))(2)


def test_operands_are_normalised_and_refused_like_values() -> None:
    assert MODEL.type("inet:ipv4").comparator("<", "1.2.3.4")(5)
    with pytest.raises(BadTypeValu):
        MODEL.type("int").comparator("=", "abc")
    with pytest.raises(BadCmprValu):
        MODEL.type("int").comparator("range=", (1,))
    with pytest.raises(BadCmprValu):
        MODEL.type("str").comparator("~=", "(")


def test_data_and_tuples_compare_by_content_whether_kept_as_lists_or_tuples() -> None:
    data = MODEL.type("data")
    assert data.comparator("=", {"a": [1, 2]})({"a": (1, 2)})
    assert data.encode(None) == data.encode(None)
    comp = MODEL.type("inet:dns:a")
    assert comp.comparator("=", ("a.com", 5))(["a.com", 5])
    assert comp.comparator("in=", [("a.com", 5)])(["a.com", 5])


# Orders observed from Synapse's lifts.
ORDERS = [
    ("inet:fqdn", ["org", "z.org", "com", "a.com", "x.a.com", "b.com", "a-b.com", "ab.com", "net", "a.net"]),
    ("loc", ["de", "us va", "us-x", "us", "us.va", "usa"]),
    (
        "ival",
        [(1546300800000, 1735689600000), (1577836800000, 1590969600000), (1577836800000, 1609459200000)],
    ),
    ("geo:latlong", [(1.0, -9.0), (5.0, 1.0), (1.0, 2.0), (-5.0, 3.0)]),
    ("meta:event:taxonomy", ["a.", "a.b.", "a_b.", "b."]),
    ("inet:dns:a", [("a.com", 33686018), ("a.com", 16843009)]),
]


@pytest.mark.parametrize(("name", "values"), ORDERS, ids=[name for name, _ in ORDERS])
def test_an_index_lists_values_in_the_order_observed(name: str, values: list[Any]) -> None:
    assert sorted(values, key=MODEL.type(name).encode) == values


def test_where_a_lift_sees_more_or_less_than_a_filter() -> None:
    """Observed: indexes have stored texts and take any text as an end, filters see printed ones."""
    phone = MODEL.type("tel:phone")
    assert answer(phone, phone.lift("~=", "^1703"), ["17035551212"]) == ["17035551212"]
    assert not phone.comparator("~=", "^1703")("17035551212")
    assert phone.comparator("^=", "+1 (703)")("17035551212")
    assert answer(phone, phone.lift("^=", "+1 (703)"), ["17035551212"]) == []
    digits = MODEL.type("hex")
    assert answer(digits, digits.lift("range=", ("00", "ab")), ["01ff", "ab", "abcd", "ac"]) == [
        "01ff",
        "ab",
        "abcd",
    ]
    assert not digits.comparator("range=", ("00", "ab"))("abcd")
    url = MODEL.type("inet:url")
    assert answer(url, url.lift("range=", ("a", "http")), ["http://a.com"]) == ["http://a.com"]
    with pytest.raises(BadTypeValu):
        url.comparator("range=", ("a", "http"))
    fqdn = MODEL.type("inet:fqdn")
    assert fqdn.comparator("range=", ("a.com", "com"))("b.org")
    assert fqdn.comparator("^=", "bü")("xn--bcher-kva.de")
    time = MODEL.type("time")
    assert answer(time, time.lift("=", "2020*"), [1577836800000, 1609459200000]) == [
        1577836800000,
        1609459200000,
    ]
    assert not time.comparator("=", "2020*")(1609459200000)


def test_unequal_takes_a_value_and_no_block() -> None:
    for name, operand in (("inet:ipv4", "1.2.3.0/24"), ("inet:fqdn", "*.com"), ("inet:fqdn", "")):
        with pytest.raises(BadTypeValu):
            MODEL.type(name).comparator("!=", operand)
    assert MODEL.type("time").comparator("!=", "2020*")(1590969600000)


def test_trying_is_for_lifts() -> None:
    for operand in ("a.*", ""):
        assert MODEL.type("inet:fqdn").lift("?=", operand) == ()
    for operand in ("5", "abc"):
        with pytest.raises(NoSuchCmpr):
            MODEL.type("int").comparator("?=", operand)


def test_prefixes_of_places_and_taxonomies() -> None:
    place = MODEL.type("loc")
    assert [place.comparator("^=", text)("us.va") for text in ("us", "us.", "", "u")] == [
        True,
        False,
        False,
        False,
    ]
    for operand in ("foo.*", ""):
        with pytest.raises(BadTypeValu):
            MODEL.type("meta:event:taxonomy").comparator("^=", operand)


def test_tuples_are_within_a_range_part_by_part() -> None:
    within = MODEL.type("inet:dns:a").comparator("range=", (("a.com", 1), ("b.com", 2)))
    assert [within(pair) for pair in (("a.com", 0), ("a.com", 5), ("b.com", 3))] == [False, True, False]


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("inet:fqdn", ("a.com", "b.com")),
        ("loc", ("a", "b")),
        ("guid", ("a" * 32, "b" * 32)),
        ("inet:dns:a", (("a.com", 1), ("b.com", 2))),
    ],
)
def test_ranges_that_only_filters_know(name: str, ends: Any) -> None:
    MODEL.type(name).comparator("range=", ends)
    with pytest.raises(NoSuchCmpr):
        MODEL.type(name).lift("range=", ends)
