"""The examples of docs/cryotank.md do what the page says, in its order."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from cellmesh.cli.main import main
from cellmesh.common.auth.rules import Rule, parse_path
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.cryotank.cell import CryotankCell
from cellmesh.cryotank.config import CryotankConfig

PAGE = Path(__file__).resolve().parents[3] / "docs" / "cryotank.md"
COMMANDS = ("create", "append", "import", "export", "list", "info", "read", "tail", "limit", "trim", "delete")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)


@pytest.fixture
def cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CryotankCell]:
    config = load_config(CryotankConfig, dir=tmp_path / "cryotank", environ={})
    monkeypatch.setenv("CELLMESH_DIR", str(tmp_path / "cryotank"))
    monkeypatch.chdir(tmp_path)
    lines = [json.dumps({"number": number}) for number in range(5)]
    (tmp_path / "events.jsonl").write_text("\n".join(lines))
    with running(CryotankCell(config)) as made:
        yield made


def run(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    words = shlex.split(line)
    assert words[0] == "cellmesh"
    with pytest.raises(SystemExit) as ended:
        main(words[1:])
    told = capsys.readouterr()
    assert not ended.value.code, f"{line}: {told.out}{told.err}"
    return told.out


def test_the_commands_of_the_page_work(cell: CryotankCell, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    for command in COMMANDS:
        assert any(
            line.startswith(f"cellmesh cryotank {command} ") or line.endswith(command) for line in lines
        )
    told = {}
    for line in lines:
        gate = cell.store.get("events").tank_id if "GATE" in line else ""
        told[line] = run(line.replace("GATE", gate), capsys)
    read = told["cellmesh cryotank read events --offset 1 --count 2 --offsets"]
    assert read == '1  [1, 2.5, null]\n2  {"number": 0}\n'
    assert told["cellmesh cryotank tail events -n 3"].splitlines()[-1] == '{"number": 4}'
    assert "7 records" in told["cellmesh cryotank import recent copy.mpk"]
    assert len(told["cellmesh cryotank tail events --consumer worker"].splitlines()) == 6
    tank_id = cell.store.get("events").tank_id
    alice = cell.auth.get_user("alice")
    assert cell.auth.rules(alice, tank_id) == (Rule(True, parse_path("tank.append")),)


def test_the_code_of_the_page_works(cell: CryotankCell, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks("python")
    names: dict[str, object] = {"url": f"unix://{cell.config.dir}"}
    exec(compile(code, str(PAGE), "exec"), names)
    assert cell.store.metrics("numbers").record_count == 102_000
    assert names["offset"] == 1499
    assert capsys.readouterr().out.startswith("2000 ")
