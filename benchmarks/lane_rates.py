"""Measure what a lane brings: Storm queries on one stream, and the same queries each by itself, in turn.

    python -m benchmarks.lane_rates [--rounds N]

Starts a Cortex in a process of its own, on loopback TCP without TLS, and asks it through the client library from this
process. In each round every case runs once both ways. Prints medians a query: p50, CPU of the server and of this process,
and the ratio of both CPUs together, with its range. docs/performance.md has a table.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import resource
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import cellmesh.client
import cellmesh.client.aio
from cellmesh.api.cortex.v1.storm_pb2 import StormRequest
from cellmesh.api.cortex.v1.storm_service_pb2_grpc import StormServiceStub
from cellmesh.common.values import to_value

from benchmarks import processes, sides

HOSTS: Final = 5_000
ADDRESSES: Final = 40_000
QUERIES: Final = 500
HEAVY: Final = 2
BY_ITSELF: Final = (("x-by-itself", "1"),)
"""With metadata of its own a call goes by itself."""

Ask = Callable[[StormRequest, Any], Awaitable[int]]


def points(first: Iterator[int], *, variable: bool) -> Iterator[StormRequest]:
    """Queries that look up one name each, no text twice unless a variable has the name."""
    while True:
        number = next(first)
        name = f"h{number % HOSTS}.example.com"
        if variable:
            request = StormRequest(text="inet:fqdn=$fqdn")
            request.options.vars["fqdn"].CopyFrom(to_value(name))
        else:
            request = StormRequest(text=f"inet:fqdn={name}{' ' * (number // HOSTS)}")
        yield request


def own_cpu_s() -> float:
    """CPU time of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def measure(
    pid: int, ask: Ask, requests: Iterator[StormRequest], callers: int, count: int, metadata: Any
) -> tuple[float, float, float]:
    """p50 in ms, CPU of the server and of this process in us, all of a query."""
    todo = iter(range(count))
    taken_s: list[float] = []

    async def caller() -> None:
        for _ in todo:
            begin = time.perf_counter()
            await ask(next(requests), metadata)
            taken_s.append(time.perf_counter() - begin)

    server_s, own_s = processes.cpu_seconds(pid), own_cpu_s()
    await asyncio.gather(*(caller() for _ in range(callers)))
    server_s, own_s = processes.cpu_seconds(pid) - server_s, own_cpu_s() - own_s
    return statistics.median(taken_s) * 1e3, server_s / count * 1e6, own_s / count * 1e6


async def run(address: str, pid: int, rounds: int) -> dict[str, dict[str, list[tuple[float, float, float]]]]:
    """Samples by case and way."""
    found: dict[str, dict[str, list[tuple[float, float, float]]]] = {}
    with cellmesh.client.open(f"grpc://{address}") as blocking:
        async with cellmesh.client.aio.open(f"grpc://{address}") as client:
            await fill(client)
            stub = client.stub(StormServiceStub)
            plain = blocking.stub(StormServiceStub)

            async def ask(request: StormRequest, metadata: Any) -> int:
                messages = 0
                async for response in stub.Storm(request, metadata=metadata):
                    messages += len(response.messages)
                return messages

            async def ask_blocking(request: StormRequest, metadata: Any) -> int:
                return sum(len(response.messages) for response in plain.Storm(request, metadata=metadata))

            async def heavy(metadata: Any) -> None:
                while True:
                    await ask(StormRequest(text="inet:ipv4"), metadata)

            numbers = itertools.count()
            new, variable = points(numbers, variable=False), points(numbers, variable=True)
            stream = itertools.repeat(StormRequest(text="inet:ipv4"))
            cases: dict[str, tuple[Ask, Iterator[StormRequest], int, int, int]] = {
                "new text, 1 caller": (ask, new, 1, QUERIES, 0),
                "new text, 16 callers": (ask, new, 16, QUERIES, 0),
                "variable, 1 caller": (ask, variable, 1, QUERIES, 0),
                "variable, 16 callers": (ask, variable, 16, QUERIES, 0),
                "variable, blocking, 1 caller": (ask_blocking, variable, 1, QUERIES, 0),
                f"variable, 1 caller, {HEAVY} heavy queries beside": (ask, variable, 1, QUERIES // 5, HEAVY),
                f"stream of {ADDRESSES:,} nodes": (ask, stream, 1, 3, 0),
            }
            for _ in range(rounds):
                for name, (asked, requests, callers, count, beside) in cases.items():
                    for way, metadata in (("by itself", BY_ITSELF), ("lane", None)):
                        await asked(next(requests), metadata)
                        tasks = [asyncio.ensure_future(heavy(metadata)) for _ in range(beside)]
                        sample = await measure(pid, asked, requests, callers, count, metadata)
                        found.setdefault(name, {}).setdefault(way, []).append(sample)
                        for task in tasks:
                            task.cancel()
                            with suppress(asyncio.CancelledError):
                                await task
    return found


async def fill(client: cellmesh.client.AioCellClient) -> None:
    """Names to look up, and addresses to stream."""
    await client.storm(
        "for $i in $lib.range($stop) { $name=`h{$i}.example.com` [ inet:fqdn=$name ] } | spin",
        vars={"stop": HOSTS},
    ).run()
    text = "for $i in $lib.range($stop, start=$start) { [ inet:ipv4=$i :asn=20 :loc=us.ca +#bench ] } | spin"
    for start in range(0, ADDRESSES, 4000):
        await client.storm(text, vars={"start": start, "stop": start + 4000}).run()


def report(found: dict[str, dict[str, list[tuple[float, float, float]]]]) -> None:
    """Print the table."""
    print("| queries | way | p50 | CPU a query: server | client | CPU, by itself to lane (range) |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, ways in found.items():
        pairs = zip(ways["by itself"], ways["lane"], strict=True)
        ratios = [(one[1] + one[2]) / (other[1] + other[2]) for one, other in pairs]
        for way, samples in ways.items():
            p50_ms, server_us, own_us = (statistics.median(column) for column in zip(*samples, strict=True))
            span = f"{statistics.median(ratios):.1f} ({min(ratios):.1f} .. {max(ratios):.1f})"
            ratio = span if way == "lane" else ""
            print(f"| {name} | {way} | {p50_ms:.2f} ms | {server_us:,.0f} us | {own_us:,.0f} us | {ratio} |")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with (
        tempfile.TemporaryDirectory(prefix="cellmesh-bench-") as folder,
        sides.our_server("cortex", Path(folder) / "cortex") as (process, address),
    ):
        report(asyncio.run(run(address, process.pid, rounds)))


if __name__ == "__main__":
    main()
