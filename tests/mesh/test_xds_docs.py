"""The first example of docs/xds.md works as written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from cellmesh.cli.mesh import Mesh

PAGE = Path(__file__).resolve().parents[2] / "docs" / "xds.md"


def test_the_example_calls_a_cell_by_its_name(tmp_path: Path) -> None:
    shell, python = (
        re.search(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
        for language in ("sh", "python")
    )
    assert shell
    assert python
    program = tmp_path / "example.py"
    program.write_text(python[1].replace("cortex", "cryotank"))
    mesh = Mesh(tmp_path / "m", cells=("aha", "cryotank"))
    try:
        mesh.up()
        binaries = Path(sys.executable).parent
        environment = {
            **os.environ,
            "CELLMESH_IDENTITY": str(mesh.identity),
            "PATH": f"{binaries}:{os.environ['PATH']}",
        }
        done = subprocess.run(
            ["bash", "-ec", f"{shell[1]}\npython {program}"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
    finally:
        mesh.down()
    assert done.stdout.splitlines()[1:] == ["00.cryotank.mesh"] * 3, done.stderr
