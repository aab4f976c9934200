"""What library functions and methods return: observed answers, one engine a group of calls."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from cellmesh.common.errors import CellError
from cellmesh.cortex.storm.engine import Engine

sys.path.insert(0, str(Path(__file__).parents[1]))
from storm_kit import open_engine, plain

CALLS = Path(__file__).parents[2] / "goldens" / "storm" / "calls.jsonl"


def groups() -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in CALLS.read_text().splitlines():
        row = json.loads(line)
        found[row["graph"]].append(row)
    return found


def answer(engine: Engine, call: str) -> dict[str, Any]:
    try:
        return {"return": plain(engine.call(call))}
    except CellError as error:
        return {"error": error.name}


def same(left: Any, right: Any) -> bool:
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return bool(left == right)


@pytest.mark.parametrize("name", sorted(groups()))
def test_calls_answer_as_observed(name: str, tmp_path: Path) -> None:
    different = []
    with open_engine(tmp_path / "graph") as engine:
        for row in groups()[name]:
            wanted = {key: row[key] for key in ("return", "error") if key in row}
            found = answer(engine, row["call"])
            if not same(found, wanted):
                different.append((row["call"], wanted, found))
    assert different == []
