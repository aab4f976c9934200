"""The root command: help, lazy loading, and errors in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cellmesh.cli import main as cli_main
from cellmesh.cli.main import run
from cellmesh.cli.output import plain, size_text, span_text, table, value_text
from cellmesh.common.errors import CellUnreachable, FeatureNotSupported, NoSuchTank


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    told = capsys.readouterr().out
    for name in (
        "up",
        "down",
        "status",
        "storm",
        "demo",
        "aha",
        "axon",
        "cryotank",
        "cortex",
        "enroll",
        "version",
    ):
        assert f"\n  {name} " in told


@pytest.mark.parametrize(
    "command",
    [
        ["up"], ["down"], ["status"], ["storm"], ["enroll"], ["aha", "provision", "service"],
        ["aha", "provision", "user"], ["aha", "list"], ["axon", "put"], ["axon", "get"], ["axon", "has"],
        ["axon", "list"], ["cryotank", "append"], ["cryotank", "read"], ["cryotank", "list"],
        ["aha", "serve"], ["axon", "serve"], ["cryotank", "serve"],
    ],
)  # fmt: skip
def test_every_command_explains_itself(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*command, "--help"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("Usage: cellmesh")
    assert len(told.splitlines()) > 4


def test_help_of_serve_tells_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    run(["axon", "serve", "--help"])
    told = capsys.readouterr().out
    assert "--chunk-size-bytes" in told
    assert "CELLMESH_AXON_LISTEN" in told


def test_help_loads_nothing_heavy() -> None:
    """The command answers at once: no gRPC, no pydantic, no LMDB for a mere --help."""
    code = (
        "import sys; from cellmesh.cli.main import run; run(['--help']);"
        "print([name for name in ('grpc', 'pydantic', 'lmdb', 'google.protobuf', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_an_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["nothing"]) == 2
    assert "No such command" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [(["strom"], "storm"), (["staus"], "status"), (["axon", "putt"], "put"), (["aha", "lsit"], "list")],
)
def test_what_is_meant_by_a_misspelt_command_is_told(
    arguments: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    told = capsys.readouterr().err
    assert f"No such command {arguments[-1]!r}. Did you mean {meant!r}" in told


def test_help_as_a_word_and_the_version_as_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    for typed, same in ((["help"], ["--help"]), (["help", "axon", "put"], ["axon", "put", "--help"])):
        assert run(typed) == run(same) == 0
        told = capsys.readouterr().out
        assert told[: len(told) // 2] == told[len(told) // 2 :]
    assert run(["--version"]) == run(["version"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == second
    assert run(["help", "axon", "putt"]) == 2
    assert "Did you mean 'put'" in capsys.readouterr().err
    assert run(["help", "up", "more"]) == 2
    assert "cellmesh up has no commands of its own" in capsys.readouterr().err


def test_who_names_no_mesh_is_told_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder forgotten is more likely than an identity that was not got."""
    monkeypatch.delenv("CELLMESH_DIR", raising=False)
    monkeypatch.setenv("CELLMESH_IDENTITY", str(tmp_path / "identity"))
    for arguments in (["status"], ["down"], ["storm", "inet:fqdn"], ["axon", "list"]):
        done = subprocess.run(
            [sys.executable, "-m", "cellmesh.cli.main", *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in (1, 2)
        assert "--dir" in done.stderr
        assert "CELLMESH_DIR" in done.stderr


def test_a_missing_extra_says_what_to_install() -> None:
    code = "import sys; sys.modules['lmdb'] = None; from cellmesh.cli.main import main; main()"
    command = [sys.executable, "-c", code, "axon", "serve", "--dir", "x"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "the module lmdb" in done.stderr
    assert "pip install 'cellmesh[axon]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["status", "--dir", "{tmp}/none"], "there is no mesh under {tmp}/none"),
        (["down", "--dir", "{tmp}/none"], "cellmesh up --dir {tmp}/none"),
        (["storm", "--dir", "{tmp}", "inet:fqdn"], "{tmp} holds no mesh and no cortex"),
        (["storm", "--dir", "{axon}", "inet:fqdn"], "is the folder of a cell of kind axon"),
        (["storm", "--dir", "{mesh}", "inet:fqdn"], "the aha of the mesh under {mesh} does not run: start"),
        (["axon", "list", "--dir", "{mesh}"], "cellmesh up --dir {mesh}"),
        (["demo", "--questions-only", "--dir", "{tmp}/none"], "there is no mesh under {tmp}/none/mesh"),
        (["storm", "--url", "nonsense", "inet:fqdn"], "'nonsense' is no URL of a cell"),
        (["storm", "--url", "grpc://127.0.0.1:1", "inet:fqdn"], "cannot be reached at 127.0.0.1:1"),
        (["storm", "--identity", "{tmp}/id", "inet:fqdn"], "there is no identity in {tmp}/id"),
        (["axon", "has", "zz", "--url", "grpc://127.0.0.1:1"], "is no SHA-256"),
        (["axon", "put", "{tmp}/gone", "--url", "grpc://127.0.0.1:1"], "{tmp}/gone: No such file"),
        (["enroll", "https://somewhere"], "an enrolment URL starts with cellmesh://"),
        (["up", "--dir", "/dev/null/x"], "cannot be used: Not a directory"),
        (["axon", "serve", "--dir", "/dev/null/x"], "cannot be used: Not a directory"),
        (["axon", "serve"], "use --dir DIR or set CELLMESH_AXON_DIR"),
        (["axon", "serve", "--dir", "{tmp}", "--listen", "nohost"], "'nohost' is not host:port"),
    ],
)
def test_what_a_person_does_wrong_is_told_in_a_line(
    arguments: list[str], expected: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    places = {"tmp": tmp_path / "work", "axon": tmp_path / "axon", "mesh": tmp_path / "mesh"}
    for place in (*places.values(), places["mesh"] / "aha"):
        place.mkdir()
    (places["axon"] / "cell.json").write_text('{"kind": "axon", "cell_id": "00"}')
    filled = [argument.format(**places) for argument in arguments]
    code = run(filled)
    told = capfd.readouterr().err
    assert code in (1, 2)
    assert expected.format(**places) in told
    assert "Traceback" not in told
    lines = [line for line in told.splitlines() if not line.startswith(("Usage:", "Try ")) and line]
    assert len(lines) == 1


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "cellmesh.cli.main",
        "--debug",
        "status",
        "--dir",
        str(tmp_path / "none"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "NoSuchDir" in done.stderr


def test_an_error_reads_as_a_sentence() -> None:
    fields = {"name": "axon", "address": "h:1", "cause": "noise", "hint": "start it"}
    error = CellUnreachable("the axon cannot be reached", **fields)
    assert cli_main.describe(error) == "the axon cannot be reached (address='h:1'): start it"
    assert cli_main.describe(NoSuchTank("there is no tank 'raw'", name="raw")) == "there is no tank 'raw'"
    unknown = FeatureNotSupported("Method not found!", cell="00.axon.mesh")
    assert cli_main.describe(unknown).startswith("00.axon.mesh has no such method")
    assert "--debug" in cli_main.describe(ValueError("x"))
    assert cli_main.describe(FileNotFoundError(2, "No such file", "a")) == "a: No such file"


def test_values_and_sizes_as_people_read_them() -> None:
    assert [size_text(size) for size in (None, 0, 1023, 1024, 1536 * 1024, 3 * 2**40, 5000 * 2**40)] == [
        "-", "0 B", "1023 B", "1.0 KiB", "1.5 MiB", "3.0 TiB", "5000.0 TiB",
    ]  # fmt: skip
    assert [span_text(seconds) for seconds in (0.04, 59.94, 60, 3720, 90000)] == [
        "0.0s", "59.9s", "1m00s", "1h02m", "1d01h",
    ]  # fmt: skip
    assert [value_text(value) for value in ("é", "a\nb", b"\x00\xff", None, True, (1, "x"), 5)] == [
        "é", r"'a\nb'", "00ff", "null", "true", "(1, x)", "5",
    ]  # fmt: skip
    assert plain({"a": (b"\x01", {1: None})}) == {"a": ["01", {"1": None}]}
    assert table(("A", "LONG"), [("xxx", "y")]) == "A    LONG\nxxx  y"
