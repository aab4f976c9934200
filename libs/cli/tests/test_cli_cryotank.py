"""`cellmesh cryotank` on a real cell."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from cellmesh.cli.main import main
from cellmesh.common import msgpack
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.common.values import to_value
from cellmesh.cryotank.cell import CryotankCell
from cellmesh.cryotank.config import CryotankConfig
from cellmesh.cryotank.tanks import Batch

Output = pytest.CaptureFixture[str]


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[CryotankCell]:
    config = load_config(CryotankConfig, dir=tmp_path / "cryotank", environ={})
    with running(CryotankCell(config)) as made:
        yield made


def run(cell: CryotankCell, *words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["cryotank", *words, "--dir", str(cell.config.dir)])
    return int(ended.value.code or 0)


def test_msgpack_goes_in_and_out_byte_by_byte(cell: CryotankCell, tmp_path: Path, capsys: Output) -> None:
    # Numbers in more bytes than they need are kept so.
    items: list[Any] = [
        {"a": [1, -(2**63), 2**80, -(2**80)], "b": b"\x00\xff", "c": None},
        "\ud800", 1.5, float("nan"), [], {}, True, {1: 2}, b"", "x" * 300_000,
    ]  # fmt: skip
    data = b"".join(map(msgpack.encode, items)) * 30 + b"\xd3" + bytes(7) + b"\x05"
    (tmp_path / "in.mpk").write_bytes(data)
    run(cell, "create", "t")
    assert run(cell, "import", "t", str(tmp_path / "in.mpk")) == 0
    assert "301 records appended to t" in capsys.readouterr().out
    assert run(cell, "export", "t", str(tmp_path / "out.mpk")) == 0
    assert (tmp_path / "out.mpk").read_bytes() == data
    assert run(cell, "export", "t", str(tmp_path / "part.mpk"), "--offset", "300", "--count", "5") == 0
    assert (tmp_path / "part.mpk").read_bytes() == b"\xd3" + bytes(7) + b"\x05"


def test_json_lines_go_in_and_out(cell: CryotankCell, tmp_path: Path, capsys: Output) -> None:
    lines = [json.dumps({"number": number, "é": [None, 2**70]}, ensure_ascii=False) for number in range(2500)]
    (tmp_path / "in.jsonl").write_text("\n".join(lines) + "\n\n")
    run(cell, "create", "t")
    assert run(cell, "import", "t", str(tmp_path / "in.jsonl")) == 0
    assert run(cell, "export", "t", str(tmp_path / "out.jsonl")) == 0
    assert (tmp_path / "out.jsonl").read_text().splitlines() == lines
    capsys.readouterr()
    assert run(cell, "cat", "t", "--offset", "2499") == 0
    assert capsys.readouterr().out.splitlines() == lines[-1:]


def test_what_msgpack_has_no_form_for_is_an_error(cell: CryotankCell, tmp_path: Path, capsys: Output) -> None:
    cell.store.create("t")
    cell.store.append("t", Batch.of([to_value(Decimal("1.50")).SerializeToString()]))
    assert run(cell, "export", "t", str(tmp_path / "out.jsonl")) == 0
    assert (tmp_path / "out.jsonl").read_text() == '"1.50"\n'
    assert run(cell, "export", "t", str(tmp_path / "out.mpk")) == 1
    assert "Decimal" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "data", "kept", "told"),
    [
        ("a.jsonl", b"1\n2\n{no\n", 2, "record 3 is no JSON"),
        ("a.mpk", b"\x01\x02\xc1", 0, "what follows record 0 is no msgpack"),
        ("a.mpk", b"\x01\x02\x93\x01", 2, "the file ends within record 3"),
        ("a.mpk", b"\x01\xc6" + (4 * 1024 * 1024).to_bytes(4, "big") + bytes(4 * 1024 * 1024), 1, "record 2 is larger"),
    ],
)  # fmt: skip
def test_what_came_before_an_error_is_appended(
    cell: CryotankCell, tmp_path: Path, capsys: Output, name: str, data: bytes, kept: int, told: str
) -> None:
    (tmp_path / name).write_bytes(data)
    cell.store.create("t")
    assert run(cell, "import", "t", str(tmp_path / name)) == 1
    assert told in capsys.readouterr().err
    assert cell.store.metrics("t").record_count == kept


def test_tail_prints_the_newest_and_follows(cell: CryotankCell, capsys: Output) -> None:
    run(cell, "create", "t")
    run(cell, "append", "t", *map(str, range(30)))
    capsys.readouterr()
    assert run(cell, "tail", "t", "-n", "2", "--offsets") == 0
    assert capsys.readouterr().out == "28  28\n29  29\n"

    def add() -> None:
        while not cell.arrivals.count:
            time.sleep(0.01)
        cell.store.append("t", Batch.of([msgpack.encode("late")], 1))

    thread = threading.Thread(target=add)
    thread.start()
    assert run(cell, "tail", "t", "-n", "1", "-f", "--timeout", "0.3") == 0
    thread.join()
    assert capsys.readouterr().out == '29\n"late"\n'


def test_a_consumer_goes_on_where_it_was(cell: CryotankCell, capsys: Output) -> None:
    run(cell, "create", "t")
    run(cell, "append", "t", "1", "2", "3")
    run(cell, "consumer", "set", "t", "worker", "1")
    capsys.readouterr()
    assert run(cell, "tail", "t", "--consumer", "worker") == 0
    assert capsys.readouterr().out == "2\n3\n"
    assert run(cell, "tail", "t", "--consumer", "worker") == 0
    assert capsys.readouterr().out == ""
    run(cell, "append", "t", "4")
    capsys.readouterr()
    assert run(cell, "consumer", "list", "t") == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:3] == ["worker", "3", "1"]
    for words in (("--consumer", "worker", "-n", "3"), ("--timeout", "1")):
        assert run(cell, "tail", "t", *words) == 2
        capsys.readouterr()
    assert run(cell, "consumer", "delete", "t", "worker") == 0
    assert run(cell, "consumer", "set", "t", "worker", "5") == 1


def test_limits_are_set_and_told(cell: CryotankCell, capsys: Output) -> None:
    assert run(cell, "create", "t", "--count-max", "5", "--size-max", "2k", "--age-max", "90m") == 0
    assert run(cell, "list") == 0
    assert "5 records, 2.0 KiB, 1h30m" in capsys.readouterr().out
    assert run(cell, "limit", "t", "--age-max", "2d") == 0
    assert capsys.readouterr().out == "t: 2d00h\n"
    run(cell, "append", "t", "1", "2", "3")
    assert run(cell, "trim", "t", "2", "--yes") == 0
    assert "2 records removed from t, the first is 2" in capsys.readouterr().out
    assert run(cell, "info", "t") == 0
    told = capsys.readouterr().out
    assert cell.store.get("t").tank_id in told
    assert "first offset         2" in told
    assert run(cell, "create", "u", "--age-max", "soon") == 2
