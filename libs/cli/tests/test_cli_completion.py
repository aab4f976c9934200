"""Completion: driven by a real shell, as a person's TAB does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cellmesh.cli.main import run

BASH = """
eval "$(cellmesh completion bash)"
COMP_WORDS=({words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
$(complete -p cellmesh | sed 's/.*-F \\([^ ]*\\).*/\\1/') cellmesh
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def complete_in_bash(*words: str) -> list[str]:
    quoted = " ".join(f"'{word}'" for word in ("cellmesh", *words))
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "--norc", "-c", BASH.format(words=quoted)],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_bash_completes_commands() -> None:
    assert complete_in_bash("sto") == ["storm", "storage"]


def test_bash_completes_commands_of_a_group_and_options() -> None:
    assert complete_in_bash("alias", "") == ["list", "remove", "set"]
    assert "--format" in complete_in_bash("storm", "--fo")
    assert "jsonl" in complete_in_bash("storm", "--format", "js")


def test_zsh_loads_the_script() -> None:
    if shutil.which("zsh") is None:
        pytest.skip("there is no zsh here")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    text = 'autoload -U compinit; compinit -u; eval "$(cellmesh completion zsh)"; print $_comps[cellmesh]'
    done = subprocess.run(
        ["zsh", "-f", "-c", text], capture_output=True, text=True, timeout=60, env=environment, check=False
    )
    assert done.stdout.strip() == "_cellmesh_completion", done.stderr


def test_completing_a_command_imports_none(capfd: pytest.CaptureFixture[str]) -> None:
    code = (
        "import os, sys\n"
        "os.environ.update(_CELLMESH_COMPLETE='bash_complete', COMP_WORDS='cellmesh s', COMP_CWORD='1')\n"
        "import atexit; atexit.register(lambda: print([n for n in ('grpc', 'pydantic') if n in sys.modules]))\n"
        "from cellmesh.cli.main import main; main([])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    assert "plain,status" in lines
    assert lines[-1] == "[]"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_script_names_the_program(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    assert "_CELLMESH_COMPLETE" in capsys.readouterr().out
