"""Nodes as tables: `frame()` beside a table made row by row.

python -m benchmarks.frames [COUNT]     a Cortex in a process of its own with so many inet:ipv4 nodes, 100,000 by default

The ways take turns; of each the median of ROUNDS is printed, from the query to the table, in seconds of CPU of this
process and of the Cortex, and how many times the CPU of `frame()` it takes here. pandas and polars are measured where they
are installed.
"""

from __future__ import annotations

import importlib.util
import resource
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from cellmesh.api.cortex.v1 import feed_pb2
from cellmesh.api.cortex.v1.feed_service_pb2_grpc import FeedServiceStub
from cellmesh.client import CellClient, open_cell
from cellmesh.common.values import fill_value

from benchmarks.cell_rates import cpu_s as cell_cpu_s
from benchmarks.cell_rates import start, stop

ROUNDS: Final = 5
BATCH_COUNT: Final = 5000
QUERY: Final = "inet:ipv4#bench"
COLUMNS: Final = ("value", ":asn", ":type", ":dns:rev", ".created", "#bench")


def fill(cortex: CellClient, count: int) -> None:
    """Make the nodes."""

    def requests() -> Iterator[feed_pb2.AddNodesRequest]:
        for begin in range(0, count, BATCH_COUNT):
            request = feed_pb2.AddNodesRequest()
            for number in range(begin, min(begin + BATCH_COUNT, count)):
                node = request.nodes.add(form="inet:ipv4")
                node.value.int_value = 0x0A000000 + number
                node.props["asn"].int_value = number % 1000
                node.props["dns:rev"].string_value = f"h{number}.example"
                fill_value(node.tags["bench"], None)
            yield request

    for response in cortex.stub(FeedServiceStub).AddNodes(requests()):
        assert not response.rejects, response.rejects[0]


def row_by_row(cortex: CellClient) -> dict[str, list[Any]]:
    """What anybody would write over the nodes of an answer."""
    found: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for node in cortex.storm(QUERY):
        found["value"].append(node.value)
        found[":asn"].append(node.get("asn"))
        found[":type"].append(node.get("type"))
        found[":dns:rev"].append(node.get("dns:rev"))
        found[".created"].append(node.get(".created"))
        found["#bench"].append("bench" in node.tags)
    return found


def ways(cortex: CellClient) -> dict[str, Callable[[], Any]]:
    """What is measured, by name; each gives a table of the same columns."""
    found: dict[str, Callable[[], Any]] = {
        "frame()": lambda: cortex.storm(QUERY).frame(COLUMNS),
        "frame().to_dict()": lambda: cortex.storm(QUERY).frame(COLUMNS).to_dict(),
        "row by row, lists": lambda: row_by_row(cortex),
    }
    if importlib.util.find_spec("polars"):
        import polars

        found["to_polars()"] = lambda: cortex.storm(QUERY).to_polars(COLUMNS)
        found["row by row, polars"] = lambda: polars.DataFrame(row_by_row(cortex))
    if importlib.util.find_spec("pandas"):
        import pandas

        found["to_pandas()"] = lambda: cortex.storm(QUERY).to_pandas(COLUMNS)
        found["row by row, pandas"] = lambda: pandas.DataFrame(row_by_row(cortex))
    return found


def cpu_s() -> float:
    """Seconds of CPU of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Measure, and print a table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    seen: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="cellmesh-frames-") as folder:
        process, *_ = start("cortex", Path(folder))
        try:
            with open_cell(f"unix://{folder}/cell.sock") as cortex:
                fill(cortex, count)
                measured = ways(cortex)
                for _ in range(ROUNDS):
                    for name, way in measured.items():
                        cpu, cell = cpu_s(), cell_cpu_s(process)
                        made = way()
                        seen.setdefault(name, []).append((cpu_s() - cpu, cell_cpu_s(process) - cell))
                        rows = len(made[COLUMNS[0]]) if isinstance(made, dict) else len(made)
                        assert rows == count, (name, rows)
        finally:
            stop(process)
    first = statistics.median(cpu for cpu, _ in seen["frame()"])
    print(f"{count:,} rows, {len(COLUMNS)} columns")
    for name, times in seen.items():
        cpu, cell = (statistics.median(column) for column in zip(*times))
        print(f"{name:20} {cpu:7.3f} s here {cell:7.3f} s of the Cortex {cpu / first:6.1f} x")


if __name__ == "__main__":
    main()
