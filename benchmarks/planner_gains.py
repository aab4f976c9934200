"""What each rule of Storm's planner gains: `python -m benchmarks.planner_gains`.

One engine in this process, 20,000 addresses in 200 networks, a tenth of them tagged. Each query runs with the rule and without, in
turns; CPU milliseconds, the least of five runs, and the rows, which must be the same.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cellmesh.common.changelog import DATABASES as LOG_DATABASES
from cellmesh.common.storage import Slab
from cellmesh.cortex.layers.schema import DATABASES
from cellmesh.cortex.model import Model
from cellmesh.cortex.storm import engine as engine_module
from cellmesh.cortex.storm.commands import COMMANDS
from cellmesh.cortex.storm.compiler import counted, dispatch
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.library import LIBRARIES
from cellmesh.cortex.storm.primitives import TYPES
from cellmesh.cortex.storm.runtime.messages import Error, NodeRow, Print
from cellmesh.cortex.views.graph import Graph

RUNS = 5
FILL = """
for $i in $lib.range(20000) { [ ( inet:ipv4=$i :asn=($i % 200) :loc=us ) ] if (($i % 10) = 0) { [ +#t.a ] } spin }
for $i in $lib.range(200) { [ inet:asn=$i :name=`net {$i}` ] spin }
"""
RULES: tuple[tuple[str, str, object, str, Callable[..., object]], ...] = (
    ("filters pushed into lifts", "inet:ipv4 +:asn=5", dispatch, "hint_of", lambda following: None),
    ("filters pushed into lifts", "inet:ipv4 +#t.a", dispatch, "hint_of", lambda following: None),
    ("counts from indexes", "inet:ipv4 | count", counted, "count_from_index", lambda session, nodes: None),
    (
        "counts from indexes",
        "inet:ipv4 -#t.a | count",
        counted,
        "count_from_index",
        lambda session, nodes: None,
    ),
    ("pivots in batches", "inet:asn -> inet:ipv4", engine_module, "is_pure", lambda query: False),
    ("pivots in batches", "inet:ipv4 -> inet:asn", engine_module, "is_pure", lambda query: False),
    ("pivots in batches", "inet:ipv4#t.a -> * | uniq", engine_module, "is_pure", lambda query: False),
)


@contextmanager
def replaced(module: object, name: str, value: object) -> Iterator[None]:
    """Have something else under a module's name for a while."""
    held = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, held)


def run(engine: Engine, text: str) -> tuple[float, list[object]]:
    """CPU milliseconds of a query, and what it gave, sorted."""
    found: list[object] = []
    began_s = time.thread_time()
    for message in engine.storm(text):
        match message:
            case NodeRow():
                found.append(message.node.ndef)
            case Print():
                found.append(message.text)
            case Error():
                raise RuntimeError(f"{text}: {message.error}")
            case _:
                pass
    return (time.thread_time() - began_s) * 1000, sorted(found, key=repr)


def main() -> None:
    """Fill, run, print."""
    with (
        tempfile.TemporaryDirectory(prefix="cellmesh-bench-") as folder,
        Slab.open(Path(folder), (*DATABASES, *LOG_DATABASES), sync=False) as slab,
    ):
        engine = Engine(Graph.open(slab, Model.load()), COMMANDS, LIBRARIES, TYPES)
        run(engine, FILL)
        print(f"{'rule':28} {'query':32} {'with':>9} {'without':>9}  ratio")
        for rule, text, module, name, value in RULES:
            quick: list[float] = []
            slow: list[float] = []
            for number in range(RUNS):
                cost, rows = run(engine, text)
                quick.append(cost)
                with replaced(module, name, value):
                    # Another text, or the one compiled with the rule would be used again.
                    cost, plain = run(engine, f"{text} // {number}")
                slow.append(cost)
                if rows != plain:
                    raise RuntimeError(f"{text}: other rows without the rule")
            print(
                f"{rule:28} {text:32} {min(quick):6.2f} ms {min(slow):6.2f} ms {min(slow) / min(quick):6.1f}"
            )


if __name__ == "__main__":
    main()
