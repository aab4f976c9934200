"""What types make of values, held against answers observed from Synapse 2.256 (norm_vectors.json)."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from cellmesh.common.errors import BadConfValu, BadLiftValu, BadTypeDef, BadTypeValu, CellError, NoSuchForm
from cellmesh.common.time.clock import FixedClock
from cellmesh.cortex.model.definitions import TypeRef
from cellmesh.cortex.model.encoding import KEY_SIZE_MAX
from cellmesh.cortex.model.registry import Model

MODEL = Model.load(clock=FixedClock(1577836800000))
VECTORS = json.loads((Path(__file__).parent / "norm_vectors.json").read_bytes())
# Sub-values that Synapse works out when the node is made, not when the value is normalised.
LATER_SUBS = {"zone", "iszone", "issuffix"}


def plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return {key: plain(item) for key, item in value.items()} if isinstance(value, dict) else value


def name_of(vector: dict[str, Any]) -> str:
    options = json.dumps(vector["options"])[:30] if "options" in vector else ""
    return f"{vector['type']}{options}={json.dumps(vector['value'])[:50]}"


@pytest.mark.parametrize("vector", [item for item in VECTORS if "error" not in item], ids=name_of)
def test_good_values_normalise_as_observed(vector: dict[str, Any]) -> None:
    type_ = MODEL.resolve(TypeRef(vector["type"], vector.get("options", {})))
    normed = type_.normalize(vector["value"])
    subs = {name: plain(value) for name, value in normed.subs if name.rpartition(":")[2] not in LATER_SUBS}
    assert plain(normed.value) == vector["stored"]
    assert type(normed.value) is not bool
    assert subs == vector.get("subs", {})
    assert plain(type_.repr(normed.value)) == vector.get("repr", vector["stored"])


@pytest.mark.parametrize("vector", [item for item in VECTORS if "error" in item], ids=name_of)
def test_bad_values_are_refused_with_a_reason(vector: dict[str, Any]) -> None:
    with pytest.raises(CellError) as caught:
        MODEL.resolve(TypeRef(vector["type"], vector.get("options", {}))).normalize(vector["value"])
    assert type(caught.value).__name__ == vector["error"]
    assert len(caught.value.message) > 10


@pytest.mark.parametrize("vector", [item for item in VECTORS if "error" not in item], ids=name_of)
def test_a_stored_value_normalises_to_itself_and_has_a_bounded_key(vector: dict[str, Any]) -> None:
    type_ = MODEL.resolve(TypeRef(vector["type"], vector.get("options", {})))
    stored = type_.normalize(vector["value"]).value
    key = type_.encode(stored)
    assert len(key) <= KEY_SIZE_MAX
    if vector["type"] in DRIFTING or vector["stored"] in DRIFTING_VALUES:
        return
    assert type_.normalize(stored).value == stored


# A host address hashes the name it is given, and a cookie, a mail address and the like may lose more when
# read again; Synapse's do as well.
DRIFTING = {"inet:server", "inet:client", "inet:rfc2822:addr", "geo:altitude"}
DRIFTING_VALUES = ("", "/a ")  # hex of 0; a path whose last part ends with a space


def test_a_bad_value_names_type_value_and_reason() -> None:
    with pytest.raises(BadTypeValu) as caught:
        MODEL.type("inet:port").normalize(70000)
    assert caught.value.get("name") == "inet:port"
    assert caught.value.get("valu") == 70000
    assert "65535" in str(caught.value)


def test_now_comes_from_the_clock() -> None:
    assert MODEL.type("time").normalize("now").value == 1577836800000
    assert MODEL.type("ival").normalize(("now", "-1 day")).value == (1577750400000, 1577836800000)


def test_a_guid_star_is_random_and_a_list_is_not() -> None:
    guid = MODEL.type("ou:org")
    assert guid.normalize("*").value != guid.normalize("*").value
    assert (
        guid.normalize(("a", "b")).value
        == guid.normalize(["a", "b"]).value
        == "a5fcb7ee50dd99f27ff8f8aa5aedfbe1"
    )


def test_setting_an_interval_again_widens_it() -> None:
    ival = MODEL.type("ival")
    assert ival.merge((10, 20), (5, 12)) == (5, 20)


def test_ismin_and_ismax_keep_the_extreme() -> None:
    earliest = MODEL.resolve(TypeRef("time", {"ismin": True}))
    latest = MODEL.resolve(TypeRef("time", {"ismax": True}))
    assert earliest.merge(10, 20) == 10
    assert latest.merge(10, 20) == 20
    assert MODEL.type("time").merge(10, 20) == 20


def test_comps_arrays_and_ndefs_tell_which_nodes_they_imply() -> None:
    assert MODEL.type("inet:dns:a").normalize(("A.com", "1.2.3.4")).adds == (
        ("inet:fqdn", "a.com"),
        ("inet:ipv4", 0x01020304),
    )
    array = MODEL.resolve(TypeRef("array", {"type": "inet:fqdn"}))
    assert array.normalize(["a.com", "b.com"]).adds == (("inet:fqdn", "a.com"), ("inet:fqdn", "b.com"))
    assert MODEL.type("ndef").normalize(("inet:asn", 5)).adds == (("inet:asn", 5),)
    assert MODEL.type("it:prod:softname").normalize("x").adds == ()


def test_an_ndef_may_be_limited_to_forms_and_interfaces() -> None:
    actor = MODEL.type("entity:actor")
    assert actor.normalize(("ou:org", ("a",))).subs == (("form", "ou:org"),)
    with pytest.raises(BadTypeValu):
        actor.normalize(("inet:asn", 5))
    with pytest.raises(BadTypeValu):
        MODEL.type("inet:service:object").normalize(("inet:asn", 5))
    assert MODEL.type("econ:pay:instrument").normalize(("inet:asn", 5)).value == ("inet:asn", 5)
    with pytest.raises(NoSuchForm):
        actor.normalize(("no:form", 5))


def test_ipv4_blocks_are_expanded_for_edits() -> None:
    ipv4 = MODEL.type("inet:ipv4")
    assert list(ipv4.values_of_block("1.2.3.5/31")) == [0x01020304, 0x01020305]  # type: ignore[attr-defined]
    assert list(ipv4.values_of_block("0.0.0.1-0.0.0.3")) == [1, 2, 3]  # type: ignore[attr-defined]
    assert ipv4.values_of_block("1.2.3.4") is None  # type: ignore[attr-defined]


def test_composites_are_indexed_by_the_hash_of_their_value() -> None:
    # Observed: Synapse lifts these two in this order, which is that of the hashes.
    comp = MODEL.type("inet:dns:a")
    keys = [comp.encode(("a.com", number)) for number in (33686018, 16843009)]
    assert keys == sorted(keys)
    assert {len(key) for key in keys} == {32}


def test_a_star_in_the_middle_of_a_domain_name_is_refused() -> None:
    with pytest.raises(BadLiftValu):
        MODEL.type("inet:fqdn").lift("=", "alpha.*.com")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("int", {"min": 5, "max": 1}),
        ("int", {"size": 3}),
        ("int", {"size": "x"}),
        ("int", {"min": "x"}),
        ("float", {"max": "x"}),
        ("data", {"schema": "x"}),
        ("data", {"schema": {"type": "nosuch"}}),
        ("int", {"enums": [[1, "a"], [1, "b"]]}),
        ("str", {"regex": "("}),
        ("array", {"type": "array"}),
    ],
)
def test_options_that_make_no_sense_are_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(BadTypeDef):
        MODEL.resolve(TypeRef(name, options))


def test_a_hex_has_an_even_number_of_digits() -> None:
    with pytest.raises(BadConfValu):
        MODEL.resolve(TypeRef("hex", {"size": 3}))


def test_decimals_are_taken_as_the_nearest_float() -> None:
    text = MODEL.type("str")
    assert [text.normalize(Decimal(number)).value for number in ("1.50", "1", "1e30")] == [
        "1.5",
        "1.0",
        "1000000000000000000000000000000",
    ]
    assert MODEL.type("data").normalize({"a": [Decimal("1.50")]}).value == {"a": [1.5]}
    guid = MODEL.type("guid")
    assert guid.normalize((Decimal("1.5"), "a")).value == "bdb021476c9d30c147891772c3222b8e"
    with pytest.raises(BadTypeValu):
        MODEL.type("bool").normalize(Decimal("1.5"))


POINT = {"type": "Point", "coordinates": [1, 2]}
LINE = [[1, 2], [3, 4]]
RING = [[1, 2], [3, 4], [5, 6], [1, 2]]


@pytest.mark.parametrize(
    "value",
    [
        POINT,
        POINT | {"coordinates": [1, 2, 3], "x": 1, "bbox": [1, 2, 3, 4]},
        {"type": "LineString", "coordinates": LINE},
        {"type": "MultiPoint", "coordinates": []},
        {"type": "MultiLineString", "coordinates": [LINE]},
        {"type": "Polygon", "coordinates": [RING]},
        {"type": "MultiPolygon", "coordinates": [[RING]]},
        {"type": "GeometryCollection", "geometries": [POINT]},
        {"type": "Feature", "geometry": None, "properties": None},
        {"type": "Feature", "geometry": POINT, "properties": {"a": 1}, "id": [5]},
        {"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": POINT, "properties": {}}]},
    ],
)
def test_shapes_of_geojson_are_kept(value: object) -> None:
    assert MODEL.type("geo:json").normalize(value).value == value


@pytest.mark.parametrize(
    "value",
    [
        {},
        "text",
        {"type": ["Point"]},
        {"type": "Point"},
        {"type": "Pt", "coordinates": [1, 2]},
        {"type": "Point", "coordinates": [1]},
        {"type": "Point", "coordinates": ["a", 2]},
        {"type": "Point", "coordinates": [True, 2]},
        POINT | {"bbox": [1, 2]},
        {"type": "LineString", "coordinates": [[1, 2]]},
        {"type": "MultiLineString", "coordinates": [[[1, 2]]]},
        {"type": "Polygon", "coordinates": [[[1, 2], [3, 4], [1, 2]]]},
        {"type": "GeometryCollection"},
        {
            "type": "GeometryCollection",
            "geometries": [{"type": "Feature", "geometry": None, "properties": None}],
        },
        {"type": "Feature", "properties": {}},
        {"type": "Feature", "geometry": POINT},
        {"type": "Feature", "geometry": {"type": "Pt"}, "properties": {}},
        {"type": "FeatureCollection", "features": [POINT]},
    ],
)
def test_what_is_no_geojson_is_refused(value: object) -> None:
    with pytest.raises(BadTypeValu):
        MODEL.type("geo:json").normalize(value)


def test_data_may_have_a_schema() -> None:
    schema = {"type": "object", "required": ("a",), "properties": {"a": {"type": "array"}}}
    data = MODEL.resolve(TypeRef("data", {"schema": schema}))
    assert data.normalize({"a": (1, 2)}).value == {"a": [1, 2]}
    for value, place in (({"b": 1}, r"at \$"), ({"a": 5}, r"at \$\.a"), ("abc", r"at \$")):
        with pytest.raises(BadTypeValu, match=place):
            data.normalize(value)
