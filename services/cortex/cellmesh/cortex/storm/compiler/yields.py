"""`yield`: nodes that a value gives, in front of the row at hand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from cellmesh.common.errors import BadLiftValu
from cellmesh.cortex.storm.compiler.core import ROWLESS, Compiler, Op
from cellmesh.cortex.storm.parser import ast
from cellmesh.cortex.storm.runtime.context import RunContext
from cellmesh.cortex.storm.runtime.functions import StormGenerator
from cellmesh.cortex.storm.runtime.members import toiter
from cellmesh.cortex.storm.runtime.path import Path
from cellmesh.cortex.storm.runtime.queries import StormQuery
from cellmesh.cortex.views.node import Node

_IDEN = re.compile(r"[0-9a-fA-F]{64}")
_BYTES = re.compile(r"(?:[0-9a-fA-F]{2})+")


def compile_yield(compiler: Compiler, node: ast.Yield) -> Op:
    """`yield $node`, `yield { inet:ipv4 }`."""
    place = compiler.place(node)
    if isinstance(node.value, ast.SubqueryValue):
        return _yield_subquery(compiler, node.value)
    value = compiler.expression(node.value)
    is_safe = compiler.is_safe(node.value)

    def run(context: RunContext, rows: Iterator[Path], place: object = place) -> Iterator[Path]:
        path = None
        for path in rows:
            for found in nodes_of(context, value(context, path)):
                context.tick()
                yield path.fork(found) if type(found) is Node else found
            yield path
        if path is None and is_safe:
            for found in nodes_of(context, value(context, ROWLESS)):
                context.tick()
                yield Path(found, context.snapshot()) if type(found) is Node else found

    return run


def _yield_subquery(compiler: Compiler, value: ast.SubqueryValue) -> Op:
    body = compiler.body(value.query)

    def run(context: RunContext, rows: Iterator[Path]) -> Iterator[Path]:
        for path in rows:
            yield from body.rows(context, iter((path,)))
            yield path

    return run


def nodes_of(context: RunContext, value: Any) -> Iterator[Any]:
    """Yield the nodes, or rows, that a value gives; none for null, numbers and the like.

    Raises:
        BadLiftValu: it is text, but no iden.
    """
    kind = type(value)
    if kind is Node:
        yield value
    elif kind is str:
        if _IDEN.fullmatch(value) is None:
            if _BYTES.fullmatch(value) is not None:
                return  # of another size than idens, so that no node has it
            raise BadLiftValu(f"yield needs a node or the iden of one, not {value[:80]!r}", valu=value[:80])
        found = context.session.node_by_iden(value.lower())
        if found is not None:
            yield found
    elif kind is bytes:
        found = context.session.node_by_buid(value) if len(value) == 32 else None
        if found is not None:
            yield found
    elif kind is StormQuery:
        yield from context.run_query(value)
    elif kind is tuple and len(value) == 2 and type(value[0]) is Node and type(value[1]) is Path:
        yield Path(value[0], value[1].vars, value[1].meta)
    elif kind in (list, tuple, set, StormGenerator):
        for item in toiter(context, value):
            yield from nodes_of(context, item)
    else:
        entry = context.engine.types.of(kind)
        if entry is not None and entry.spec.iterate is not None and kind is not dict:
            for item in entry.spec.iterate(context, value):
                yield from nodes_of(context, item)
