"""Who an AHA process refuses, one after the other, over its TCP port; and where each is noted (docs/aha.md, "Who is refused")."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from cellmesh.api.aha.v1 import registry_pb2, registry_service_pb2_grpc, revocation_pb2
from cellmesh.api.aha.v1.enrollment_service_pb2_grpc import CertificateServiceStub
from cellmesh.api.common.v1 import auth_service_pb2, cell_service_pb2, cell_service_pb2_grpc
from cellmesh.api.common.v1.auth_service_pb2_grpc import AuthServiceStub
from cellmesh.cli.mesh import Mesh, ports
from cellmesh.client import open_cell
from cellmesh.common.errors import AuthDeny, CellError, CellUnreachable, CertRevoked, from_rpc_error
from cellmesh.common.rpc.channel import open_channel
from cellmesh.common.tls import certs
from cellmesh.common.tls.enrollment import enroll
from cellmesh.common.tls.folder import IdentityFolder, MeshInfo
from cellmesh.common.tls.identity import CellIdentity, Identity, UserIdentity
from cellmesh.testing.mirrors.asking import wait

AuthorityPair = tuple[certs.Certificate, certs.PrivateKey]


class Refuser:
    """An AHA of its own, and who comes to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mesh = Mesh(folder / "mesh", cells=("aha",))
        self.mesh.up()
        self.address = str(ports.read_settings(self.mesh.folder("aha"))["listen"])
        ca = self.mesh.folder("aha") / "ca"
        self.trusted = (ca / "ca.crt").read_bytes()
        self.authority = (certs.from_pem(self.trusted), certs.key_from_pem((ca / "ca.key").read_bytes()))

    def made(self, authority: AuthorityPair, identity: Identity, **times: Any) -> IdentityFolder:
        """An identity that trusts this AHA, whoever signed it."""
        key = certs.make_key()
        certificate = certs.issue(*authority, key.public_key(), identity, **times)
        found = IdentityFolder(self.folder / f"made-{certificate.serial_number:x}")
        mesh = MeshInfo(identity.name, identity.network)
        found.store(certs.to_pem(certificate), certs.key_to_pem(key), self.trusted, mesh)
        return found

    def enrolled(self, **subject: str) -> IdentityFolder:
        found = IdentityFolder(self.folder / next(iter(subject.values())))
        enroll(self.mesh.provision(**subject), found)
        return found

    def error(self, shown: IdentityFolder, call: Callable[[grpc.Channel], Any]) -> CellError:
        """What a call fails with."""
        with open_channel(self.address, identity=shown, server_name="aha.mesh") as channel:
            with pytest.raises(grpc.RpcError) as caught:
                call(channel)
            return from_rpc_error(caught.value)

    def local(self, stub: Any, method: str, request: Any) -> Any:
        with open_cell(f"unix://{self.mesh.folder('aha')}") as client:
            return getattr(client.stub(stub), method)(request, timeout=10.0)

    def audited(self, *parts: str) -> None:
        """Wait until a record of a refusal has all these texts."""

        def there() -> bool:
            request = auth_service_pb2.ListAuditRecordsRequest(page_size=1000)
            records = self.local(AuthServiceStub, "ListAuditRecords", request).records
            return any(all(part in str(record) for part in parts) for record in records)

        wait(f"{parts} in the audit log", there)

    def logged(self, count: int, reason: str) -> None:
        """Wait until gRPC has said so often why a handshake failed."""
        log = self.mesh.log("aha")
        wait(f"{reason} in the log", lambda: handshakes(log.read_text(), reason) >= count)


def handshakes(log: str, reason: str) -> int:
    return sum("Handshake failed" in line and reason in line for line in log.splitlines())


def info(channel: grpc.Channel) -> Any:
    stub = cell_service_pb2_grpc.CellServiceStub(channel)
    return stub.GetCellInfo(cell_service_pb2.GetCellInfoRequest(), timeout=10.0)


def register(name: str) -> Callable[[grpc.Channel], Any]:
    instance = registry_pb2.Instance(name=name, address="127.0.0.1:4000")
    request = registry_pb2.RegisterInstanceRequest(instance=instance)
    return lambda channel: registry_service_pb2_grpc.RegistryServiceStub(channel).RegisterInstance(
        request, timeout=10.0
    )


@pytest.fixture
def aha(tmp_path: Path) -> Iterator[Refuser]:
    made = Refuser(tmp_path)
    try:
        yield made
    finally:
        made.mesh.down()


def test_each_is_refused_and_noted(aha: Refuser) -> None:
    root = UserIdentity("root", "mesh")

    # These get no connection. Programs hear nothing of it; gRPC says why on standard error, which is AHA's log.
    forged = aha.made(certs.make_authority("mesh"), root)
    assert isinstance(aha.error(forged, info), CellUnreachable)
    elsewhere = aha.made(certs.make_authority("other"), UserIdentity("root", "other"))
    assert isinstance(aha.error(elsewhere, info), CellUnreachable)
    aha.logged(2, "unable to get local issuer certificate")
    begun = aha.authority[0].not_valid_before_utc
    expired = aha.made(aha.authority, root, now=begun, lifetime=datetime.timedelta(milliseconds=1))
    assert isinstance(aha.error(expired, info), CellUnreachable)
    aha.logged(1, "certificate has expired")

    # The others are known by name when they are refused.
    foreign = aha.made(aha.authority, CellIdentity("00", "cortex", "other"))
    assert isinstance(aha.error(foreign, register("00.cortex.mesh")), AuthDeny)
    aha.audited("00.cortex.other", "RegisterInstance")

    alice = aha.enrolled(user="alice")
    revoke = revocation_pb2.RevokeCertificatesRequest(name="alice@mesh", reason="lost")
    aha.local(CertificateServiceStub, "RevokeCertificates", revoke)
    assert isinstance(aha.error(alice, info), CertRevoked)
    aha.audited("alice@mesh", "CertRevoked")

    url = aha.mesh.provision(user="bob")
    enroll(url, IdentityFolder(aha.folder / "bob"))
    with pytest.raises(AuthDeny, match="used already"):
        enroll(url, IdentityFolder(aha.folder / "thief"))
    aha.audited("used already", "Enroll")

    axon = aha.enrolled(instance="00.axon")
    assert isinstance(aha.error(axon, register("00.cortex.mesh")), AuthDeny)
    aha.audited("00.axon.mesh", "may not register as 00.cortex.mesh")

    # Who is known and says who it is is served all the same.
    with open_channel(aha.address, identity=axon, server_name="aha.mesh") as channel:
        assert register("00.axon.mesh")(channel).instance.name == "00.axon.mesh"
