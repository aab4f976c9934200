"""W15: what a node costs while a Cortex grows from ten thousand domain names to a million.

The names are those of CELLMESH_BENCH_DOMAINS, a list of the MISP warning lists such as `tranco/list.json` of the package
pymispwarninglists 1.7.0, or else made up. Standard library only. The curve is printed to standard error, a line a step.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from benchmarks import data

STEPS = (10_000, 30_000, 100_000, 300_000, 1_000_000)
PEER_COUNT_MAX = 30_000
BATCH_SIZE = 1000
COUNT_CALLS = 20
LABELS = ("shop", "news", "mail", "cdn", "blog", "play", "tech", "home", "data", "web", "app", "store")
SUFFIXES = (
    "com",
    "com",
    "com",
    "com",
    "net",
    "org",
    "de",
    "ru",
    "co.uk",
    "io",
    "fr",
    "com.br",
    "jp",
    "it",
    "info",
)


class Growing(Protocol):
    """What is asked of a side."""

    async def feed(self, batches: Iterable[list[data.FeedRow]]) -> None: ...

    async def storm_nodes(self, text: str, variables: dict[str, Any] | None = None) -> int: ...

    async def count(self, text: str) -> int: ...

    def cpu_seconds(self) -> float: ...

    def footprint(self) -> dict[str, float]: ...


def domains(count: int) -> list[str]:
    """Distinct domain names."""
    path = os.environ.get("CELLMESH_BENCH_DOMAINS")
    if path:
        names = json.loads(Path(path).read_text())["list"]
        return list(dict.fromkeys(name.strip(".").lower() for name in names))[:count]
    rand = random.Random(data.SEED)
    found: dict[str, None] = {}
    while len(found) < count:
        label = rand.choice(LABELS) + "".join(
            rand.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=rand.randint(2, 9))
        )
        found[f"{label}.{rand.choice(SUFFIXES)}"] = None
    return list(found)


def tell(text: str) -> None:
    """Print a line of the curve."""
    print(text, file=sys.stderr, flush=True)


async def grow(target: Growing) -> tuple[int, float, float, dict[str, float]]:
    """Feed in steps, and look at each; returns nodes, seconds and server CPU of all feeds, and the footprint."""
    raw = getattr(target, "raw_puts", None)
    names = domains(STEPS[-1] if raw is not None else PEER_COUNT_MAX)
    tell(
        f"{len(names):,} domain names {'of ' + os.environ['CELLMESH_BENCH_DOMAINS'] if 'CELLMESH_BENCH_DOMAINS' in os.environ else 'made up'}"
    )
    tell(
        f"{'names':>9} {'fed /s':>8} {'CPU us':>7} {'lifted /s':>10} {'CPU us':>7} {'count ms':>9}"
        f" {'MiB':>5} {'own MiB':>8} {'B/node':>7} {'LMDB /s':>9}"
    )
    feed_s = feed_cpu_s = 0.0
    done = 0
    for step in STEPS:
        fresh = names[done:step]
        if not fresh:
            break
        rows = [data.FeedRow("inet:fqdn", name, {}, ()) for name in fresh]
        begin, cpu = time.perf_counter(), target.cpu_seconds()
        await target.feed(list(batch) for batch in data.batches(rows, BATCH_SIZE))
        seconds, cpu_s = time.perf_counter() - begin, target.cpu_seconds() - cpu
        feed_s, feed_cpu_s = feed_s + seconds, feed_cpu_s + cpu_s
        done += len(fresh)
        begin, cpu = time.perf_counter(), target.cpu_seconds()
        lifted = await target.storm_nodes("inet:fqdn")
        lift_s, lift_cpu_s = time.perf_counter() - begin, target.cpu_seconds() - cpu
        begin = time.perf_counter()
        for _ in range(COUNT_CALLS):
            counted = await target.count("inet:fqdn")
        count_s = (time.perf_counter() - begin) / COUNT_CALLS
        if counted != lifted or counted < done:
            raise AssertionError(f"{done} names fed, {lifted} lifted, {counted} counted")
        foot = target.footprint()
        own = f"{raw(fresh):9,.0f}" if raw is not None else ""
        tell(
            f"{done:9,} {len(fresh) / seconds:8,.0f} {cpu_s / len(fresh) * 1e6:7.1f} {lifted / lift_s:10,.0f}"
            f" {lift_cpu_s / lifted * 1e6:7.2f} {count_s * 1e3:9.2f} {foot['rss_bytes'] / 2**20:5.0f}"
            f" {foot['anonymous_bytes'] / 2**20:8.0f} {foot['disk_bytes'] / counted:7.0f} {own}"
        )
    return done, feed_s, feed_cpu_s, target.footprint()
