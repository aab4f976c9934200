"""Numbers, truth values and null."""

from __future__ import annotations

import decimal
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import StormRuntimeError
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, ParameterSpec, TypeSpec
from cellmesh.cortex.storm.runtime.values import NUMBERS, toint, torepr, tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

ROUNDINGS: Final = frozenset(
    {
        decimal.ROUND_CEILING,
        decimal.ROUND_DOWN,
        decimal.ROUND_FLOOR,
        decimal.ROUND_HALF_DOWN,
        decimal.ROUND_HALF_EVEN,
        decimal.ROUND_HALF_UP,
        decimal.ROUND_UP,
        decimal.ROUND_05UP,
    }
)


def _to_int(context: RunContext, self: Decimal, rounding: Any) -> int:
    if rounding is None:
        return toint(self)
    mode = tostr(rounding)
    if mode not in ROUNDINGS:
        raise StormRuntimeError(
            f"rounding must be one of {', '.join(sorted(ROUNDINGS))}, not {mode!r}", name="rounding"
        )
    return toint(self.to_integral_value(mode))


def _scale(context: RunContext, self: Decimal, other: Any) -> Decimal:
    places = toint(other)
    try:
        return self.scaleb(places, NUMBERS)
    except decimal.DecimalException as error:
        raise StormRuntimeError(f"a number cannot be scaled by {places} places", valu=places) from error


NUMBER_METHODS: Final = (
    FunctionSpec(
        "scaleb",
        "Times ten to the power of another.",
        _scale,
        (ParameterSpec("other", type="int", doc="The power."),),
        "number",
    ),
    FunctionSpec("tofloat", "As a float, the nearest one.", lambda c, s: float(s), (), "float"),
    FunctionSpec(
        "toint",
        "As an int; a fraction is cut off unless a rounding is named.",
        _to_int,
        (ParameterSpec("rounding", None, "str", "Such as ROUND_HALF_UP."),),
        "int",
    ),
    FunctionSpec("tostr", "As text, trailing zeros kept.", lambda c, s: torepr(s), (), "str"),
)

TYPES: Final = (
    TypeSpec("number", Decimal, "A number with a point, exact.", NUMBER_METHODS),
    TypeSpec("boolean", bool, "True or false."),
    TypeSpec("int", int, "A whole number of any size."),
    TypeSpec("float", float, "A floating-point number, as properties and JSON have them."),
    TypeSpec("null", type(None), "No value."),
)
