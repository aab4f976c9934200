"""Cells as detached processes of this machine."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from cellmesh.common.cell.folder import RUN_FILE, read_run
from cellmesh.common.errors import SpawnExit, StepTimeout

READY_S: Final = 60.0
"""How long a cell may take until it serves. Opening a large, cold database takes some seconds."""

STOP_S: Final = 20.0
"""How long a cell may take to stop before it is killed; longer than its own grace for running calls."""

POLL_S: Final = 0.05
START_SLACK_S: Final = 2.0
LOCK_FILE: Final = "lock"
"""In a cell's folder: locked by its process."""

LOG_TAIL_SIZE: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Running:
    """A cell's process.

    Attributes:
        pid: Its process.
        addresses: Where it serves, TCP first.
    """

    pid: int
    addresses: tuple[str, ...]


def find_running(folder: Path) -> Running | None:
    """The process that serves a cell's folder, None when there is none."""
    told = read_run(folder)
    if told is None:
        return None
    pid = int(told["pid"])
    try:
        written_s = datetime.fromisoformat(str(told["start_time"])).timestamp()
        addresses = tuple(str(address) for address in told["addresses"])
    except (KeyError, ValueError, TypeError):
        return None
    if not is_alive(pid, since_s=written_s):
        return None
    return Running(pid, addresses)


def is_held(folder: Path) -> bool:
    """Whether a process has a cell's folder for itself, serving or about to."""
    try:
        with (folder / LOCK_FILE).open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def last_address_text(folder: Path) -> str:
    """Where a cell that was killed served, as a part of a sentence; empty when it stopped by itself."""
    try:
        addresses = json.loads((folder / RUN_FILE).read_bytes())["addresses"]
        return f" (it was at {addresses[0]})"
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return ""


def is_alive(pid: int, *, since_s: float | None = None) -> bool:
    """Whether a process lives, and is not another one that got its number.

    Args:
        pid: The process.
        since_s: When it certainly lived, in seconds since 1970: a process that began later is another one.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        # Behind the name in brackets, which may itself hold spaces and brackets.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot_s = _boot_s()
    except OSError:
        # No /proc: another kind of system, or it has just ended.
        return not Path("/proc/self/stat").exists()
    state, start_ticks = fields[0], int(fields[19])
    if state in "ZX":
        return False
    began_s = boot_s + start_ticks / os.sysconf("SC_CLK_TCK")
    return since_s is None or began_s <= since_s + START_SLACK_S


def _boot_s() -> float:
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith("btime "):
            return float(line.split()[1])
    return 0.0


def memory_bytes(pid: int) -> int | None:
    """The memory a process has taken for itself, None where the system does not tell.

    Pages of its database that the system keeps in memory are not counted: they are given up when needed.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    found = dict(line.split(":", 1) for line in lines if ":" in line)
    try:
        return sum(int(found[name].split()[0]) for name in ("RssAnon", "RssShmem")) * 1024
    except (KeyError, ValueError, IndexError):
        return None


def start(kind: str, folder: Path, log: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a cell, detached: it lives on when this process ends.

    Args:
        kind: The kind of cell.
        folder: Its folder.
        log: Where what it prints is appended.
        environment: Added to that of this process.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "cellmesh.cli.main", kind, "serve", "--dir", str(folder)]
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # Its log is for whoever looks for the cause: what it cannot explain it tells whole.
            env={**os.environ, "CELLMESH_DEBUG": "1", **environment},
            start_new_session=True,
        )


def wait_until_serving(kind: str, folder: Path, process: subprocess.Popen[bytes], log: Path) -> Running:
    """Wait until a started cell serves.

    Where another process has the folder, as when an earlier start was broken off, that one is waited for.

    Raises:
        SpawnExit: it ended; tells its last words.
        StepTimeout: it took too long. It is left running.
    """
    until = time.monotonic() + READY_S
    while time.monotonic() < until:
        code = process.poll()
        running = find_running(folder)
        if running is not None and (running.pid == process.pid or code is not None):
            return running
        if code is not None and not is_held(folder):
            raise SpawnExit(
                f"the {kind} did not start: {last_words(kind, log) or f'it ended with status {code}'}",
                name=kind,
                hint=f"its log is {log}",
            )
        time.sleep(POLL_S)
    raise StepTimeout(
        f"the {kind} does not serve after {READY_S:.0f} s", name=f"start {kind}", hint=f"look at {log}"
    )


def last_words(kind: str, log: Path) -> str:
    """The error a cell ended with, as it told it; else its last line."""
    lines = _tail(log)
    for line in reversed(lines):
        if line.startswith(f"{kind}: "):
            return line.removeprefix(f"{kind}: ")
    return lines[-1] if lines else ""


def last_error(kind: str, log: Path) -> str:
    """The error a cell ended with; empty when it ended otherwise."""
    lines = _tail(log)
    return lines[-1].removeprefix(f"{kind}: ") if lines and lines[-1].startswith(f"{kind}: ") else ""


def _tail(log: Path) -> list[str]:
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - LOG_TAIL_SIZE))
            return file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []


def stop(pid: int, process: subprocess.Popen[bytes] | None = None) -> bool:
    """End a process by SIGTERM, and by SIGKILL when that takes too long.

    Args:
        pid: The process.
        process: The same as a child of ours, if it is one: it is then reaped.

    Returns:
        Whether SIGTERM was enough.
    """
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return True
    if _wait_gone(pid, process, STOP_S):
        return True
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return True
    _wait_gone(pid, process, STOP_S)
    return False


def _wait_gone(pid: int, process: subprocess.Popen[bytes] | None, timeout_s: float) -> bool:
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        if process is not None:
            process.poll()
        if not is_alive(pid):
            return True
        time.sleep(POLL_S)
    return False
