"""The graph beside its limits: LMDB's own rate for the same puts and scans, and a bare gRPC stream of the same messages.

    python -m benchmarks.graph_limits [--count 100000] [--rounds 3]

In one process: what a graph has stored of the nodes of W2a is put into an empty LMDB environment row by row, in as many synced
commits, each sorted, and read again the way a lift reads it. Over loopback TCP: the messages of a feed and of a lift, once between
a client and a Cortex, once between the same client and a server of grpc.aio that does nothing but take or send them. In turns,
medians; what counts on a machine with other work is the processor's time, that of the server where there is one.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import statistics
import subprocess
import sys
import tempfile
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import lmdb
from cellmesh.api.cortex.v1 import storm_pb2
from cellmesh.common.changelog.log import DATABASES as LOG_DATABASES
from cellmesh.common.changelog.log import RECORDS
from cellmesh.common.storage import Slab, SubDb
from cellmesh.cortex.layers import keys
from cellmesh.cortex.layers.schema import BY_PROP, BY_TAG, DATABASES, NIDS, NODES
from cellmesh.cortex.model.registry import Model
from cellmesh.cortex.views.feed_wire import read_request
from cellmesh.cortex.views.graph import Graph

from benchmarks import data, processes
from benchmarks.ours import OurTarget, _feed_request

BATCH_SIZE = 1000
BATCHES_AT_ONCE = 2
VALUE_COUNT = 50
FEED = "/cellmesh.api.cortex.v1.FeedService/AddNodes"
LIFT = "/cellmesh.api.cortex.v1.StormService/Storm"
COPIED = (NIDS, NODES, BY_PROP, BY_TAG, RECORDS)

Spent = tuple[float, float]
"""Seconds by the clock, and of the processor."""


def requests_of(count: int) -> list[bytes]:
    """The feed of W2a, serialized."""
    rows = data.address_nodes(data.addresses(count))
    return [_feed_request(list(batch)).SerializeToString() for batch in data.batches(rows, BATCH_SIZE)]


def spent(work: Callable[[], Any]) -> Spent:
    """Run something and return what it took."""
    begin_s, begin_cpu_s = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - begin_s, time.process_time() - begin_cpu_s


# In one process.


def open_graph(folder: str) -> Graph:
    """An empty graph."""
    return Graph.open(Slab.open(Path(folder), (*DATABASES, *LOG_DATABASES)), Model.load())


def feed(graph: Graph, requests: Sequence[bytes]) -> None:
    """Feed it, a sync a batch."""
    with graph.begin() as session:
        for request in requests:
            session.feed(read_request(request)[0])
            session.sync()


def stored_rows(graph: Graph, commit_count: int) -> list[list[tuple[SubDb, list[tuple[bytes, bytes]]]]]:
    """What the graph has stored, by the commit that did, each database's rows sorted."""
    with graph.slab.view() as txn:
        found = {db: txn.scan(db, count_max=1 << 30).items for db in COPIED}
    nids = sorted(nid for _, nid in found[NIDS])
    ends = [nids[len(nids) * number // commit_count] for number in range(1, commit_count)]
    commits: list[dict[SubDb, list[tuple[bytes, bytes]]]] = [defaultdict(list) for _ in range(commit_count)]
    for db, items in found.items():
        for number, (key, value) in enumerate(items):
            if db is RECORDS:
                place = min(number, commit_count - 1)
            else:
                place = bisect_right(ends, key[4:] if db is NODES else value)
            commits[place][db].append((key, value))
    return [list(commit.items()) for commit in commits]


class Raw:
    """LMDB itself, opened as a slab opens it."""

    def __init__(self, folder: str) -> None:
        self._environment = lmdb.open(folder, map_size=4 << 30, max_dbs=len(COPIED), readahead=False)
        self._handles = {
            db: self._environment.open_db(db.name.encode(), dupsort=db.dupsort, dupfixed=db.dupfixed > 0)
            for db in COPIED
        }

    def put(self, commits: Sequence[Sequence[tuple[SubDb, list[tuple[bytes, bytes]]]]]) -> None:
        """Put the rows, a sync a commit."""
        for commit in commits:
            with self._environment.begin(write=True) as txn:
                for db, items in commit:
                    with txn.cursor(self._handles[db]) as cursor:
                        # As a feed puts them: what is keyed by hash anywhere, all else at the end or at the end of its key.
                        cursor.putmulti(items, append=db is not NIDS)

    def scan(self) -> int:
        """Read all records in order; returns their bytes."""
        with self._environment.begin() as txn, txn.cursor(self._handles[NODES]) as cursor:
            return sum(map(len, cursor.iternext(keys=False, values=True)))

    def of_keys(self, keys: Sequence[bytes]) -> int:
        """Read the nids of keys, and the records of these; returns how many."""
        nodes, layer = self._handles[NODES], keys[0][:4]
        count = 0
        with self._environment.begin() as txn, txn.cursor(self._handles[BY_PROP]) as cursor:
            for key in keys:
                nids = cursor.getmulti([key], dupdata=True)
                count += sum(txn.get(layer + nid, db=nodes) is not None for _, nid in nids)
        return count

    def close(self) -> None:
        """Close the file."""
        self._environment.close()


class Table:
    """What was seen of ours and of the limit, by row."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[list[Spent], list[Spent]]] = {}
        self.counts: dict[str, int] = {}

    def note(self, name: str, count: int, ours: Spent, limit: Spent) -> None:
        """Note a round."""
        row = self.rows.setdefault(name, ([], []))
        row[0].append(ours)
        row[1].append(limit)
        self.counts[name] = count

    def show(self) -> None:
        """Print it."""
        print("| what | ours a second | CPU each | limit a second | CPU each | CPU, ours to limit |")
        print("| --- | --- | --- | --- | --- | --- |")
        for name, (ours, limit) in self.rows.items():
            cells = [name]
            for side in (ours, limit):
                seconds, cpu_s = (statistics.median(figures) for figures in zip(*side, strict=True))
                cells += [
                    f"{self.counts[name] / seconds:,.0f}",
                    f"{cpu_s / self.counts[name] * 1e6:.2f} us",
                ]
            shares = [
                a[1] / (b[1] or 1 / processes.TICKS_PER_SECOND) for a, b in zip(ours, limit, strict=True)
            ]
            cells.append(f"{statistics.median(shares):.1f} ({min(shares):.1f} .. {max(shares):.1f})")
            print("| " + " | ".join(cells) + " |")


def in_process(requests: Sequence[bytes], table: Table) -> None:
    """Feeds and lifts beside LMDB's puts and scans."""
    asns = range(1000, 1000 + VALUE_COUNT)
    with tempfile.TemporaryDirectory() as own, tempfile.TemporaryDirectory() as other:
        graph, raw = open_graph(own), Raw(other)
        ours = spent(lambda: feed(graph, requests))
        commits = stored_rows(graph, len(requests))
        table.note(
            "W2a in one process, beside LMDB's puts",
            len(requests) * BATCH_SIZE,
            ours,
            spent(lambda: raw.put(commits)),
        )
        form, index = graph.model.require_form("inet:ipv4"), graph.catalog.prop("inet:ipv4", "asn")
        assert index is not None, "the property is indexed"
        with graph.slab.view() as txn:
            number = graph.names.props.find(txn, index.name)
            assert number is not None, "the property was fed"
        layer = next(iter(graph.layers.values())).key
        names = [keys.prop_prefix(layer, number) + index.encode(asn) for asn in asns]
        with graph.begin(readonly=True) as session:
            prop = form.props["asn"]
            table.note(
                "lift of a form as bytes in one process, beside LMDB's scan",
                session.count_form(form) or 0,
                spent(lambda: sum(len(node.packed()) for node in session.lift_form(form))),
                spent(raw.scan),
            )
            table.note(
                "lift by value, the same, beside LMDB's reads",
                sum(session.count_value(prop, "=", asn) or 0 for asn in asns),
                spent(
                    lambda: [
                        len(node.packed()) for asn in asns for node in session.lift_value(prop, "=", asn)
                    ]
                ),
                spent(lambda: raw.of_keys(names)),
            )
        raw.close()
        graph.slab.close()


# Over loopback TCP.


async def serve_bare(path: Path) -> None:
    """A server that answers each message of a feed with a few bytes, and sends the messages of a file."""
    messages = unframe(path.read_bytes())
    answer = b"\x08\xe8\x07\x10\xe8\x07"

    async def take(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for _ in requests:
            yield answer

    async def send(request: bytes, context: Any) -> AsyncIterator[bytes]:
        for message in messages:
            yield message

    server = grpc.aio.server()
    for full_name, handler in (
        (FEED, grpc.stream_stream_rpc_method_handler(take)),
        (LIFT, grpc.unary_stream_rpc_method_handler(send)),
    ):
        _, service, method = full_name.split("/")
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


def frame(messages: Sequence[bytes]) -> bytes:
    """Messages in one file, each behind its size."""
    return b"".join(len(message).to_bytes(4, "big") + message for message in messages)


def unframe(content: bytes) -> list[bytes]:
    """Undo `frame`."""
    messages, at = [], 0
    while at < len(content):
        end = at + 4 + int.from_bytes(content[at : at + 4], "big")
        messages.append(content[at + 4 : end])
        at = end
    return messages


async def send_all(channel: grpc.aio.Channel, requests: Sequence[bytes]) -> None:
    """A feed, of which two batches are on their way at a time."""
    room = asyncio.Semaphore(BATCHES_AT_ONCE)

    async def paced() -> AsyncIterator[bytes]:
        for request in requests:
            await room.acquire()
            yield request

    async for _ in channel.stream_stream(FEED, None, None)(paced()):
        room.release()


async def receive_all(channel: grpc.aio.Channel) -> list[bytes]:
    """A lift's messages, not decoded."""
    request = storm_pb2.StormRequest(text="inet:ipv4").SerializeToString()
    return [message async for message in channel.unary_stream(LIFT, None, None)(request)]


async def over_grpc(requests: Sequence[bytes], table: Table) -> None:
    """Feeds and lifts beside bare streams of the same messages."""
    messages: list[bytes] = []

    async def lift(channel: grpc.aio.Channel) -> None:
        messages[:] = await receive_all(channel)

    with tempfile.TemporaryDirectory() as folder:
        target = OurTarget(Path(folder) / "cortex")
        await target.start()
        async with grpc.aio.insecure_channel(target.address) as channel:
            our_feed = await spent_by(target.cpu_seconds, lambda: send_all(channel, requests))
            our_lift = await spent_by(target.cpu_seconds, lambda: lift(channel))
        await target.stop()
        path = Path(folder) / "messages"
        path.write_bytes(frame(messages))
        bare = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.graph_limits", "--bare", str(path)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        try:
            assert bare.stdout is not None, "it is piped"
            port = int(await asyncio.to_thread(bare.stdout.readline))
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                cpu_seconds = partial(processes.cpu_seconds, bare.pid)
                bare_feed = await spent_by(cpu_seconds, lambda: send_all(channel, requests))
                bare_lift = await spent_by(cpu_seconds, lambda: lift(channel))
        finally:
            bare.kill()
            bare.wait()
    count = sum(
        item.HasField("node")
        for message in messages
        for item in storm_pb2.StormResponse.FromString(message).messages
    )
    table.note(
        "W2a over gRPC, beside a bare stream of its messages",
        len(requests) * BATCH_SIZE,
        our_feed,
        bare_feed,
    )
    table.note("W3 over gRPC, not decoded, beside a bare stream of its messages", count, our_lift, bare_lift)


async def spent_by(cpu_seconds: Callable[[], float], work: Callable[[], Coroutine[Any, Any, Any]]) -> Spent:
    """Do something and return what it took, of the processor that of a server."""
    begin_s, begin_cpu_s = time.perf_counter(), cpu_seconds()
    await work()
    return time.perf_counter() - begin_s, cpu_seconds() - begin_cpu_s


def main() -> None:
    """Run all and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bare", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare is not None:
        asyncio.run(serve_bare(options.bare))
        return
    requests = requests_of(options.count)
    gc.freeze()
    table = Table()
    for _ in range(options.rounds):
        in_process(requests, table)
        asyncio.run(over_grpc(requests, table))
    table.show()


if __name__ == "__main__":
    main()
