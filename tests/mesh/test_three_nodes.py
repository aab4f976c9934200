"""docs/three-nodes.md does what it says: three nodes from nothing, and the first one lost."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cellmesh.api.common.v1 import mirror_pb2, mirror_service_pb2_grpc
from cellmesh.cli.mesh import processes
from cellmesh.client import open_cell
from cellmesh.common.errors import CellError

PAGE = Path(__file__).resolve().parents[2] / "docs" / "three-nodes.md"
BIN = Path(sys.executable).parent
COMMAND_COUNT = 10
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


def status(folder: Path) -> mirror_pb2.MirrorStatus:
    with open_cell(f"unix://{folder}") as client:
        stub: Any = client.stub(mirror_service_pb2_grpc.MirrorServiceStub)
        found: mirror_pb2.MirrorStatus = stub.GetMirrorStatus(
            mirror_pb2.GetMirrorStatusRequest(), timeout=5.0
        ).status
        return found


def wait(what: str, test: Callable[[], bool], timeout_s: float = 60.0) -> None:
    end_s = time.monotonic() + timeout_s
    while time.monotonic() < end_s:
        try:
            if test():
                return
        except CellError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"{what}: not in {timeout_s:g} s")


def is_followed(folder: Path, count: int) -> bool:
    found = status(folder)
    return found.writable and sum(one.connected and not one.lag for one in found.followers) == count


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
            wait("all follow", lambda: is_followed(folder / "node1/cortex", 2))
            wait("all AHAs follow", lambda: is_followed(folder / "node1/aha", 2))
        told = run(line, folder)
        if "mirror status" in line:
            assert "02.cortex.mesh" in told
        if "mirror promote" in line:
            assert ": leader in term" in told, number
        if "promote" in line and "cortex" in line:
            wait("the others follow", lambda: is_followed(folder / "node2/cortex", 2))
    wait("the AHA that is left follows", lambda: is_followed(folder / "node2/aha", 1))
    told = run(last_line(), folder)
    assert "inet:fqdn=kept.example.org" in told
    assert "#seen" in told
    run("cellmesh up --dir node1", folder)
    wait("the first node follows", lambda: is_followed(folder / "node2/cortex", 2))
