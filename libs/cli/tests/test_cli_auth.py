"""`cellmesh auth` against a real cell."""

from __future__ import annotations

import io
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from cellmesh.cli.main import run
from cellmesh.common.auth.schema import AUDIT
from cellmesh.common.cell import Cell, running
from cellmesh.common.config import CellConfig, load_config
from cellmesh.common.storage import SubDb
from cellmesh.common.storage.codecs import UINT64


class AuthTrialConfig(CellConfig):
    kind: ClassVar[str] = "trial"


class AuthTrialCell(Cell[AuthTrialConfig]):
    kind = "trial"
    databases = (SubDb("facts", "name -> what it is"),)


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[AuthTrialCell]:
    with running(AuthTrialCell(load_config(AuthTrialConfig, dir=tmp_path, environ={}))) as made:
        yield made


def test_the_commands_of_the_users_page_do_what_it_says(
    cell: AuthTrialCell, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def auth(*words: str, code: int = 0) -> str:
        assert run(["auth", *words, "--dir", str(cell.config.dir)]) == code
        captured = capsys.readouterr()
        return captured.out if code == 0 else captured.err

    auth("user", "add", "alice", "--email", "alice@example.com")
    monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse battery\n"))
    auth("user", "passwd", "alice")
    assert cell.passwords.prove("alice", "correct horse battery")[0].name == "alice"
    once = auth("user", "passwd", "alice", "--one-time").strip()
    assert cell.passwords.prove("alice", once)[1] == ""
    auth("role", "add", "hunters")
    auth("role", "grant", "alice", "hunters")
    assert auth("rule", "add", "node.add", "--role", "hunters") == "node.add\n"
    auth("rule", "add", "!node.add.inet:fqdn", "--user", "alice")
    told = auth("check", "alice", "node.add.inet:fqdn")
    assert told == "denied: rule !node.add.inet:fqdn of user alice\n"
    assert auth("check", "alice", "node.add.inet:asn") == "allowed: rule node.add of role hunters\n"
    assert auth("check", "--role", "hunters", "node.add") == "allowed: rule node.add of role hunters\n"
    assert auth("check", "--role", "all", "node.add") == "denied: no rule of role all speaks of node.add\n"
    listed = auth("user", "list").splitlines()
    assert listed[1].split() == ["alice", "alice@example.com", "all", "hunters", "!node.add.inet:fqdn"]
    assert listed[2].split() == ["root", "admin", "all"]
    assert auth("role", "list").splitlines()[2].split() == ["hunters", "node.add"]
    rows = [line.split() for line in auth("permissions").splitlines()]
    assert ["CellService/GetCellInfo", "MEMBER", "cell.info"] in rows
    assert ["Health/Check", "ANYONE"] in rows
    text = auth("key", "add", "loader", "--user", "alice", "--hours", "24").strip()
    assert cell.passwords.prove_by_key(text)[0].name == "alice"
    key_id = auth("key", "list", "--user", "alice").splitlines()[1].split()[0]
    auth("key", "revoke", key_id)
    auth("user", "lock", "alice")
    assert cell.auth.get_user("alice").locked
    auth("user", "unlock", "alice")
    auth("user", "admin", "alice")
    assert cell.auth.user("alice").admin
    auth("user", "admin", "alice", "--off")
    assert auth("rule", "del", "!node.add.inet:fqdn", "--user", "alice") == "no rules\n"
    auth("role", "revoke", "alice", "hunters")
    auth("role", "del", "hunters")
    assert "alice" in auth("audit", "list")
    told = auth("audit", "check")
    assert "all sound" in told
    known = told.split("; note ")[1].strip()
    assert "all sound" in auth("audit", "check", "--known", known)
    other = known[:-1] + ("1" if known.endswith("0") else "0")
    assert "it has not the hash that was noted elsewhere" in auth("audit", "check", "--known", other, code=1)
    assert "OFFSET:HASH" in auth("audit", "check", "--known", "nonsense", code=2)
    # Somebody with an editor was at record 2.
    key = UINT64.encode(2)
    with cell.slab.view() as txn:
        stored = bytearray(txn.get(AUDIT, key) or b"")
    stored[-1] ^= 1
    cell.slab.write(lambda txn: txn.put(AUDIT, key, bytes(stored)))
    assert "record 2: its hash does not fit" in auth("audit", "check", code=1)
    stored[-1] ^= 1
    cell.slab.write(lambda txn: txn.put(AUDIT, key, bytes(stored)))
    assert "all sound" in auth("audit", "check")
    auth("user", "archive", "alice")
    assert "alice" not in auth("user", "list")
    assert "alice" in auth("user", "list", "--all")
    auth("user", "del", "alice")
    assert "there is no user alice" in auth("user", "lock", "alice", code=1)
    assert "--user or --role" in auth("rule", "add", "node", code=2)
    assert "is no path" in auth("rule", "add", "a..b", "--user", "root", code=1)


def test_every_auth_command_of_the_users_page_runs(
    cell: AuthTrialCell, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "users.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith("cellmesh auth ")]
    assert len(lines) > 15
    noted = ""
    for line in lines:
        monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse battery\n"))
        words = shlex.split(line.replace("DIR", str(cell.config.dir)).replace("41:HASH", noted))[1:]
        assert run(words) == 0, (line, capsys.readouterr().err)
        _, found, rest = capsys.readouterr().out.partition("; note ")
        noted = rest.strip() if found else noted
