"""Rates of the graph engine in one process: edits, feeds, lifts, pivots and counts, on a fresh folder.

    python benchmarks/graph_rates.py [--count 100000] [--first] [--profile feed|lift|edit]

The data are those of the bulk workloads: `inet:ipv4` nodes with `:asn` (one of 500), `:loc` (one of 50) and a
tag `#bench.tagN` (N below 20), seed 1. Times include the sync of every commit.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cellmesh.common.changelog.log import DATABASES as LOG_DATABASES
from cellmesh.common.storage import Slab, compact
from cellmesh.cortex.layers.schema import DATABASES
from cellmesh.cortex.model.registry import Model
from cellmesh.cortex.views.feed import FeedNode
from cellmesh.cortex.views.graph import Graph

BATCH_COUNT = 1000


def ipv4_rows(count: int) -> list[FeedNode]:
    """Return the records of workload W2a."""
    rng = random.Random(1)
    locs = [f"{a}{b}" for a in "abcde" for b in "qrstuvwxyz"]
    return [
        FeedNode(
            "inet:ipv4",
            f"{number >> 24}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}",
            {"asn": rng.randrange(500), "loc": rng.choice(locs)},
            {f"bench.tag{rng.randrange(20)}": None},
        )
        for number in rng.sample(range(1 << 24, 200 << 24), count)
    ]


def dns_rows(count: int, addresses: list[FeedNode]) -> list[FeedNode]:
    """Return the records of workload W2c: each makes an inet:fqdn."""
    rng = random.Random(2)
    return [
        FeedNode("inet:dns:a", (f"h{index}.d{index % 997}.com", rng.choice(addresses).value))
        for index in range(count)
    ]


def timed(name: str, unit: str, count: int, work: Callable[[], Any], profile: str) -> Any:
    """Run work, print its rate, and its profile if asked for."""
    profiler = cProfile.Profile() if profile and name.startswith(profile) else None
    begin_s, begin_cpu_s = time.perf_counter(), time.process_time()
    result = profiler.runcall(work) if profiler else work()
    wall_s, cpu_s = time.perf_counter() - begin_s, time.process_time() - begin_cpu_s
    print(
        f"{name:34} {count:>8} {unit:8} {wall_s:8.3f} s {count / wall_s:>12,.0f} /s   cpu {cpu_s:.3f} s",
        flush=True,
    )
    if profiler:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(28)
    return result


def main() -> None:
    """Run every workload once."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--edits", type=int, default=5_000)
    parser.add_argument("--profile", default="")
    parser.add_argument("--first", action="store_true", help="stop after the first feed")
    options = parser.parse_args()
    # As a long-lived process would: collections look at what is young, seldom at everything.
    gc.set_threshold(50_000, 20, 100)
    with tempfile.TemporaryDirectory() as folder:
        slab = Slab.open(Path(folder), (*DATABASES, *LOG_DATABASES))
        graph = Graph.open(slab, Model.load())
        gc.freeze()
        run(graph, options.count, options.edits, options.profile, is_first=options.first)
        stats = slab.stats()
        nodes = stats.entries["nodes"]
        print(f"disk {stats.used_bytes / nodes:,.0f} bytes a node over {nodes:,} nodes")
        slab.close()
        done = compact(Path(folder))
        assert done is not None, "there was something to compact"
        print(f"disk {done.after_bytes / nodes:,.0f} bytes a node after a compaction")


def batches(rows: list[FeedNode]) -> Iterator[list[FeedNode]]:
    """Split records into batches."""
    return (rows[start : start + BATCH_COUNT] for start in range(0, len(rows), BATCH_COUNT))


def run(graph: Graph, count: int, edits: int, profile: str, *, is_first: bool) -> None:
    """Run the workloads on an empty graph."""
    model = graph.model
    form = model.require_form("inet:ipv4")
    rows = ipv4_rows(count)

    def feed(records: list[FeedNode]) -> None:
        with graph.begin() as session:
            for batch in batches(records):
                result = session.feed(batch)
                assert not result.rejects, result.rejects[0].error
                session.sync()

    timed("feed ipv4, a sync a batch", "nodes", count, lambda: feed(rows), profile)
    print(f"disk {graph.slab.stats().used_bytes / count:,.0f} bytes a node after the first feed")
    if is_first:
        return
    timed("feed the same again", "nodes", count // 10, lambda: feed(rows[: count // 10]), profile)
    dns = dns_rows(count // 2, rows)
    timed("feed dns:a with their names", "nodes", len(dns), lambda: feed(dns), profile)

    more = ipv4_rows(count + edits)[count:]

    def single() -> None:
        with graph.begin() as session:
            for row in more:
                node = session.add_node(form, row.value)
                for name, value in row.props.items():
                    session.set_prop(node, name, value)
                for tag in row.tags:
                    session.add_tag(node, tag)
            session.sync()

    timed("edit node by node, one sync", "nodes", edits, single, profile)

    def lift() -> int:
        with graph.begin(readonly=True) as session:
            return sum(len(node.packed()) for node in session.lift_form(form))

    def get() -> int:
        with graph.begin(readonly=True) as session:
            return sum(node.get("asn") == 7 for node in session.lift_form(form))

    timed("lift ipv4 as bytes", "nodes", count, lift, profile)
    timed("lift ipv4, read :asn", "nodes", count, get, profile)

    def props() -> int:
        with graph.begin(readonly=True) as session:
            return sum(len(node.props) for node in session.lift_form(form))

    timed("lift ipv4, decode all", "nodes", count, props, profile)
    with graph.begin(readonly=True) as session:
        asn = form.props["asn"]
        timed("lift :asn=N, 50 N", "nodes", sum(session.count_value(asn, "=", n) or 0 for n in range(50)),
              lambda: [sum(1 for _ in session.lift_value(asn, "=", n)) for n in range(50)], profile)  # fmt: skip
        timed("count form, value, tag", "counts", 3000, lambda: [
            (session.count_form(form), session.count_value(asn, "=", n % 500), session.count_tag("bench.tag3", form))
            for n in range(1000)
        ], profile)  # fmt: skip
        names = list(session.lift_form(model.require_form("inet:fqdn")))
        target = model.require_prop("inet:dns:a:fqdn")
        found = timed("pivot fqdn -> dns:a", "nodes", len(dns),
                      lambda: list(session.nodes_with_value(target, [node.value for node in names])), profile)  # fmt: skip
        timed("pivot dns:a -> ipv4", "nodes", len(dns),
              lambda: list(session.nodes_with_value(form.value_prop, [node.get("ipv4") for _, node in found])), profile)  # fmt: skip


if __name__ == "__main__":
    main()
