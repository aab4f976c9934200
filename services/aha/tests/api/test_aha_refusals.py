"""Who is refused: forged, expired, revoked and foreign certificates, tokens used twice, names of others. And what lives on
over the renewal of a certificate."""

from __future__ import annotations

import datetime
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from aha_trial import (
    audit_lines,
    config_of,
    enrolled,
    local,
    make_url,
    over_tls,
    raised,
    registry,
    start_cell,
)
from cellmesh.aha.cell import AhaCell
from cellmesh.api.aha.v1 import (
    enrollment_pb2,
    enrollment_service_pb2_grpc,
    leadership_pb2,
    leadership_service_pb2_grpc,
    registry_pb2,
)
from cellmesh.api.common.v1 import cell_service_pb2, cell_service_pb2_grpc
from cellmesh.api.common.v1 import key_value_service_pb2 as kv
from cellmesh.api.common.v1 import key_value_service_pb2_grpc as kv_grpc
from cellmesh.common.cell import running
from cellmesh.common.errors import AuthDeny, CellUnreachable, CertRevoked, DupName
from cellmesh.common.rpc.channel import open_channel
from cellmesh.common.tls import certs
from cellmesh.common.tls.enrollment import enroll
from cellmesh.common.tls.folder import IdentityFolder, MeshInfo
from cellmesh.common.tls.identity import CellIdentity, Identity, UserIdentity


@pytest.fixture
def aha(tmp_path: Path) -> Iterator[AhaCell]:
    with running(AhaCell(config_of(tmp_path / "aha"))) as cell:
        yield cell


def until(check: Callable[[], bool], seconds: float = 3.0) -> None:
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


def info(channel: grpc.Channel) -> Any:
    stub = cell_service_pb2_grpc.CellServiceStub(channel)
    return stub.GetCellInfo(cell_service_pb2.GetCellInfoRequest(), timeout=3)


def made(
    folder: Path,
    trusted: bytes,
    authority: tuple[certs.Certificate, certs.PrivateKey],
    identity: Identity,
    **times: Any,
) -> IdentityFolder:
    """An identity out of an authority at hand, that trusts the real AHA."""
    key = certs.make_key()
    certificate = certs.issue(*authority, key.public_key(), identity, **times)
    found = IdentityFolder(folder)
    found.store(
        certs.to_pem(certificate),
        certs.key_to_pem(key),
        trusted,
        MeshInfo(identity.name, identity.network),
    )
    return found


def real_authority(aha: AhaCell) -> tuple[certs.Certificate, certs.PrivateKey]:
    return aha.authority.certificate, aha.authority._key


@pytest.mark.parametrize("who", ["forged", "other network", "expired", "no certificate of ours"])
def test_a_certificate_that_does_not_verify_gets_no_connection(
    aha: AhaCell, tmp_path: Path, who: str
) -> None:
    alice = UserIdentity("root", "demo")
    pem = aha.authority.pem
    match who:
        case "forged":
            shown = made(tmp_path / "x", pem, certs.make_authority("demo"), alice)
        case "other network":
            shown = made(tmp_path / "x", pem, certs.make_authority("else"), UserIdentity("root", "else"))
        case "expired":
            times = {
                "now": aha.authority.certificate.not_valid_before_utc,
                "lifetime": datetime.timedelta(seconds=1),
            }
            shown = made(tmp_path / "x", pem, real_authority(aha), alice, **times)
            time.sleep(0.01)
        case _:
            key = certs.make_key()
            own, own_key = certs.make_authority("demo")
            shown = IdentityFolder(tmp_path / "x")
            shown.store(certs.to_pem(own), certs.key_to_pem(own_key), pem, MeshInfo("root@demo", "demo"))
            del key
    with over_tls(aha, shown) as channel:
        assert isinstance(raised(lambda: info(channel)), CellUnreachable)
    # The port serves those who are known all the same.
    with over_tls(aha, aha.root_folder) as channel:
        info(channel)


def test_a_certificate_of_another_network_by_the_same_authority_is_refused_and_noted(
    aha: AhaCell, tmp_path: Path
) -> None:
    """No authority of ours issues it; TLS alone would let it in."""
    shown = made(tmp_path / "x", aha.authority.pem, real_authority(aha), CellIdentity("00", "cortex", "else"))
    instance = registry_pb2.Instance(name="00.cortex.demo", address="127.0.0.1:4000")
    with over_tls(aha, shown) as channel:
        request = registry_pb2.RegisterInstanceRequest(instance=instance)
        assert isinstance(raised(lambda: registry(channel).RegisterInstance(request)), AuthDeny)
        stub = enrollment_service_pb2_grpc.CertificateServiceStub(channel)
        csr = certs.make_csr(certs.make_key()).decode()
        renew = enrollment_pb2.RenewCertificateRequest(csr_pem=csr)
        assert isinstance(raised(lambda: stub.RenewCertificate(renew)), AuthDeny)
    until(lambda: sum("00.cortex.else" in line for line in audit_lines(aha)) == 2)


def test_a_certificate_that_runs_out_is_refused_on_its_open_connection(aha: AhaCell, tmp_path: Path) -> None:
    shown = made(
        tmp_path / "x",
        aha.authority.pem,
        real_authority(aha),
        UserIdentity("alice", "demo"),
        lifetime=datetime.timedelta(seconds=1.5),
    )
    with over_tls(aha, shown) as channel:
        info(channel)
        time.sleep(1.6)
        assert isinstance(raised(lambda: info(channel)), CertRevoked)
    until(lambda: any("has run out" in line and "alice@demo" in line for line in audit_lines(aha)))


def test_a_cell_that_claims_anothers_name_is_refused_and_noted(aha: AhaCell, tmp_path: Path) -> None:
    cortex = enrolled(aha, tmp_path / "cortex", instance="00.cortex")
    instance = registry_pb2.Instance(name="00.axon.demo", address="127.0.0.1:4000")
    with over_tls(aha, cortex) as channel:
        request = registry_pb2.RegisterInstanceRequest(instance=instance)
        assert isinstance(raised(lambda: registry(channel).RegisterInstance(request)), AuthDeny)
        down = registry_pb2.SetInstanceDownRequest(name="00.axon.demo", down=True)
        assert isinstance(raised(lambda: registry(channel).SetInstanceDown(down)), AuthDeny)
        stub = leadership_service_pb2_grpc.LeadershipServiceStub(channel)
        hand = leadership_pb2.TransferLeadershipRequest(term=1, successor="00.axon.demo")
        assert raised(lambda: stub.TransferLeadership(hand))
    until(lambda: sum("00.cortex.demo" in line and "AuthDeny" in line for line in audit_lines(aha)) >= 2)


def test_two_cells_with_one_certificate_are_not_registered_both(aha: AhaCell, tmp_path: Path) -> None:
    cortex = enrolled(aha, tmp_path / "cortex", instance="00.cortex")

    def register(cell_id: str) -> Any:
        instance = registry_pb2.Instance(
            name="00.cortex.demo", address="127.0.0.1:4000", cell_id=cell_id, ready=True
        )
        request = registry_pb2.RegisterInstanceRequest(instance=instance)
        request.lease.FromMilliseconds(500)
        return registry(channel).RegisterInstance(request)

    with over_tls(aha, cortex) as channel:
        register("a" * 32)
        register("a" * 32)
        assert isinstance(raised(lambda: register("b" * 32)), DupName)
        time.sleep(0.6)
        register("b" * 32)


def test_a_replayed_token_is_refused_and_noted(aha: AhaCell, tmp_path: Path) -> None:
    url = make_url(aha, user="alice")
    enroll(url, IdentityFolder(tmp_path / "alice"))
    with pytest.raises(AuthDeny, match="used already"):
        enroll(url, IdentityFolder(tmp_path / "thief"))
    until(lambda: any("used already" in line and "Enroll" in line for line in audit_lines(aha)))
    lines = audit_lines(aha)
    for action in ("enrollment_created", "enrollment_used"):
        assert any(f"{action} alice@demo" in line for line in lines), lines


def test_a_stream_lives_over_the_renewal_of_the_servers_certificate(aha: AhaCell, tmp_path: Path) -> None:
    """The cell's first certificate ends while a stream is open; others get the new one."""
    aha.authority._lifetime = datetime.timedelta(seconds=2.5)
    with start_cell(aha, tmp_path / "trial") as cell:
        first = served_serial(cell.tcp_address, aha)
        ends = cell.folder.identity.certificate().not_valid_after_utc.timestamp()
        with open_channel(cell.tcp_address, identity=aha.root_folder, server_name="00.trial.demo") as channel:
            stub = kv_grpc.KeyValueServiceStub(channel)
            heard: list[str] = []

            def watch() -> None:
                try:
                    for message in stub.WatchKeyValues(kv.WatchKeyValuesRequest()):
                        heard.append(str(message))
                except grpc.RpcError as error:
                    if error.code() is not grpc.StatusCode.CANCELLED:
                        heard.append(f"broken: {error}")

            thread = threading.Thread(target=watch)
            thread.start()
            until(lambda: any("WatchKeyValues" in call.method for call in cell.tasks.running.values()))
            until(lambda: served_serial(cell.tcp_address, aha) != first, 4)
            until(lambda: time.time() > ends + 0.2, 4)
            assert heard == ["live: true\n"]
            request = kv.SetKeyValueRequest(path=["a"])
            request.value.int_value = 1
            stub.SetKeyValue(request)
            until(lambda: len(heard) == 2)
            assert not heard[1].startswith("broken")
        thread.join(5)
        with local(aha) as channel:
            found = registry(channel).GetService(registry_pb2.GetServiceRequest(name="trial")).instances
        assert [item.ready for item in found] == [True]


def served_serial(address: str, aha: AhaCell) -> int:
    """Serial number of the certificate that a server shows now."""
    folder = aha.root_folder.path
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    context.load_cert_chain(folder / "cell.crt", folder / "cell.key")
    context.check_hostname = False
    context.set_alpn_protocols(["h2"])
    host, _, port = address.rpartition(":")
    with (
        socket.create_connection((host, int(port))) as plain,
        context.wrap_socket(plain, server_hostname="00.trial.demo") as secure,
    ):
        der = secure.getpeercert(binary_form=True)
        assert der is not None
        return certs.from_der(der).serial_number
