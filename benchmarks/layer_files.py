"""What a layer's file costs in one process: exported, imported into a fresh graph, and the size of the file.

    python -m benchmarks.layer_files [--count 100000] [--profile export|import]

The nodes are those of the bulk feed: two properties and a tag each. CPU of the process in microseconds a node.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cellmesh.common.changelog.log import DATABASES as LOG_DATABASES
from cellmesh.common.storage import Slab
from cellmesh.cortex.layers.schema import DATABASES
from cellmesh.cortex.model.registry import Model
from cellmesh.cortex.replay.fresh import FreshNodes
from cellmesh.cortex.views.graph import Graph
from cellmesh.cortex.views.layer_export import export_layer
from cellmesh.cortex.views.layer_import import import_layer
from cellmesh.cortex.views.verify import check_layer

from benchmarks.graph_rates import BATCH_COUNT, ipv4_rows

PART_SIZE = 256 << 10


@contextmanager
def graph_in(folder: Path, model: Model) -> Iterator[Graph]:
    with Slab.open(folder, [*DATABASES, *LOG_DATABASES]) as slab:
        yield Graph.open(slab, model)


def timed(name: str, count: int, work: Callable[[], Any], profile: str) -> Any:
    """Run work, and print what it took."""
    profiler = cProfile.Profile() if profile == name else None
    begin_s, begin_cpu_s = time.perf_counter(), time.process_time()
    result = profiler.runcall(work) if profiler else work()
    cpu_s, wall_s = time.process_time() - begin_cpu_s, time.perf_counter() - begin_s
    print(f"{name:8} {cpu_s / count * 1e6:7.1f} us of CPU a node, {count / wall_s:9,.0f} nodes/s", flush=True)
    if profiler:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(25)
    return result


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--profile", default="")
    args = parser.parse_args()
    model = Model.load()
    rows = ipv4_rows(args.count)
    with tempfile.TemporaryDirectory() as name:
        with graph_in(Path(name, "one"), model) as graph, Path(name, "file").open("wb") as out:

            def feed() -> None:
                with graph.begin() as session:
                    for start in range(0, len(rows), BATCH_COUNT):
                        session.feed(rows[start : start + BATCH_COUNT])
                    session.sync()

            def write() -> None:
                layer = graph.default_view.layers[0]
                for part in export_layer(graph, layer, cell_id="", program_version="", tick=lambda: None):
                    out.write(part.data)

            timed("feed", args.count, feed, args.profile)
            timed("export", args.count, write, args.profile)
        size = Path(name, "file").stat().st_size
        print(f"file     {size / args.count:7.1f} bytes a node")
        with graph_in(Path(name, "two"), model) as graph, Path(name, "file").open("rb") as source:

            def read() -> Any:
                parts = iter(lambda: source.read(PART_SIZE), b"")
                return import_layer(
                    graph, parts, name=None, user="root", tick=lambda: None, make_writer=FreshNodes
                )

            layer, found = timed("import", args.count, read, args.profile)
            assert found >= args.count
            assert not list(check_layer(graph, layer, lambda: None))


if __name__ == "__main__":
    main()
