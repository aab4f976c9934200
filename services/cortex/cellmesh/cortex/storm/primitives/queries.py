"""Queries, functions and generators as values."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from cellmesh.cortex.storm.runtime.functions import NativeFunction, StormFunction, StormGenerator
from cellmesh.cortex.storm.runtime.interface import UNDEF, FunctionSpec, ParameterSpec, TypeSpec
from cellmesh.cortex.storm.runtime.libraries import Library
from cellmesh.cortex.storm.runtime.queries import StormQuery
from cellmesh.cortex.storm.runtime.values import toint

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext


def _exec(context: RunContext, self: StormQuery) -> Any:
    return context.value_of(self)


def _size(context: RunContext, self: StormQuery, limit: Any) -> int:
    # The first node is taken before the limit is looked at, as `limit 0` does.
    return sum(1 for _ in islice(context.run_query(self), max(1, toint(limit))))


QUERY_METHODS: Final = (
    FunctionSpec("exec", "Run it and give back what it returns.", _exec, (), "any"),
    FunctionSpec(
        "size", "Run it and count its nodes.", _size,
        (ParameterSpec("limit", 1000, "int", "Stop counting there."),), "int",
    ),
)  # fmt: skip

TYPES: Final = (
    TypeSpec("storm:query", StormQuery, "A query, with the variables it was made with.", QUERY_METHODS),
    TypeSpec("function", StormFunction, "A function of the query."),
    TypeSpec("function", NativeFunction, "A function of the library, or a method."),
    TypeSpec("generator", StormGenerator, "Values made on demand."),
    TypeSpec("lib", Library, "A namespace of the library."),
    TypeSpec("undef", type(UNDEF), "What unsets."),
)
