"""`cellmesh cert` and the commands of `cellmesh aha` about certificates, pools and instances."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cellmesh.aha.cell import AhaCell
from cellmesh.aha.config import AhaConfig
from cellmesh.cli.main import run
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.common.time.clock import SYSTEM_CLOCK
from cellmesh.common.tls import certs
from cellmesh.common.tls.authority import Authority
from cellmesh.common.tls.folder import IdentityFolder
from cellmesh.common.tls.identity import CellIdentity, UserIdentity
from cellmesh.common.tls.revocation import RevocationList


class Cli:
    """Runs commands and returns what they print."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str) -> str:
        assert run(list(arguments)) == 0, self._capsys.readouterr().err
        return self._capsys.readouterr().out

    def fails(self, *arguments: str) -> str:
        assert run(list(arguments)) != 0
        return self._capsys.readouterr().err


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


def test_a_network_without_aha(cli: Cli, tmp_path: Path) -> None:
    ca, cell = str(tmp_path / "ca"), str(tmp_path / "certs")
    cli("cert", "init", "demo", "--ca", ca)
    assert "already" in cli.fails("cert", "init", "demo", "--ca", ca)
    cli("cert", "issue", "00.axon", "--ca", ca, "--out", cell, "--registry", "127.0.0.1:4000")
    folder = IdentityFolder(Path(cell))
    assert folder.identity() == CellIdentity("00", "axon", "demo")
    mesh = folder.mesh()
    assert mesh is not None
    assert mesh.registry_addresses == ("127.0.0.1:4000",)
    assert "00.axon.demo is good" in cli("cert", "verify", cell, "--ca", ca)
    first = certs.serial_text(folder.certificate())
    shown = cli("cert", "show", cell)
    assert first in shown
    assert "spiffe://demo/cell/00.axon" in shown

    cli("cert", "renew", cell, "--ca", ca, "--days", "5")
    assert certs.serial_text(folder.certificate()) != first
    assert folder.mesh() == mesh
    cli("cert", "revoke", first, "--ca", ca, "--reason", "old")
    assert "already" in cli("cert", "revoke", first, "--ca", ca)
    assert "is good" in cli("cert", "verify", cell, "--ca", ca)
    assert first in cli("cert", "revoke", "00.axon", "--ca", ca) or first in RevocationList.load(Path(ca))
    assert "was revoked" in cli.fails("cert", "verify", cell, "--ca", ca)
    assert cli("cert", "list", "--ca", ca).count("revoked") == 2
    assert "axon" not in cli("cert", "list", "--valid", "--ca", ca)
    assert "no certificate" in cli.fails("cert", "revoke", "bob@demo", "--ca", ca)


def test_a_key_stays_where_it_was_made(cli: Cli, tmp_path: Path) -> None:
    ca, folder = str(tmp_path / "ca"), tmp_path / "alice"
    cli("cert", "init", "demo", "--ca", ca)
    cli("cert", "request", "alice@demo", "--out", str(folder))
    issued = str(tmp_path / "alice.crt")
    cli("cert", "issue", "alice@demo", "--ca", ca, "--csr", str(folder / "cell.csr"), "--out", issued)
    certificate = certs.from_pem(Path(issued).read_bytes())
    assert certs.identity_of_certificate(certificate) == UserIdentity("alice", "demo")
    key = certs.key_from_pem((folder / "cell.key").read_bytes())
    assert certificate.public_key() == key.public_key()
    assert "not of the network" in cli.fails("cert", "issue", "00.axon.else", "--ca", ca, "--out", issued)
    assert "no authority" in cli.fails("cert", "list", "--ca", str(tmp_path))


def test_a_foreign_certificate_does_not_verify(cli: Cli, tmp_path: Path) -> None:
    for name in ("one", "two"):
        cli("cert", "init", "demo", "--ca", str(tmp_path / name))
    cli("cert", "issue", "alice@demo", "--ca", str(tmp_path / "one"), "--out", str(tmp_path / "alice"))
    refused = cli.fails("cert", "verify", str(tmp_path / "alice"), "--ca", str(tmp_path / "two"))
    assert "not issued by this authority" in refused


def test_the_folder_is_one_that_aha_takes(cli: Cli, tmp_path: Path) -> None:
    cli("cert", "init", "demo", "--ca", str(tmp_path / "aha" / "ca"))
    before = (tmp_path / "aha" / "ca" / "ca.crt").read_bytes()
    config = load_config(AhaConfig, dir=tmp_path / "aha", flags={"network": "demo"}, environ={})
    with running(AhaCell(config)) as aha:
        assert aha.authority.pem == before
    with pytest.raises(Exception, match="demo"):
        Authority.open(tmp_path / "aha" / "ca", "else", SYSTEM_CLOCK, lifetime=certs.CERTIFICATE_LIFETIME)


@pytest.fixture
def aha(tmp_path: Path) -> Iterator[str]:
    flags = {"network": "demo", "stop_grace_s": 0.5}
    with running(AhaCell(load_config(AhaConfig, dir=tmp_path / "aha", flags=flags, environ={}))) as cell:
        yield str(cell.config.dir)


def test_aha_lists_revokes_and_deletes(cli: Cli, aha: str, tmp_path: Path) -> None:
    url = cli("aha", "provision", "user", "alice", "--dir", aha).strip()
    cli("enroll", url, "--dir", str(tmp_path / "alice"))
    assert "alice@demo" in cli("aha", "certs", "--dir", aha)
    listed = cli("aha", "certs", "alice@demo", "--valid", "--dir", aha)
    assert listed.count("alice@demo") == 1
    assert "spiffe://demo/user/alice" in cli("aha", "revoke", "alice@demo", "--reason", "lost", "--dir", aha)
    assert "already" in cli("aha", "revoke", "alice@demo", "--dir", aha)
    assert "alice" not in cli("aha", "certs", "--valid", "--dir", aha)

    cli("aha", "provision", "service", "cortex", "--dir", aha)
    cli("aha", "provision", "service", "cortex", "--dir", aha)
    found = cli("aha", "enrollments", "list", "--open", "--dir", aha)
    assert "00.cortex.demo" in found
    assert "01.cortex.demo" in found
    first = found.splitlines()[1].split()[0]
    assert cli("aha", "enrollments", "delete", first, "--dir", aha) == "1 deleted\n"
    assert cli("aha", "enrollments", "delete", "--all", "--dir", aha) == "1 deleted\n"
    assert "give ids" in cli.fails("aha", "enrollments", "delete", "--dir", aha)


def test_aha_keeps_pools_and_marks_instances(cli: Cli, aha: str) -> None:
    assert "aha://many" in cli("aha", "pool", "create", "many", "one", "--dir", aha)
    cli("aha", "pool", "add", "many", "01.two", "three", "--dir", aha)
    cli("aha", "pool", "remove", "many", "one", "--dir", aha)
    assert "many  01.two three" in cli("aha", "pool", "list", "--dir", aha)
    cli("aha", "pool", "delete", "many", "--dir", aha)
    assert "many" not in cli("aha", "pool", "list", "--dir", aha)
    cli("aha", "down", "00.aha", "--dir", aha)
    assert "down" in cli("aha", "list", "--kind", "aha", "--dir", aha)
    assert "00.aha" not in cli("aha", "list", "--ready", "--dir", aha)
    cli("aha", "up", "00.aha", "--dir", aha)
    assert "aha" in cli("aha", "services", "--dir", aha)
    cli("aha", "remove", "00.nobody", "--dir", aha)
