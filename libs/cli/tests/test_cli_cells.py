"""Commands on real cells, through the unix socket in the cell's folder."""

from __future__ import annotations

import hashlib
import io
import json
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cellmesh.aha.cell import AhaCell
from cellmesh.aha.config import AhaConfig
from cellmesh.axon.cell import AxonCell
from cellmesh.axon.config import AxonConfig
from cellmesh.cli.main import run
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.common.tls.folder import IdentityFolder
from cellmesh.cryotank.cell import CryotankCell
from cellmesh.cryotank.config import CryotankConfig


@pytest.fixture
def axon(tmp_path: Path) -> Iterator[str]:
    config = load_config(AxonConfig, dir=tmp_path / "axon", environ={})
    with running(AxonCell(config)):
        yield str(config.dir)


@pytest.fixture
def cryotank(tmp_path: Path) -> Iterator[str]:
    config = load_config(CryotankConfig, dir=tmp_path / "cryotank", environ={})
    with running(CryotankCell(config)):
        yield str(config.dir)


@pytest.fixture
def aha(tmp_path: Path) -> Iterator[AhaCell]:
    config = load_config(AhaConfig, dir=tmp_path / "aha", flags={"network": "demo"}, environ={})
    with running(AhaCell(config)) as cell:
        yield cell


def test_a_file_is_put_found_and_got(axon: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = bytes(range(256)) * 5000
    source = tmp_path / "source"
    source.write_bytes(content)
    name = hashlib.sha256(content).hexdigest()
    assert run(["axon", "put", str(source), "--dir", axon]) == 0
    assert capsys.readouterr().out == f"{name}  {len(content)}  {source}\n"
    assert run(["axon", "get", name, "-o", str(tmp_path / "back"), "--dir", axon]) == 0
    assert (tmp_path / "back").read_bytes() == content
    arguments = [
        "axon",
        "get",
        name,
        "--offset",
        "1000",
        "--size",
        "7",
        "-o",
        str(tmp_path / "part"),
        "--dir",
        axon,
    ]
    assert run(arguments) == 0
    assert (tmp_path / "part").read_bytes() == content[1000:1007]
    assert run(["axon", "has", name, "--dir", axon]) == 0
    assert run(["axon", "has", name, "0" * 64, "--dir", axon]) == 1
    assert run(["axon", "get", "0" * 64, "-o", str(tmp_path / "none"), "--dir", axon]) == 1
    assert not (tmp_path / "none").exists()
    capsys.readouterr()
    assert run(["axon", "list", "--dir", axon]) == 0
    assert capsys.readouterr().out == f"0  {name}  {len(content)}\n"


def test_an_empty_file_is_put_and_got(axon: str, tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    assert run(["axon", "put", str(tmp_path / "empty"), "--dir", axon]) == 0
    assert (
        run(["axon", "get", hashlib.sha256(b"").hexdigest(), "-o", str(tmp_path / "back"), "--dir", axon])
        == 0
    )
    assert (tmp_path / "back").read_bytes() == b""


def test_records_are_appended_and_read(
    cryotank: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["cryotank", "create", "t", "--dir", cryotank]) == 0
    assert run(["cryotank", "append", "t", '{"a": [1, null]}', '"é"', "--dir", cryotank]) == 0
    lines = "".join(f"{json.dumps({'number': number})}\n" for number in range(2500))
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines + "\n"))
    assert run(["cryotank", "append", "t", "--dir", cryotank]) == 0
    assert "2500 records appended to t" in capsys.readouterr().out
    assert run(["cryotank", "read", "t", "--count", "3", "--offsets", "--dir", cryotank]) == 0
    assert capsys.readouterr().out == '0  {"a": [1, null]}\n1  "é"\n2  {"number": 0}\n'
    assert run(["cryotank", "read", "t", "--offset", "2501", "--dir", cryotank]) == 0
    assert capsys.readouterr().out == '{"number": 2499}\n'
    assert run(["cryotank", "list", "--dir", cryotank]) == 0
    assert "t     2502" in capsys.readouterr().out
    assert run(["cryotank", "append", "t", "{no json", "--dir", cryotank]) == 1
    assert "record 1 is no JSON" in capsys.readouterr().err
    assert run(["cryotank", "delete", "t", "--yes", "--dir", cryotank]) == 0
    assert run(["cryotank", "read", "t", "--dir", cryotank]) == 1


def test_a_user_is_provisioned_and_enrols(
    aha: AhaCell, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(aha.config.dir)
    assert run(["aha", "provision", "user", "alice", "--dir", folder]) == 0
    url = capsys.readouterr().out.strip()
    identity = tmp_path / "alice"
    assert run(["enroll", url, "--dir", str(identity)]) == 0
    assert "enrolled as alice@demo" in capsys.readouterr().out
    assert stat.S_IMODE((identity / "cell.key").stat().st_mode) == 0o600
    assert run(["enroll", url, "--dir", str(identity)]) == 1
    assert "already" in capsys.readouterr().err
    assert run(["enroll", url, "--dir", str(tmp_path / "bob")]) == 1
    assert "used already" in capsys.readouterr().err
    assert run(["aha", "list", "--url", "aha://aha", "--identity", str(identity)]) == 0
    assert "00.aha.demo" in capsys.readouterr().out
    assert IdentityFolder(identity).exists()
