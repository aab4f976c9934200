"""Elements of XML and schemas of JSON as values: `$lib.xml.parse()`, `$lib.json.schema()`."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Final
from xml.etree.ElementTree import Element

from cellmesh.common.errors import StormRuntimeError
from cellmesh.cortex.storm.runtime.interface import AttributeSpec, FunctionSpec, ParameterSpec, TypeSpec
from cellmesh.cortex.storm.runtime.values import tobool, toprim, tostr

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext


class XmlElement:
    """An element of an XML document."""

    __slots__ = ("element",)

    def __init__(self, element: Element) -> None:
        self.element = element

    def storm_text(self) -> str:
        """Return what is printed."""
        return f"xml:element: {self.element.tag}"


def _children(context: RunContext, self: XmlElement) -> Iterator[XmlElement]:
    for child in self.element:
        context.tick()
        yield XmlElement(child)


def _find(context: RunContext, self: XmlElement, name: Any, nested: Any) -> Iterator[XmlElement]:
    wanted = tostr(name)
    for element in self.element.iter() if tobool(nested) else self.element:
        context.tick()
        if element.tag == wanted and element is not self.element:
            yield XmlElement(element)


def _get(context: RunContext, self: XmlElement, name: Any) -> XmlElement | None:
    wanted = tostr(name)
    return next((XmlElement(child) for child in self.element if child.tag == wanted), None)


class JsonSchema:
    """A schema that values are checked against.

    Args:
        schema: The schema, plain data.
        fills: Whether properties that are not there get their defaults.

    Raises:
        StormRuntimeError: it is no schema.
    """

    __slots__ = ("_fills", "_validator", "schema")

    def __init__(self, schema: Any, *, fills: bool) -> None:
        # Loaded at the first use: few queries need it, and it takes long.
        import jsonschema

        try:
            kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft7Validator)
            kind.check_schema(schema)
            self._validator = kind(schema, format_checker=jsonschema.FormatChecker())
        except (jsonschema.SchemaError, TypeError, ValueError, AttributeError) as error:
            raise StormRuntimeError(f"the schema cannot be used: {error}") from error
        self.schema = schema
        self._fills = fills

    def check(self, value: Any) -> tuple[bool, Any]:
        """Return whether a value is as it should be, with the value, or with what is wrong."""
        from jsonschema.exceptions import best_match

        if self._fills:
            value = deepcopy(value)
            _fill(self.schema, value)
        found = best_match(self._validator.iter_errors(value))
        if found is None:
            return (True, value)
        return (False, {"mesg": _told(found)})

    def storm_text(self) -> str:
        """Return what is printed."""
        return f"json:schema: {self.schema}"


def _fill(schema: Any, value: Any) -> None:
    """Set the defaults of properties that are not there."""
    if not isinstance(schema, dict):
        return
    if isinstance(value, dict):
        for name, inner in schema.get("properties", {}).items():
            if isinstance(inner, dict) and "default" in inner:
                value.setdefault(name, deepcopy(inner["default"]))
            if name in value:
                _fill(inner, value[name])
    if isinstance(value, list):
        for item in value:
            _fill(schema.get("items"), item)


def _told(error: Any) -> str:
    """Return what is wrong, with the place: `data.a must be integer`."""
    place = "data" + "".join(
        f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path
    )
    wanted = error.validator_value
    match error.validator:
        case "type":
            return f"{place} must be {wanted if isinstance(wanted, str) else ' or '.join(wanted)}"
        case "required":
            return f"{place} must contain {wanted} properties"
        case "enum":
            return f"{place} must be one of {wanted}"
        case "format":
            return f"{place} must be {wanted}"
        case "pattern":
            return f"{place} must match pattern {wanted}"
    return f"{place}: {error.message}"


def _validate(context: RunContext, self: JsonSchema, item: Any) -> tuple[bool, Any]:
    return self.check(toprim(item))


TYPES: Final = (
    TypeSpec(
        "xml:element",
        XmlElement,
        "An element of an XML document; going through it gives the elements directly inside.",
        (
            FunctionSpec(
                "find",
                "The elements of a name inside.",
                _find,
                (
                    ParameterSpec("name", type="str", doc="The name."),
                    ParameterSpec("nested", True, "bool", "Also those further inside."),
                ),
                "generator",
                is_generator=True,
            ),
            FunctionSpec(
                "get",
                "The first element of a name directly inside; null if there is none.",
                _get,
                (ParameterSpec("name", type="str", doc="The name."),),
                "xml:element",
            ),
        ),
        (
            AttributeSpec("attrs", "Its attributes.", lambda c, s: dict(s.element.attrib), "dict"),
            AttributeSpec("name", "Its name.", lambda c, s: s.element.tag, "str"),
            AttributeSpec(
                "text", "The text before the first element inside.", lambda c, s: s.element.text, "str"
            ),
        ),
        iterate=_children,
    ),
    TypeSpec(
        "json:schema",
        JsonSchema,
        "A JSON schema.",
        (
            FunctionSpec("schema", "The schema itself.", lambda c, s: deepcopy(s.schema), (), "dict"),
            FunctionSpec(
                "validate",
                "Check a value: gives true and the value with defaults set, or false and what is wrong.",
                _validate,
                (ParameterSpec("item", type="prim", doc="The value."),),
                "list",
            ),
        ),
    ),
)
