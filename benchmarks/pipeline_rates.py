"""Measure what a pipeline brings: calls a second one after another, 64 at once, and on one stream.

    python benchmarks/pipeline_rates.py [--dir DIR] [--rounds N]

Starts an Axon in a process of its own, on loopback TCP without TLS, and calls it from this process. In each round every
way of calling runs once, in turn, and is set beside the unary calls one after another of the same round, face and
method. Prints the medians, and the range of the ratios, as a Markdown table; docs/performance.md has one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cellmesh.client
import cellmesh.client.aio
from cellmesh.api.axon.v1 import blob_pb2
from cellmesh.api.axon.v1.blob_service_pb2_grpc import BlobServiceStub
from cellmesh.api.common.v1 import cell_service_pb2
from cellmesh.api.common.v1.cell_service_pb2_grpc import CellServiceStub

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0
AT_ONCE = 64
ROUND_S = 1.0
CHUNK = 256

Run = Callable[[int], Awaitable[None]]


def start(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start an Axon; returns its process and its TCP address."""
    command = [sys.executable, "-m", "cellmesh.cli.main", "axon", "serve", "--dir", str(folder)]
    command += ["--insecure", "--listen", "127.0.0.1:0", "--log-level", "error"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            told = json.loads((folder / "run.json").read_text())["addresses"]
            return process, str(next(address for address in told if not address.startswith("unix:")))
        except (OSError, ValueError, StopIteration):
            time.sleep(0.01)
    raise SystemExit("the Axon did not start")


async def rate(run: Run) -> float:
    """Calls a second: chunks of calls until the time is over."""
    await run(CHUNK)
    count, start_s = 0, time.perf_counter()
    while (elapsed_s := time.perf_counter() - start_s) < ROUND_S:
        await run(CHUNK)
        count += CHUNK
    return count / elapsed_s


def aio_ways(method: Any, request: Any, pipeline: Any) -> dict[str, Run]:
    """The ways of calling from an event loop."""

    async def in_turn(count: int) -> None:
        for _ in range(count):
            await method(request)

    async def at_once(count: int) -> None:
        async def some() -> None:
            for _ in range(count // AT_ONCE):
                await method(request)

        await asyncio.gather(*(some() for _ in range(AT_ONCE)))

    async def piped(count: int) -> None:
        await asyncio.gather(*[pipeline.call(method, request) for _ in range(count)])

    return {"unary, one after another": in_turn, f"unary, {AT_ONCE} at once": at_once, "pipeline": piped}


def blocking_ways(method: Any, request: Any, pipeline: Any, threads: ThreadPoolExecutor) -> dict[str, Run]:
    """The ways of calling from threads."""

    async def in_turn(count: int) -> None:
        for _ in range(count):
            method(request)

    async def at_once(count: int) -> None:
        list(threads.map(lambda _: method(request), range(count)))

    async def piped(count: int) -> None:
        for future in [pipeline.call(method, request) for _ in range(count)]:
            future.result()

    return {"unary, one after another": in_turn, f"unary, {AT_ONCE} at once": at_once, "pipeline": piped}


async def measure(address: str, rounds: int) -> dict[tuple[str, str], dict[str, list[float]]]:
    """Rates by method and face, by way of calling, one a round."""
    info = cell_service_pb2.GetCellInfoRequest()
    has = blob_pb2.HasBlobsRequest(sha256s=[bytes(32)])
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    threads = ThreadPoolExecutor(AT_ONCE)
    with cellmesh.client.open(f"grpc://{address}") as blocking, blocking.pipeline() as pipeline:
        async with cellmesh.client.aio.open(f"grpc://{address}") as aio, aio.pipeline() as aio_pipeline:
            cases: dict[tuple[str, str], dict[str, Run]] = {
                ("GetCellInfo", "asyncio"): aio_ways(
                    aio.stub(CellServiceStub).GetCellInfo, info, aio_pipeline
                ),
                ("GetCellInfo", "blocking"): blocking_ways(
                    blocking.stub(CellServiceStub).GetCellInfo, info, pipeline, threads
                ),
                ("HasBlobs", "asyncio"): aio_ways(aio.stub(BlobServiceStub).HasBlobs, has, aio_pipeline),
                ("HasBlobs", "blocking"): blocking_ways(
                    blocking.stub(BlobServiceStub).HasBlobs, has, pipeline, threads
                ),
            }
            for number in range(rounds):
                print(f"  round {number + 1} of {rounds}", file=sys.stderr, flush=True)
                for case, ways in cases.items():
                    for way, run in ways.items():
                        found.setdefault(case, {}).setdefault(way, []).append(await rate(run))
    threads.shutdown()
    return found


def report(found: dict[tuple[str, str], dict[str, list[float]]]) -> None:
    """Print the table."""
    print("| call | face | way | calls a second | ratio (range) |")
    print("| --- | --- | --- | --- | --- |")
    for (method, face), ways in found.items():
        base = next(iter(ways.values()))
        for way, rates in ways.items():
            ratios = [rate / other for rate, other in zip(rates, base, strict=True)]
            span = "" if rates is base else f" ({min(ratios):.1f} .. {max(ratios):.1f})"
            print(
                f"| {method} | {face} | {way} | {statistics.median(rates):,.0f} "
                f"| {statistics.median(ratios):.1f}{span} |"
            )


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--dir", type=Path, default=None, help="where the Axon's folder is made")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix=".bench-pipeline-", dir=arguments.dir or Path.cwd()))
    process, address = start(folder / "axon")
    try:
        report(asyncio.run(measure(address, arguments.rounds)))
    finally:
        process.terminate()
        process.wait(STOP_TIMEOUT_S)
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
