"""Workloads of automation and tooling: triggers, queues, text, merges. Standard library only.

None needs a new server: each run makes values of its own. The same Storm runs on both sides.
"""

from __future__ import annotations

import itertools
import random

from benchmarks.workloads import Sample, Target, Workload, expect, timed

TRIGGERED = 5_000
QUEUED = 20_000
CALLED = 1_000
TEXT_SIZE = 1_000_000
MERGED_NODES = 5_000
MERGED_EDITS_PER_NODE = 4

FORK = "$fork = $lib.null for $view in $lib.view.list() { if ($view.get(name) = $name) { $fork = $view } }"

_runs = itertools.count(1)


async def triggers(target: Target) -> Sample:
    """Nodes made by a query, for each of which a trigger sets a tag."""
    run = next(_runs)
    tag = f"bench.fired{run}"
    first = run * 10_000_000
    await target.storm_nodes(
        f"trigger.add node:add --form it:dev:int --query {{ [ +#{tag} ] }} --name bench{run}"
    )
    text = "for $i in $lib.range($stop, start=$start) { [ it:dev:int=$i ] } | spin"
    variables = {"start": first, "stop": first + TRIGGERED}
    sample = await timed(target, TRIGGERED, lambda: target.storm_nodes(text, variables))
    expect(await target.count(f"it:dev:int#{tag}"), TRIGGERED, "nodes tagged by a trigger")
    await target.storm_nodes("for $one in $lib.trigger.list() { $lib.trigger.del($one.pack().iden) }")
    return sample


async def plain_nodes(target: Target) -> Sample:
    """The same without a trigger: what the triggers themselves take is the difference."""
    first = next(_runs) * 10_000_000
    text = "for $i in $lib.range($stop, start=$start) { [ it:dev:int=$i ] } | spin"
    variables = {"start": first, "stop": first + TRIGGERED}
    return await timed(target, TRIGGERED, lambda: target.storm_nodes(text, variables))


async def queue_puts(target: Target) -> Sample:
    """Items put into a queue by one query, one by one."""
    name = f"bench{next(_runs)}"
    text = "$queue = $lib.queue.gen($name) for $i in $lib.range($count) { $queue.put($i) }"
    sample = await timed(target, QUEUED, lambda: target.storm_nodes(text, {"name": name, "count": QUEUED}))
    expect(await _queued(target, name), QUEUED, "items put")
    return sample


async def queue_gets(target: Target) -> Sample:
    """Items read by one query, which culls each behind it."""
    name = f"bench{next(_runs)}"
    fill = "$queue = $lib.queue.gen($name) $queue.puts($items)"
    await target.storm_nodes(fill, {"name": name, "items": list(range(QUEUED))})
    text = "$queue = $lib.queue.get($name) for ($offset, $item) in $queue.gets(wait=(false)) { $queue.cull($offset) }"
    sample = await timed(target, QUEUED, lambda: target.storm_nodes(text, {"name": name}))
    expect(await _queued(target, name), 0, "items left")
    return sample


async def queue_calls(target: Target) -> Sample:
    """Items put and taken, a query for each."""
    name = f"bench{next(_runs)}"
    await target.storm_nodes("$lib.queue.gen($name)", {"name": name})

    async def work() -> None:
        for number in range(CALLED):
            await target.storm_nodes("$lib.queue.get($name).put($item)", {"name": name, "item": number})
            await target.storm_nodes("$lib.queue.get($name).pop()", {"name": name})

    sample = await timed(target, 2 * CALLED, work)
    expect(await _queued(target, name), 0, "items left")
    return sample


async def _queued(target: Target, name: str) -> int:
    """The size of a queue, as a number of nodes that are looked at."""
    text = f"for $i in $lib.range($lib.queue.get({name}).size()) {{ [ it:dev:int=$i ] }} | count"
    return await target.storm_count(text)


def prose() -> str:
    """Text with something to be found every hundred characters or so."""
    chosen = random.Random(20)
    words = [
        "the",
        "report",
        "says",
        "that",
        "systems",
        "were",
        "seen",
        "with",
        "traffic",
        "from",
        "and",
        "to",
        "hosts",
        "which",
        "belong",
        "to",
        "nobody",
    ]
    parts: list[str] = []
    size = 0
    while size < TEXT_SIZE:
        number = chosen.randrange(1 << 30)
        parts.append(" ".join(chosen.choice(words) for _ in range(12)))
        parts.append(
            chosen.choice(
                (
                    f"host{number}.example.com",
                    f"hxxp://evil{number}[.]com/path?x={number}",
                    f"{number % 223 + 1}.{number % 251}.{number % 241}.{number % 239}",
                    f"user{number}@mail.example.org",
                    f"{number:032x}",
                    f"CVE-2024-{number % 99999:05d}",
                )
            )
        )
        size += sum(map(len, parts[-2:])) + 2
    return " ".join(parts)[:TEXT_SIZE]


async def scraping(target: Target) -> Sample:
    """Indicators found in text of a megabyte, each once."""
    text = "$found = (0) for $match in $lib.scrape.ndefs($text) { $found = ($found + 1) } | spin"
    given = {"text": prose()}
    return await timed(target, TEXT_SIZE // 1000, lambda: target.storm_nodes(text, given))


async def merging(target: Target) -> Sample:
    """A fork with 5,000 new nodes merged into what it was made from."""
    run = next(_runs)
    name, tag = f"bench{run}", f"bench.merged{run}"
    await target.storm_nodes("$lib.view.get().fork(name=$name)", {"name": name})
    edit = f"[ inet:ipv4=$i :asn=20 :loc=us +#{tag} ]"
    fill = f"{FORK} view.exec $fork.iden {{ for $i in $lib.range($stop, start=$start) {{ {edit} }} }}"
    first = run * 10_000_000
    await target.storm_nodes(fill, {"name": name, "start": first, "stop": first + MERGED_NODES})
    edits = MERGED_NODES * MERGED_EDITS_PER_NODE
    sample = await timed(target, edits, lambda: target.storm_nodes(f"{FORK} $fork.merge()", {"name": name}))
    expect(await target.count(f"inet:ipv4#{tag} +:asn=20 +:loc=us"), MERGED_NODES, "nodes merged")
    return sample


def automation_workloads() -> tuple[Workload, ...]:
    """All of them, in the order in which they run."""
    return (
        Workload("W17a", "triggers fired by a query, 5k", "triggers", triggers, ""),
        Workload("W17b", "the same nodes without a trigger", "nodes", plain_nodes, ""),
        Workload("W18a", "queue: 20k puts in a query", "items", queue_puts, ""),
        Workload("W18b", "queue: 20k gets, each culled", "items", queue_gets, ""),
        Workload("W18c", "queue: put and pop, a query each", "queries", queue_calls, ""),
        Workload("W19", "scrape a megabyte of text", "kB", scraping, ""),
        Workload("W20", "merge a fork of 5k nodes", "edits", merging, ""),
    )
