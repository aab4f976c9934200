"""Ours as a target: `cellmesh cortex serve` in its own process, reached over gRPC on loopback TCP.

Queries go through the client library as anyone's do, and nodes are taken in as its messages have them. Other calls are
made by a stock grpc.aio channel with the generated stubs.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import grpc
from cellmesh.api.common.v1 import cell_service_pb2
from cellmesh.api.common.v1.cell_service_pb2_grpc import CellServiceStub
from cellmesh.api.cortex.v1 import feed_pb2, storm_pb2
from cellmesh.api.cortex.v1.feed_service_pb2_grpc import FeedServiceStub
from cellmesh.api.cortex.v1.storm_service_pb2_grpc import StormServiceStub
from cellmesh.client import open_cell_aio
from cellmesh.common.values import to_value

from benchmarks import data, processes

RAW_BATCH_SIZE = 1000
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 30.0
BATCHES_AT_ONCE = 2
"""Batches of a feed that are on their way and not answered."""


class OurFeed:
    """An AddNodes stream, of which each batch is durable when it is answered."""

    def __init__(self, begin: Callable[..., Any]) -> None:
        self._call = begin()

    async def write(self, rows: list[data.FeedRow]) -> None:
        """One batch."""
        await self._call.write(_feed_request(rows))
        response = await self._call.read()
        if response.rejects:
            raise RuntimeError(f"a record was rejected: {response.rejects[0]}")

    async def close(self) -> None:
        """End the stream."""
        await self._call.done_writing()
        await self._call.read()


class RawPuts:
    """LMDB's own rate: for each name the five rows that a Cortex has of it, a synced commit a batch, nothing else."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._environment: Any = None
        self._count = 0

    def put(self, names: list[str]) -> float:
        """Put names behind those from before; returns how many a second."""
        import lmdb

        if self._environment is None:
            self._environment = lmdb.open(str(self._folder), map_size=8 << 30, max_dbs=4)
            self._nodes = self._environment.open_db(b"nodes")
            self._nids = self._environment.open_db(b"nids")
            self._index = self._environment.open_db(b"index", dupsort=True, dupfixed=True)
        seconds = 0.0
        for batch in data.batches(names, RAW_BATCH_SIZE):
            nids, nodes, rows = [], [], []
            for name in batch:
                self._count += 1
                nid = self._count.to_bytes(8, "big")
                nids.append((hashlib.sha256(name.encode()).digest(), nid))
                nodes.append((b"\0\0\0\1" + nid, bytes(180)))
                host, _, domain = name.partition(".")
                rows += [
                    (b"\0\0\0\1own" + name[::-1].encode()[:240], nid),
                    (b"\0\0\0\1host" + host.encode(), nid),
                ]
                rows.append((b"\0\0\0\1domain" + domain.encode(), nid))
            nids.sort()
            rows.sort()
            begin = time.perf_counter()
            with self._environment.begin(write=True) as txn:
                for db, items in ((self._nids, nids), (self._nodes, nodes), (self._index, rows)):
                    with txn.cursor(db) as cursor:
                        cursor.putmulti(items)
            seconds += time.perf_counter() - begin
        return len(names) / seconds


class OurTarget:
    """A running Cortex of ours."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._raw = RawPuts(Path(f"{folder}.raw"))

    async def start(self) -> None:
        """Start the server and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "run.json").unlink(missing_ok=True)
        command = [sys.executable, "-m", "cellmesh.cli.main", "cortex", "serve", "--dir", str(self.folder)]
        command += ["--insecure", "--listen", "127.0.0.1:0", "--log-level", "warning"]
        with Path(f"{self.folder}.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.address = await self._address()
        self._channel = grpc.aio.insecure_channel(self.address)
        self._cell = CellServiceStub(self._channel)
        self._client = open_cell_aio(f"grpc://{self.address}")
        self._storm = self._client.stub(StormServiceStub)
        self._feed = FeedServiceStub(self._channel)
        await self.info()

    async def _address(self) -> str:
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                addresses = json.loads((self.folder / "run.json").read_text())["addresses"]
                return str(next(address for address in addresses if not address.startswith("unix:")))
            except (OSError, ValueError, StopIteration):
                await asyncio.sleep(0.005)
        raise RuntimeError(f"the Cortex did not start: see {self.folder}.log")

    async def stop(self) -> None:
        """Stop the server."""
        await self._client.close()
        await self._channel.close(None)
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(self._process.wait, STOP_TIMEOUT_S)

    async def restart(self) -> float:
        """Stop the server, start it again; returns the seconds to its first answered call."""
        await self.stop()
        begin = time.perf_counter()
        await self.start()
        return time.perf_counter() - begin

    @property
    def pid(self) -> int:
        """The process of the server."""
        assert self._process is not None
        return self._process.pid

    async def settle(self) -> None:
        """Nothing goes on behind an answered call."""

    async def info(self) -> None:
        """GetCellInfo."""
        await self._cell.GetCellInfo(cell_service_pb2.GetCellInfoRequest())

    async def feed(self, batches: Iterable[list[data.FeedRow]]) -> None:
        """One AddNodes stream; each batch is durable when it is answered."""
        room = asyncio.Semaphore(BATCHES_AT_ONCE)

        async def requests() -> AsyncIterator[feed_pb2.AddNodesRequest]:
            for rows in batches:
                request = _feed_request(rows)
                await room.acquire()
                yield request

        async for response in self._feed.AddNodes(requests()):
            room.release()
            if response.rejects:
                raise RuntimeError(f"a record was rejected: {response.rejects[0]}")

    async def open_feed(self) -> OurFeed:
        """One AddNodes stream."""
        return OurFeed(self._feed.AddNodes)

    async def storm_nodes(self, text: str, variables: dict[str, Any] | None = None) -> int:
        """Stream a query, count its nodes."""
        count = 0
        async for message in self._messages(text, variables):
            count += message.HasField("node")
        return count

    async def storm_count(self, text: str) -> int:
        """The number that `| count` prints."""
        found: int | None = None
        async for message in self._messages(text, None):
            if message.HasField("print"):
                found = int(message.print.text.split()[1])
        if found is None:
            raise RuntimeError(f"{text}: no count")
        return found

    async def _messages(self, text: str, variables: dict[str, Any] | None) -> Any:
        async for message in self._client.storm(text, vars=variables or {}).messages():
            if message.HasField("err"):
                raise RuntimeError(f"{text}: {message.err}")
            yield message

    async def count(self, text: str) -> int:
        """The count call."""
        return await self._client.storm(text).count()

    async def check(self, text: str) -> None:
        """Have a query parsed."""
        await self._storm.ParseStorm(storm_pb2.ParseStormRequest(text=text))

    def raw_puts(self, names: list[str]) -> float:
        """Put what the Cortex keeps of such names into LMDB itself; returns names a second."""
        return self._raw.put(names)

    def cpu_seconds(self) -> float:
        """CPU time of the server."""
        assert self._process is not None
        return processes.cpu_seconds(self._process.pid)

    def footprint(self) -> dict[str, float]:
        """Memory of the server, disk of its folder."""
        assert self._process is not None
        return processes.footprint(self._process.pid, self.folder)


def _feed_request(rows: list[data.FeedRow]) -> feed_pb2.AddNodesRequest:
    nodes = []
    for row in rows:
        node = feed_pb2.FeedNode(form=row.form, value=to_value(row.value))
        for name, value in row.props.items():
            node.props[name].CopyFrom(to_value(value))
        for tag in row.tags:
            node.tags[tag].CopyFrom(to_value(None))
        nodes.append(node)
    return feed_pb2.AddNodesRequest(nodes=nodes)


def make_target(folder: Path) -> OurTarget:
    """Ours with its data in `folder`."""
    return OurTarget(folder)
