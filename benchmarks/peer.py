"""The peer as a target: `synapse.servers.cortex` in its own process, reached over telepath on loopback.

Run by the interpreter of the peer's environment only.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import synapse.telepath as telepath

from benchmarks import data, processes

PASSWORD = "benchmark"
START_TIMEOUT_S = 120.0


class PeerFeed:
    """Calls of addFeedData; what is answered is not synced."""

    def __init__(self, proxy: Any) -> None:
        self._proxy = proxy

    async def write(self, rows: list[data.FeedRow]) -> None:
        """One call."""
        await self._proxy.addFeedData("syn.nodes", _packed(rows))

    async def close(self) -> None:
        """Nothing is kept open."""


def _packed(rows: list[data.FeedRow]) -> list[Any]:
    return [
        ((row.form, row.value), {"props": row.props, "tags": dict.fromkeys(row.tags, (None, None))})
        for row in rows
    ]


class PeerTarget:
    """A running Cortex of the peer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._proxy: Any = None

    async def start(self) -> None:
        """Start the server and wait until it answers and its workers have settled."""
        await self._start()
        await self.settle()

    async def restart(self) -> float:
        """Stop the server, start it again; returns the seconds to its first answered call."""
        await self.stop()
        begin = time.perf_counter()
        await self._start()
        return time.perf_counter() - begin

    async def _start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._proxy = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "synapse.servers.cortex", str(self.folder), "--https", "0"]
        command += ["--telepath", f"tcp://127.0.0.1:{port}", "--auth-passwd", PASSWORD]
        with Path(f"{self.folder}.log").open("ab") as log:
            environment = {**os.environ, "SYN_LOG_LEVEL": "WARNING"}
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while self._proxy is None:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the peer did not start: see {self.folder}.log")
            try:
                self._proxy = await telepath.openurl(f"tcp://root:{PASSWORD}@127.0.0.1:{port}/")
            except Exception:  # noqa: BLE001 - not listening yet; the deadline above ends this
                await asyncio.sleep(0.05)
        await self.info()

    async def settle(self) -> None:
        """Wait until the server's worker processes have started: each takes seconds of CPU."""
        quiet, last = 0, self.cpu_seconds()
        while quiet < 2:
            await asyncio.sleep(1)
            now = self.cpu_seconds()
            quiet, last = (quiet + 1 if now - last < 0.05 else 0), now

    async def stop(self) -> None:
        """Stop the server and whatever it started."""
        if self._proxy is not None:
            await self._proxy.fini()
        assert self._process is not None
        members = processes.family(self._process.pid)
        self._process.send_signal(signal.SIGTERM)
        try:
            await asyncio.to_thread(self._process.wait, 60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pid in members:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    async def info(self) -> None:
        """The peer's getCellInfo."""
        await self._proxy.getCellInfo()

    async def feed(self, batches: Iterable[list[data.FeedRow]]) -> None:
        """The peer's bulk path: packed nodes by addFeedData, from two tasks."""
        todo = iter(batches)
        # The first alone, which makes the tags: two tasks that make the same one lose nodes.
        for rows in todo:
            await self._proxy.addFeedData("syn.nodes", _packed(rows))
            break

        async def send() -> None:
            for rows in todo:
                await self._proxy.addFeedData("syn.nodes", _packed(rows))

        await asyncio.gather(send(), send())

    async def open_feed(self) -> PeerFeed:
        """Calls of addFeedData, one after another."""
        return PeerFeed(self._proxy)

    async def storm_nodes(self, text: str, variables: dict[str, Any] | None = None) -> int:
        """Stream a query, count its nodes."""
        count = 0
        async for kind, info in self._proxy.storm(text, opts={"vars": variables} if variables else None):
            if kind == "node":
                count += 1
            elif kind == "err":
                raise RuntimeError(f"{text}: {info}")
        return count

    async def storm_count(self, text: str) -> int:
        """The number that `| count` prints."""
        found: int | None = None
        async for kind, info in self._proxy.storm(text):
            if kind == "print":
                found = int(info["mesg"].split()[1])
            elif kind == "err":
                raise RuntimeError(f"{text}: {info}")
        if found is None:
            raise RuntimeError(f"{text}: no count")
        return found

    async def count(self, text: str) -> int:
        """The peer's count call."""
        return int(await self._proxy.count(text))

    async def check(self, text: str) -> None:
        """Have the peer parse a query."""
        await self._proxy.reqValidStorm(text)

    def cpu_seconds(self) -> float:
        """CPU time of the server and its workers."""
        assert self._process is not None
        return processes.cpu_seconds(self._process.pid)

    def footprint(self) -> dict[str, float]:
        """Memory of the server and its workers, disk of its folder."""
        assert self._process is not None
        return processes.footprint(self._process.pid, self.folder)


def make_target(folder: Path) -> PeerTarget:
    """The peer with its data in `folder`."""
    return PeerTarget(folder)
