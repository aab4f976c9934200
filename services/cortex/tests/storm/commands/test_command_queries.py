"""What queries with commands give: observed nodes, errors and printed text, one engine a group of queries."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from time import sleep, time_ns
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from storm_kit import Run, open_engine

QUERIES = Path(__file__).parents[2] / "goldens" / "storm" / "queries.jsonl"


def groups() -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in QUERIES.read_text().splitlines():
        row = json.loads(line)
        found[row["graph"]].append(row)
    return found


class Clock:
    """The time in milliseconds, never the same twice: nodes made one after the other differ, however quick it goes."""

    def __init__(self) -> None:
        self.last_ms = 0

    def __call__(self) -> int:
        while (now_ms := time_ns() // 1_000_000) <= self.last_ms:
            sleep(0.0002)
        self.last_ms = now_ms
        return now_ms


@pytest.mark.parametrize("name", sorted(groups()))
def test_queries_run_as_observed(name: str, tmp_path: Path) -> None:
    different = []
    with open_engine(tmp_path / "graph") as engine:
        engine.graph.now_ms = Clock()
        for row in groups()[name]:
            run = Run(engine, row["storm"])
            found = {"nodes": run.nodes, "error": run.error, "print": run.prints}
            wanted = {key: row[key] for key in ("nodes", "error", "print") if key in row}
            if {key: found[key] for key in wanted} != wanted:
                different.append((row["storm"], wanted, found, run.message))
    assert different == []
