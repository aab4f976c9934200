"""Point queries beside heavy ones: `python -m benchmarks.fairness`.

A Cortex in a process of its own with 30,000 addresses that share 300 networks. One client process keeps heavy queries
running over a stream each; this process makes point queries one after another, with new text each time, and light calls
that do nothing, in turns. Both wait in the same way for the interpreter of the server, so their difference is the query's.

On a machine with more to do than it has processors most of a slow call is waiting for one. So a second p99 is told: of each call's time
less what the two threads that every call needs, this process's own and the event loop of the server, stood ready and did not run, by
the kernel's count. What they wait for the interpreter is left in it, also while the thread that has it does not run.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import grpc
from cellmesh.api.cortex.v1 import storm_pb2
from cellmesh.api.cortex.v1.storm_service_pb2_grpc import StormServiceStub

from benchmarks import data
from benchmarks.ours import OurTarget

ADDRESSES = 30_000
NETWORKS = 300
HEAVY = ("inet:ipv4 -> inet:asn -> inet:ipv4 | limit 300000 | spin", "$n=(0) for $i in $lib.range(1000000) { $n = ($n + $i) } return($n)",
         "inet:ipv4 -> * | uniq | count", "inet:ipv4 +:asn>3 -> inet:asn +:name -> inet:ipv4 | count")  # fmt: skip
SETTLE_S = 0.5


def heavy_client(address: str, count: int) -> None:
    """Keep so many heavy queries running, until killed."""

    async def run() -> None:
        async with grpc.aio.insecure_channel(address) as channel:
            storm = StormServiceStub(channel)

            async def again(text: str) -> None:
                while True:
                    async for _ in storm.Storm(storm_pb2.StormRequest(text=text)):
                        pass

            await asyncio.gather(*[again(HEAVY[number % len(HEAVY)]) for number in range(count)])

    asyncio.run(run())


def kept_waiting_ms(pids: Sequence[int]) -> float:
    """How long the first threads of some processes have stood ready to run so far, together; 0 where no kernel tells."""
    try:
        texts = [Path(f"/proc/{pid}/task/{pid}/schedstat").read_text() for pid in pids]
    except OSError:
        return 0.0
    return sum(int(text.split()[1]) for text in texts) / 1e6


async def latencies(
    call: Callable[[int], Awaitable[object]], seconds: float, pids: Sequence[int]
) -> tuple[list[float], list[float]]:
    """Milliseconds of calls made one after another, sorted; and the same less what those processes waited for a processor."""
    whole: list[float] = []
    less: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        waited_ms, begin = kept_waiting_ms(pids), time.perf_counter()
        await call(len(whole))
        took_ms = (time.perf_counter() - begin) * 1000
        whole.append(took_ms)
        less.append(max(took_ms - (kept_waiting_ms(pids) - waited_ms), 0.0))
    return sorted(whole), sorted(less)


def shown(name: str, found: tuple[list[float], list[float]]) -> str:
    """One line of the report."""
    whole, less = found
    at = min(len(whole) - 1, int(len(whole) * 0.99))
    return (
        f"{name:32} {len(whole):6} calls  p50 {whole[len(whole) // 2]:6.2f} ms  p99 {whole[at]:6.2f} ms"
        f"  p99 less waiting for a processor {less[at]:6.2f} ms  worst {whole[-1]:6.1f} ms"
    )


async def measure(folder: Path, heavy: int, seconds: float) -> None:
    """Start, load, measure at rest and beside heavy queries."""
    target = OurTarget(folder)
    await target.start()
    rows = [
        data.FeedRow("inet:ipv4", number, {"asn": number % NETWORKS}, ("bench",))
        for number in range(1, ADDRESSES)
    ]
    await target.feed(list(batch) for batch in data.batches(rows, 1000))

    async def point(number: int) -> None:
        value = 1 + number * 7919 % (ADDRESSES - 1)
        await target.storm_nodes(f"inet:ipv4=0.0.{value >> 8}.{value & 255}")

    async def light(number: int) -> None:
        await target.info()

    pids = (os.getpid(), target.pid)
    print(f"load {os.getloadavg()[0]:.1f}")
    print(shown("point query, nothing beside it", await latencies(point, seconds, pids)))
    print(shown("light call, nothing beside it", await latencies(light, seconds, pids)))
    client = multiprocessing.get_context("spawn").Process(
        target=heavy_client, args=(target.address, heavy), daemon=True
    )
    client.start()
    await asyncio.sleep(SETTLE_S + 2)
    try:
        print(shown(f"point query, {heavy} heavy ones", await latencies(point, seconds, pids)))
        print(shown(f"light call, {heavy} heavy queries", await latencies(light, seconds, pids)))
    finally:
        client.kill()
        client.join()
        await target.stop()


def main() -> None:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fairness", description=__doc__)
    parser.add_argument("--heavy", type=int, default=4, help="heavy queries at once (default: 4)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement (default: 5)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cellmesh-bench-") as folder:
        asyncio.run(measure(Path(folder) / "cortex", options.heavy, options.seconds))


if __name__ == "__main__":
    main()
