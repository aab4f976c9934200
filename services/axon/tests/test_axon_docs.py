"""The examples of docs/axon.md do what the page says, in its order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from cellmesh.axon.api.permissions import PERMISSIONS, SERVICES
from cellmesh.axon.cell import AxonCell
from cellmesh.axon.config import AxonConfig
from cellmesh.common.cell import running
from cellmesh.common.config import load_config

PAGE = Path(__file__).resolve().parents[3] / "docs" / "axon.md"
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_examples_run(tmp_path: Path) -> None:
    blocks = BLOCK.findall(PAGE.read_text())
    assert len(blocks) >= 5
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with running(AxonCell(load_config(AxonConfig, dir=tmp_path / "axon", environ={}))) as cell:
        for kind, text in blocks:
            command = (
                ["bash", "-euo", "pipefail", "-c", text] if kind == "bash" else [sys.executable, "-c", text]
            )
            done = subprocess.run(
                command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        assert (tmp_path / "back.csv").read_bytes() == b"1,"
        assert cell.store.metrics().blob_count == 4
        assert sum(item.deleted for item in cell.store.arrivals()) == 2


def test_the_page_has_every_call_with_its_right() -> None:
    rows = re.findall(r"^\| `(axon\.[a-z.]+)` \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    told = {(right, call) for right, calls in rows for call in re.findall(r"`([A-Z]\w+)`", calls)}
    found = {
        (row.name, path.rpartition("/")[2])
        for path, row in PERMISSIONS.items()
        if path.split("/")[1] in SERVICES and "Content" not in path and row.level.value == "rule"
    }
    assert {pair for pair in told if pair[1] != "ContentService"} == found
