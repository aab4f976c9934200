"""`$lib.yaml`, `$lib.xml`, `$lib.json.schema` and `$lib.tabular`: structured text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree

from cellmesh.common.errors import BadArg
from cellmesh.cortex.storm.objects.markup import JsonSchema, XmlElement
from cellmesh.cortex.storm.objects.tables import TABLE_SCHEMA, TablePrinter
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, LibrarySpec, ParameterSpec
from cellmesh.cortex.storm.runtime.values import tobool, toprim

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext


YAML_ALIAS_COUNT_MAX: Final = 1000
"""Aliases in one YAML text: few texts that people write have any, and with them little text says much."""


def _yaml_load(context: RunContext, value: Any) -> Any:
    # Loaded at the first use: few queries need it.
    import yaml

    text = toprim(value)
    if not isinstance(text, (str, bytes)):
        return text
    try:
        if sum(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)) > (
            YAML_ALIAS_COUNT_MAX
        ):
            raise BadArg(f"the YAML has more than {YAML_ALIAS_COUNT_MAX} aliases", name="valu")
        return _plain(yaml.safe_load(text))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise BadArg(f"this is no YAML: {error}", name="valu") from error


def _plain(value: Any) -> Any:
    """Return what was read with dates as text, as queries have no values for them."""
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (str, bytes, bool, int, float)):
        return value
    return value.isoformat()


def _yaml_save(context: RunContext, value: Any, sort_keys: Any) -> str:
    import yaml

    try:
        text = str(yaml.safe_dump(_dumped(toprim(value)), sort_keys=tobool(sort_keys)))
    except (yaml.YAMLError, TypeError) as error:
        raise BadArg(f"this cannot be written as YAML: {error}", name="valu") from error
    # The end of a document is only told after a bare scalar, and says nothing there.
    return text.removesuffix("...\n")


def _dumped(value: Any) -> Any:
    """Return a value with the kinds that YAML knows."""
    if isinstance(value, dict):
        return {_dumped(key): _dumped(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_dumped(item) for item in value]
    if value is None or isinstance(value, (str, bytes, bool, int, float)):
        return value
    return float(value)


def _xml_parse(context: RunContext, value: Any) -> XmlElement:
    if not isinstance(value, (str, bytes)):
        raise BadArg(f"XML is read from text or bytes, not from a {type(value).__name__}", name="valu")
    try:
        # Expat bounds what entities may grow to, and files are never read.
        return XmlElement(ElementTree.fromstring(value))
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise BadArg(f"this is no XML: {error}", name="valu") from error


def _json_schema(context: RunContext, schema: Any, use_default: Any) -> JsonSchema:
    return JsonSchema(toprim(schema), fills=tobool(use_default))


def _printer(context: RunContext, config: Any) -> TablePrinter:
    return TablePrinter(toprim(config))


LIBRARIES: Final = (
    LibrarySpec(
        ("json",),
        "JSON text.",
        (
            FunctionSpec(
                "schema",
                "A JSON schema, to check values against.",
                _json_schema,
                (
                    ParameterSpec("schema", type="dict", doc="The schema."),
                    ParameterSpec("use_default", True, "bool", "Set the defaults of what is not there."),
                ),
                "json:schema",
            ),
        ),
    ),
    LibrarySpec(
        ("tabular",),
        "Tables of text.",
        (
            FunctionSpec(
                "printer",
                "Makes lines of a table.",
                _printer,
                (ParameterSpec("conf", type="dict", doc="Columns and separators, as `schema()` tells."),),
                "tabular:printer",
            ),
            FunctionSpec(
                "schema", "The JSON schema of what `printer()` takes.", lambda c: TABLE_SCHEMA, (), "dict"
            ),
        ),
    ),
    LibrarySpec(
        ("xml",),
        "XML text.",
        (
            FunctionSpec(
                "parse",
                "Read XML; gives its outermost element.",
                _xml_parse,
                (ParameterSpec("valu", type="str", doc="The text, or its bytes."),),
                "xml:element",
            ),
        ),
    ),
    LibrarySpec(
        ("yaml",),
        "YAML text.",
        (
            FunctionSpec(
                "load",
                "Read YAML text of one document.",
                _yaml_load,
                (ParameterSpec("valu", type="str", doc="The text."),),
                "prim",
            ),
            FunctionSpec(
                "save",
                "A value as YAML text.",
                _yaml_save,
                (
                    ParameterSpec("valu", type="prim", doc="The value."),
                    ParameterSpec("sort_keys", True, "bool", "Put keys in order."),
                ),
                "str",
            ),
        ),
    ),
)
