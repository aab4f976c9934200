"""A follower applies the log of feeds and queries while queries run on it."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

from cellmesh.cortex.storm.runtime.options import QueryOptions
from cellmesh.cortex.views.feed import FeedEdge, FeedNode

sys.path.insert(0, str(Path(__file__).parent))
from replay_kit import Cortex, differences, following, leading

BATCH_COUNT = 6
BATCH_SIZE = 400
READONLY = QueryOptions(readonly=True)


def record(number: int) -> FeedNode:
    """A node as feeds of the demo have them: implied nodes, properties, tags, edges, data."""
    tags = {f"feed.t{number % 7}": None, f"src.s{number % 3}": (1000 + number, 2000 + number)}
    match number % 4:
        case 0:
            return FeedNode("inet:ipv4", number, {"asn": number % 50, "loc": "us.ca"}, tags)
        case 1:
            return FeedNode("inet:dns:a", (f"h{number}.d{number % 97}.com", number - 1), {}, tags)
        case 2:
            edges = (FeedEdge("refs", "inet:ipv4", number - 2), FeedEdge("seen", "inet:asn", number % 50))
            return FeedNode("inet:url", f"http://d{number % 97}.com/{number}", {}, tags, edges=edges)
        case _:
            return FeedNode(
                "ou:org",
                f"{number:032x}",
                {"name": f"Org {number % 90}", "names": ["a", f"b{number % 5}"]},
                {},
                {f"risk.r{number % 3}": {"score": number % 9}},
                node_data={"source": {"line": number}},
            )


def feed(leader: Cortex, start: int) -> None:
    with leader.graph.begin(user="feeder") as session:
        result = session.feed([record(start + index) for index in range(BATCH_SIZE)])
        assert not result.rejects, result.rejects[0].error
        session.sync()


def test_a_follower_under_load_is_consistent_and_ends_equal(tmp_path: Path) -> None:
    with leading(tmp_path / "a") as leader, following(leader, tmp_path / "b") as follower:
        leader.run("$lib.model.ext.addTagProp(score, (int, ({})), ({}))")
        cortex, failures = follower.cortex, list[str]()
        is_done = threading.Event()

        def lead() -> None:
            for batch in range(BATCH_COUNT):
                # Every second batch comes twice, and is enriched.
                feed(leader, (batch - batch % 2) * BATCH_SIZE)
                leader.run(f"inet:ipv4:asn={batch} [ :loc=de.be +#edited -#feed.t1 ]")
                leader.run(f"inet:ipv4:asn={batch + 20} | limit 3 | delnode --force")
            is_done.set()

        def follow() -> None:
            while True:
                was_done = is_done.is_set()
                records = leader.records(follower.offset, 3)
                if records:
                    follower.offset = cortex.replay.apply(records)
                elif was_done:
                    return

        def ask() -> None:
            seen = 0
            while not is_done.is_set():
                found = cortex.engine.count("inet:fqdn") if cortex.graph.views else 0
                if found < seen:
                    failures.append(f"{found} names after {seen}")
                seen = found
                for query in (
                    "inet:dns:a -> inet:ipv4 | limit 50",
                    "#src.s1 | limit 50",
                    "ou:org:names*[=a]",
                ):
                    answer = cortex.run(query, READONLY) if seen else []
                    failures.extend(item for item in answer if isinstance(item, str))

        threads = [threading.Thread(target=work) for work in (lead, follow, ask)]
        run(threads)
        assert failures == []
        assert differences(leader.slab, cortex.slab) == []
        for query in (
            "inet:ipv4:loc=de.be",
            "#edited",
            "inet:url -(refs)> *",
            "ou:org:name='org 7' -> ou:name",
        ):
            answer = cortex.run(query, READONLY)
            assert answer == leader.run(query, READONLY)
            assert answer, query


def run(threads: list[Any]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
