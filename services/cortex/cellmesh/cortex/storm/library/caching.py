"""`$lib.cache`, `$lib.pipe`, `$lib.spooled`, `$lib.utils` and `$lib.version`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common import hashing
from cellmesh.common.errors import BadArg, CellError
from cellmesh.cortex.storm.objects.caching import ITEM_COUNT_MAX, FixedCache, Pipe, spooled_set
from cellmesh.cortex.storm.parser import ast, parse_source
from cellmesh.cortex.storm.runtime.interface import FunctionSpec, LibrarySpec, ParameterSpec
from cellmesh.cortex.storm.runtime.queries import StormQuery
from cellmesh.cortex.storm.runtime.values import toint, toprim, tostr
from cellmesh.cortex.storm.source import Source

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

LANGUAGE_VERSION: Final = (2, 256, 0)
"""The version of Synapse whose Storm this is: what packages ask for."""


def _query(value: Any) -> StormQuery:
    if isinstance(value, StormQuery):
        return value
    text = tostr(value)
    return StormQuery(text, parse_source(Source(text), ast.ParseMode.STORM), {}, Source(text))


def _size(value: Any) -> int:
    size = toint(value)
    if not 0 < size <= ITEM_COUNT_MAX:
        raise BadArg(f"the size is 1 to {ITEM_COUNT_MAX}", name="size")
    return size


def _cache(context: RunContext, callback: Any, size: Any) -> FixedCache:
    try:
        query = _query(callback)
    except CellError as error:
        raise BadArg(f"the query cannot be used: {error}", name="callback") from error
    count = _size(size)
    parsed = query.query if query.query is not None else parse_source(Source(query.text), ast.ParseMode.STORM)
    if not any(True for node in _outside_functions(parsed) if isinstance(node, ast.Return) and node.value):
        raise BadArg("the query of a cache returns a value", name="callback")
    return FixedCache(query, count)


def _outside_functions(root: ast.Node) -> Iterator[ast.Node]:
    """All nodes but those of functions and queries within."""
    waiting: list[object] = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, tuple):
            waiting.extend(node)
        elif isinstance(node, ast.Node) and not isinstance(node, ast.Function):
            yield node
            waiting.extend(getattr(node, field.name) for field in fields(node) if field.name != "span")


def _pipe(context: RunContext, filler: Any, size: Any) -> Pipe:
    _size(size)
    return Pipe(context, _query(filler))


# Versions.

_REQUIREMENT: Final = re.compile(r"\s*(>=|<=|==|!=|~=|>|<)\s*(\d+(?:\.\d+){0,3})(\.\*)?\s*")


def version_matches(version: tuple[int, ...], requirement: str) -> bool:
    """Whether a version is one that is asked for, as in `>=1.2.0,<2.0.0`.

    Raises:
        BadArg: the requirement cannot be read.
    """
    return all(_one_matches(version, part) for part in requirement.split(","))


def _one_matches(version: tuple[int, ...], part: str) -> bool:
    found = _REQUIREMENT.fullmatch(part)
    if found is None:
        raise BadArg(f"{part} asks for no version", name="reqstr", valu=part)
    sign, wanted = found[1], tuple(int(number) for number in found[2].split("."))
    if found[3] is not None:
        if sign not in ("==", "!="):
            raise BadArg(f"{part} asks for no version", name="reqstr", valu=part)
        return (version[: len(wanted)] == wanted) == (sign == "==")
    size = max(len(version), len(wanted))
    left, right = ((*one, *[0] * (size - len(one))) for one in (version, wanted))
    match sign:
        case ">=":
            return left >= right
        case "<=":
            return left <= right
        case "==":
            return left == right
        case "!=":
            return left != right
        case ">":
            return left > right
        case "<":
            return left < right
    return left >= right and version[: len(wanted) - 1] == wanted[:-1]


def version_numbers(value: Any) -> tuple[int, ...]:
    """Return a version, given as `1.2.3` or as a list of numbers.

    Raises:
        BadArg: it is none.
    """
    parts = value.split(".") if isinstance(value, str) else value
    try:
        found = tuple(int(part) for part in parts)
    except (TypeError, ValueError):
        found = ()
    if not found:
        raise BadArg("this is no version", name="vertup")
    return found


def _matches(context: RunContext, version: Any, requirement: Any) -> bool:
    return version_matches(version_numbers(toprim(version)), tostr(requirement))


def _todo(
    context: RunContext, name: Any, arguments: tuple[Any, ...], named: dict[str, Any]
) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    return (tostr(name), toprim(arguments), toprim(named))


def _buid(context: RunContext, value: Any) -> bytes:
    return hashing.buid(toprim(value))


def _spooled(context: RunContext, values: tuple[Any, ...]) -> Any:
    return spooled_set(context, values)


LIBRARIES: Final = (
    LibrarySpec(
        ("cache",),
        "Values worked out once.",
        (
            FunctionSpec(
                "fixed",
                "A cache of so many values; the oldest go first.",
                _cache,
                (
                    ParameterSpec(
                        "callback",
                        type="query",
                        doc="Returns the value for `$cache_key` where none is known.",
                    ),
                    ParameterSpec("size", 10000, "int", "Values kept."),
                ),
                "cache:fixed",
                may_change=True,
            ),
        ),
    ),
    LibrarySpec(
        ("pipe",),
        "Values on their way from one query to another.",
        (
            FunctionSpec(
                "gen",
                "A pipe that a query fills.",
                _pipe,
                (
                    ParameterSpec("filler", type="query", doc="Puts values into `$pipe`."),
                    ParameterSpec("size", 10000, "int", "Values that should wait at most."),
                ),
                "pipe",
                may_change=True,
            ),
        ),
    ),
    LibrarySpec(
        ("spooled",),
        "Large collections.",
        (FunctionSpec("set", "A set of the values given.", _spooled, (), "spooled:set", rest="vals"),),
    ),
    LibrarySpec(
        ("utils",),
        "Small helpers.",
        (
            FunctionSpec(
                "buid",
                "The SHA-256 of a value as identities are made of.",
                _buid,
                (ParameterSpec("valu", type="any", doc="The value."),),
                "bytes",
            ),
            FunctionSpec(
                "todo",
                "A call as data: name, arguments, named arguments.",
                _todo,
                (ParameterSpec("_todoname", type="str", doc="The name."),),
                "list",
                rest="args",
                keywords="kwargs",
            ),
        ),
    ),
    LibrarySpec(
        ("version",),
        "Versions.",
        (
            FunctionSpec(
                "commit",
                "The commit this was built from; empty as builds do not keep it.",
                lambda c: "",
                (),
                "str",
            ),
            FunctionSpec(
                "matches",
                "Whether a version is one that is asked for.",
                _matches,
                (
                    ParameterSpec("vertup", type="list", doc="The version's numbers."),
                    ParameterSpec("reqstr", type="str", doc="What is asked for, as `>=1.2.0,<2.0.0`."),
                ),
                "bool",
            ),
            FunctionSpec(
                "synapse",
                "The version of Synapse whose Storm this is.",
                lambda c: LANGUAGE_VERSION,
                (),
                "list",
            ),
        ),
    ),
)
