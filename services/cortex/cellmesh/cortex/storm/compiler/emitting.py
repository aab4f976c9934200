"""Values on their way out of a generator function, past the steps that follow `emit`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from cellmesh.common.errors import CellError
from cellmesh.cortex.storm.compiler.names import children
from cellmesh.cortex.storm.parser import ast
from cellmesh.cortex.storm.runtime.path import Path
from cellmesh.cortex.storm.runtime.signals import Emitted, StormSignal, is_emitted

if TYPE_CHECKING:
    from cellmesh.cortex.storm.compiler.core import Op
    from cellmesh.cortex.storm.runtime.context import RunContext


def may_emit(node: ast.Node) -> bool:
    """Whether there is an `emit` in a statement, outside functions within it."""
    if isinstance(node, ast.Emit):
        return True
    if isinstance(node, (ast.Function, ast.EmbeddedQuery)):
        return False
    return any(may_emit(child) for child in children(node))


def passing_emitted(operation: Op) -> Op:
    """Return a step that hands emitted values on, and gives the rows between them to `operation`.

    An emitted value leaves when the step next gives a row or ends.
    """

    def run(context: RunContext, rows: Iterator[Path]) -> Iterator[Path]:
        held: deque[Emitted] = deque()

        def only_rows() -> Iterator[Path]:
            for row in rows:
                if is_emitted(row):
                    held.append(row)
                else:
                    yield row

        failed: Exception | None = None
        try:
            for row in operation(context, only_rows()):
                while held:
                    yield cast(Path, held.popleft())
                yield row
        except (StormSignal, CellError) as error:
            failed = error
        while held:
            yield cast(Path, held.popleft())
        if failed is not None:
            raise failed

    return run
