"""The commands of docs/import-export.md do what the page says, in the order in which it says them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.cortex.cell import CortexCell
from cellmesh.cortex.config import CortexConfig

PAGE = Path(__file__).resolve().parents[2] / "docs" / "import-export.md"
BIN = Path(sys.executable).parent


def commands() -> list[str]:
    """The lines of the page's shell blocks, in order."""
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    return [line for block in blocks for line in block.splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a Cortex where the page has a mesh: all that is called is the Cortex."""
    made = tmp_path_factory.mktemp("page")
    config = load_config(CortexConfig, dir=made / "mesh", flags={"log_level": "error"}, environ={})
    with running(CortexCell(config)):
        yield made


def test_the_commands_of_the_page_work(folder: Path) -> None:
    environ = {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "XDG_STATE_HOME": str(folder / "state"),
    }
    told: dict[str, str] = {}
    for command in commands():
        done = subprocess.run(
            command, shell=True, cwd=folder, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        told[command] = done.stdout
    dry, real = (
        told[command]
        for command in told
        if "hosts.csv" in command and "printf" not in command and "--json" not in command
    )
    assert "nothing is imported" in dry
    assert re.search(r"  [1-9]\d* nodes and 0 edges made, [1-9]\d* edits in all", real)
    assert "203.0.113.7" in told["cellmesh storm --dir mesh 'inet:ipv4#case.hosts.bad_host'"]
    assert json.loads(told["cat rejects.jsonl"])["place"] == "line 4"
    (line,) = (told[command] for command in told if command.endswith("head -1"))
    assert json.loads(line)["form"] == "inet:ipv4"
    assert "203.0.113.7" in next(told[command] for command in told if "--format csv" in command)
    assert " 0 edits" in told["cellmesh import --dir mesh case.nodes"]
    assert (folder / "hosts.dot").read_text().count("->") == 0
