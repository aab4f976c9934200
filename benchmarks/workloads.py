"""The workloads, written once against `Target`, so that both sides do the same.

Each returns a `Sample`; a workload run several times gives several samples. Standard library only.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Protocol

from benchmarks import data, growth, storm_work

BATCH_SIZE = 1000
STORM_INGEST_COUNT = 20_000
CALLS_SEQUENTIAL = 3000
CALLS_CONCURRENT = 6000
POINT_QUERIES = 1000
CONCURRENCY = 16
PIVOT_ASNS = 50
WRITES_SEQUENTIAL = 1000
WRITES_CONCURRENT = 2000
FED_WRITES_CONCURRENT = 20_000
WRITERS = 32
REST_S = 5.0

ADDRESS_QUERY = "for ($ip,$asn,$loc,$tag) in $rows { [ inet:ipv4=$ip :asn=$asn :loc=$loc +#$tag ] } | spin"
WRITE_QUERY = "[ inet:ipv4=$ip :asn=20 +#bench ]"
RESOLUTION_QUERY = "for ($fqdn, $ip) in $rows { [ inet:dns:a=($fqdn, $ip) ] } | spin"


class FeedWriter(Protocol):
    """A client's way into the bulk path."""

    async def write(self, rows: list[data.FeedRow]) -> None:
        """Add nodes; returns when they are answered."""

    async def close(self) -> None:
        """End it."""


class Target(Protocol):
    """One side: a running server and a client of it."""

    async def info(self) -> None:
        """A light unary call."""

    async def feed(self, batches: Iterable[list[data.FeedRow]]) -> None:
        """Add nodes by the bulk path, two batches on their way at a time; the last is answered when this returns."""

    async def open_feed(self) -> FeedWriter:
        """Begin to add nodes by the bulk path, a few at a time."""

    async def storm_nodes(self, text: str, variables: dict[str, Any] | None = None) -> int:
        """Run a query, take in every node, return how many came."""

    async def storm_count(self, text: str) -> int:
        """Run a query that ends with `| count`, return the number it printed."""

    async def count(self, text: str) -> int:
        """The count call."""

    async def check(self, text: str) -> None:
        """Have a query parsed and not run."""

    async def restart(self) -> float:
        """Stop the server, start it on the same data; returns the seconds from then to its first answered call."""

    async def settle(self) -> None:
        """Wait until nothing of the start goes on any more."""

    def cpu_seconds(self) -> float:
        """CPU time that the server has used."""

    def footprint(self) -> dict[str, float]:
        """Memory and disk of the server."""


@dataclass(slots=True)
class Sample:
    """One measurement: `count` things in `seconds`, with the server's CPU time and maybe latencies."""

    count: int
    seconds: float
    server_cpu_s: float
    p50_ms: float | None = None
    p99_ms: float | None = None
    extra: dict[str, float] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Workload:
    """One line of the report.

    Attributes:
        name: Such as "W5a".
        title: What it does.
        unit: What `Sample.count` counts.
        run: Does it once.
        needs: Data that must be in the server: "" none, "addresses", "graph"; "fresh" wants a new server.
        runs_max: At most so many runs, for those that take long.
    """

    name: str
    title: str
    unit: str
    run: Callable[[Target], Awaitable[Sample]]
    needs: str = "graph"
    runs_max: int = 100


async def timed(target: Target, count: int, work: Callable[[], Awaitable[Any]]) -> Sample:
    """Run `work` once under the clock."""
    cpu = target.cpu_seconds()
    begin = time.perf_counter()
    await work()
    seconds = time.perf_counter() - begin
    return Sample(count, seconds, target.cpu_seconds() - cpu)


async def fan_out(target: Target, callers: int, calls: Iterable[Callable[[], Awaitable[Any]]]) -> Sample:
    """Make the calls from so many tasks at once; latencies are per call."""
    latencies: list[float] = []
    todo = iter(calls)

    async def caller() -> None:
        for call in todo:
            begin = time.perf_counter()
            await call()
            latencies.append(time.perf_counter() - begin)

    async def everyone() -> None:
        await asyncio.gather(*[caller() for _ in range(callers)])

    sample = await timed(target, 0, everyone)
    sample.count = len(latencies)
    latencies.sort()
    sample.p50_ms = latencies[len(latencies) // 2] * 1000
    sample.p99_ms = latencies[min(len(latencies) - 1, int(len(latencies) * 0.99))] * 1000
    return sample


def expect(got: int, wanted: int, what: str) -> None:
    """A figure of a wrong answer is worth nothing."""
    if got != wanted:
        raise AssertionError(f"{what}: expected {wanted}, got {got}")


async def w1_sequential(target: Target) -> Sample:
    """Light unary calls, one at a time."""
    return await fan_out(target, 1, (target.info for _ in range(CALLS_SEQUENTIAL)))


async def w1_concurrent(target: Target) -> Sample:
    """Light unary calls from 16 callers."""
    return await fan_out(target, CONCURRENCY, (target.info for _ in range(CALLS_CONCURRENT)))


def _light_calls(callers: int, count: int) -> Callable[[Target], Awaitable[Sample]]:
    """Light unary calls: what a call costs that does nothing."""

    async def run(target: Target) -> Sample:
        return await fan_out(target, callers, (target.info for _ in range(count)))

    return run


async def _feed(target: Target, rows: list[data.FeedRow]) -> None:
    await target.feed(list(batch) for batch in data.batches(rows, BATCH_SIZE))


async def w2a(target: Target) -> Sample:
    """Bulk feed of addresses with two properties and a tag."""
    rows = data.address_nodes(data.addresses())
    sample = await timed(target, len(rows), lambda: _feed(target, rows))
    expect(await target.count("inet:ipv4 +:asn +:loc +#bench"), len(rows), "addresses fed")
    sample.extra = target.footprint()
    return sample


async def w2c(target: Target) -> Sample:
    """Bulk feed of resolutions, which make host names and their parents."""
    rows = data.resolution_nodes(data.resolutions(data.addresses()))
    sample = await timed(target, len(rows), lambda: _feed(target, rows))
    expect(await target.count("inet:dns:a"), len(rows), "resolutions fed")
    return sample


async def _storm_rows(target: Target, text: str, rows: list[Any]) -> None:
    for batch in data.batches(rows, BATCH_SIZE):
        await target.storm_nodes(text, {"rows": [list(row) for row in batch]})


async def w2b(target: Target) -> Sample:
    """Addresses by Storm, a thousand a query, one by one inside it."""
    rows = data.addresses()[:STORM_INGEST_COUNT]
    sample = await timed(target, len(rows), lambda: _storm_rows(target, ADDRESS_QUERY, rows))
    expect(await target.count("inet:ipv4 +:asn +:loc +#bench"), len(rows), "addresses by Storm")
    return sample


async def w2d(target: Target) -> Sample:
    """Resolutions by Storm."""
    rows = data.resolutions(data.addresses())[:STORM_INGEST_COUNT]
    sample = await timed(target, len(rows), lambda: _storm_rows(target, RESOLUTION_QUERY, rows))
    expect(await target.count("inet:dns:a"), len(rows), "resolutions by Storm")
    return sample


async def w3(target: Target) -> Sample:
    """Stream 100,000 nodes to the client."""

    async def work() -> None:
        expect(await target.storm_nodes("inet:ipv4"), data.ADDRESS_COUNT, "nodes streamed")

    return await timed(target, data.ADDRESS_COUNT, work)


def _counted(
    text: str, wanted: int, count: int, by_call: bool = False
) -> Callable[[Target], Awaitable[Sample]]:
    """A workload that runs one counting query and checks the number."""

    async def run(target: Target) -> Sample:
        async def work() -> None:
            got = await (target.count(text) if by_call else target.storm_count(text))
            expect(got, wanted, text)

        return await timed(target, count, work)

    return run


class _Facts:
    """What the right answers are, worked out from the data once."""

    def __init__(self) -> None:
        rows = data.addresses()
        self.resolutions = data.resolutions(rows)
        rand = random.Random(data.SEED + 2)
        self.asns = rand.sample(sorted({row.asn for row in rows}), PIVOT_ASNS)
        self.hosts = [rand.choice(self.resolutions).host for _ in range(20_000)]
        self.by_asn: dict[int, list[int]] = {}
        self.by_tag: dict[str, int] = {}
        for row in rows:
            self.by_asn.setdefault(row.asn, []).append(row.value)
            self.by_tag[row.tag] = self.by_tag.get(row.tag, 0) + 1
        self.hosts_of: dict[int, int] = {}
        for resolution in self.resolutions:
            self.hosts_of[resolution.address] = self.hosts_of.get(resolution.address, 0) + 1

    def pivot_total(self) -> int:
        """Host names on the addresses of the chosen ASNs."""
        return sum(self.hosts_of.get(value, 0) for asn in self.asns for value in self.by_asn[asn])


def _per_asn(facts: _Facts, text: str, wanted: int) -> Callable[[Target], Awaitable[Sample]]:
    """A workload that runs a query for each of 50 ASNs and checks the sum."""

    async def run(target: Target) -> Sample:
        async def work() -> None:
            total = 0
            for asn in facts.asns:
                total += await target.storm_count(text.format(asn=asn))
            expect(total, wanted, text)

        return await timed(target, wanted, work)

    return run


def _points(facts: _Facts, callers: int, variable: bool) -> Callable[[Target], Awaitable[Sample]]:
    """Point queries, each for another host name."""
    hosts = iter(facts.hosts * 4)

    async def one(target: Target) -> None:
        host = next(hosts)
        text = "inet:fqdn=$fqdn" if variable else f"inet:fqdn={host}"
        expect(await target.storm_nodes(text, {"fqdn": host} if variable else None), 1, text)

    async def run(target: Target) -> Sample:
        return await fan_out(target, callers, (lambda: one(target) for _ in range(POINT_QUERIES)))

    return run


def _computed(text: str, count: int) -> Callable[[Target], Awaitable[Sample]]:
    """A query that computes and gives no nodes."""

    async def run(target: Target) -> Sample:
        async def work() -> None:
            expect(await target.storm_nodes(text), 0, text)

        return await timed(target, count, work)

    return run


def _parses(callers: int) -> Callable[[Target], Awaitable[Sample]]:
    """Realistic queries that are only parsed, no text twice."""
    texts = storm_work.realistic(callers * 1_000_000)

    async def run(target: Target) -> Sample:
        calls = (partial(target.check, next(texts)) for _ in range(storm_work.PARSE_COUNT))
        return await fan_out(target, callers, calls)

    return run


async def w14(target: Target) -> Sample:
    """A start on the data that is there, and the memory a while later."""
    seconds = await target.restart()
    cpu_s = target.cpu_seconds()
    await target.settle()
    await asyncio.sleep(REST_S)
    return Sample(1, seconds, cpu_s, extra=target.footprint())


async def w15(target: Target) -> Sample:
    """What a node costs while the graph grows; see `growth`."""
    count, seconds, cpu_s, footprint = await growth.grow(target)
    return Sample(count, seconds, cpu_s, extra=footprint)


def _writes(writers: int, count: int) -> Callable[[Target], Awaitable[Sample]]:
    """A node, a property and a tag with each call."""

    async def run(target: Target) -> Sample:
        calls = (
            lambda number=number: target.storm_nodes(WRITE_QUERY, {"ip": number})
            for number in range(1, count + 1)
        )
        sample = await fan_out(target, writers, calls)
        expect(await target.count("inet:ipv4 +:asn=20 +#bench"), count, "nodes written one by one")
        return sample

    return run


def _fed_writes(writers: int, count: int) -> Callable[[Target], Awaitable[Sample]]:
    """A node with a property and a tag at a time, from clients that each keep a feed."""

    async def run(target: Target) -> Sample:
        feeds = [await target.open_feed() for _ in range(writers)]
        free = list(feeds)

        async def one(number: int) -> None:
            feed = free.pop()
            await feed.write([data.FeedRow("inet:ipv4", number, {"asn": 20}, ("bench",))])
            free.append(feed)

        sample = await fan_out(target, writers, (partial(one, number) for number in range(1, count + 1)))
        for feed in feeds:
            await feed.close()
        expect(await target.count("inet:ipv4 +:asn=20 +#bench"), count, "nodes fed one by one")
        return sample

    return run


def workloads() -> tuple[Workload, ...]:
    """All workloads, in the order in which they run."""
    facts = _Facts()
    total = data.ADDRESS_COUNT
    asn, tag = facts.asns[0], "bench.tag3"
    in_asn, in_tag = len(facts.by_asn[asn]), facts.by_tag[tag]
    pivots = "inet:ipv4:asn={asn} -> inet:dns:a -> inet:fqdn | uniq | count"
    return (
        Workload("W1a", "light unary call, 1 caller", "calls", w1_sequential, ""),
        Workload("W1b", "light unary call, 16 callers", "calls", w1_concurrent, ""),
        Workload("W2a", "bulk feed of 100k inet:ipv4, 2 props, 1 tag", "nodes", w2a, "fresh", 3),
        Workload("W2b", "20k inet:ipv4 by Storm", "nodes", w2b, "fresh", 3),
        Workload("W2d", "20k inet:dns:a by Storm", "nodes", w2d, "fresh", 3),
        # Last of the feeds, and once: it takes the peer minutes, and leaves the graph that all below wants.
        Workload("W2c", "bulk feed of 50k inet:dns:a", "nodes", w2c, "addresses", 1),
        Workload("W3", "stream 100k inet:ipv4 to the client", "nodes", w3),
        Workload("W4a", "count call", "nodes", _counted("inet:ipv4", total, total, by_call=True)),
        Workload("W4b", "inet:ipv4 | count", "nodes", _counted("inet:ipv4 | count", total, total)),
        Workload(
            "W5a",
            "inet:fqdn -> inet:dns:a -> inet:ipv4 | count",
            "nodes",
            _counted(
                "inet:fqdn -> inet:dns:a -> inet:ipv4 | count", len(facts.resolutions), len(facts.resolutions)
            ),
        ),
        Workload("W5b", f"{pivots} (50 N)", "nodes", _per_asn(facts, pivots, facts.pivot_total())),
        Workload(
            "W6a",
            "inet:ipv4 +:asn=N | count",
            "nodes",
            _counted(f"inet:ipv4 +:asn={asn} | count", in_asn, total),
        ),
        Workload(
            "W6b",
            f"inet:ipv4 +#{tag} | count",
            "nodes",
            _counted(f"inet:ipv4 +#{tag} | count", in_tag, total),
        ),
        Workload(
            "W6c",
            "inet:ipv4 -:asn=N | count",
            "nodes",
            _counted(f"inet:ipv4 -:asn={asn} | count", total - in_asn, total),
        ),
        Workload(
            "W6d",
            f"inet:ipv4 -#{tag} | count",
            "nodes",
            _counted(f"inet:ipv4 -#{tag} | count", total - in_tag, total),
        ),
        Workload(
            "W7a",
            "inet:ipv4:asn=N | count (50 N)",
            "nodes",
            _per_asn(facts, "inet:ipv4:asn={asn} | count", sum(len(facts.by_asn[n]) for n in facts.asns)),
        ),
        Workload(
            "W7b", f"inet:ipv4#{tag} | count", "nodes", _counted(f"inet:ipv4#{tag} | count", in_tag, in_tag)
        ),
        Workload("W7c", f"#{tag} | count", "nodes", _counted(f"#{tag} | count", in_tag, in_tag)),
        Workload("W8a", "point query, new text, 1 caller", "queries", _points(facts, 1, variable=False)),
        Workload(
            "W8b", "point query, new text, 16 callers", "queries", _points(facts, CONCURRENCY, variable=False)
        ),
        Workload("W8c", "point query, variable, 1 caller", "queries", _points(facts, 1, variable=True)),
        Workload(
            "W8d", "point query, variable, 16 callers", "queries", _points(facts, CONCURRENCY, variable=True)
        ),
        Workload(
            "W9a",
            "Storm loop that adds",
            "turns",
            _computed(storm_work.LOOP_QUERY, storm_work.LOOP_COUNT),
            "",
        ),
        Workload(
            "W9b",
            "calls of a Storm function",
            "calls",
            _computed(storm_work.CALL_QUERY, storm_work.CALL_COUNT),
            "",
        ),
        Workload("W10a", "parse of fresh text, 1 caller", "parses", _parses(1), ""),
        Workload("W10b", "parse of fresh text, 16 callers", "parses", _parses(CONCURRENCY), ""),
        Workload("W14a", "start with 150k nodes, memory at rest", "starts", w14, runs_max=5),
        Workload("W14b", "start without data, memory at rest", "starts", w14, "fresh", 5),
        Workload("W15", "growth to a million inet:fqdn (the peer: 30,000)", "nodes", w15, "fresh", 1),
        # Ours are on disk when they are answered; the peer's are not.
        Workload("W16a", "single writes, 1 client", "writes", _writes(1, WRITES_SEQUENTIAL), "fresh", 3),
        Workload(
            "W16b", "single writes, 32 clients", "writes", _writes(WRITERS, WRITES_CONCURRENT), "fresh", 3
        ),
        Workload(
            "W16c",
            "single writes on 32 feeds",
            "writes",
            _fed_writes(WRITERS, FED_WRITES_CONCURRENT),
            "fresh",
            3,
        ),
        Workload(
            "W16d",
            "light unary call, 32 callers",
            "calls",
            _light_calls(WRITERS, CALLS_CONCURRENT),
            "fresh",
            3,
        ),
    )
