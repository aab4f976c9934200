"""Servers of any kind of cell, ours and the peer's, and rate scripts that run on both in turns.

Standard library only at import, as the peer's interpreter imports it too.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 60.0
PASSWORD = "benchmark"

MESSAGE_OPTIONS = [("grpc.max_receive_message_length", 64 << 20)]
"""Options of a client's channel to ours."""

Process = subprocess.Popen[bytes]


@contextlib.contextmanager
def our_server(kind: str, folder: Path) -> Iterator[tuple[Process, str]]:
    """A cell of ours of this kind on loopback, without TLS: its process and address. Stopped at the end."""
    command = [sys.executable, "-m", "cellmesh.cli.main", kind, "serve", "--dir", str(folder)]
    command += ["--insecure", "--listen", "127.0.0.1:0", "--log-level", "warning"]
    with Path(f"{folder}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        yield process, _address(kind, folder)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_TIMEOUT_S)


def _address(kind: str, folder: Path) -> str:
    end_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < end_s:
        try:
            told = json.loads((folder / "run.json").read_text())["addresses"]
            return str(next(item for item in told if not item.startswith("unix:")))
        except (OSError, ValueError, StopIteration):
            time.sleep(0.01)
    raise SystemExit(f"the {kind} did not start: see {folder}.log")


@contextlib.asynccontextmanager
async def peer_server(kind: str, folder: Path) -> AsyncIterator[tuple[Process, Any]]:
    """A server of the peer of this kind: its process and a proxy. Runs in the peer's environment."""
    import synapse.telepath as telepath

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", f"synapse.servers.{kind}", str(folder), "--https", "0"]
    command += ["--telepath", f"tcp://127.0.0.1:{port}", "--auth-passwd", PASSWORD]
    with Path(f"{folder}.log").open("wb") as log:
        environment = {**os.environ, "SYN_LOG_LEVEL": "WARNING"}
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)
    try:
        proxy: Any = None
        end_s = time.monotonic() + START_TIMEOUT_S
        while proxy is None:
            if process.poll() is not None or time.monotonic() > end_s:
                raise RuntimeError(f"the peer did not start: see {folder}.log")
            try:
                proxy = await telepath.openurl(f"tcp://root:{PASSWORD}@127.0.0.1:{port}/")
            except Exception:  # noqa: BLE001 - not listening yet; the deadline above ends this
                await asyncio.sleep(0.05)
        # It starts more processes, which take seconds; leave them that time.
        await asyncio.sleep(5)
        yield process, proxy
        await proxy.fini()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_TIMEOUT_S)


def run_in_turns(module: str, arguments: Sequence[str], runs: int, peer: bool) -> dict[str, list[Any]]:
    """Run a rate script for each side in turns, each run a process of its own with a new folder.

    Args:
        module: The script, as `benchmarks.blob_rates`. With `--side NAME FOLDER` it prints its result as a line of JSON.
        arguments: What it gets beside that.
        runs: How often for each side.
        peer: Whether the peer runs too.

    Returns:
        The results by side, "ours" and "peer".
    """
    sides = {"ours": sys.executable}
    if peer:
        from benchmarks.peer_env import peer_python

        sides["peer"] = str(peer_python())
    results: dict[str, list[Any]] = {name: [] for name in sides}
    with tempfile.TemporaryDirectory(prefix="cellmesh-bench-") as folder:
        for number in range(runs):
            for name, python in sides.items():
                command = [python, "-m", module, *arguments, "--side", name, f"{folder}/{name}{number}"]
                # What the caller runs ours from stays; the peer's interpreter sees only the benchmarks.
                more = os.environ.get("PYTHONPATH", "") if name == "ours" else ""
                environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), more)))}
                answer = subprocess.run(
                    command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
                )
                if answer.returncode:
                    raise SystemExit(answer.stderr[-2000:])
                results[name].append(json.loads(answer.stdout.splitlines()[-1]))
    return results
