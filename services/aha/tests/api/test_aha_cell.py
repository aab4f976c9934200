"""AHA as a whole: its own identities, enrolment, registration and look-ups over TLS."""

from __future__ import annotations

import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from cellmesh.aha import schema
from cellmesh.aha.cell import AhaCell
from cellmesh.aha.config import AhaConfig
from cellmesh.api.aha.v1 import (
    enrollment_pb2,
    enrollment_service_pb2_grpc,
    registry_pb2,
    registry_service_pb2_grpc,
)
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.common.errors import (
    AuthDeny,
    BadArg,
    BadCertBytes,
    BadConfValu,
    BadName,
    CellError,
    CellUnreachable,
    NoSuchCell,
    Unauthenticated,
    from_rpc_error,
)
from cellmesh.common.rpc.channel import open_channel
from cellmesh.common.tls import certs
from cellmesh.common.tls.contexts import trusting_credentials
from cellmesh.common.tls.enrollment import enroll
from cellmesh.common.tls.enrollment_url import EnrollmentUrl
from cellmesh.common.tls.folder import IdentityFolder
from cellmesh.common.tls.identity import CellIdentity, UserIdentity


def config_of(folder: Path, **flags: Any) -> AhaConfig:
    flags = {"network": "demo", "stop_grace_s": 2.0, **flags}
    return load_config(AhaConfig, dir=folder, flags=flags, environ={})


@pytest.fixture
def aha(tmp_path: Path) -> Iterator[AhaCell]:
    with running(AhaCell(config_of(tmp_path / "aha"))) as cell:
        yield cell


def local(aha: AhaCell) -> grpc.Channel:
    return open_channel(f"unix:{aha.config.dir}/cell.sock")


def over_tls(aha: AhaCell, identity: IdentityFolder) -> grpc.Channel:
    return open_channel(aha.tcp_address, identity=identity, server_name="aha.demo")


def make_url(channel: grpc.Channel, **subject: Any) -> str:
    stub = enrollment_service_pb2_grpc.CertificateServiceStub(channel)
    return stub.CreateEnrollment(enrollment_pb2.CreateEnrollmentRequest(**subject)).url


def enrolled(aha: AhaCell, folder: Path, **subject: Any) -> IdentityFolder:
    with local(aha) as channel:
        url = make_url(channel, **subject)
    identity = IdentityFolder(folder)
    enroll(url, identity)
    return identity


def registry(channel: grpc.Channel) -> registry_service_pb2_grpc.RegistryServiceStub:
    return registry_service_pb2_grpc.RegistryServiceStub(channel)


def register(channel: grpc.Channel, name: str, **changed: Any) -> registry_pb2.Instance:
    facts = {"name": name, "kind": "cortex", "address": "127.0.0.1:4000", "ready": True, "leader": True}
    request = registry_pb2.RegisterInstanceRequest(instance=registry_pb2.Instance(**{**facts, **changed}))
    return registry(channel).RegisterInstance(request).instance


def raised(call: Any) -> CellError:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return from_rpc_error(caught.value)


def test_the_first_start_makes_an_authority_and_identities(aha: AhaCell) -> None:
    key = aha.config.dir / "ca" / "ca.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    assert aha.folder.identity.identity() == CellIdentity("00", "aha", "demo")
    assert aha.root_folder.identity() == UserIdentity("root", "demo")
    mesh = aha.root_folder.mesh()
    assert mesh is not None
    assert mesh.registry_addresses == (aha.tcp_address,)
    for folder in (aha.folder.identity, aha.root_folder):
        certs.check_issued(folder.certificate(), aha.authority.certificate)


def test_a_restart_keeps_the_authority_and_its_identities(tmp_path: Path) -> None:
    found = []
    for _ in range(2):
        with running(AhaCell(config_of(tmp_path / "aha"))) as cell:
            found.append((cell.authority.der, cell.folder.identity.load(), cell.root_folder.load()))
    assert found[0] == found[1]


def test_another_network_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    with running(AhaCell(config_of(tmp_path / "aha"))):
        pass
    with (
        pytest.raises(BadConfValu, match="demo"),
        running(AhaCell(config_of(tmp_path / "aha", network="else"))),
    ):
        pass


def test_aha_finds_itself(aha: AhaCell) -> None:
    with over_tls(aha, aha.root_folder) as channel:
        found = registry(channel).GetService(registry_pb2.GetServiceRequest(name="aha")).instances
    assert [(item.name, item.address, item.leader) for item in found] == [
        ("00.aha.demo", aha.tcp_address, True)
    ]


def test_a_cell_enrols_registers_and_is_found(aha: AhaCell, tmp_path: Path) -> None:
    identity = enrolled(aha, tmp_path / "certs", instance="00.cortex")
    assert identity.identity() == CellIdentity("00", "cortex", "demo")
    mesh = identity.mesh()
    assert mesh is not None
    assert mesh.registry_addresses == (aha.tcp_address,)
    with over_tls(aha, identity) as channel:
        stored = register(channel, "00.cortex.demo")
        assert (stored.service, stored.network) == ("cortex", "demo")
        assert stored.expire_time.seconds > stored.register_time.seconds > 0
        stub = registry(channel)
        found = stub.GetService(registry_pb2.GetServiceRequest(name="cortex.demo")).instances
        assert list(found) == [stored]
        stub.RenewInstance(registry_pb2.RenewInstanceRequest(name="00.cortex.demo", ready=False))
        assert not stub.GetService(registry_pb2.GetServiceRequest(name="cortex")).instances[0].ready
        stub.UnregisterInstance(registry_pb2.UnregisterInstanceRequest(name="00.cortex.demo"))
        stub.UnregisterInstance(registry_pb2.UnregisterInstanceRequest(name="00.cortex.demo"))
        gone = raised(lambda: stub.GetService(registry_pb2.GetServiceRequest(name="cortex")))
        assert isinstance(gone, NoSuchCell)


def test_a_cell_speaks_for_itself_alone(aha: AhaCell, tmp_path: Path) -> None:
    cortex = enrolled(aha, tmp_path / "cortex", instance="00.cortex")
    alice = enrolled(aha, tmp_path / "alice", user="alice")
    with over_tls(aha, cortex) as channel, over_tls(aha, alice) as of_alice:
        for wrong, name in (
            (channel, "01.cortex.demo"),
            (channel, "00.aha.demo"),
            (of_alice, "00.cortex.demo"),
        ):
            assert isinstance(raised(lambda: register(wrong, name)), AuthDeny)  # noqa: B023
            stub = registry(wrong)
            renew = registry_pb2.RenewInstanceRequest(name=name)
            leave = registry_pb2.UnregisterInstanceRequest(name=name)
            assert isinstance(raised(lambda: stub.RenewInstance(renew)), AuthDeny)  # noqa: B023
            assert isinstance(raised(lambda: stub.UnregisterInstance(leave)), AuthDeny)  # noqa: B023
        assert isinstance(raised(lambda: make_url(of_alice, user="bob")), AuthDeny)
        assert isinstance(raised(lambda: make_url(channel, user="bob")), AuthDeny)
        assert registry(of_alice).ListInstances(registry_pb2.ListInstancesRequest()).instances


def test_without_a_certificate_nobody_gets_in(aha: AhaCell) -> None:
    with grpc.secure_channel(
        aha.tcp_address,
        trusting_credentials(aha.authority.pem),
        options=(("grpc.ssl_target_name_override", "aha.demo"),),
    ) as channel:
        refused = raised(
            lambda: registry(channel).ListInstances(registry_pb2.ListInstancesRequest(), timeout=5)
        )
    assert isinstance(refused, CellUnreachable)


def test_the_enrolment_port_serves_enrolment_alone(aha: AhaCell) -> None:
    with grpc.secure_channel(
        aha.enroll_address,
        trusting_credentials(aha.authority.pem),
        options=(("grpc.ssl_target_name_override", "aha.demo"),),
    ) as channel:
        refused = raised(
            lambda: registry(channel).ListInstances(registry_pb2.ListInstancesRequest(), timeout=5)
        )
        assert not isinstance(refused, CellUnreachable | Unauthenticated)
        enrollment = enrollment_service_pb2_grpc.EnrollmentServiceStub(channel)
        request = enrollment_pb2.EnrollRequest(
            token="x" * 43, csr_pem=certs.make_csr(certs.make_key()).decode()
        )
        assert isinstance(raised(lambda: enrollment.Enroll(request)), AuthDeny)


def test_an_enrolment_is_good_once(aha: AhaCell, tmp_path: Path) -> None:
    with local(aha) as channel:
        url = make_url(channel, user="alice")
    enroll(url, IdentityFolder(tmp_path / "one"))
    with pytest.raises(AuthDeny, match="used already"):
        enroll(url, IdentityFolder(tmp_path / "two"))
    assert not (tmp_path / "two").exists()


def test_an_enrolment_runs_out(aha: AhaCell, tmp_path: Path) -> None:
    with local(aha) as channel:
        stub = enrollment_service_pb2_grpc.CertificateServiceStub(channel)
        request = enrollment_pb2.CreateEnrollmentRequest(user="alice")
        request.lifetime.FromMilliseconds(50)
        url = stub.CreateEnrollment(request).url
        time.sleep(0.1)
        with pytest.raises(AuthDeny, match="run out"):
            enroll(url, IdentityFolder(tmp_path / "late"))
        request.lifetime.FromSeconds(8 * 86400)
        assert isinstance(raised(lambda: stub.CreateEnrollment(request)), BadArg)


def test_an_unreadable_request_does_not_use_up_the_token(aha: AhaCell, tmp_path: Path) -> None:
    with local(aha) as channel:
        url = make_url(channel, user="alice")
    parsed = EnrollmentUrl.parse(url)
    with grpc.secure_channel(
        parsed.address,
        trusting_credentials(aha.authority.pem),
        options=(("grpc.ssl_target_name_override", "aha.demo"),),
    ) as channel:
        stub = enrollment_service_pb2_grpc.EnrollmentServiceStub(channel)
        request = enrollment_pb2.EnrollRequest(token=parsed.token, csr_pem="nonsense")
        assert isinstance(raised(lambda: stub.Enroll(request)), BadCertBytes)
    enroll(url, IdentityFolder(tmp_path / "alice"))


@pytest.mark.parametrize(
    "subject",
    [
        {"instance": "Cortex"},
        {"instance": "00.Cortex"},
        {"instance": "00.cortex.other"},
        {"instance": "00.aha"},
        {"user": "Alice"},
        {"user": "a@other"},
        {},
    ],
)
def test_a_malformed_subject_is_refused(aha: AhaCell, subject: dict[str, str]) -> None:
    with local(aha) as channel:
        assert isinstance(raised(lambda: make_url(channel, **subject)), BadName)


def test_no_secret_is_stored_in_clear(aha: AhaCell) -> None:
    with local(aha) as channel:
        token = EnrollmentUrl.parse(make_url(channel, user="alice")).token
    for path in aha.config.dir.rglob("*"):
        if path.is_file():
            assert token.encode() not in path.read_bytes()


def test_a_certificate_is_renewed_under_the_same_name(aha: AhaCell, tmp_path: Path) -> None:
    identity = enrolled(aha, tmp_path / "certs", instance="00.cortex")
    key = certs.make_key()
    request = enrollment_pb2.RenewCertificateRequest(
        csr_pem=certs.make_csr(key, UserIdentity("root", "demo")).decode()
    )
    with over_tls(aha, identity) as channel:
        stub = enrollment_service_pb2_grpc.CertificateServiceStub(channel)
        response = stub.RenewCertificate(request)
    certificate = certs.from_pem(response.certificate_pem.encode())
    certs.check_issued(certificate, aha.authority.certificate)
    assert certs.identity_of_certificate(certificate) == CellIdentity("00", "cortex", "demo")
    assert certificate.public_key() == key.public_key()
    with local(aha) as channel:
        stub = enrollment_service_pb2_grpc.CertificateServiceStub(channel)
        assert isinstance(raised(lambda: stub.RenewCertificate(request)), AuthDeny)
    # AHA's own, root's, the cortex's first and second.
    assert aha.slab.stats().entries[schema.CERTIFICATES.name] == 4


def test_instances_are_listed_in_pages(aha: AhaCell) -> None:
    with local(aha) as channel:
        stub = registry(channel)
        for number in range(5):
            register(channel, f"{number:02}.cortex.demo", address=f"127.0.0.1:{4000 + number}")
        names: list[str] = []
        token = ""
        while True:
            page = stub.ListInstances(
                registry_pb2.ListInstancesRequest(service="cortex", page_size=2, page_token=token)
            )
            assert len(page.instances) <= 2
            names += [item.name for item in page.instances]
            token = page.next_page_token
            if not token:
                break
        assert names == [f"{number:02}.cortex.demo" for number in range(5)]
        bad = registry_pb2.ListInstancesRequest(page_token="x")
        assert isinstance(raised(lambda: stub.ListInstances(bad)), BadArg)


def test_a_watch_streams_changes_and_ends_when_aha_stops(tmp_path: Path) -> None:
    with running(AhaCell(config_of(tmp_path / "aha"))) as aha, local(aha) as channel:
        watch = registry(channel).WatchInstances(registry_pb2.WatchInstancesRequest())
        first = next(watch)
        added = registry_pb2.InstanceChange.KIND_ADDED
        assert [(change.kind, change.instance.name) for change in first.changes] == [(added, "00.aha.demo")]
        register(channel, "00.cortex.demo")
        change = next(watch).changes[0]
        assert (change.kind, change.instance.name) == (added, "00.cortex.demo")
        begun = time.monotonic()
    assert time.monotonic() - begun < 1.5
