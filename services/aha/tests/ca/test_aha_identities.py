"""The identities that AHA keeps by itself."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path

import pytest
from cellmesh.aha import schema
from cellmesh.aha.ca import Authority, Journal
from cellmesh.aha.ca.identities import ensure_identity, tell_registry
from cellmesh.aha.changes import change_writer
from cellmesh.aha.config import AhaConfig
from cellmesh.common.changelog import ChangeLog
from cellmesh.common.config import load_config
from cellmesh.common.errors import BadCertBytes, BadConfValu
from cellmesh.common.storage import Slab
from cellmesh.common.time.clock import SYSTEM_CLOCK
from cellmesh.common.tls import certs
from cellmesh.common.tls.folder import IdentityFolder
from cellmesh.common.tls.identity import CellIdentity

OWN = CellIdentity("00", "aha", "demo")
LIFETIME = datetime.timedelta(days=90)


def now() -> datetime.datetime:
    """The time: certificates begin at it, so that of the module's import would be before some."""
    return datetime.datetime.now(datetime.UTC)


def make_authority(folder: Path, *hosts: str) -> Authority:
    return Authority.open(folder, "demo", SYSTEM_CLOCK, lifetime=LIFETIME, hosts=hosts)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Slab.open(tmp_path / "slab", schema.DATABASES, sync=False) as slab:
        yield Journal(slab, change_writer(ChangeLog(slab), SYSTEM_CLOCK))


def serial(folder: IdentityFolder) -> int:
    return folder.certificate().serial_number


def test_an_identity_is_made_once_and_renewed_in_time(tmp_path: Path, journal: Journal) -> None:
    authority = make_authority(tmp_path / "ca")
    folder = IdentityFolder(tmp_path / "certs")
    assert ensure_identity(folder, OWN, authority, journal, now())
    tell_registry(folder, ("127.0.0.1:1",))
    first = serial(folder)
    assert not ensure_identity(folder, OWN, authority, journal, now() + LIFETIME / 2)
    assert serial(folder) == first
    assert ensure_identity(folder, OWN, authority, journal, now() + LIFETIME * 0.7)
    assert serial(folder) != first
    mesh = folder.mesh()
    assert mesh is not None
    assert (mesh.name, mesh.registry_addresses) == ("00.aha.demo", ("127.0.0.1:1",))


def test_an_identity_of_another_authority_or_name_is_replaced(tmp_path: Path, journal: Journal) -> None:
    folder = IdentityFolder(tmp_path / "certs")
    old, new = make_authority(tmp_path / "old"), make_authority(tmp_path / "new")
    assert ensure_identity(folder, OWN, old, journal, now())
    assert ensure_identity(folder, OWN, new, journal, now())
    certs.check_issued(folder.certificate(), new.certificate)
    assert ensure_identity(folder, CellIdentity("01", "aha", "demo"), new, journal, now())
    assert not ensure_identity(folder, CellIdentity("01", "aha", "demo"), new, journal, now())


def test_a_half_made_authority_is_made_anew_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    """The certificate is written last: a key alone is what a start left that broke off."""
    (tmp_path / "ca").mkdir()
    (tmp_path / "ca" / "ca.key").write_bytes(b"half a key")
    authority = make_authority(tmp_path / "ca")
    assert make_authority(tmp_path / "ca").der == authority.der
    (tmp_path / "ca" / "ca.key").write_bytes(b"nonsense")
    with pytest.raises(BadCertBytes):
        make_authority(tmp_path / "ca")


def test_the_certificate_of_aha_alone_holds_for_its_hosts_and_is_made_anew_for_more(
    tmp_path: Path, journal: Journal
) -> None:
    hosts = ("aha.example.org", "192.0.2.7", "2001:db8::1")
    folder, other = IdentityFolder(tmp_path / "certs"), IdentityFolder(tmp_path / "other")
    assert ensure_identity(folder, OWN, make_authority(tmp_path / "ca"), journal, now())
    authority = make_authority(tmp_path / "ca", *hosts, "127.0.0.1", "localhost")
    assert ensure_identity(folder, OWN, authority, journal, now())
    assert not ensure_identity(folder, OWN, authority, journal, now())
    assert certs.hosts_of_certificate(folder.certificate()) >= set(hosts)
    assert ensure_identity(other, CellIdentity("00", "cortex", "demo"), authority, journal, now())
    assert not certs.hosts_of_certificate(other.certificate()) & set(hosts)


def test_the_hosts_are_those_told_and_the_one_advertised(tmp_path: Path) -> None:
    flags = {"hosts": ("a.example.org", "2001:DB8::0001"), "advertise": "192.0.2.7:4000"}
    config = load_config(AhaConfig, dir=tmp_path, flags=flags, environ={})
    assert config.certificate_hosts() == {"a.example.org", "2001:db8::1", "192.0.2.7"}
    with pytest.raises(BadConfValu):
        load_config(AhaConfig, dir=tmp_path, flags={"hosts": ("a.example.org/x",)}, environ={})
