"""`cellmesh alias`, and --url with an alias, against a real cell."""

from __future__ import annotations

from pathlib import Path

import pytest
from cellmesh.axon.cell import AxonCell
from cellmesh.axon.config import AxonConfig
from cellmesh.cli.main import run
from cellmesh.common.cell import running
from cellmesh.common.config import load_config


def test_an_alias_is_kept_shown_used_and_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CELLMESH_ALIASES", str(tmp_path / "aliases.toml"))
    assert run(["alias", "list"]) == 0
    assert capsys.readouterr().out == ""
    assert run(["alias", "set", "blobs", f"unix://{tmp_path}/axon/cell.sock"]) == 0
    assert run(["alias", "set", "login", "grpcs://alice:secret@host.example:1"]) == 0
    assert run(["alias", "list"]) == 0
    told = capsys.readouterr().out
    assert f"unix://{tmp_path}/axon/cell.sock" in told
    assert "grpcs://alice@host.example:1" in told
    assert "secret" not in told
    with running(AxonCell(load_config(AxonConfig, dir=tmp_path / "axon", environ={}))):
        (tmp_path / "file").write_bytes(b"content")
        assert run(["axon", "put", "--url", "blobs", str(tmp_path / "file")]) == 0
        assert run(["axon", "list", "--url", "blobs"]) == 0
    assert "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73" in capsys.readouterr().out
    # The cell is stopped: the command runs it itself.
    assert run(["axon", "list", "--url", f"cell://{tmp_path}/axon"]) == 0
    assert "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73" in capsys.readouterr().out
    assert run(["alias", "remove", "blobs"]) == 0
    assert run(["axon", "list", "--url", "blobs"]) == 1
    assert "no alias" in capsys.readouterr().err
    assert run(["alias", "remove", "blobs"]) == 1
    assert run(["alias", "set", "a b", "aha://cortex"]) == 1
