"""Runs conformance cases against the engine in this process and prints how many pass.

    python services/cortex/tests/storm/conformance_inprocess.py 01 02 --id form-not --verbose

Each case gets a graph of its own in a temporary folder, in memory where the system has a place for that.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import sys
import tempfile
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

from cellmesh.common.changelog.log import DATABASES as LOG_DATABASES
from cellmesh.common.errors import CellError, StormRaise
from cellmesh.common.storage import Slab
from cellmesh.cortex.layers.schema import DATABASES
from cellmesh.cortex.model.registry import Model
from cellmesh.cortex.storm.engine import Engine
from cellmesh.cortex.storm.runtime import messages as m
from cellmesh.cortex.storm.runtime.options import QueryOptions
from cellmesh.cortex.views.graph import Graph

CASES = Path(__file__).parents[4] / "tests" / "conformance"
MEMORY = Path("/dev/shm")
UNRECORDED = {"doc", "ctor"}
BUILT_IN = frozenset({".created"})


class Bench:
    """Makes engines on empty graphs, all in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.number = 0

    def engine(self) -> Engine:
        """Return an engine on a new, empty graph."""
        self.number += 1
        slab = Slab.open(self.folder / str(self.number), (*DATABASES, *LOG_DATABASES), sync=False)
        graph = Graph.open(slab, Model.load())
        commands, libraries, types = registered()
        return Engine(graph, commands, libraries, types)


@functools.cache
def registered() -> tuple[tuple[Any, ...], tuple[Any, ...], tuple[Any, ...]]:
    """Return the commands, libraries and types of the project, as far as they are there."""
    found: list[tuple[Any, ...]] = []
    for package, name in (("commands", "COMMANDS"), ("library", "LIBRARIES"), ("primitives", "TYPES")):
        try:
            module = importlib.import_module(f"cellmesh.cortex.storm.{package}")
            found.append(tuple(getattr(module, name)))
        except (ImportError, AttributeError) as error:
            print(f"without {package}: {error}")
            found.append(())
    return found[0], found[1], found[2]


def options_of(given: dict[str, Any] | None, user: str = "root") -> QueryOptions:
    """Return query options from a case's `opts`."""
    given = given or {}
    return QueryOptions(
        vars=given.get("vars", {}),
        view=given.get("view"),
        user=user,
        mode=given.get("mode", "storm"),
        limit=given.get("limit"),
        readonly=given.get("readonly", False),
        ndefs=tuple((form, value) for form, value in given.get("ndefs", ())),
        idens=tuple(given.get("idens", ())),
        show=frozenset(given.get("show", ())),
    )


def plain(value: Any) -> Any:
    """Return a value as the cases write it down."""
    if value is None or isinstance(value, (bool, str, int)):
        return value
    if isinstance(value, (float, Decimal)):
        number = float(value)
        if number != number or number in (float("inf"), float("-inf")):
            return {"$float": str(number)}
        return number
    if isinstance(value, bytes):
        return {"$bytes": value.hex()}
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value):
            return {key: plain(item) for key, item in value.items()}
        return {"$dict": [[plain(key), plain(item)] for key, item in value.items()]}
    return {"$type": type(value).__name__}


def same(left: Any, right: Any) -> bool:
    """Whether two values are equal: numbers by value, but true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, (int, float)) and isinstance(right, (int, float)):
        return left == right or abs(left - right) < 1e-12 * max(abs(left), abs(right))
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return type(left) is type(right) and left == right


def node_of(row: m.NodeRow) -> dict[str, Any]:
    """Return a node message as the cases write it down."""
    node = row.node
    skipped = BUILT_IN | UNRECORDED if node.form.is_runtime else BUILT_IN
    made: dict[str, Any] = {
        "form": node.form.name,
        "valu": plain(node.value),
        "props": {name: plain(value) for name, value in node.props.items() if name not in skipped},
        "tags": {name: plain(value) for name, value in node.tags.items()},
        "tagprops": {tag: plain(dict(props)) for tag, props in node.tag_props.items()},
    }
    if row.path:
        made["path"] = plain(row.path)
    return made


def error_of(error: CellError) -> dict[str, Any]:
    """Return an error as the cases write it down."""
    made: dict[str, Any] = {"name": error.name}
    if isinstance(error, StormRaise):
        made["errname"] = error.get("errname")
    return made


def run_case(engine: Engine, case: dict[str, Any]) -> list[str]:
    """Return how the engine differs from a case; empty if it passes."""
    for entry in case["setup"]:
        step = entry if isinstance(entry, dict) else {"storm": entry}
        for message in engine.storm(step["storm"], options_of(step.get("opts"), step.get("as", "root"))):
            if isinstance(message, m.Error):
                return [f"setup {step['storm']!r}: {message.error.name}: {message.error}"]
    expect = case["expect"]
    options = options_of(case.get("opts"), case.get("as", "root"))
    if "call" in case:
        return _run_call(engine, case["call"], options, expect)
    return _run_storm(engine, case["storm"], options, expect)


def _run_call(engine: Engine, text: str, options: QueryOptions, expect: dict[str, Any]) -> list[str]:
    try:
        value = plain(engine.call(text, options))
    except CellError as error:
        return compare_errors(expect.get("err"), error)
    if expect.get("err"):
        return [f"expected {expect['err']['name']}, returned {value!r}"]
    wanted = expect.get("return")
    return [] if same(value, wanted) else [f"returned {value!r}, expected {wanted!r}"]


def compare_errors(wanted: dict[str, Any] | None, error: CellError | None) -> list[str]:
    """Return how an error differs from the one expected."""
    if wanted is None:
        return [] if error is None else [f"failed with {error.name}: {error}"]
    if error is None:
        return [f"expected {wanted['name']}, no error"]
    if wanted.get("internal"):
        return []
    found = error_of(error)
    if found["name"] != wanted["name"] or (
        wanted.get("errname") and found.get("errname") != wanted["errname"]
    ):
        return [f"failed with {error.name}: {error}; expected {wanted['name']}"]
    return []


def _run_storm(engine: Engine, text: str, options: QueryOptions, expect: dict[str, Any]) -> list[str]:
    found: dict[str, list[Any]] = {"nodes": [], "print": [], "warn": [], "fire": [], "csv": []}
    error: CellError | None = None
    rows: list[m.NodeRow] = []
    for message in engine.storm(text, options):
        if isinstance(message, m.NodeRow):
            rows.append(message)
        elif isinstance(message, m.Print):
            found["print"].append(message.text)
        elif isinstance(message, m.Warn):
            found["warn"].append(message.text)
        elif isinstance(message, m.Fire):
            found["fire"].append({"type": message.type, "data": plain(message.data)})
        elif isinstance(message, m.CsvRow):
            found["csv"].append({"row": plain(message.row), "table": message.table})
        elif isinstance(message, m.Error):
            error = message.error
        elif isinstance(message, m.Fini):
            # Nodes are looked at when all is done, as they were when the cases were recorded.
            found["nodes"] = [node_of(row) for row in rows]
    differences = compare_errors(expect.get("err"), error)
    ordered = expect.get("ordered", True)
    differences += compare_lists("nodes", found["nodes"], expect.get("nodes", []), ordered)
    if "print" in expect and (expect["print"] or "print" in text or "pprint" in text):
        differences += compare_lists("print", found["print"], expect["print"], ordered)
    for kind in ("fire", "csv"):
        if expect.get(kind):
            differences += compare_lists(kind, found[kind], expect[kind], True)
    if "$lib.warn" in text:
        differences += compare_lists("warn", found["warn"], expect.get("warn", []), True)
    return differences


def compare_lists(kind: str, found: list[Any], wanted: list[Any], ordered: bool) -> list[str]:
    """Return how two lists of messages differ."""
    if ordered:
        if same(found, wanted):
            return []
    elif Counter(map(_canonical, found)) == Counter(map(_canonical, wanted)):
        return []
    lines = [f"{kind}: {len(found)} found, {len(wanted)} expected"]
    keys_found, keys_wanted = Counter(map(_canonical, found)), Counter(map(_canonical, wanted))
    lines += [f"   + {item[:700]}" for item in (keys_found - keys_wanted)][:5]
    lines += [f"   - {item[:700]}" for item in (keys_wanted - keys_found)][:5]
    if len(lines) == 1:
        lines.append("   order: " + ", ".join(_canonical(item)[:60] for item in found[:8]))
    return lines


def _canonical(value: Any) -> str:
    def numbers(item: Any) -> Any:
        if isinstance(item, float) and item.is_integer():
            return int(item)
        if isinstance(item, list):
            return [numbers(one) for one in item]
        if isinstance(item, dict):
            return {key: numbers(one) for key, one in item.items()}
        return item

    return json.dumps(numbers(value), sort_keys=True)


def main() -> int:
    """Run the cases the arguments name."""
    parser = argparse.ArgumentParser()
    parser.add_argument("areas", nargs="*", default=["01", "02", "03", "04", "05"])
    parser.add_argument("--id", action="append", default=[])
    parser.add_argument("--quiet", action="store_true")
    given = parser.parse_args()
    failures = 0
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        bench = Bench(Path(folder))
        for area in given.areas:
            for file in sorted(CASES.glob(f"{area}*.jsonl")):
                failures += run_file(bench, file, given.id, quiet=given.quiet)
    return 1 if failures else 0


def run_file(bench: Bench, file: Path, wanted: list[str], *, quiet: bool) -> int:
    """Run one file's cases; return how many fail."""
    passed = failed = 0
    for line in file.read_text().splitlines():
        case = json.loads(line)
        if wanted and case["id"] not in wanted:
            continue
        engine = bench.engine()
        try:
            differences = run_case(engine, case)
        except Exception as error:
            differences = [f"crash: {type(error).__name__}: {error}"]
            if wanted:
                raise
        finally:
            engine.graph.slab.close()
        if differences:
            failed += 1
            if not quiet:
                print(f"{file.stem} {case['id']}: {case.get('storm') or 'CALL ' + case['call']}")
                for difference in differences:
                    print(f"    {difference}")
        else:
            passed += 1
    print(f"{file.stem}: {passed} of {passed + failed}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
