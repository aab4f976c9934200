"""docs/shell.md shows what the shell does: its sessions are typed in and its commands run, in their order."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cellmesh.cli.shell.commands import COMMANDS
from cellmesh.cli.shell.session import Session
from cellmesh.client import open_cell
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.cortex.cell import CortexCell
from cellmesh.cortex.config import CortexConfig

PAGE = Path(__file__).resolve().parents[3] / "docs" / "shell.md"
PROMPT, GOES_ON, ANY = "storm> ", "   ... ", "…"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    config = load_config(
        CortexConfig, dir=tmp_path_factory.mktemp("cortex"), flags={"log_level": "error"}, environ={}
    )
    with running(CortexCell(config)):
        yield config.dir


def steps(page: str) -> Iterator[tuple[str, list[str]]]:
    """What is typed, and the lines that are shown for it."""
    for block in re.findall(r"^```text\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        typed: str | None = None
        shown: list[str] = []
        for line in block.splitlines():
            if line.startswith(PROMPT):
                if typed is not None:
                    yield typed, shown
                typed, shown = line.removeprefix(PROMPT), []
            elif line.startswith(GOES_ON) and typed is not None:
                typed += "\n" + line.removeprefix(GOES_ON)
            else:
                shown.append(line)
        assert typed is not None
        yield typed, shown


def pattern(shown: list[str]) -> str:
    """What matches the lines that are shown: … is any text, alone on a line any lines."""
    parts = [r"(?:.*\n)*?" if line == ANY else re.escape(line).replace(ANY, ".*") + r"\n" for line in shown]
    return "".join(parts)


def test_the_sessions_of_the_page(folder: Path, tmp_path: Path) -> None:
    found = list(steps(PAGE.read_text(encoding="utf-8")))
    assert len(found) > 20
    with open_cell(f"unix://{folder}") as client:
        session = Session(client, "", io.StringIO())
        session.names.load()
        for typed, shown in found:
            session.out = io.StringIO()
            session.handle(typed.replace("/tmp/", f"{tmp_path}/"))
            told = session.out.getvalue().replace(f"{tmp_path}/", "/tmp/")
            assert re.fullmatch(pattern(shown), told), f"{typed}\n{told}\ninstead of\n" + "\n".join(shown)


def test_the_commands_of_the_page(folder: Path) -> None:
    page = PAGE.read_text(encoding="utf-8").partition("## Scripts")[2]
    lines = [
        line
        for block in re.findall(r"^```\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]
    assert len(lines) > 4
    cellmesh = f"{sys.executable} -m cellmesh.cli.main"
    script = "set -e\n" + "\n".join(lines).replace("cellmesh", cellmesh).replace("DIR", str(folder))
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "form,value,:" in done.stdout


def test_every_command_of_the_shell_is_on_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8").partition("## Commands of the shell")[2]
    told = set(re.findall(r"`(\\\S+?)[ `]", page))
    assert told == set(COMMANDS)
