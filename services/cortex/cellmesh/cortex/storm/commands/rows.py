"""Commands that choose, count and delay rows: count, limit, uniq, spin, max, min, sleep, once."""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING, Any, Final

from cellmesh.common.errors import BadArg, BadTypeValu
from cellmesh.cortex.storm.runtime.counted import CountedRows
from cellmesh.cortex.storm.runtime.interface import Arguments, ArgumentSpec, CommandSpec
from cellmesh.cortex.storm.runtime.values import toint, tonumber
from cellmesh.cortex.storm.runtime.valuing import plain_value
from cellmesh.cortex.storm.waiting import wait

if TYPE_CHECKING:
    from cellmesh.cortex.storm.runtime.context import RunContext
    from cellmesh.cortex.storm.runtime.path import Path

KEPT_COUNT_MAX: Final = 10_000
"""Most rows that max and min keep."""


def _count(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    count = 0
    if isinstance(rows, CountedRows):
        count = rows.count
    else:
        is_passing = getattr(arguments, "yield")
        for path in rows:
            count += 1
            if is_passing:
                yield path
    context.print(f"Counted {count} nodes.")


def _limit(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    for count, path in enumerate(rows, 1):
        yield path
        # Compared behind the row: a limit of 0 lets one pass, as people's queries expect.
        if count >= arguments.count:
            return


def _uniq(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    seen: set[Hashable] = set()
    for path in rows:
        value = arguments.value
        key: Hashable = path.node.key if value is None else _hashable(plain_value(value))
        if key not in seen:
            seen.add(key)
            yield path


def _hashable(value: Any) -> Hashable:
    """Return what is equal for equal plain values."""
    if isinstance(value, (list, tuple)):
        return ("list", *(_hashable(item) for item in value))
    if isinstance(value, dict):
        return ("dict", frozenset((key, _hashable(item)) for key, item in value.items()))
    return (type(value) is bool, value)


def _spin(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    for _ in rows:
        context.tick()
    return
    yield  # makes this a generator


def _size(value: Any) -> int:
    size = toint(value)
    if not 0 < size <= KEPT_COUNT_MAX:
        raise BadArg(f"--size is a number from 1 to {KEPT_COUNT_MAX}, not {size}", name="--size")
    return size


def _extreme(
    context: RunContext, arguments: Arguments, rows: Iterator[Path], *, largest: bool
) -> Iterator[Path]:
    """Keep the rows with the largest or smallest values, in a heap with the least wanted of them on top."""
    sign = 1 if largest else -1
    if arguments.is_constant:
        _size(arguments.size)
    heap: list[tuple[Any, int, Path]] = []
    for place, path in enumerate(rows):
        value = arguments.valu
        if isinstance(value, tuple) and len(value) == 2:  # an interval counts by its nearer end
            value = value[1] if largest else value[0]
        if value is None:
            continue
        # Of equal values the first one wins.
        entry = (sign * tonumber(value), -place, path)
        if len(heap) < _size(arguments.size):
            heapq.heappush(heap, entry)
        elif entry[:2] > heap[0][:2]:
            heapq.heapreplace(heap, entry)
    for _, _, path in sorted(heap, key=lambda entry: entry[:2], reverse=True):
        yield path


def _max(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    return _extreme(context, arguments, rows, largest=True)


def _min(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    return _extreme(context, arguments, rows, largest=False)


def _sleep(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    for path in rows:
        wait(context, float(arguments.delay))
        yield path


def _once(context: RunContext, arguments: Arguments, rows: Iterator[Path]) -> Iterator[Path]:
    session = context.session
    for path in rows:
        context.check_writable()
        name = f"once:{arguments.name}"
        done = session.get_data(path.node, name)
        if done is not None and (arguments.asof is None or _tick(done) >= _since(context, arguments.asof)):
            continue
        session.set_data(path.node, name, {"tick": session.graph.now_ms()})
        yield path


def _tick(done: Any) -> int:
    tick = done.get("tick") if isinstance(done, dict) else None
    return tick if isinstance(tick, int) else 0


def _since(context: RunContext, value: Any) -> int:
    try:
        since: int = context.model.type("time").norm(plain_value(value))
    except BadTypeValu as error:
        raise BadArg(f"--asof of once: {error.message}", name="--asof") from error
    return since


_EXTREME_ARGUMENTS: Final = (
    ArgumentSpec(("valu",), "What to compare: a property, tag or expression.", type="any"),
    ArgumentSpec(("--size",), "How many nodes to keep.", type="any", default=1),
)

COMMANDS: Final = (
    CommandSpec(
        "count",
        """Count the nodes and print how many there are.

        The nodes are dropped unless --yield is given.

            inet:ipv4:asn=20 | count
        """,
        _count,
        (ArgumentSpec(("--yield",), "Pass the nodes on.", action="store_true"),),
        takes_counted=True,
    ),
    CommandSpec(
        "limit",
        """Pass on at most so many nodes, then end what comes before.

            inet:ipv4 | limit 10
        """,
        _limit,
        (ArgumentSpec(("count",), "How many nodes may pass; at least one does.", type="int"),),
    ),
    CommandSpec(
        "max",
        """Pass on the node with the largest value, or the few with the largest ones.

        Nodes without the value are dropped.

            file:bytes#foo | max .seen
        """,
        _max,
        _EXTREME_ARGUMENTS,
    ),
    CommandSpec(
        "min",
        """Pass on the node with the smallest value, or the few with the smallest ones.

        Nodes without the value are dropped.

            file:bytes#foo | min .seen
        """,
        _min,
        _EXTREME_ARGUMENTS,
    ),
    CommandSpec(
        "once",
        """Pass on nodes that have not come by under this name before, and note that they have.

            inet:fqdn#new | once enrich
        """,
        _once,
        (
            ArgumentSpec(("name",), "What is done once."),
            ArgumentSpec(("--asof",), "Pass nodes whose last time is before this one.", type="any"),
        ),
        changes_state=True,
    ),
    CommandSpec(
        "sleep",
        """Wait before each node.

            inet:fqdn | sleep 0.5
        """,
        _sleep,
        (ArgumentSpec(("delay",), "Seconds to wait.", type="number"),),
    ),
    CommandSpec(
        "spin",
        """Drop all nodes; what they are taken through still happens.

            inet:fqdn [ +#seen ] | spin
        """,
        _spin,
    ),
    CommandSpec(
        "uniq",
        """Pass on each node once, or one node for each value.

            inet:ipv4#a inet:ipv4#b | uniq
            inet:ipv4 | uniq :asn
        """,
        _uniq,
        (ArgumentSpec(("value",), "Tell nodes apart by this.", type="any", count="?"),),
    ),
)
