"""`cellmesh storm fmt` and `cellmesh storm lint`, on files and standard input."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cellmesh.cli.main import run

FAULTY = "inet:ipv4\n  | | limit"


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets what standard input holds."""

    def give(text: str | bytes) -> None:
        content = text if isinstance(text, bytes) else text.encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))

    return give


def _answers(told: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in told.splitlines()]


def test_lint_says_nothing_of_what_is_right(given: Any, capsys: pytest.CaptureFixture[str]) -> None:
    given("inet:ipv4 // c\n| limit 1\n")
    assert run(["storm", "lint"]) == 0
    assert capsys.readouterr() == ("", "")


def test_lint_shows_where_a_file_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.storm"
    path.write_text(FAULTY)
    right = tmp_path / "b.storm"
    right.write_text("inet:ipv4")
    assert run(["storm", "lint", str(right), str(path)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(f"{path}:2:5: BadSyntax: expected a lift")
    assert lines[1:] == ["    | | limit", "      ^"]


def test_lint_answers_each_line(given: Any, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [{"query": "inet:ipv4"}, {"query": FAULTY}, {"query": "a b (", "mode": "lookup"}, {"query": 5}]
    given("".join(json.dumps(line) + "\n" for line in lines) + "no json\n")
    assert run(["storm", "lint", "--jsonl"]) == 1
    answers = _answers(capsys.readouterr().out)
    assert answers[0] == answers[2] == {"ok": True}
    error = answers[1]["error"]
    assert (answers[1]["ok"], error["name"], error["line"], error["column"]) == (False, "BadSyntax", 2, 5)
    assert error["message"].startswith("expected a lift, filter, pivot, edit or command after '|', found '|'")
    assert [answer["error"]["name"] for answer in answers[3:]] == ["BadArg", "BadArg"]


def test_fmt_prints_standard_input_anew(given: Any, capsys: pytest.CaptureFixture[str]) -> None:
    given("inet:ipv4   +:asn // c\n\n\n|limit 1")
    assert run(["storm", "fmt", "-"]) == 0
    assert capsys.readouterr().out == "inet:ipv4 +:asn // c\n\n| limit 1\n"


def test_fmt_rewrites_files_and_check_does_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.storm"
    path.write_text("inet:ipv4   +:asn")
    assert run(["storm", "fmt", "--check", str(path)]) == 1
    assert capsys.readouterr().out == f"{path} would change\n"
    assert path.read_text() == "inet:ipv4   +:asn"
    assert run(["storm", "fmt", str(path)]) == 0
    assert path.read_text() == "inet:ipv4 +:asn\n"
    assert run(["storm", "fmt", "--check", str(path)]) == 0
    assert [found.name for found in tmp_path.iterdir()] == ["a.storm"]


def test_fmt_leaves_a_faulty_file_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.storm"
    path.write_text(FAULTY)
    assert run(["storm", "fmt", str(path)]) == 1
    assert path.read_text() == FAULTY
    assert f"{path}:2:5: BadSyntax" in capsys.readouterr().err


def test_fmt_answers_each_line(given: Any, capsys: pytest.CaptureFixture[str]) -> None:
    lines = '{"query": "inet:ipv4   +:asn"}\n{"query": "| |"}\n{"query": "inet:ipv4"}\n'
    given(lines)
    assert run(["storm", "fmt", "--jsonl"]) == 1
    answers = _answers(capsys.readouterr().out)
    assert answers[0] == {"ok": True, "query": "inet:ipv4 +:asn"}
    assert answers[1]["ok"] is False
    given(lines)
    assert run(["storm", "fmt", "--jsonl", "--check"]) == 1
    answers = _answers(capsys.readouterr().out)
    assert (answers[0], answers[2]) == ({"ok": True, "changed": True}, {"ok": True, "changed": False})


def test_what_cannot_be_read_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.storm"
    assert run(["storm", "lint", str(path)]) == 1
    assert "No such file" in capsys.readouterr().err
    path.write_bytes(b"\xff")
    assert run(["storm", "lint", str(path)]) == 1
    assert "is not UTF-8" in capsys.readouterr().err
    assert run(["storm", "lint", "--jsonl", str(path)]) == 2


def test_a_query_may_be_the_name_of_a_tool(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Behind `--` it is a query, for which a Cortex is looked for."""
    assert run(["storm", "--dir", str(tmp_path), "--", "fmt"]) == 1
    assert run(["storm", "--dir", str(tmp_path), "lint"]) == 1
    assert "Usage" not in capsys.readouterr().err


def test_the_tools_load_no_storage_and_no_model() -> None:
    code = (
        "import sys, io; sys.stdin = io.TextIOWrapper(io.BytesIO(b'inet:ipv4'))\n"
        "from cellmesh.cli.main import run\n"
        "assert run(['storm', 'lint']) == 0 and run(['storm', 'fmt']) == 0\n"
        "wrong = [name for name in sys.modules if name == 'lmdb' or name.startswith(('cellmesh.common.storage',"
        " 'cellmesh.cortex.model', 'cellmesh.cortex.storm.runtime', 'cellmesh.client', 'pydantic'))]\n"
        "assert not wrong, wrong\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
