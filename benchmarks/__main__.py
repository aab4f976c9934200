"""`python -m benchmarks`: run workloads on real servers, ours and, with --peer, the peer's in turn."""

from __future__ import annotations

import argparse
import json
import os
import string
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.automation import automation_workloads
from benchmarks.peer_env import peer_python
from benchmarks.report import HEADER, Samples, line, ratio
from benchmarks.workloads import Workload, workloads

ROOT = Path(__file__).resolve().parent.parent


class Side:
    """One side's driver process."""

    def __init__(self, name: str, python: str, folder: Path) -> None:
        self.name = name
        folder.mkdir(parents=True)
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [python, "-m", "benchmarks.driver", name, str(folder)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, workload: Workload) -> dict[str, Any]:
        """Run a workload once."""
        answer: dict[str, Any] = self._ask({"run": workload.name})
        return answer

    def stop(self) -> None:
        """Stop driver and server."""
        if self._process.poll() is None:
            self._ask({"stop": True})
            self._process.wait(timeout=90)

    def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"the {self.name} driver died (exit code {self._process.wait()})")
        result: dict[str, Any] = json.loads(answer)
        return result


def chosen(only: list[str]) -> list[Workload]:
    """The workloads whose name begins with one of `only`, or all of them."""
    every = (*workloads(), *automation_workloads())
    wanted = [part for item in only for part in item.replace(",", " ").split()]
    unknown = [name for name in wanted if not any(_is_named(w, name) for w in every)]
    if unknown:
        raise SystemExit(
            f"no such workload: {', '.join(unknown)}; there are {', '.join(w.name for w in every)}"
        )
    return [w for w in every if not wanted or any(_is_named(w, name) for name in wanted)]


def _is_named(workload: Workload, name: str) -> bool:
    """Whether a name is a workload's, as W2a, or that of all of its number, as W2."""
    return name in (workload.name, workload.name.rstrip(string.ascii_lowercase))


def measure(sides: list[Side], workload: Workload, runs: int) -> dict[str, Samples]:
    """Run a workload on each side in turn, several times."""
    samples: dict[str, Samples] = {side.name: [] for side in sides}
    for _ in range(min(runs, workload.runs_max)):
        for side in sides:
            samples[side.name].append(side.run(workload))
    return samples


def main() -> None:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only", action="append", default=[], metavar="W3", help="only workloads so named; repeatable"
    )
    parser.add_argument(
        "--peer", action="store_true", help="run the same on Synapse 2.256.0 and print the ratios"
    )
    parser.add_argument("--runs", type=int, default=3, help="runs of each workload (default: 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there too")
    options = parser.parse_args()
    selected = chosen(options.only)
    everything: dict[str, dict[str, Samples]] = {}
    failed = False
    with tempfile.TemporaryDirectory(prefix="cellmesh-bench-") as folder:
        sides = [Side("ours", sys.executable, Path(folder) / "ours")]
        if options.peer:
            sides.append(Side("peer", str(peer_python()), Path(folder) / "peer"))
        print(HEADER, flush=True)
        try:
            for workload in selected:
                print(f"{workload.name}  {workload.title}", flush=True)
                samples = measure(sides, workload, options.runs)
                everything[workload.name] = samples
                for side in sides:
                    print(line(side.name, workload, samples[side.name]), flush=True)
                    failed = failed or any("error" in sample for sample in samples[side.name])
                if options.peer:
                    print(ratio(samples["ours"], samples["peer"]), flush=True)
        finally:
            for side in sides:
                side.stop()
    if options.json:
        options.json.write_text(json.dumps(everything, indent=1))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
