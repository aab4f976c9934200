"""The commands of docs/operations.md do what the page says, in the order in which it says them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
BIN = Path(sys.executable).parent
COMMANDS = (
    "backup create",
    "backup list",
    "backup fetch",
    "backup delete",
    "restore",
    "compact",
    "layer verify",
    "layer export",
    "layer import",
    "changes",
    "tasks list",
    "log-level",
    "kv get",
    "kv set",
    "kv list",
    "kv watch",
    "kv pop",
    "mirror status",
    "mirror promote",
    "mirror check",
    "auth user add",
    "auth key add",
    "auth audit check",
)


def commands() -> list[str]:
    """The lines of the page's shell blocks, in order."""
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    return [line for block in blocks for line in block.splitlines()]


def run(command: str, folder: Path) -> str:
    environ = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        command, shell=True, cwd=folder, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    subprocess.run([BIN / "cellmesh", "down", "--dir", tmp_path / "mesh"], capture_output=True, check=False)


def test_the_page_shows_every_command_it_is_about() -> None:
    for command in COMMANDS:
        assert any(line.startswith(f"cellmesh {command} ") for line in commands()), command


def test_the_commands_of_the_page_work_and_the_data_come_back(folder: Path) -> None:
    told: dict[str, str] = {}
    for number, command in enumerate(commands()):
        told[command] = run(command, folder)
        if number == 0:
            run("cellmesh storm --dir mesh '[inet:fqdn=kept.example.org]'", folder)
        if command.startswith("cellmesh backup fetch"):
            run("cellmesh storm --dir mesh '[inet:fqdn=later.example.org]'", folder)
    assert "monday" in told["cellmesh backup list --dir mesh/cortex"]
    assert "every hash checked" in told["cellmesh restore cortex.tar --dir mesh/cortex"]
    assert "ready" in told["cellmesh status --dir mesh"]
    found = run("cellmesh storm --dir mesh 'inet:fqdn:zone=example.org'", folder)
    everything = run("cellmesh storm --dir mesh 'inet:fqdn'", folder)
    assert "kept.example.org" in everything + found
    assert "later.example.org" not in everything + found
    assert "01.cortex.mesh: leader in term 2" in told["cellmesh mirror status --dir mesh/01.cortex"]
    assert "00.cortex.mesh: leader in term 3" in told["cellmesh mirror promote --force --dir mesh/cortex"]
    assert re.match(r"offset \d+ sha256 [0-9a-f]{64}\n", told["cellmesh mirror check --dir mesh/cortex"])
    assert told["cellmesh kv get loader/state --dir mesh/cortex"] == '{"page": 7}\n'
    assert "cellmesh.common.rpc  debug" in "".join(told.values())
    assert len(told["cellmesh changes --dir mesh/aha --count 3"].splitlines()) == 3
