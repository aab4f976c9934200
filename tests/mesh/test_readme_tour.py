"""The five-minute tour of the README, each line as it stands there, on a mesh of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cellmesh.cli.mesh import Mesh

README = Path(__file__).resolve().parents[2] / "README.md"
FOLDER = ".demo/mesh"
WRONG_ON_PURPOSE = "+('"
TIMEOUT_S = 120


def tour() -> list[str]:
    """The commands of the section, continued lines joined."""
    section = README.read_text(encoding="utf-8").split("## Five minutes")[1].split("\n## ")[0]
    blocks = "\n".join(re.findall(r"^```\n(.*?)^```$", section, re.MULTILINE | re.DOTALL))
    return [line for line in blocks.replace("\\\n", " ").splitlines() if line]


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[Mesh]:
    made = Mesh(tmp_path / FOLDER)
    yield made
    if made.exists:
        made.down()


def test_every_line_of_the_tour_works(mesh: Mesh, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "CELLMESH_DIR": str(tmp_path / FOLDER),
    }
    lines = tour()
    told: dict[str, str] = {}
    for line in lines:
        if line.startswith("export "):
            assert line.endswith(f"CELLMESH_DIR=$PWD/{FOLDER}")
            continue
        assert line.split()[0] in {"cellmesh", "buf"}, line
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        told[line] = done.stdout + done.stderr
        assert done.returncode == (1 if line.endswith(WRONG_ON_PURPOSE) else 0), (line, told[line])
    queries = [line for line in lines if line.startswith("cellmesh storm")]
    assert len(queries) >= 7
    made = next(line for line in queries if "[ inet:dns:a" in line)
    assert "inet:dns:a=" in told[made]
    assert "#my.case = (2026/11/01" in told[made]
    found = next(line for line in queries if "'#my.case" in line)
    assert "inet:fqdn=evil.example.com" in told[found]
    wrong = next(line for line in queries if line.endswith(WRONG_ON_PURPOSE))
    assert told[wrong].splitlines()[2].strip() == "^"
    assert '"form": "inet:fqdn"' in next(told[line] for line in lines if line.startswith("buf "))
    assert not mesh.running()
