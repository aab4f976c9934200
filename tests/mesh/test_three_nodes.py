"""docs/three-nodes.md does what it says: three nodes from nothing, and the first one lost."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cellmesh.cli.mesh import processes
from cellmesh.testing.mirrors.asking import follower_count, status_of, wait

PAGE = Path(__file__).resolve().parents[2] / "docs" / "three-nodes.md"
BIN = Path(sys.executable).parent
COMMAND_COUNT = 10
WAIT_S = 60.0
NODES = ("node1", "node2", "node3")
KINDS = ("cortex", "cryotank", "axon", "aha")


def commands() -> list[str]:
    """The lines of the page's shell blocks, in order."""
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    return [line for block in blocks for line in block.splitlines()]


def last_line() -> str:
    """The command that the page ends with."""
    found: list[str] = re.findall(r"^    (cellmesh .*)$", PAGE.read_text(encoding="utf-8"), re.M)
    return found[-1]


def run(command: str, folder: Path) -> str:
    environ = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        command, shell=True, cwd=folder, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def is_followed(folder: Path, count: int) -> bool:
    found = status_of(folder)
    return found.writable and follower_count(found) == count


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for node in NODES:
        for kind in KINDS:
            running = processes.find_running(tmp_path / node / kind)
            if running is not None:
                processes.stop(running.pid)


def test_three_nodes_from_nothing_and_the_first_one_lost(folder: Path) -> None:
    lines = commands()
    assert len(lines) == COMMAND_COUNT
    for number, line in enumerate(lines):
        if "mirror status" in line:
            # A person looks again until it is so.
            wait("all follow", lambda: is_followed(folder / "node1/cortex", 2), WAIT_S)
            wait("all AHAs follow", lambda: is_followed(folder / "node1/aha", 2), WAIT_S)
        told = run(line, folder)
        if "mirror status" in line:
            assert "02.cortex.mesh" in told
        if "mirror promote" in line:
            assert ": leader in term" in told, number
        if "promote" in line and "cortex" in line:
            wait("the others follow", lambda: is_followed(folder / "node2/cortex", 2), WAIT_S)
    wait("the AHA that is left follows", lambda: is_followed(folder / "node2/aha", 1), WAIT_S)
    told = run(last_line(), folder)
    assert "inet:fqdn=kept.example.org" in told
    assert "#seen" in told
    run("cellmesh up --dir node1", folder)
    wait("the first node follows", lambda: is_followed(folder / "node2/cortex", 2), WAIT_S)
