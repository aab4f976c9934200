"""`cellmesh kv`, `tasks` and `log-level` against a real cell."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cellmesh.axon.cell import AxonCell
from cellmesh.axon.config import AxonConfig
from cellmesh.cli.commands.kv import join_path, parse, split_path
from cellmesh.cli.main import run
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[AxonCell]:
    with running(AxonCell(load_config(AxonConfig, dir=tmp_path / "axon", environ={}))) as made:
        yield made


class Shell:
    """Runs commands on one cell."""

    def __init__(self, cell: AxonCell, capsys: pytest.CaptureFixture[str]) -> None:
        self._where = ("--dir", str(cell.config.dir))
        self._capsys = capsys

    def __call__(self, *words: str, code: int = 0) -> str:
        assert run([*words, *self._where]) == code
        return self._capsys.readouterr().out

    def error(self, *words: str) -> str:
        assert run([*words, *self._where]) == 1
        return self._capsys.readouterr().err


@pytest.fixture
def shell(cell: AxonCell, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(cell, capsys)


def test_values_are_set_as_json_or_text_and_listed(shell: Shell) -> None:
    shell("kv", "set", "app/n", "7")
    shell("kv", "set", "app/deep/list", '[1, {"x": null}]')
    shell("kv", "set", "app/word", "red")
    shell("kv", "set", "app/digits", "7", "--text")
    assert shell("kv", "get", "app/n") == "7\n"
    assert shell("kv", "get", "app/digits") == '"7"\n'
    assert json.loads(shell("kv", "get", "app/deep/list")) == [1, {"x": None}]
    names = [line.split()[0] for line in shell("kv", "list", "app").splitlines()]
    assert names == ["PATH", "app/deep/", "app/digits", "app/n", "app/word"]
    rows = [json.loads(line) for line in shell("kv", "list", "--tree", "--json").splitlines()]
    assert [row["path"] for row in rows] == [
        ["app", "deep", "list"],
        ["app", "digits"],
        ["app", "n"],
        ["app", "word"],
    ]
    assert shell("kv", "pop", "app/word") == '"red"\n'
    shell("kv", "pop", "app", "--tree")
    assert shell("kv", "list").splitlines() == ["PATH  REVISION  VALUE"]


def test_what_is_not_there_or_cannot_be_is_told_by_the_exit_code(shell: Shell) -> None:
    assert "no value at nothing/here" in shell.error("kv", "get", "nothing/here")
    assert "a name in a path" in shell.error("kv", "set", "a//b", "1")
    assert "there is no task" in shell.error("tasks", "cancel", "nope")


def test_a_watch_prints_lines_and_is_a_task_that_can_be_ended(cell: AxonCell, shell: Shell) -> None:
    codes: list[int] = []
    watch = threading.Thread(
        target=lambda: codes.append(run(["kv", "watch", "w", "--dir", str(cell.config.dir)]))
    )
    watch.start()
    while not cell.tasks.running:
        time.sleep(0.01)
    listed = shell("tasks", "list").splitlines()
    assert listed[0].split() == ["TASK", "CALLER", "TIME", "METHOD", "REQUEST", "TEXT"]
    (row,) = listed[1:]
    assert row.split()[1] == "root"
    assert "KeyValueService/WatchKeyValues" in row
    assert "of root" in shell("tasks", "cancel", row.split()[0])
    watch.join(10)
    assert codes == [1]


def test_a_watch_ends_after_a_count(shell: Shell) -> None:
    shell("kv", "set", "w/a", "1")
    (line,) = shell("kv", "watch", "w", "--snapshot", "--count", "1").splitlines()
    assert json.loads(line)["value"] == 1


def test_the_level_of_a_logger_is_shown_and_set(shell: Shell) -> None:
    before = shell("log-level")
    assert before.splitlines()[1].split()[0] == "cellmesh"
    told = shell("log-level", "debug", "--logger", "cellmesh.common.trial", "--minutes", "1").splitlines()
    assert told[-1].split()[:2] == ["cellmesh.common.trial", "debug"]
    assert told[-1].endswith("Z")
    assert shell("log-level", "default", "--logger", "cellmesh.common.trial") == before


@given(st.lists(st.text(min_size=1, max_size=6), max_size=4))
def test_paths_are_written_and_read_back(names: list[str]) -> None:
    assert split_path(join_path(names)) == names


def test_text_that_is_no_json_is_text() -> None:
    assert (parse("{"), parse("1e3"), parse('"x"')) == ("{", 1000.0, "x")
