"""Exit codes of `cellmesh KIND serve`, as docs/operations.md tells them, with one line that says why."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from cellmesh.common.storage import Layout, Slab, SubDb

COMMAND = str(Path(sys.executable).parent / "cellmesh")


def serve(folder: Path, *flags: str) -> subprocess.Popen[str]:
    command = [COMMAND, "axon", "serve", "--dir", str(folder), *flags]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit code, and the last line said."""
    _, said = process.communicate(timeout=30)
    assert "Traceback" not in said
    return process.returncode, said.splitlines()[-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_cell_that_is_told_to_stop_ends_with_0(tmp_path: Path, number: signal.Signals) -> None:
    process = serve(tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("axon serving at")
    process.send_signal(number)
    assert ended(process)[0] == 0


def test_a_cell_that_cannot_start_ends_with_2_and_says_why(tmp_path: Path) -> None:
    layout = Layout("axon", 99)
    Slab.open(tmp_path / "newer" / "slab", (SubDb("any", "anything"),), layout=layout).close()
    (tmp_path / "file").write_text("")
    (tmp_path / "unsound").mkdir()
    (tmp_path / "unsound" / "cell.toml").write_text("log_lvel = 1")
    (tmp_path / "start.toml").write_text("[[users]]\nname = 1")
    running = serve(tmp_path / "running")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert running.stdout is not None
        assert running.stdout.readline().startswith("axon serving at")
        cases = {
            "a value that cannot be": (serve(tmp_path / "a", "--lease-s", "0.1"), "lease_s"),
            "a name that is not known": (serve(tmp_path / "unsound"), "did you mean log_level?"),
            "a busy port": (
                serve(tmp_path / "b", "--insecure", "--listen", f"127.0.0.1:{port}"),
                "another program uses this port",
            ),
            "a busy port of metrics": (
                serve(tmp_path / "c", "--metrics-listen", f"127.0.0.1:{port}"),
                "another program uses this port",
            ),
            "a folder in use": (serve(tmp_path / "running"), "is in use by process"),
            "a folder that is a file": (serve(tmp_path / "file"), "cannot be used"),
            "storage of a newer version": (serve(tmp_path / "newer"), "99"),
            "first-start settings": (
                serve(tmp_path / "d", "--first-start", str(tmp_path / "start.toml")),
                "users 1: name is no text",
            ),
        }
        found = {name: ended(process) for name, (process, _) in cases.items()}
    assert {name: code for name, (code, _) in found.items()} == dict.fromkeys(cases, 2)
    for name, (_, line) in found.items():
        assert line.startswith("axon: ")
        assert cases[name][1] in line, name
    running.send_signal(signal.SIGTERM)
    assert ended(running)[0] == 0


def test_no_folder_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CELLMESH_AXON_DIR", raising=False)
    done = subprocess.run([COMMAND, "axon", "serve"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--dir DIR" in done.stderr
