"""geo:json: shapes on the globe, as RFC 7946 writes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cellmesh.cortex.model.types.composites import DataType

POSITION_SIZE_MIN = 2
LINE_SIZE_MIN = 2
RING_SIZE_MIN = 4
BOX_SIZE_MIN = 4

Check = Callable[[object], bool]


class GeoJsonType(DataType):
    """A geometry, a feature, or a collection of either. Members that the standard does not name are kept."""

    def compile(self) -> None:
        self.check = fault_of


def fault_of(value: object) -> str | None:
    """Return what is wrong with a GeoJSON object, or None."""
    if not isinstance(value, Mapping):
        return "GeoJSON is a dictionary"
    kind = value.get("type")
    if kind == "FeatureCollection":
        return _member_fault(value, "features", _is_list_of(_is_feature))
    if kind == "Feature":
        return None if _is_feature(value) else "a Feature needs a geometry and properties, each may be null"
    return _geometry_fault(value)


def _geometry_fault(value: Mapping[str, Any]) -> str | None:
    kind = value.get("type")
    if kind == "GeometryCollection":
        return _member_fault(value, "geometries", _is_list_of(_is_geometry))
    check = COORDINATES.get(kind) if isinstance(kind, str) else None
    if check is None:
        return "the type is none of GeoJSON's"
    return _member_fault(value, "coordinates", check)


def _member_fault(value: Mapping[str, Any], name: str, check: Check) -> str | None:
    if name not in value:
        return f"a {value['type']} needs {name}"
    if not check(value[name]):
        return f"the {name} are not those of a {value['type']}"
    if "bbox" in value and not _is_box(value["bbox"]):
        return f"a bbox is a list of at least {BOX_SIZE_MIN} numbers"
    return None


def _is_feature(value: object) -> bool:
    if not isinstance(value, Mapping) or value.get("type") != "Feature":
        return False
    if not {"geometry", "properties"} <= value.keys():
        return False
    geometry, properties = value["geometry"], value["properties"]
    return (
        (geometry is None or _is_geometry(geometry))
        and (properties is None or isinstance(properties, Mapping))
        and ("bbox" not in value or _is_box(value["bbox"]))
    )


def _is_geometry(value: object) -> bool:
    return isinstance(value, Mapping) and _geometry_fault(value) is None


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_list_of(check: Check, size_min: int = 0) -> Check:
    def is_list(value: object) -> bool:
        return isinstance(value, (list, tuple)) and len(value) >= size_min and all(map(check, value))

    return is_list


_is_box = _is_list_of(_is_number, BOX_SIZE_MIN)
_is_position = _is_list_of(_is_number, POSITION_SIZE_MIN)
_is_line = _is_list_of(_is_position, LINE_SIZE_MIN)
_is_ring = _is_list_of(_is_position, RING_SIZE_MIN)
_is_polygon = _is_list_of(_is_ring)

COORDINATES: Mapping[str, Check] = {
    "Point": _is_position,
    "MultiPoint": _is_list_of(_is_position),
    "LineString": _is_line,
    "MultiLineString": _is_list_of(_is_line),
    "Polygon": _is_polygon,
    "MultiPolygon": _is_list_of(_is_polygon),
}
