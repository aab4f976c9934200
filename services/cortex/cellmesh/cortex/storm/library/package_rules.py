"""What the definition of a Storm package may look like: a table of its parts, and the check of a definition against it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cellmesh.common.errors import NoSuchType, SchemaViolation, StormRuntimeError

ARGUMENT_TYPES: Final = frozenset(
    [
        "int",
        "float",
        "range",
        "str",
        "hex",
        "bool",
        "time",
        "duration",
        "ival",
        "guid",
        "syn:tag:part",
        "syn:tag",
        "comp",
        "loc",
        "ndef",
        "array",
        "edge",
        "timeedge",
        "data",
        "nodeprop",
        "hugenum",
        "taxon",
        "taxonomy",
        "velocity",
    ]
)
"""The base types of the model that an argument of a command may have."""

OWN_ARGUMENT_TYPES: Final = frozenset({"any", "number", "list", "dict"})
"""Kinds of arguments beside those."""

_COMMAND: Final = re.compile(r"[a-z][a-z0-9.]+")
_WORDS: Final = {str: "text", bool: "true or false", int: "a number", dict: "a dictionary", list: "a list"}


@dataclass(frozen=True, slots=True)
class Shape:
    """What a part of a definition may be.

    Attributes:
        kinds: The classes that it may be of, of `str`, `bool`, `int`, `dict` and `list`; none for anything.
        required: Keys that a dictionary has.
        parts: The shapes of known keys of a dictionary.
        only: Whether a dictionary has no keys but the known ones.
        items: The shape of the items of a list.
        choices: What a text may be; empty for any.
        pattern: What a text looks like.
        is_query: Whether a text is a query.
        may_be_null: Whether null stands for nothing.
    """

    kinds: tuple[type, ...] = ()
    required: tuple[str, ...] = ()
    parts: Mapping[str, Shape] = field(default_factory=dict)
    only: bool = False
    items: Shape | None = None
    choices: frozenset[str] = frozenset()
    pattern: re.Pattern[str] | None = None
    is_query: bool = False
    may_be_null: bool = False


def _list(items: Shape | None = None, *, may_be_null: bool = False) -> Shape:
    return Shape((list,), items=items, may_be_null=may_be_null)


_ANY: Final = Shape()
_TEXT: Final = Shape((str,))
_TRUTH: Final = Shape((bool,))
_NUMBER: Final = Shape((int,))
_QUERY: Final = Shape((str,), is_query=True)
_FACTS: Final = Shape((dict,))
_PATH: Final = _list(_TEXT)

_ARGUMENT: Final = Shape(
    (dict,),
    parts={
        "help": _TEXT,
        "choices": _list(),
        "type": Shape((str,), choices=ARGUMENT_TYPES | OWN_ARGUMENT_TYPES),
    },
)
_COMMANDS: Final = Shape(
    (dict,),
    ("name", "storm"),
    {
        "name": Shape((str,), pattern=_COMMAND),
        "storm": _QUERY,
        "cmdargs": _list(_list(), may_be_null=True),
        "cmdconf": _FACTS,
        "perms": _list(_PATH),
        "forms": Shape((dict,), parts={"input": _PATH, "output": _PATH, "nodedata": _list(_list())}),
    },
)
_MODULES: Final = Shape(
    (dict,),
    ("name", "storm"),
    {"name": _TEXT, "storm": _QUERY, "modconf": _FACTS, "asroot": _TRUTH, "asroot:perms": _list(_PATH)},
)
_DEPENDENCY: Final = Shape((dict,), ("name", "version"), {"name": _TEXT, "version": _TEXT})
_GRAPH_KEYS: Final = [
    "created",
    "creator",
    "degrees",
    "desc",
    "edgelimit",
    "edges",
    "existing",
    "filterinput",
    "filters",
    "forms",
    "iden",
    "owner",
    "permissions",
    "pivots",
    "power-up",
    "refs",
    "scope",
    "updated",
    "yieldfiltered",
]
_CONFIG: Final = Shape(
    (dict,),
    ("name", "varname", "desc", "type", "scopes"),
    {
        "name": _TEXT,
        "varname": _TEXT,
        "desc": _TEXT,
        "type": Shape((str, list)),
        "scopes": _list(Shape((str,), choices=frozenset({"global", "self"}))),
    },
)

PACKAGE: Final = Shape(
    (dict,),
    ("name", "version"),
    {
        "name": _TEXT,
        "desc": _TEXT,
        "author": Shape((dict,), ("name",), {"name": _TEXT, "url": _TEXT}),
        "build": _FACTS,
        "codesign": Shape((dict,), ("cert", "sign"), {"cert": _TEXT, "sign": _TEXT}),
        "commands": _list(_COMMANDS, may_be_null=True),
        "configvars": _list(_CONFIG),
        "depends": Shape(
            (dict,),
            parts={"requires": _list(_DEPENDENCY), "conflicts": _list(Shape((dict,), ("name",)))},
            may_be_null=True,
        ),
        "docs": _list(
            Shape((dict,), ("title", "content"), {"title": _TEXT, "content": _TEXT}), may_be_null=True
        ),
        "graphs": _list(
            Shape((dict,), ("name",), {"name": _TEXT, **dict.fromkeys(_GRAPH_KEYS, _ANY)}, only=True),
            may_be_null=True,
        ),
        "inits": Shape(
            (dict,),
            ("versions",),
            {"versions": _list(Shape((dict,), ("version", "query"), {"version": _NUMBER, "query": _QUERY}))},
        ),
        "logo": Shape((dict,), ("mime", "file"), {"mime": _TEXT, "file": _TEXT}),
        "modules": _list(_MODULES, may_be_null=True),
        "onload": _TEXT,
        "perms": _list(
            Shape(
                (dict,),
                ("perm", "desc", "gate"),
                {"perm": _PATH, "desc": _TEXT, "gate": _TEXT, "default": _TRUTH},
            )
        ),
        "svciden": Shape((str,), may_be_null=True),
        "synapse_minversion": _list(_NUMBER, may_be_null=True),
        "synapse_version": _TEXT,
    },
)
"""A package. Keys that are not named may be anything."""


def check_shape(value: Any, shape: Shape, place: str) -> None:
    """Check a part of a definition.

    Args:
        value: The part, as plain data.
        shape: What it may be.
        place: Where it stands, for the error.

    Raises:
        SchemaViolation: it may not be so.
        StormRuntimeError: a query is no text.
    """
    if value is None and shape.may_be_null:
        return
    if shape.is_query and value is not None and not isinstance(value, str):
        raise StormRuntimeError(f"{place} is a query, so it is text", name=place)
    if shape.kinds and not any(_is_a(value, kind) for kind in shape.kinds):
        raise SchemaViolation(f"{place} is {' or '.join(_WORDS[kind] for kind in shape.kinds)}", name=place)
    if isinstance(value, str):
        _check_text(value, shape, place)
    elif isinstance(value, dict):
        _check_keys(value, shape, place)
    elif isinstance(value, (list, tuple)) and shape.items is not None:
        for number, item in enumerate(value):
            check_shape(item, shape.items, f"{place}[{number}]")


def check_types(definition: Mapping[str, Any], is_type: Any) -> None:
    """Check the types that a package names, where only the model can tell.

    Args:
        definition: The package, of a checked shape.
        is_type: Whether there is a type of a name.

    Raises:
        NoSuchType: a setting is of a type that there is not.
        SchemaViolation: what tells of a command's argument is no dictionary of the known facts.
    """
    for setting in definition.get("configvars", ()):
        names = setting["type"]
        for name in [names] if isinstance(names, str) else names:
            wanted = name[0] if isinstance(name, (list, tuple)) and name else name
            if not isinstance(wanted, str) or not is_type(wanted):
                raise NoSuchType(f"the setting {setting['name']} is of no known type", name=str(wanted)[:64])
    for number, command in enumerate(definition.get("commands") or ()):
        for position, argument in enumerate(command.get("cmdargs") or ()):
            place = f"commands[{number}].cmdargs[{position}]"
            if not argument or not isinstance(argument[0], str):
                raise SchemaViolation(f"{place} begins with its name", name=place)
            check_shape(argument[1] if len(argument) > 1 else {}, _ARGUMENT, f"{place}[1]")


def _is_a(value: Any, kind: type) -> bool:
    if kind is list:
        return isinstance(value, (list, tuple))
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)


def _check_text(value: str, shape: Shape, place: str) -> None:
    if shape.choices and value not in shape.choices:
        raise SchemaViolation(f"{place} is one of {', '.join(sorted(shape.choices))}", name=place)
    if shape.pattern is not None and shape.pattern.fullmatch(value) is None:
        raise SchemaViolation(f"{place} cannot be {value[:64]!r}", name=place)


def _check_keys(value: Mapping[Any, Any], shape: Shape, place: str) -> None:
    for key in shape.required:
        if key not in value:
            raise SchemaViolation(f"{place} has {key}", name=place)
    for key, item in value.items():
        inner = shape.parts.get(key)
        if inner is not None:
            check_shape(item, inner, f"{place}.{key}")
        elif shape.only:
            raise SchemaViolation(f"{place} has no {str(key)[:64]}", name=place)
