"""`$lib.env`, `$lib.gis`, `$lib.mime.html` and `$lib.log`."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadArg, BadCast, StormRuntimeError
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, LibrarySpec, ParameterSpec
from cellmesh.cortex.storm.runtime.values import tobool, tonumber, toprim, tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

LOGGER = logging.getLogger("cellmesh.cortex.storm.log")

ENV_PREFIX: Final = "SYN_STORM_ENV_"
EARTH_RADIUS_MM: Final = 6_371_008_800


def _env(context: RunContext, name: Any, default: Any) -> str | None:
    """Return a variable of the environment; only those meant for queries can be read."""
    text = tostr(name)
    if not text.startswith(ENV_PREFIX):
        raise BadArg(f"only variables whose names begin with {ENV_PREFIX} can be read", name=text)
    return os.environ.get(text, None if default is None else tostr(default))


def _degrees(value: Any, name: str) -> float:
    if value is None:
        raise StormRuntimeError(f"{name} is a number, not null", name=name)
    try:
        return float(tonumber(value))
    except BadCast as error:
        raise BadArg(f"{name} is a number", name=name) from error


def _box(context: RunContext, longitude: Any, latitude: Any, distance: Any) -> tuple[float, ...]:
    """Return the box around a circle on the earth, taken as a sphere."""
    lon, lat = _degrees(longitude, "lon"), _degrees(latitude, "lat")
    angle = _degrees(distance, "dist") / EARTH_RADIUS_MM
    north, south = math.radians(lat) + angle, math.radians(lat) - angle
    if north >= math.pi / 2 or south <= -math.pi / 2:
        # The circle has a pole inside.
        return (-180.0, 180.0, max(-90.0, math.degrees(south)), min(90.0, math.degrees(north)))
    across = math.degrees(math.asin(math.sin(angle) / math.cos(math.radians(lat))))
    return (lon - across, lon + across, math.degrees(south), math.degrees(north))


class _Text(HTMLParser):
    """Collects the text of a page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []

    def handle_data(self, data: str) -> None:
        """Take a piece of text."""
        self.parts.append(data)


def _html_text(context: RunContext, html: Any, separator: Any, strip: Any) -> str:
    reader = _Text()
    reader.feed(tostr(html))
    reader.close()
    parts = reader.parts
    if tobool(strip):
        parts = [part.strip() for part in parts if part.strip()]
    return ("" if separator is None else tostr(separator)).join(parts)


def _logger(level: int) -> Callable[[RunContext, Any, Any], None]:
    def run(context: RunContext, message: Any, extra: Any) -> None:
        fields = toprim(extra)
        if fields is not None and not isinstance(fields, dict):
            raise BadArg("extra is a dictionary", name="extra")
        LOGGER.log(level, "%s", tostr(message), extra={"user": context.user, "fields": fields or {}})

    return run


_MESSAGE: Final = (
    ParameterSpec("mesg", type="str", doc="What to log."),
    ParameterSpec("extra", None, "dict", "Fields to log with it."),
)

LIBRARIES: Final = (
    LibrarySpec(
        ("env",),
        "The environment of the process.",
        (
            FunctionSpec(
                "get",
                f"A variable whose name begins with {ENV_PREFIX}.",
                _env,
                (
                    ParameterSpec("name", type="str", doc="Its name."),
                    ParameterSpec("default", None, "any", "What to give when it is not set."),
                ),
                "str",
            ),
        ),
    ),
    LibrarySpec(
        ("gis",),
        "Places on the earth.",
        (
            FunctionSpec(
                "bbox",
                "The box around a circle: least and greatest longitude, least and greatest latitude.",
                _box,
                (
                    ParameterSpec("lon", type="float", doc="The longitude, in degrees."),
                    ParameterSpec("lat", type="float", doc="The latitude, in degrees."),
                    ParameterSpec("dist", type="int", doc="The radius, in millimetres."),
                ),
                "list",
            ),
        ),
    ),
    LibrarySpec(
        ("log",),
        "The log of the cell.",
        tuple(
            FunctionSpec(name, f"Log a message at the level {name}.", _logger(level), _MESSAGE)
            for name, level in (
                ("debug", logging.DEBUG),
                ("error", logging.ERROR),
                ("info", logging.INFO),
                ("warning", logging.WARNING),
            )
        ),
    ),
    LibrarySpec(
        ("mime", "html"),
        "Web pages.",
        (
            FunctionSpec(
                "totext",
                "The text of a page.",
                _html_text,
                (
                    ParameterSpec("html", type="str", doc="The page."),
                    ParameterSpec("separator", "\n", "str", "What to put between pieces of text."),
                    ParameterSpec(
                        "strip", True, "bool", "Take spaces off each piece, and leave out empty ones."
                    ),
                ),
                "str",
            ),
        ),
    ),
)
