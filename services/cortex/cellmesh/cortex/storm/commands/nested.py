"""Commands that run queries on the rows: tee, tree, intersect, batch, divert, parallel, storm.exec."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadArg, RecursionLimitHit, StormRuntimeError
from cellmesh.cortex.storm.runtime.functions import StormGenerator
from cellmesh.cortex.storm.runtime.interface import Arguments, ArgumentSpec, CommandSpec
from cellmesh.cortex.storm.runtime.path import Path
from cellmesh.cortex.storm.runtime.queries import StormQuery
from cellmesh.cortex.storm.runtime.values import tobool, toint, tostr
from cellmesh.cortex.views.node import Node

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext

BATCH_SIZE_MAX: Final = 10_000


def new_path(context: RunContext, node: Node) -> Path:
    """Return a row for a node that a command lifts; it has the variables as they are now."""
    return Path(node, context.snapshot())


def _queries(given: list[Any]) -> list[StormQuery | str]:
    found: list[StormQuery | str] = []
    for item in given:
        if isinstance(item, (list, tuple)):
            found.extend(_queries(list(item)))
        else:
            found.append(item if isinstance(item, StormQuery) else tostr(item))
    return found


def _tee(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    if not arguments.query and arguments.is_constant:
        raise StormRuntimeError("tee needs at least one query", name="tee")
    is_empty = True
    for path in rows:
        is_empty = False
        for query in _queries(arguments.query):
            yield from context.rows_of(query, [path.clone()])
        if arguments.join:
            yield path
    if is_empty and arguments.is_constant:
        for query in _queries(arguments.query):
            yield from context.rows_of(query)


def _tree(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    for root in rows:
        yield root
        # Depth first, with the open queries of the branch on a stack of our own.
        branch = [context.rows_of(arguments.query, [root.clone()])]
        try:
            while branch:
                context.tick()
                path = _next_of_branch(branch)
                if path is None:
                    branch.pop()
                    continue
                yield path
                branch.append(context.rows_of(arguments.query, [path.clone()]))
        finally:
            for left in reversed(branch):
                left.close()  # type: ignore[attr-defined]


def _next_of_branch(branch: list[Iterator[Path]]) -> Path | None:
    """Return the next row of the deepest query; each of them counts as a query inside the one before it."""
    try:
        return next(branch[-1], None)
    except RecursionLimitHit as error:
        if len(branch) == 1:
            raise
        raise StormRuntimeError(
            f"the tree goes deeper than {len(branch) - 1} nodes, or in a circle",
            name="tree",
            depth=len(branch) - 1,
        ) from error


def _intersect(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    counts: dict[bytes, int] = {}
    last: dict[bytes, Path] = {}
    row_count = 0
    for path in rows:
        row_count += 1
        for found in context.rows_of(arguments.query, [path]):
            key = found.node.key
            counts[key] = counts.get(key, 0) + 1
            last[key] = found
    for key, count in counts.items():
        if count == row_count:
            yield last[key]


def _batch(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    size, is_replaced = toint(arguments.size), tobool(arguments.cond)
    if size > BATCH_SIZE_MAX:
        raise StormRuntimeError(f"--size of batch is at most {BATCH_SIZE_MAX}, not {size}", name="--size")
    batch: list[Path] = []
    for path in rows:
        batch.append(path)
        if len(batch) >= size:
            yield from _run_batch(context, arguments.query, batch, is_replaced)
            batch = []
    if batch:
        yield from _run_batch(context, arguments.query, batch, is_replaced)


def _run_batch(
    context: RunContext, query: StormQuery, batch: list[Path], is_replaced: bool
) -> Iterator[Path]:
    made = context.rows_of(query, None, {"nodes": [path.node for path in batch]})
    if is_replaced:
        yield from made
        return
    for _ in made:
        context.tick()
    yield from batch


def _divert(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    is_empty = True
    for path in rows:
        is_empty = False
        made = (path.fork(node) for node in _diverted(context, arguments))
        yield from _passed(made, path, is_replaced=tobool(arguments.cond))
    if is_empty and arguments.is_constant:
        made = (new_path(context, node) for node in _diverted(context, arguments))
        yield from _passed(made, None, is_replaced=tobool(arguments.cond))


def _passed(made: Iterator[Path], path: Path | None, *, is_replaced: bool) -> Iterator[Path]:
    """Pass the rows made on, or use them up and pass the row they were made for."""
    for one in made:
        if is_replaced:
            yield one
    if path is not None and not is_replaced:
        yield path


def _diverted(context: RunContext, arguments: Arguments) -> Iterator[Node]:
    if not isinstance(arguments.genr, StormGenerator):
        raise BadArg("divert takes a generator, such as a call of a function without return", name="genr")
    size = None if arguments.size is None else toint(arguments.size)
    for place, item in enumerate(arguments.genr):
        context.tick()
        if size is not None and place >= size:
            arguments.genr.close()
            return
        node = item[0] if isinstance(item, tuple) and item else item
        if not isinstance(node, Node):
            raise BadArg("the generator that divert takes gives nodes", name="genr")
        yield node


def _parallel(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    """Run the query on one row after another: a query uses one thread, so nothing is gained by more.

    Without any it runs --size times.
    """
    is_empty = True
    for path in rows:
        is_empty = False
        yield from context.rows_of(arguments.query, [path])
    # Null is a query that a row was to tell.
    if is_empty and arguments.query is not None:
        for _ in range(toint(arguments.size)):
            context.tick()
            yield from context.rows_of(arguments.query)


def _storm_exec(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    if arguments.is_constant:
        yield from context.rows_of(arguments.query, rows)
        return
    for path in rows:
        yield from context.rows_of(arguments.query, [path])


_CONDITION: Final = ArgumentSpec(
    ("cond",), "Whether to pass on what is made instead of the nodes.", type="any"
)

COMMANDS: Final = (
    CommandSpec(
        "batch",
        """Run a query on several nodes at once, which it has in the list $nodes.

        With a true condition what the query ends with is passed on, else the nodes themselves.

            inet:fqdn | batch (false) --size 100 { $lib.print($lib.len($nodes)) }
        """,
        _batch,
        (
            _CONDITION,
            ArgumentSpec(("query",), "The query to run.", type="query"),
            ArgumentSpec(("--size",), "How many nodes make a batch.", type="any", default=10),
        ),
        needs_constant=True,
    ),
    CommandSpec(
        "divert",
        """Go through a generator of nodes, and pass on either them or the node they were made for.

            function pivots(n) { yield $n -> * }
            inet:fqdn | divert $lib.true $pivots($node)
        """,
        _divert,
        (
            _CONDITION,
            ArgumentSpec(("genr",), "What makes the nodes.", type="any"),
            ArgumentSpec(("--size",), "Take at most so many from each generator.", type="any"),
        ),
    ),
    CommandSpec(
        "intersect",
        """Pass on the nodes that a query leads to from each of the nodes.

        All nodes are taken in before the first one is passed on.

            ou:org=(a,) ou:org=(b,) | intersect { -> ou:industry }
        """,
        _intersect,
        (ArgumentSpec(("query",), "The query to run on each node.", type="query"),),
    ),
    CommandSpec(
        "parallel",
        """Run a query on the nodes and pass on what it ends with.

        Nodes are taken one after the other, whatever --size says. Without nodes it runs --size times.

            inet:ipv4#new | parallel { $enrich($node) }
        """,
        _parallel,
        (
            ArgumentSpec(("query",), "The query to run.", type="query"),
            ArgumentSpec(("--size",), "How often it runs without nodes.", type="any", default=8),
        ),
    ),
    CommandSpec(
        "storm.exec",
        """Run a query given as text on the nodes.

            storm.exec $text
        """,
        _storm_exec,
        (ArgumentSpec(("query",), "The text of the query."),),
        may_change=True,
    ),
    CommandSpec(
        "tee",
        """Run several queries on each node and pass on what they end with.

            inet:ipv4=1.2.3.4 | tee { -> inet:asn } { <- * }
        """,
        _tee,
        (
            ArgumentSpec(("query",), "The queries.", type="any", count="*", runs_query=True),
            ArgumentSpec(("--join", "-j"), "Pass on the node as well, behind them.", action="store_true"),
            ArgumentSpec(("--parallel", "-p"), "Let results come in any order.", action="store_true"),
        ),
    ),
    CommandSpec(
        "tree",
        """Pass on each node, what a query leads to from it, what it leads to from there, and so on.

            inet:fqdn=www.vertex.link | tree { :domain -> inet:fqdn }
        """,
        _tree,
        (ArgumentSpec(("query",), "The query that leads to the next nodes.", type="query"),),
    ),
)
