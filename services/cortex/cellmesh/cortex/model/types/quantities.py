"""Quantities with units, stored as whole millimetres and the like; and places on the globe."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar, cast

from cellmesh.common import hugenum
from cellmesh.common.errors import BadCmprValu
from cellmesh.cortex.model.encoding import encode_float, encode_signed
from cellmesh.cortex.model.scans import EVERYTHING, Filtered, IndexScan, Predicate, Range
from cellmesh.cortex.model.types.base import BaseType, Normed, shown

QUANTITY_SIZE = 8
QUANTITY_MAX = 2**63 - 1

_AMOUNT = re.compile(r"(-?\d+(?:\.\d+)?)\s*(.*)", re.DOTALL)
_LOOSE_AMOUNT = re.compile(r"(-?(?:\d+\.?\d*|\.\d+))\s*(.*)", re.DOTALL)
LIGHT_MM_A_SECOND = Decimal(299_792_458_000)


def _units(table: Mapping[str, str]) -> dict[str, Decimal]:
    return {name: Decimal(factor) for names, factor in table.items() for name in names.split()}


class QuantityType(BaseType):
    """A number of some unit. Text is a number and a unit; numbers are in the smallest unit."""

    ordered: ClassVar[bool] = True
    units: ClassVar[Mapping[str, Decimal]] = {}
    needs_unit: ClassVar[bool] = True
    amount: ClassVar[re.Pattern[str]] = _AMOUNT
    takes_floats: ClassVar[bool] = True
    refuses_negative: ClassVar[bool] = False  # as a number; text is refused by every quantity
    shown_units: ClassVar[tuple[tuple[int, str], ...]] = ()
    shown_below_zero: ClassVar[bool] = False  # whether negative values are printed in large units too

    def compile(self) -> None:
        self.offset = int(self.options.get("baseoff") or 0)
        self.signed = bool(self.options.get("relative"))

    def normalize(self, value: object) -> Normed:
        if isinstance(value, str):
            number = self.read(value)
            if number < 0 and not self.signed and number + self.offset < 0:
                raise self.bad("may not be negative", value)
            number += self.offset
        elif isinstance(value, int) and not (isinstance(value, bool) and self.refuses_negative):
            number = int(value)
            if number < 0 and self.refuses_negative and not self.signed:
                raise self.bad("may not be negative", value)
        elif isinstance(value, (float, Decimal)) and self.takes_floats:
            number = self.of_number(value)
        else:
            raise self.bad_kind(value)
        if not -QUANTITY_MAX <= number <= QUANTITY_MAX:
            raise self.bad("too large", value)
        return Normed(number)

    def of_number(self, value: float | Decimal) -> int:
        """Return a quantity given as a fraction of the smallest unit."""
        try:
            return hugenum.to_int(value)
        except (ValueError, OverflowError):
            raise self.bad("not a finite number, or far too large", value) from None

    def scaled(self, number: Decimal, unit: str) -> Decimal | None:
        """Return a number of some unit in the smallest unit, or None if there is no such unit."""
        factor = self.units.get(unit)
        return None if factor is None else number * factor

    def read(self, text: str) -> int:
        """Read a number and a unit."""
        match = self.amount.fullmatch(text.strip())
        if match is None:
            raise self.bad("needs a number and a unit", text)
        digits, unit = match.groups()
        if len(digits) > hugenum.INT_DIGITS_MAX:
            raise self.bad("has too many digits", text)
        unit = unit.strip().lower()
        if not unit and not self.needs_unit:
            return self.of_number(Decimal(digits))
        number = self.scaled(Decimal(digits), unit)
        if number is None:
            raise self.bad(f"unknown unit {shown(unit)}" if unit else "needs a unit", text)
        return self.of_number(number)

    def repr(self, value: Any) -> Any:
        amount = value - self.offset
        measured = abs(amount) if self.shown_below_zero else amount
        for size, unit in self.shown_units[:-1]:
            if measured / size >= 1:
                return f"{amount / size} {unit}"
        return f"{amount} {self.shown_units[-1][1]}" if self.shown_units else str(amount)

    def encode(self, value: Any) -> bytes:
        return encode_signed(value, QUANTITY_SIZE)


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
    shown_below_zero = True


class AreaType(QuantityType):
    """An area, stored as Synapse does: text is scaled by the length unit, so 1 sq.m counts 1,000."""

    units = _units(
        {
            "sq.mm": "1",
            "sq.cm": "10",
            "sq.m sq.meters": "1000",
            "sq.km": "1000000",
            "sq.feet": "304.8",
            "sq.yards": "914.4",
            "sq.miles": "1609344",
        }
    )
    shown_units = ((1000000, "sq.km"), (1000, "sq.m"), (10, "sq.cm"), (1, "sq.mm"))


_VELOCITY_LENGTHS = _units(
    {
        "mm millimeters": "1",
        "km kilometers": "1000000",
        "mi miles": "1609344",
        "ft feet": "304.8",
        "in inches": "25.4",
    }
)
_VELOCITY_SECONDS = _units({"s sec": "1", "min minute": "60", "h hr hour": "3600"})
_VELOCITY_NAMES = {
    "kph": (Decimal(1000000), Decimal(3600)),
    "mph": (Decimal(1609344), Decimal(3600)),
    "kts": (Decimal(1852000), Decimal(3600)),
    "knots": (Decimal(1852000), Decimal(3600)),
    "c": (LIGHT_MM_A_SECOND, Decimal(1)),
}


class VelocityType(QuantityType):
    """A velocity in millimetres a second, such as `10 km/h` or `5 knots`. Option `relative` allows negative ones."""

    needs_unit = False
    amount = _LOOSE_AMOUNT  # `.5 mph` too
    takes_floats = False
    refuses_negative = True

    def read(self, text: str) -> int:
        clean = text.strip().lower()
        if clean == "c":
            return int(LIGHT_MM_A_SECOND)
        return super().read(clean)

    def scaled(self, number: Decimal, unit: str) -> Decimal | None:
        found = _VELOCITY_NAMES.get(unit)
        if found is not None:
            length, seconds = found
            return number * length / seconds
        length_name, slash, time_name = unit.partition("/")
        if not slash or length_name not in _VELOCITY_LENGTHS or time_name not in _VELOCITY_SECONDS:
            return None
        return number * _VELOCITY_LENGTHS[length_name] / _VELOCITY_SECONDS[time_name]


EARTH_RADIUS_KM = 6371.009
MM_A_KM = 1_000_000
LONGITUDE_MAX = 180.0
BAND_MARGIN_DEGREES = 1e-6


class LatLongType(BaseType):
    """A place as (latitude, longitude) in degrees, indexed by longitude first. Sub-values: `lat`, `lon`."""

    more_comparators: ClassVar[tuple[str, ...]] = ("near=",)
    range_lift: ClassVar[bool] = False

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
        return encode_float(value[1]) + encode_float(value[0])

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
        """Scan the band of longitudes within the distance, keeping what is near enough."""
        lat, lon, distance_km = self.near(value)
        band = longitude_band(lat, lon, distance_km)
        if band is None:
            return (Filtered(EVERYTHING, self.compare_near(value)),)
        low, high = band
        return (
            Filtered(Range(encode_float(low), encode_float(high) + b"\xff" * 9), self.compare_near(value)),
        )


def longitude_band(lat: float, lon: float, distance_km: float) -> tuple[float, float] | None:
    """Return the longitudes between which all lies that is within a distance of a place.

    None when the circle holds a pole or crosses 180 degrees, so that no single band does.
    """
    angle = distance_km / EARTH_RADIUS_KM
    if not angle >= 0 or abs(math.radians(lat)) + angle >= math.pi / 2:
        return None
    # A little wider than the tangents to the circle, for rounding.
    span = (
        math.degrees(math.asin(min(1.0, math.sin(angle) / math.cos(math.radians(lat))))) + BAND_MARGIN_DEGREES
    )
    low, high = lon - span, lon + span
    return None if low < -LONGITUDE_MAX or high > LONGITUDE_MAX else (low, high)


def haversine_km(here: tuple[float, float], there: tuple[float, float]) -> float:
    """Return the distance in km between two places on a sphere of the Earth's mean radius."""
    lat1, lon1, lat2, lon2 = map(math.radians, (*here, *there))
    part = math.sin((lat2 - lat1) / 2) ** 2
    part += math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(min(1.0, math.sqrt(part)))
