"""One side as a process of its own: `python -m benchmarks.driver ours|peer FOLDER`.

Reads commands from standard input, one JSON object a line, answers each with one line:
{"run": "W3"} -> a Sample, {"stop": true} -> {}. Data that a workload needs is loaded before the clock starts. A
failure answers {"error": text}. Standard library only, but for the side's own target.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from benchmarks import data
from benchmarks.automation import automation_workloads
from benchmarks.workloads import BATCH_SIZE, Target, Workload, workloads


class Driver:
    """Keeps the side's server and knows what data is in it."""

    def __init__(self, side: str, folder: Path) -> None:
        if side == "ours":
            importlib.import_module("cellmesh.common.rpc.engine").choose_engine()
        self._module = importlib.import_module(f"benchmarks.{side}")
        self._folder = folder
        self._target: Any = None
        self._loaded: set[str] = set()
        self._fresh_count = 0
        self._workloads = {workload.name: workload for workload in (*workloads(), *automation_workloads())}

    async def run(self, name: str) -> dict[str, Any]:
        """Bring the server into the state that the workload wants, run it once."""
        workload = self._workloads[name]
        target = await self._prepared(workload)
        sample = await workload.run(target)
        if name == "W2a":
            self._loaded.add("addresses")
        if name == "W2c":
            self._loaded.add("graph")
        return sample.plain()

    async def _prepared(self, workload: Workload) -> Target:
        is_dirty = "graph" in self._loaded or "storm" in self._loaded
        if self._target is None or workload.needs == "fresh" or (workload.needs == "addresses" and is_dirty):
            await self._restart()
        if workload.needs in {"addresses", "graph"} and not self._loaded & {"addresses", "graph"}:
            await self._load(data.address_nodes(data.addresses()), "addresses")
        if workload.needs == "graph" and "graph" not in self._loaded:
            await self._load(data.resolution_nodes(data.resolutions(data.addresses())), "graph")
        if workload.needs == "fresh" and workload.name in {"W2b", "W2d", "W16a", "W16b", "W16c"}:
            self._loaded.add("storm")
        target: Target = self._target
        return target

    async def _load(self, rows: list[data.FeedRow], what: str) -> None:
        await self._target.feed(list(batch) for batch in data.batches(rows, BATCH_SIZE))
        self._loaded.add(what)

    async def _restart(self) -> None:
        if self._target is not None:
            await self._target.stop()
            shutil.rmtree(self._target.folder, ignore_errors=True)
        self._fresh_count += 1
        self._loaded = set()
        self._target = self._module.make_target(self._folder / f"server{self._fresh_count}")
        await self._target.start()

    async def stop(self) -> None:
        """Stop the server."""
        if self._target is not None:
            await self._target.stop()


async def main() -> None:
    """Serve commands until told to stop or standard input ends."""
    driver = Driver(sys.argv[1], Path(sys.argv[2]))
    loop = asyncio.get_running_loop()
    while True:
        line = await loop.run_in_executor(None, sys.stdin.readline)
        command: dict[str, Any] = json.loads(line) if line.strip() else {"stop": True}
        if "run" not in command:
            await driver.stop()
            print("{}", flush=True)
            return
        try:
            answer = await driver.run(command["run"])
        except Exception as error:  # noqa: BLE001 - reported to the parent, which shows it beside the workload
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
