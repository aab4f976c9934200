"""A real cell as a process of its own, on its unix socket, to be killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from cellmesh.client import CellClient, open_cell

READY_MAX_S: Final = 60.0
POLL_S: Final = 0.002


class CellProcess:
    """One kind of cell on one folder; started and killed any number of times.

    Args:
        kind: Such as "cortex".
        folder: The cell's.
        flags: More of the command line.
        environment: Added to that of this process.
    """

    def __init__(
        self,
        kind: str,
        folder: Path,
        flags: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.kind = kind
        self.folder = folder
        self.log = folder.with_suffix(".log")
        self._flags = list(flags)
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process that runs."""
        assert self._process is not None
        return self._process.pid

    def start(self, **environment: str) -> float:
        """Start it; returns after how many seconds it took connections, which is when it serves."""
        command = [sys.executable, "-m", "cellmesh.cli.main", self.kind, "serve", "--dir", str(self.folder)]
        path = self.folder / "cell.sock"
        path.unlink(missing_ok=True)
        begun_s = time.monotonic()
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [*command, *self._flags],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**self._environment, **environment},
            )
        while time.monotonic() < begun_s + READY_MAX_S:
            assert self._process.poll() is None, f"the {self.kind} ended: {self.log.read_text()[-2000:]}"
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    probe.connect(str(path))
                except OSError:
                    time.sleep(POLL_S)
                    continue
            return time.monotonic() - begun_s
        raise AssertionError(f"the {self.kind} does not serve after {READY_MAX_S} s")

    def client(self) -> CellClient:
        """A client, as root."""
        return open_cell(f"unix://{self.folder}")

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def wait(self, timeout_s: float) -> int:
        """Its exit code, once it has ended."""
        assert self._process is not None
        return self._process.wait(timeout_s)

    def is_running(self) -> bool:
        """Whether it lives."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """SIGTERM, and SIGKILL when that takes long."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()

    def resident_bytes(self) -> int:
        """Its memory that is not backed by files."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("the system does not tell the memory of a process")

    def thread_count(self) -> int:
        """Its threads now."""
        return len(list(Path(f"/proc/{self.pid}/task").iterdir()))
