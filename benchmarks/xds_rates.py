"""Measure AHA's control plane: from the move of a leader to the first call there, streams, what a change costs, memory.

    python benchmarks/xds_rates.py [--streams N] [--moves N] [--changes N]

The moves: AHA and two Cryotanks as processes, a stock gRPC client here that calls the leader by `xds:///cryotank` every
two milliseconds. The streams: AHA alone as a process, N streams from a process that reads them raw, each with the listener,
routes, two clusters and their endpoints of a service of three instances; then one instance after the other changes its
readiness, each time all streams must have the new endpoints before the next. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

SETTLE_S = 1.0
PAUSE_S = 0.002


def resident_kib(pid: int) -> int:
    """Resident memory that is not backed by files."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1])
    return 0


def cpu_s(pid: int) -> float:
    """CPU time so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# --- Moves.


class Caller:
    """Calls the leader all the time in a thread, and notes when somebody else answers."""

    def __init__(self, name: str) -> None:
        from cellmesh.api.common.v1 import cell_service_pb2, cell_service_pb2_grpc

        credentials = grpc.xds_channel_credentials(grpc.ssl_channel_credentials())
        self._channel = grpc.secure_channel(f"xds:///{name}", credentials)
        self._stub: Any = cell_service_pb2_grpc.CellServiceStub(self._channel)
        self._request = cell_service_pb2.GetCellInfoRequest()
        self._stop = threading.Event()
        self.seen: list[tuple[float, str]] = []
        self.failed = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._stop.set()
        self._thread.join()
        self._channel.close()

    def _run(self) -> None:
        while not self._stop.wait(PAUSE_S):
            try:
                answer = self._stub.GetCellInfo(
                    self._request, timeout=10.0, metadata=(("cellmesh-read", "leader"),), wait_for_ready=True
                )
            except grpc.RpcError:
                self.failed += 1
                continue
            if not self.seen or self.seen[-1][1] != answer.cell.name:
                self.seen.append((time.time(), answer.cell.name))


def measure_moves(folder: Path, count: int) -> None:
    """Print how long after AHA's move the first call was answered by the new leader."""
    from cellmesh.common.tls.folder import IdentityFolder
    from cellmesh.common.tls.xds_bootstrap import grpc_bootstrap
    from cellmesh.testing.mirrors import Instances

    with Instances(folder, "cryotank", 2, {"leader_lease_s": "1.0"}) as tanks:
        identity = IdentityFolder(tanks.mesh.identity)
        mesh = identity.mesh()
        assert mesh is not None
        made = grpc_bootstrap(identity, mesh.network, mesh.registry_addresses, "bench")
        os.environ["GRPC_XDS_BOOTSTRAP_CONFIG"] = json.dumps(made)
        tanks.settle()
        caller = Caller("cryotank")
        for _ in range(count):
            time.sleep(0.3)
            tanks.promote(tanks.settle()[1])
        time.sleep(SETTLE_S)
        caller.stop()
        moves: list[float] = []
        for line in tanks.mesh.log("aha").read_text().splitlines():
            if '"leader_changed"' in line:
                moves.append(datetime.datetime.fromisoformat(json.loads(line)["time"]).timestamp())
    took = [(at - moved) * 1000 for (at, _), moved in zip(caller.seen[1:], moves[1:], strict=True)]
    print("| moves of the leader | calls failed | p50 | worst |\n| --- | --- | --- | --- |")
    print(f"| {len(took)} | {caller.failed} | {statistics.median(took):.0f} ms | {max(took):.0f} ms |\n")


# --- Streams.


class Streams:
    """Many raw streams in one event loop.

    Args:
        channel: To AHA.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        from cellmesh.third_party.xds.v3 import discovery_pb2_grpc

        self._stub: Any = discovery_pb2_grpc.AggregatedDiscoveryServiceStub(channel)
        self._tasks: list[asyncio.Task[None]] = []
        self._arrived = asyncio.Semaphore(0)
        self.resource_count = 0

    def open(self, service: str) -> None:
        """Open one more."""
        self._tasks.append(asyncio.create_task(self._run(service)))

    async def wait(self, count: int) -> None:
        """Wait until so many answers have arrived."""
        for _ in range(count):
            await self._arrived.acquire()

    def close(self) -> None:
        """End all."""
        for task in self._tasks:
            task.cancel()

    async def _run(self, service: str) -> None:
        from cellmesh.aha.xds.names import Kind
        from cellmesh.third_party.xds.v3 import discovery_pb2

        wanted = {
            Kind.LISTENER: [service],
            Kind.ROUTES: [f"{service}.bench"],
            Kind.CLUSTER: [f"{service}.bench/any", f"{service}.bench/leader"],
            Kind.ENDPOINTS: [f"{service}.bench/any", f"{service}.bench/leader"],
        }
        requests: asyncio.Queue[Any] = asyncio.Queue()
        for kind, names in wanted.items():
            requests.put_nowait(discovery_pb2.DiscoveryRequest(type_url=kind.value, resource_names=names))

        async def sent() -> AsyncIterator[Any]:
            while True:
                yield await requests.get()

        async for answer in self._stub.StreamAggregatedResources(sent()):
            names = wanted[Kind(answer.type_url)]
            requests.put_nowait(
                discovery_pb2.DiscoveryRequest(
                    type_url=answer.type_url,
                    resource_names=names,
                    response_nonce=answer.nonce,
                    version_info=answer.version_info,
                )
            )
            self.resource_count += len(answer.resources)
            self._arrived.release()


async def measure_streams(folder: Path, stream_count: int, change_count: int) -> None:
    """Print what streams take, and how long until all of them have a change."""
    from cellmesh.api.aha.v1 import registry_pb2, registry_service_pb2_grpc

    from benchmarks.cell_rates import start

    os.environ["CELLMESH_AHA_NETWORK"] = "bench"
    process, _, _ = await asyncio.to_thread(start, "aha", folder)
    del os.environ["CELLMESH_AHA_NETWORK"]
    try:
        async with grpc.aio.insecure_channel(f"unix:{folder}/cell.sock") as channel:
            registry: Any = registry_service_pb2_grpc.RegistryServiceStub(channel)
            for number in range(3):
                made = registry_pb2.Instance(
                    name=f"{number:02}.cortex.bench",
                    kind="cortex",
                    cell_id=f"{number:032x}",
                    address=f"127.0.0.1:{4000 + number}",
                    version="1",
                    ready=True,
                )
                request = registry_pb2.RegisterInstanceRequest(instance=made)
                request.lease.FromSeconds(300)
                await registry.RegisterInstance(request)
            streams = Streams(channel)
            streams.open("cortex")
            await streams.wait(4)
            before_kib, before_s = resident_kib(process.pid), time.monotonic()
            for _ in range(stream_count):
                streams.open("cortex")
            await streams.wait(4 * stream_count)
            opened_s = time.monotonic() - before_s
            opened_resources = streams.resource_count
            await asyncio.sleep(SETTLE_S)
            memory_kib = (resident_kib(process.pid) - before_kib) / stream_count
            print("| streams | open, each with six resources | resources a second | memory a stream |")
            print("| --- | --- | --- | --- |")
            print(
                f"| {stream_count} | {opened_s:.2f} s | {opened_resources / opened_s:,.0f} | {memory_kib:.0f} KiB |\n"
            )
            took: list[float] = []
            began, cpu_before = streams.resource_count, cpu_s(process.pid)
            for change in range(change_count):
                began_s = time.monotonic()
                # The change of one instance is one of both clusters' endpoints, sent as one answer.
                renewal = registry_pb2.RenewInstanceRequest(
                    name=f"{change // 2 % 3:02}.cortex.bench", ready=change % 2 == 1
                )
                await registry.RenewInstance(renewal)
                await streams.wait(stream_count + 1)
                took.append((time.monotonic() - began_s) * 1000)
            sent = streams.resource_count - began
            cpu_us = (cpu_s(process.pid) - cpu_before) / sent * 1e6
            print(
                "| changes | until all streams have it, p50 | worst | resources a second | AHA's CPU a resource |"
            )
            print("| --- | --- | --- | --- | --- |")
            print(
                f"| {change_count} | {statistics.median(took):.0f} ms | {max(took):.0f} ms | "
                f"{sent / sum(took) * 1000:,.0f} | {cpu_us:.0f} us |"
            )
            streams.close()
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--streams", type=int, default=300)
    parser.add_argument("--moves", type=int, default=10)
    parser.add_argument("--changes", type=int, default=50)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure_streams(Path(folder) / "aha", given.streams, given.changes))
        measure_moves(Path(folder), given.moves)


if __name__ == "__main__":
    import sys

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    main()
