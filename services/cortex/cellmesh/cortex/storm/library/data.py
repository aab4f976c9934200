"""`$lib.dict`, `$lib.json`, `$lib.math`, `$lib.iters` and `$lib.csv`: plain data."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadArg, BadJsonText, StormRuntimeError
from cellmesh.cortex.storm.runtime.interface import (
    UNDEF,
    FunctionSpec,
    LibrarySpec,
    ParameterSpec,
)
from cellmesh.cortex.storm.runtime.members import toiter
from cellmesh.cortex.storm.runtime.values import tobool, tonumber, tostr
from cellmesh.cortex.storm.runtime.valuing import plain_value
from cellmesh.cortex.storm.text_tools import json_text, parsed_json

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

JSON_INDENT: Final = 2
PAIR_SIZE: Final = 2


def _dict(value: Any, name: str = "valu") -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise BadArg(f"{name} must be a dictionary, not a {type(value).__name__}", name=name)
    return value


def _key(key: Any) -> Any:
    if isinstance(key, (list, dict, set)):
        raise BadArg(f"a {type(key).__name__} cannot be a key", name="key")
    return key


def _fromlist(context: RunContext, value: Any) -> dict[Any, Any]:
    if value is None or isinstance(value, int):
        raise BadArg("a dictionary is made of a list of pairs", name="valu")
    found: dict[Any, Any] = {}
    for item in toiter(context, value):
        if not isinstance(item, (list, tuple)) or len(item) != PAIR_SIZE:
            raise BadArg("a dictionary is made of pairs", name="valu")
        found[_key(item[0])] = item[1]
    return found


def _has(context: RunContext, value: Any, key: Any) -> bool:
    return _key(key) in _dict(value)


def _keys(context: RunContext, value: Any) -> list[Any]:
    return list(_dict(value))


def _values(context: RunContext, value: Any) -> list[Any]:
    return list(_dict(value).values())


def _pop(context: RunContext, value: Any, key: Any, default: Any) -> Any:
    holder = _dict(value)
    if _key(key) in holder:
        return holder.pop(key)
    if default is UNDEF:
        raise BadArg(f"the dictionary has no key {key}", name=str(key))
    return default


def _update(context: RunContext, value: Any, other: Any) -> None:
    _dict(value).update(_dict(other, "other"))


def _load(context: RunContext, text: Any) -> Any:
    if isinstance(text, (list, tuple, dict, set)) or text is None:
        raise BadJsonText(f"JSON is read from text, not from a {type(text).__name__}")
    return parsed_json(tostr(text))


def _save(context: RunContext, item: Any, indent: Any) -> str:
    return json_text(item, indent=JSON_INDENT if tobool(indent) else None)


def _number(context: RunContext, value: Any) -> Decimal:
    return Decimal(tonumber(value))


def _enum(context: RunContext, items: Any) -> Iterator[tuple[int, Any]]:
    for place, item in enumerate(toiter(context, items)):
        context.tick()
        yield (place, item)


def _zip(context: RunContext, lists: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    for items in zip(*(toiter(context, one) for one in lists)):
        context.tick()
        yield items


def _csv_row(context: RunContext, cells: tuple[Any, ...], named: dict[str, Any]) -> None:
    table = named.pop("table", None)
    if named:
        raise StormRuntimeError(f"emit() has no argument {next(iter(named))}", name="emit")
    context.csv_row([plain_value(cell) for cell in cells], None if table is None else tostr(table))


_DICT: Final = ParameterSpec("valu", type="dict", doc="The dictionary.")
_KEY: Final = ParameterSpec("key", type="any", doc="The key.")

LIBRARIES: Final = (
    LibrarySpec(
        ("csv",),
        "Rows of tables.",
        (
            FunctionSpec(
                "emit",
                "Send a row to the caller; `table` names the table.",
                _csv_row,
                rest="args",
                keywords="table",
            ),
        ),
    ),
    LibrarySpec(
        ("dict",),
        "Dictionaries, whose own names are all keys.",
        (
            FunctionSpec(
                "fromlist",
                "A dictionary of pairs.",
                _fromlist,
                (ParameterSpec("valu", type="list", doc="Pairs of key and value."),),
                "dict",
            ),
            FunctionSpec("has", "Whether a key is in it.", _has, (_DICT, _KEY), "bool"),
            FunctionSpec("keys", "Its keys.", _keys, (_DICT,), "list"),
            FunctionSpec(
                "pop",
                "Take a key out and give back its value.",
                _pop,
                (
                    _DICT,
                    _KEY,
                    ParameterSpec("default", UNDEF, "any", "What to give when the key is not there."),
                ),
                "any",
            ),
            FunctionSpec(
                "update",
                "Set all keys of another dictionary.",
                _update,
                (_DICT, ParameterSpec("other", type="dict", doc="What to take the keys from.")),
            ),
            FunctionSpec("values", "Its values.", _values, (_DICT,), "list"),
        ),
        call=FunctionSpec(
            "$lib.dict",
            "A dictionary of named arguments.",
            lambda c, items: items,
            returns="dict",
            keywords="kwargs",
            deprecated="write ({})",
        ),
    ),
    LibrarySpec(
        ("iters",),
        "Going through several things at once.",
        (
            FunctionSpec(
                "enum",
                "Each item with its place, counted from 0.",
                _enum,
                (ParameterSpec("genr", type="list", doc="What to go through."),),
                "pairs",
                is_generator=True,
            ),
            FunctionSpec(
                "zip",
                "The first items together, then the second ones, until one list ends.",
                _zip,
                (),
                "lists",
                is_generator=True,
                rest="args",
            ),
        ),
    ),
    LibrarySpec(
        ("json",),
        "JSON text.",
        (
            FunctionSpec(
                "load",
                "Read JSON text.",
                _load,
                (ParameterSpec("text", type="str", doc="The text."),),
                "any",
            ),
            FunctionSpec(
                "save",
                "A value as JSON text.",
                _save,
                (
                    ParameterSpec("item", type="any", doc="The value."),
                    ParameterSpec("indent", False, "bool", "Lay it out over lines."),
                ),
                "str",
            ),
        ),
    ),
    LibrarySpec(
        ("math",),
        "Exact numbers.",
        (
            FunctionSpec(
                "number",
                "A value as an exact number.",
                _number,
                (ParameterSpec("value", type="any", doc="A number or its text."),),
                "number",
            ),
        ),
    ),
)
