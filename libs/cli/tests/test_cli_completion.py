"""Completion: driven by a real shell, as a person's TAB does."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cellmesh.cli.main import run

WAIT_S = 60.0

BASH = """
eval "$(cellmesh completion bash)"
COMP_WORDS=({words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
$(complete -p cellmesh | sed 's/.*-F \\([^ ]*\\).*/\\1/') cellmesh
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def environment_here() -> dict[str, str]:
    """The environment, with this program on the path."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def complete_in_bash(*words: str) -> list[str]:
    quoted = " ".join(f"'{word}'" for word in ("cellmesh", *words))
    environment = environment_here()
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


def test_bash_completes_the_tools_below_storm() -> None:
    assert complete_in_bash("storm", "") == ["fmt", "lint"]
    assert complete_in_bash("storm", "l") == ["lint"]
    assert complete_in_bash("storm", "fmt", "--ch") == ["--check"]
    assert complete_in_bash("storm", "inet:fqdn", "l") == []


def test_zsh_completes_what_is_typed(tmp_path: Path) -> None:
    """A line is typed with tabs in it, and run: the command, for which a function stands, prints its words."""
    require_zsh()
    script = tmp_path / "begin.zsh"
    script.write_text(
        'autoload -U compinit; compinit -u -d "$HOME/.zcompdump"\n'
        'eval "$(cellmesh completion zsh)"\n'
        'cellmesh() { print -r -- "words: $* end" }\n'
        'PS1="ready> "; unsetopt prompt_sp zle_bracketed_paste\n'
    )
    environment = {**environment_here(), "HOME": str(tmp_path), "TERM": "dumb", "LC_ALL": "C"}
    zsh = Typed(["zsh", "-f", "-i"], environment)
    try:
        zsh.type(f"source {script}\r")
        zsh.wait("ready> ")
        for typed, wanted in (
            ("cellmesh sta", "words: status end"),
            ("cellmesh storm li", "words: storm lint end"),
            ("cellmesh storm fmt --ch", "words: storm fmt --check end"),
            ("cellmesh export x --format graphm", "words: export x --format graphml end"),
        ):
            zsh.type(typed)
            # By itself: a tab in what comes in one burst completes nothing.
            zsh.wait(typed[-5:])
            zsh.type("\t")
            zsh.type("\r")
            zsh.wait(wanted)
            zsh.wait("ready> ")
    finally:
        zsh.close()


class Typed:
    """A program on a pseudo-terminal, into which a person types."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._terminal, inner = pty.openpty()
        self._process = subprocess.Popen(
            command, stdin=inner, stdout=inner, stderr=inner, env=environment, start_new_session=True
        )
        os.close(inner)
        self._seen = ""

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._terminal, text.encode())

    def wait(self, text: str) -> None:
        """Wait until a text has come, and forget what came up to it."""
        end = time.monotonic() + WAIT_S
        while text not in self._seen:
            assert time.monotonic() < end, self._seen
            if select.select([self._terminal], [], [], 0.2)[0]:
                self._seen += os.read(self._terminal, 65536).decode(errors="replace")
        self._seen = self._seen.partition(text)[2]

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        os.close(self._terminal)


def require_zsh() -> None:
    if shutil.which("zsh") is None:
        pytest.skip("there is no zsh here")


def test_zsh_loads_the_script() -> None:
    require_zsh()
    environment = environment_here()
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
