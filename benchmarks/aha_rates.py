"""Measure AHA: look-ups a second, and a change on its way to many watches with the memory that these take.

    python benchmarks/aha_rates.py [--dir DIR] [--watches N] [--instances N] [--changes N]

Starts an AHA in a process of its own, over mutual TLS on loopback TCP. Look-ups come from this process: one caller, and
32 at once. Watches are streams over ten connections of another process, which notes when each change has come. Prints
Markdown tables; docs/performance.md has them.
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
from pathlib import Path
from typing import TypeAlias

from cellmesh.api.aha.v1 import registry_pb2, registry_service_pb2_grpc
from cellmesh.common.rpc.channel import open_aio_channel
from cellmesh.common.tls.folder import IdentityFolder

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks.processes import cpu_seconds, memory_bytes

START_TIMEOUT_S = 30.0
WATCH_TIMEOUT_S = 120.0
ROUND_S = 3.0
AT_ONCE = 32
CONNECTIONS = 10
KIB = 1024

Stub: TypeAlias = "registry_service_pb2_grpc.RegistryServiceAsyncStub"


def start(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start an AHA; returns its process and its TCP address."""
    command = [sys.executable, "-m", "cellmesh.cli.main", "aha", "serve", "--dir", str(folder)]
    command += ["--listen", "127.0.0.1:0", "--log-level", "error", "--network", "bench"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            told = json.loads((folder / "run.json").read_text())["addresses"]
            return process, str(next(address for address in told if not address.startswith("unix:")))
        except (OSError, ValueError, StopIteration):
            time.sleep(0.01)
    raise SystemExit("AHA did not start")


def request_for(number: int, ready: bool = True) -> registry_pb2.RegisterInstanceRequest:
    """Registers one of many instances, ten a service."""
    request = registry_pb2.RegisterInstanceRequest(
        instance=registry_pb2.Instance(
            name=f"{number % 10:02}.service-{number // 10}.bench",
            kind="trial",
            address=f"127.0.0.1:{10_000 + number}",
            version="1",
            ready=ready,
            leader=number % 10 == 0,
        )
    )
    request.lease.FromSeconds(300)
    return request


async def look_up(stub: Stub, callers: int, name: str, pid: int) -> tuple[float, float, float, float]:
    """Look-ups a second, their median and 99th percentile in ms, and AHA's CPU time for one in us."""
    spans: list[float] = []
    before_s = cpu_seconds(pid)
    end = time.perf_counter() + ROUND_S

    async def call() -> None:
        while (begin := time.perf_counter()) < end:
            await stub.GetService(registry_pb2.GetServiceRequest(name=name))
            spans.append(time.perf_counter() - begin)

    await asyncio.gather(*(call() for _ in range(callers)))
    spans.sort()
    return (
        len(spans) / ROUND_S,
        statistics.median(spans) * 1000,
        spans[int(len(spans) * 0.99)] * 1000,
        (cpu_seconds(pid) - before_s) / len(spans) * 1e6,
    )


async def watch(address: str, identity: IdentityFolder, count: int) -> None:
    """The other process: opens watches and prints when each change has come to all, one line a change."""
    channels = [
        open_aio_channel(address, identity=identity, server_name="aha.bench") for _ in range(CONNECTIONS)
    ]
    arrived: dict[str, int] = {}
    opened = 0

    async def one(stub: Stub) -> None:
        nonlocal opened
        first = True
        async for message in stub.WatchInstances(registry_pb2.WatchInstancesRequest()):
            if first:
                first, opened = False, opened + 1
                if opened == count:
                    print(json.dumps({"opened": time.time()}), flush=True)
                continue
            for change in message.changes:
                version = change.instance.version
                arrived[version] = arrived.get(version, 0) + 1
                if arrived[version] == count:
                    print(json.dumps({"version": version, "time": time.time()}), flush=True)

    stubs = [registry_service_pb2_grpc.RegistryServiceStub(channel) for channel in channels]
    await asyncio.gather(*(one(stubs[number % CONNECTIONS]) for number in range(count)))


async def measure(
    address: str, process: subprocess.Popen[bytes], folder: Path, given: argparse.Namespace
) -> None:
    """Everything, printed."""
    identity = IdentityFolder(folder / "users" / "root")
    async with open_aio_channel(address, identity=identity, server_name="aha.bench") as channel:
        stub = registry_service_pb2_grpc.RegistryServiceStub(channel)
        for number in range(given.instances):
            await stub.RegisterInstance(request_for(number))
        print(
            f"\n{given.instances} instances registered\n\n| look-ups | a second | p50 | p99 | AHA's CPU |\n"
            "| --- | --- | --- | --- | --- |"
        )
        for what, name in (("a service of 10 instances", "service-0"), ("one instance", "00.service-0")):
            for callers in (1, AT_ONCE):
                rate, median, worst, cpu_us = await look_up(stub, callers, name, process.pid)
                print(
                    f"| {what}, {callers} at once | {rate:,.0f} | {median:.2f} ms | {worst:.2f} ms | "
                    f"{cpu_us:.0f} us |",
                    flush=True,
                )
        before = memory_bytes(process.pid)["anonymous"]
        watching = await asyncio.create_subprocess_exec(
            sys.executable, __file__, "--watch", address, "--dir", str(folder), "--watches", str(given.watches),
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert watching.stdout is not None
        try:
            await asyncio.wait_for(watching.stdout.readline(), WATCH_TIMEOUT_S)
            after = memory_bytes(process.pid)["anonymous"]
            spans = []
            told_s = cpu_seconds(process.pid)
            for number in range(given.changes):
                request = request_for(0)
                request.instance.version = f"v{number}"
                begin = time.time()
                await stub.RegisterInstance(request)
                line = json.loads(await asyncio.wait_for(watching.stdout.readline(), WATCH_TIMEOUT_S))
                spans.append((line["time"] - begin) * 1000)
            spans.sort()
            told_us = (cpu_seconds(process.pid) - told_s) / given.changes / given.watches * 1e6
        finally:
            watching.kill()
            await watching.wait()
    print(
        "\n| watches | a change at all of them, p50 | worst | AHA's CPU a watch | memory a watch |"
        "\n| --- | --- | --- | --- | --- |"
    )
    each = (after - before) / given.watches / KIB
    print(
        f"| {given.watches} | {statistics.median(spans):.0f} ms | {spans[-1]:.0f} ms | "
        f"{told_us:.0f} us | {each:.0f} KiB |"
    )


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dir", type=Path)
    parser.add_argument("--watches", type=int, default=300)
    parser.add_argument("--instances", type=int, default=200)
    parser.add_argument("--changes", type=int, default=30)
    parser.add_argument("--watch", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.watch:
        asyncio.run(watch(given.watch, IdentityFolder(given.dir / "users" / "root"), given.watches))
        return
    folder = given.dir or Path(tempfile.mkdtemp(prefix="aha-rates-"))
    process, address = start(folder / "aha")
    try:
        asyncio.run(measure(address, process, folder / "aha", given))
    finally:
        process.terminate()
        process.wait(START_TIMEOUT_S)
        if given.dir is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
