"""Quantities with units, stored as whole millimetres and the like; and places on the globe."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar, cast

from cellmesh.common.errors import BadCmprValu
from cellmesh.cortex.model.encoding import encode_float, encode_signed
from cellmesh.cortex.model.scans import Filtered, IndexScan, Predicate, Range
from cellmesh.cortex.model.types.base import BaseType, Normed, shown

QUANTITY_SIZE = 8
QUANTITY_MAX = 2**63 - 1

_AMOUNT = re.compile(r"([+-]?\d*\.?\d+)\s*(.*)", re.DOTALL)


class QuantityType(BaseType):
    """A number of some unit. Text is a number and a unit; numbers are in the smallest unit."""

    ordered: ClassVar[bool] = True
    units: ClassVar[Mapping[str, Decimal]]
    needs_unit: ClassVar[bool] = True
    may_be_negative: ClassVar[bool] = False
    shown_units: ClassVar[tuple[tuple[int, str], ...]] = ()

    def compile(self) -> None:
        self.offset = int(self.options.get("baseoff") or 0)
        self.signed = bool(self.options.get("relative", self.may_be_negative))

    def normalize(self, value: object) -> Normed:
        if isinstance(value, bool) or not isinstance(value, (int, str, float, Decimal)):
            raise self.bad_kind(value)
        if isinstance(value, int):
            number = value
        elif isinstance(value, str):
            number = self.read(value) + self.offset
        else:
            number = int(value)
        if number < 0 and not self.signed:
            raise self.bad("may not be negative", value)
        if not -QUANTITY_MAX <= number <= QUANTITY_MAX:
            raise self.bad("too large", value)
        return Normed(number)

    def read(self, text: str) -> int:
        """Read a number and a unit."""
        match = _AMOUNT.fullmatch(text.strip())
        if match is None:
            raise self.bad("needs a number and a unit", text)
        digits, unit = match.groups()
        unit = unit.strip().lower()
        if not unit and not self.needs_unit:
            try:
                return int(Decimal(digits))
            except InvalidOperation:
                raise self.bad("not a number", text) from None
        factor = self.units.get(unit)
        if factor is None:
            raise self.bad(f"unknown unit {shown(unit)}" if unit else "needs a unit", text)
        return int(Decimal(digits) * factor)

    def repr(self, value: Any) -> Any:
        amount = value - self.offset
        for size, unit in self.shown_units:
            if abs(amount) >= size:
                return f"{amount / size} {unit}"
        return f"{amount} {self.shown_units[-1][1]}" if self.shown_units else str(amount)

    def encode(self, value: Any) -> bytes:
        return encode_signed(value, QUANTITY_SIZE)


def _units(table: Mapping[str, str]) -> dict[str, Decimal]:
    return {name: Decimal(factor) for names, factor in table.items() for name in names.split()}


class DistanceType(QuantityType):
    """A distance in millimetres. Option `baseoff` is added to values given as text."""

    units = _units(
        {
            "mm millimeter millimeters": "1",
            "cm centimeter centimeters": "10",
            "foot feet": "304.8",
            "m meter meters": "1000",
            "km kilometer kilometers": "1000000",
            "mile miles": "1609344",
            "yard yards": "914.4",
        }
    )
    shown_units = ((1000000, "km"), (1000, "m"), (10, "cm"), (1, "mm"))

    def repr(self, value: Any) -> Any:
        amount = value - self.offset
        for size, unit in self.shown_units[:-1]:
            if amount / size >= 1:
                return f"{amount / size} {unit}"
        return f"{amount} mm"


class AreaType(QuantityType):
    """An area in square millimetres, by thousands: 1 sq.m is 1,000 and 1 sq.km is 1,000,000, as in Synapse."""

    units = _units(
        {
            "sq.mm sqmm": "1",
            "sq.m sqm": "1000",
            "sq.km sqkm": "1000000",
        }
    )
    shown_units = ((1000000, "sq.km"), (1000, "sq.m"), (1, "sq.mm"))


class VelocityType(QuantityType):
    """A velocity in millimetres a second. Option `relative` allows negative ones."""

    units = _units(
        {
            "mm/s mm/sec": "1",
            "cm/s cm/sec": "10",
            "m/s m/sec": "1000",
            "km/h kmh kph": "277.77777777777777777777777778",
            "mph": "447.04",
            "ft/s ft/sec": "304.8",
            "kn knots": "514.44444444444444444444444444",
        }
    )
    needs_unit = False

    def read(self, text: str) -> int:
        if text.strip().lower() == "c":
            return LIGHT_MM_A_SECOND
        return super().read(text)


LIGHT_MM_A_SECOND = 299_792_458_000

EARTH_RADIUS_KM = 6371.009
MM_A_KM = 1_000_000
LATITUDE_MAX, LONGITUDE_MAX = 90.0, 180.0


class LatLongType(BaseType):
    """A place as (latitude, longitude) in degrees. Sub-values: `lat`, `lon`."""

    more_comparators: ClassVar[tuple[str, ...]] = ("near=",)

    def normalize(self, value: object) -> Normed:
        parts: object = value
        if isinstance(value, str):
            parts = value.strip().split(",")
        if not isinstance(parts, (list, tuple)):
            raise self.bad_kind(value)
        if len(parts) != 2:
            raise self.bad("needs a latitude and a longitude", value)
        lat = cast("float", self.model.type("geo:latitude").normalize(parts[0]).value)
        lon = cast("float", self.model.type("geo:longitude").normalize(parts[1]).value)
        return Normed((lat, lon), (("lat", lat), ("lon", lon)))

    def repr(self, value: Any) -> Any:
        return f"{value[0]},{value[1]}"

    def encode(self, value: Any) -> bytes:
        return encode_float(value[0]) + encode_float(value[1])

    def near(self, value: object) -> tuple[float, float, float]:
        """Return the place and the distance in km that an operand of `near=` means."""
        items = self.operands(value)
        if len(items) != 2:
            raise BadCmprValu(f"near= needs a place and a distance: {shown(value)}", name=self.name)
        lat, lon = self.norm(items[0])
        distance = cast("int", self.model.type("geo:dist").normalize(items[1]).value)
        return lat, lon, distance / MM_A_KM

    def compare_near(self, value: object) -> Predicate:
        """Test for a place within a distance of the operand's."""
        lat, lon, distance_km = self.near(value)
        return lambda stored: haversine_km((lat, lon), cast("tuple[float, float]", stored)) <= distance_km

    def lift_near(self, value: object) -> tuple[IndexScan, ...]:
        """Scan the band of latitudes within the distance, keeping what is near enough."""
        lat, _, distance_km = self.near(value)
        span = math.degrees(distance_km / EARTH_RADIUS_KM)
        band = Range(
            encode_float(lat - span), encode_float(math.nextafter(lat + span, math.inf)) + b"\xff" * 9
        )
        return (Filtered(band, self.compare_near(value)),)


def haversine_km(here: tuple[float, float], there: tuple[float, float]) -> float:
    """Return the distance in km between two places on a sphere of the Earth's mean radius."""
    lat1, lon1, lat2, lon2 = map(math.radians, (*here, *there))
    part = math.sin((lat2 - lat1) / 2) ** 2
    part += math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(min(1.0, math.sqrt(part)))
