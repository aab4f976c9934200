"""`inet:ipv4 +:asn=5 | count` from indexes; see `planner.counting`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from cellmesh.cortex.storm.compiler.core import Compiler, Op
from cellmesh.cortex.storm.parser import ast
from cellmesh.cortex.storm.planner.counting import COUNT_COMMAND, count_from_index, counted_steps
from cellmesh.cortex.storm.runtime.context import RunContext
from cellmesh.cortex.storm.runtime.counted import CountedRows
from cellmesh.cortex.storm.runtime.path import Path


def fold_counted(compiler: Compiler, nodes: Sequence[ast.Operation], steps: list[Op]) -> list[Op]:
    """Make one step of a lift, perhaps a filter, and the `count` behind them.

    Args:
        compiler: The compiler of the scope.
        nodes: The operations of a query or body.
        steps: The step of each of them.
    """
    size = counted_steps(nodes)
    if not size or compiler.is_emitting:
        return steps
    return [_counted_step(nodes[:size], steps[:size], steps[size]), *steps[size + 1 :]]


def _counted_step(nodes: Sequence[ast.Operation], steps: Sequence[Op], count: Op) -> Op:
    def run(context: RunContext, rows: Iterator[Path]) -> Iterator[Path]:
        # Rows that come in are counted too, and the filter may look at them: rare, so left to the steps.
        first = next(rows, None)
        if first is None:
            command = context.engine.commands.get(COUNT_COMMAND)
            if command is not None and command.takes_counted:
                found = count_from_index(context.session, nodes)
                if found is not None:
                    yield from count(context, CountedRows(found))
                    return
        else:
            rows = chain((first,), rows)
        for step in steps:
            rows = step(context, rows)
        yield from count(context, rows)

    return run
