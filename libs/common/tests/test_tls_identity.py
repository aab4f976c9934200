"""Names in certificates, certificates, folders, enrolment URLs."""

from __future__ import annotations

import datetime
import os
import stat
from pathlib import Path

import pytest
from cellmesh.common.errors import BadCertBytes, BadCertVerify, BadName, BadUrl, NoSuchCert
from cellmesh.common.tls import certs, rotate
from cellmesh.common.tls.enrollment_url import EnrollmentUrl
from cellmesh.common.tls.folder import IdentityFolder, MeshInfo
from cellmesh.common.tls.identity import (
    CellIdentity,
    UserIdentity,
    identity_of_names,
    parse_identity,
    parse_name,
)
from hypothesis import given
from hypothesis import strategies as st

AXON = CellIdentity("00", "axon", "demo")
ALICE = UserIdentity("alice", "demo")
NOW = datetime.datetime(2026, 11, 21, 12, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)

labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
numbers = st.from_regex(r"[0-9]{2,4}", fullmatch=True)
users = st.from_regex(r"[a-z0-9_][a-z0-9_.@+-]{0,30}", fullmatch=True)


@given(numbers, labels, labels)
def test_cell_names_read_back(number: str, service: str, network: str) -> None:
    identity = CellIdentity(number, service, network)
    assert parse_identity(identity.uri) == identity
    assert parse_name(identity.name) == identity


@given(users, labels)
def test_user_names_read_back(user: str, network: str) -> None:
    identity = UserIdentity(user, network)
    assert parse_identity(identity.uri) == identity
    assert parse_name(identity.name) == identity


def test_the_forms_of_names() -> None:
    assert (AXON.name, AXON.uri) == ("00.axon.demo", "spiffe://demo/cell/00.axon")
    assert AXON.dns_names == ("00.axon.demo", "axon.demo", "cell.demo")
    assert (ALICE.name, ALICE.uri) == ("alice@demo", "spiffe://demo/user/alice")
    assert UserIdentity("root", "demo").admin
    assert not ALICE.admin


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "https://demo/cell/00.axon",
        "spiffe://demo",
        "spiffe://demo/cell/axon",
        "spiffe://demo/cell/0.axon",
        "spiffe://demo/cell/00.axon/more",
        "spiffe://demo/cell/00.ax on",
        "spiffe://demo/host/00.axon",
        "spiffe://Demo/cell/00.axon",
        "spiffe://demo/user/",
        "spiffe://demo/user/Root",
        "spiffe://demo/user/a/b",
        "spiffe:///cell/00.axon",
    ],
)
def test_other_uris_name_nobody(uri: str) -> None:
    with pytest.raises(BadName):
        parse_identity(uri)
    assert identity_of_names([uri.encode()]) is None


def test_two_identities_in_one_certificate_are_none() -> None:
    assert identity_of_names([AXON.uri.encode(), b"axon.demo"]) == AXON
    assert identity_of_names([AXON.uri, ALICE.uri]) is None
    assert identity_of_names([b"\xff\xfe", b"axon.demo"]) is None


def test_an_issued_certificate_names_its_owner_and_verifies() -> None:
    authority, key = certs.make_authority("demo", now=NOW)
    own = certs.make_key()
    certificate = certs.issue(
        authority, key, certs.csr_public_key(certs.make_csr(own)), AXON, lifetime=30 * DAY, now=NOW
    )
    assert certs.identity_of_certificate(certificate) == AXON
    assert certs.network_of_authority(authority) == "demo"
    assert certificate.public_key() == own.public_key()
    certs.check_issued(certificate, authority, now=NOW + 29 * DAY)


def test_a_certificate_is_refused_outside_its_time_and_by_another_authority() -> None:
    authority, key = certs.make_authority("demo", now=NOW)
    other, _ = certs.make_authority("demo", now=NOW)
    certificate = certs.issue(authority, key, certs.make_key().public_key(), ALICE, lifetime=DAY, now=NOW)
    with pytest.raises(BadCertVerify, match="not valid at this time"):
        certs.check_issued(certificate, authority, now=NOW + 2 * DAY)
    with pytest.raises(BadCertVerify, match="not issued"):
        certs.check_issued(certificate, other, now=NOW)


def test_no_certificate_outlives_its_authority() -> None:
    authority, key = certs.make_authority("demo", lifetime=DAY, now=NOW)
    certificate = certs.issue(authority, key, certs.make_key().public_key(), ALICE, now=NOW)
    assert certificate.not_valid_after_utc == authority.not_valid_after_utc


def test_a_users_certificate_cannot_serve() -> None:
    authority, key = certs.make_authority("demo")
    certificate = certs.issue(authority, key, certs.make_key().public_key(), ALICE)
    usages = certificate.extensions.get_extension_for_oid(certs.x509.ExtensionOID.EXTENDED_KEY_USAGE).value
    assert certs.ExtendedKeyUsageOID.SERVER_AUTH not in list(usages)  # type: ignore[call-overload]


def test_a_signing_request_must_be_signed_by_its_own_key() -> None:
    pem = certs.make_csr(certs.make_key())
    lines = pem.decode().splitlines()
    # The end of the request is its signature.
    last = lines[-2]
    lines[-2] = ("A" if last[4] != "A" else "B").join((last[:4], last[5:]))
    with pytest.raises(BadCertBytes):
        certs.csr_public_key("\n".join(lines).encode())
    with pytest.raises(BadCertBytes):
        certs.csr_public_key(b"nonsense")


def test_an_ordinary_certificate_is_no_authority() -> None:
    authority, key = certs.make_authority("demo")
    certificate = certs.issue(authority, key, certs.make_key().public_key(), AXON)
    with pytest.raises(BadCertBytes, match="names no network"):
        certs.network_of_authority(certificate)


def make_folder(path: Path, *, lifetime: datetime.timedelta = 90 * DAY) -> IdentityFolder:
    authority, key = certs.make_authority("demo")
    own = certs.make_key()
    certificate = certs.issue(authority, key, own.public_key(), AXON, lifetime=lifetime)
    folder = IdentityFolder(path)
    folder.store(
        certs.to_pem(certificate),
        certs.key_to_pem(own),
        certs.to_pem(authority),
        MeshInfo("00.axon.demo", "demo", ("127.0.0.1:4000",)),
    )
    return folder


def test_a_folder_keeps_an_identity_with_its_key_private(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "certs")
    assert folder.identity() == AXON
    assert folder.mesh() == MeshInfo("00.axon.demo", "demo", ("127.0.0.1:4000",))
    key_mode = stat.S_IMODE(os.stat(tmp_path / "certs" / "cell.key").st_mode)
    assert (key_mode, stat.S_IMODE(os.stat(tmp_path / "certs").st_mode)) == (0o600, 0o700)
    assert sorted(path.name for path in folder.path.iterdir()) == [
        "ca.crt",
        "cell.crt",
        "cell.key",
        "mesh.json",
    ]


def test_an_empty_folder_has_no_identity_and_says_what_to_do(tmp_path: Path) -> None:
    folder = IdentityFolder(tmp_path / "none")
    assert (folder.exists(), folder.identity(), folder.mesh()) == (False, None, None)
    with pytest.raises(NoSuchCert, match="enroll"):
        folder.load()


def test_a_folder_without_mesh_file_is_read_from_its_certificate(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    (tmp_path / "mesh.json").unlink()
    assert folder.identity() == AXON


def test_renewal_is_due_after_two_thirds() -> None:
    authority, key = certs.make_authority("demo", now=NOW)
    certificate = certs.issue(authority, key, certs.make_key().public_key(), AXON, lifetime=90 * DAY, now=NOW)
    assert NOW + 59 * DAY < rotate.renewal_time(certificate) < NOW + 61 * DAY


def test_an_identity_is_due_by_its_own_certificate(tmp_path: Path) -> None:
    assert not rotate.is_due(make_folder(tmp_path / "fresh"))
    assert rotate.is_due(
        make_folder(tmp_path / "old", lifetime=DAY),
        now=datetime.datetime.now(datetime.UTC) + 0.9 * DAY,
    )


@given(
    st.sampled_from(["127.0.0.1", "aha.example.org", "::1"]),
    st.integers(1, 65535),
    st.from_regex(r"[A-Za-z0-9_-]{8,64}", fullmatch=True),
    st.binary(min_size=1, max_size=700),
)
def test_enrolment_urls_read_back(host: str, port: int, token: str, ca_der: bytes) -> None:
    url = EnrollmentUrl(host, port, token, ca_der)
    assert EnrollmentUrl.parse(f"  {url.format()}\n") == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://h:1/enroll/abcdefgh#AAAA",
        "cellmesh://h:1/enroll/abcdefgh",
        "cellmesh://h:1/enroll/abcdefgh#",
        "cellmesh://h:0/enroll/abcdefgh#AAAA",
        "cellmesh://h/enroll/abcdefgh#AAAA",
        "cellmesh://h:1/enrol/abcdefgh#AAAA",
        "cellmesh://h:1/enroll/abc#AAAA",
        "cellmesh://h:1/enroll/abcdefgh#A$AA",
        "cellmesh://h:1/enroll/abcdefgh#AAAAA",
    ],
)
def test_other_urls_are_refused_without_repeating_the_secret(text: str) -> None:
    with pytest.raises(BadUrl) as caught:
        EnrollmentUrl.parse(text)
    assert "abcdefgh" not in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        EnrollmentUrl.parse("cellmesh://" + text)
    except BadUrl:
        return


def test_the_token_does_not_show_in_logs() -> None:
    assert "supersecret" not in repr(EnrollmentUrl("h", 1, "supersecret", b"x"))
