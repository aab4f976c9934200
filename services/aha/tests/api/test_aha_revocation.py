"""Revocation: it counts in every cell within a second or so, on connections that are open, and over restarts."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from aha_trial import audit_lines, config_of, enrolled, local, over_tls, raised, registry, start_cell
from cellmesh.aha.cell import AhaCell
from cellmesh.api.aha.v1 import enrollment_service_pb2_grpc, registry_pb2, revocation_pb2
from cellmesh.api.common.v1 import cell_service_pb2, cell_service_pb2_grpc
from cellmesh.api.common.v1 import key_value_service_pb2 as kv
from cellmesh.api.common.v1 import key_value_service_pb2_grpc as kv_grpc
from cellmesh.common.cell import running
from cellmesh.common.errors import (
    AuthDeny,
    BadArg,
    BadName,
    CertRevoked,
    NoSuchCell,
    NoSuchCert,
    from_rpc_error,
)
from cellmesh.common.rpc.channel import open_channel
from cellmesh.common.tls import certs
from cellmesh.common.tls.folder import IdentityFolder
from cellmesh.common.tls.revocation import REVOKED_FILE, Revocation, RevocationList

SECONDS = 3.0
"""Within which a revocation has to count."""


@pytest.fixture
def aha(tmp_path: Path) -> Iterator[AhaCell]:
    with running(AhaCell(config_of(tmp_path / "aha"))) as cell:
        yield cell


def revoke(aha: AhaCell, **target: str) -> list[revocation_pb2.Revocation]:
    with local(aha) as channel:
        stub = enrollment_service_pb2_grpc.CertificateServiceStub(channel)
        return list(stub.RevokeCertificates(revocation_pb2.RevokeCertificatesRequest(**target)).revocations)


def serial_of(identity: IdentityFolder) -> str:
    return certs.serial_text(identity.certificate())


def info(channel: grpc.Channel) -> Any:
    stub = cell_service_pb2_grpc.CellServiceStub(channel)
    return stub.GetCellInfo(cell_service_pb2.GetCellInfoRequest(), timeout=5)


def until(check: Callable[[], bool], seconds: float = SECONDS) -> None:
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


def is_refused(channel: grpc.Channel) -> bool:
    try:
        info(channel)
    except grpc.RpcError as error:
        return isinstance(from_rpc_error(error), CertRevoked)
    return False


def test_a_revoked_user_is_refused_on_an_open_connection_at_aha(aha: AhaCell, tmp_path: Path) -> None:
    alice, bob = (enrolled(aha, tmp_path / name, user=name) for name in ("alice", "bob"))
    with over_tls(aha, alice) as channel, over_tls(aha, bob) as other:
        info(channel)
        done = revoke(aha, serial=serial_of(alice), reason="lost laptop")
        assert [(item.serial, item.reason, item.revoker) for item in done] == [
            (serial_of(alice), "lost laptop", "root")
        ]
        assert isinstance(raised(lambda: info(channel)), CertRevoked)
        info(other)
    with over_tls(aha, alice) as again:
        assert isinstance(raised(lambda: info(again)), CertRevoked)
    assert revoke(aha, serial=serial_of(alice)) == []
    until(lambda: any("alice@demo" in line and "CertRevoked" in line for line in audit_lines(aha)))


def test_every_cell_hears_of_it_and_ends_what_runs(aha: AhaCell, tmp_path: Path) -> None:
    root = aha.root_folder
    with start_cell(aha, tmp_path / "trial") as cell:
        alice = enrolled(aha, tmp_path / "alice", user="alice")
        cell.auth.add_user("alice", admin=True)
        with (
            open_channel(cell.tcp_address, identity=alice, server_name="00.trial.demo") as channel,
            open_channel(cell.tcp_address, identity=root, server_name="00.trial.demo") as of_root,
        ):
            info(channel)
            ended: list[object] = []
            begun = threading.Event()

            def watch() -> None:
                stream = kv_grpc.KeyValueServiceStub(channel).WatchKeyValues(
                    kv.WatchKeyValuesRequest(snapshot=True)
                )
                try:
                    begun.set()
                    for _ in stream:
                        pass
                except grpc.RpcError as error:
                    ended.append(from_rpc_error(error))

            thread = threading.Thread(target=watch)
            thread.start()
            begun.wait(5)
            until(lambda: any("WatchKeyValues" in call.method for call in cell.tasks.running.values()))
            revoke(aha, name="alice@demo")
            thread.join(SECONDS)
            assert [type(error) for error in ended] == [CertRevoked]
            assert is_refused(channel)
            info(of_root)
            until(lambda: any("CertRevoked" in line for line in audit_lines(cell)))
    # A cell that starts while AHA is away knows it too.
    assert serial_of(alice) in (tmp_path / "trial" / "certs" / REVOKED_FILE).read_text()


def test_a_cell_that_starts_while_aha_is_away_knows_what_is_revoked(tmp_path: Path) -> None:
    with running(AhaCell(config_of(tmp_path / "aha"))) as aha:
        alice = enrolled(aha, tmp_path / "alice", user="alice")
        with start_cell(aha, tmp_path / "trial") as cell:
            cell.auth.add_user("alice")
            revoke(aha, name="alice@demo")
            until(lambda: len(cell.revoked) == 1)
            until(lambda: (tmp_path / "trial" / "certs" / REVOKED_FILE).exists())
    with (
        start_cell(None, tmp_path / "trial") as cell,
        open_channel(cell.tcp_address, identity=alice, server_name="00.trial.demo") as channel,
    ):
        assert is_refused(channel)


def test_a_revoked_cell_leaves_the_registry_and_comes_back_with_another_certificate(
    aha: AhaCell, tmp_path: Path
) -> None:
    def found() -> bool:
        with local(aha) as channel:
            try:
                registry(channel).GetService(registry_pb2.GetServiceRequest(name="trial"))
            except grpc.RpcError as error:
                return not isinstance(from_rpc_error(error), NoSuchCell)
            return True

    with start_cell(aha, tmp_path / "trial") as cell:
        until(found)
        revoke(aha, name="00.trial")
        assert not found()
        # It renews its lease three times in this time.
        time.sleep(1.2)
        assert not found()
        other = enrolled(aha, tmp_path / "other", instance="00.trial")
        files, mesh = other.load(), other.mesh()
        assert mesh is not None
        cell.folder.identity.store(files.certificate_pem, files.key_pem, files.authority_pem, mesh)
        until(found, 5)


def test_what_cannot_be_revoked_is_told(aha: AhaCell, tmp_path: Path) -> None:
    with local(aha) as channel:
        stub = enrollment_service_pb2_grpc.CertificateServiceStub(channel)

        def ask(**target: str) -> Any:
            return raised(lambda: stub.RevokeCertificates(revocation_pb2.RevokeCertificatesRequest(**target)))

        assert isinstance(ask(serial="abc"), NoSuchCert)
        assert isinstance(ask(serial="no number"), BadArg)
        assert isinstance(ask(name="09.cortex"), NoSuchCert)
        assert isinstance(ask(name="cortex"), BadName)
        assert isinstance(ask(), BadArg)
    alice = enrolled(aha, tmp_path / "alice", user="alice")
    with over_tls(aha, alice) as channel:
        stub = enrollment_service_pb2_grpc.CertificateServiceStub(channel)
        request = revocation_pb2.RevokeCertificatesRequest(name="root@demo")
        assert isinstance(raised(lambda: stub.RevokeCertificates(request)), AuthDeny)


def test_aha_gives_itself_and_root_other_certificates(aha: AhaCell) -> None:
    before = serial_of(aha.root_folder), serial_of(aha.folder.identity)
    revoke(aha, name="root@demo", reason="stolen")
    revoke(aha, name="00.aha", reason="stolen")
    assert serial_of(aha.root_folder) != before[0]
    assert serial_of(aha.folder.identity) != before[1]
    with over_tls(aha, aha.root_folder) as channel:
        info(channel)


def test_a_watch_goes_on_where_it_was(aha: AhaCell, tmp_path: Path) -> None:
    for name in ("alice", "bob"):
        enrolled(aha, tmp_path / name, user=name)
    with local(aha) as channel:
        stub = enrollment_service_pb2_grpc.CertificateServiceStub(channel)

        def watch(revision: int) -> Any:
            return stub.WatchRevocations(revocation_pb2.WatchRevocationsRequest(revision=revision))

        first = watch(0)
        assert list(next(first).revocations) == []
        revoke(aha, name="alice@demo")
        message = next(first)
        assert [item.subject for item in message.revocations] == ["spiffe://demo/user/alice"]
        revoke(aha, name="bob@demo")
        later = next(watch(message.revision))
        assert [item.subject for item in later.revocations] == ["spiffe://demo/user/bob"]
        assert later.revision > message.revision
        assert list(next(watch(later.revision)).revocations) == []
        # From a future that this AHA has not seen: everything.
        assert len(next(watch(later.revision + 1)).revocations) == 2


def test_a_restarted_aha_knows_what_is_revoked(tmp_path: Path) -> None:
    with running(AhaCell(config_of(tmp_path / "aha"))) as aha:
        alice = enrolled(aha, tmp_path / "alice", user="alice")
        revoke(aha, name="alice@demo")
    with running(AhaCell(config_of(tmp_path / "aha"))) as aha, over_tls(aha, alice) as channel:
        assert isinstance(raised(lambda: info(channel)), CertRevoked)


def test_certificates_are_listed(aha: AhaCell, tmp_path: Path) -> None:
    alice = enrolled(aha, tmp_path / "alice", user="alice")
    second = enrolled(aha, tmp_path / "second", user="alice")
    revoke(aha, serial=serial_of(alice))
    with local(aha) as channel:
        stub = enrollment_service_pb2_grpc.CertificateServiceStub(channel)

        def listed(**wanted: Any) -> list[revocation_pb2.Certificate]:
            request = revocation_pb2.ListCertificatesRequest(page_size=1, **wanted)
            found = []
            while True:
                page = stub.ListCertificates(request)
                found += list(page.certificates)
                request.page_token = page.next_page_token
                if not request.page_token:
                    return found

        mine = listed(name="alice@demo")
        assert {item.serial: item.HasField("revoke_time") for item in mine} == {
            serial_of(alice): True,
            serial_of(second): False,
        }
        assert [item.serial for item in listed(name="alice@demo", valid_only=True)] == [serial_of(second)]
        assert {item.name for item in listed()} == {"alice@demo", "root@demo", "00.aha.demo"}
        told = stub.GetAuthority(revocation_pb2.GetAuthorityRequest())
        assert (told.network, told.ca_pem.encode()) == ("demo", aha.authority.pem)


def test_a_list_forgets_what_ended_long_ago(tmp_path: Path) -> None:
    kept = RevocationList(tmp_path)
    heard: list[frozenset[str]] = []
    kept.listeners.append(heard.append)
    old = Revocation("a1", "spiffe://demo/user/old", 1, 2)
    new = Revocation("b2", "spiffe://demo/user/new", 1, time.time_ns() // 1_000_000, "why")
    assert kept.add([old, new])
    assert not kept.add([new])
    assert heard == [frozenset({"a1", "b2"})]
    kept.save()
    again = RevocationList.load(tmp_path)
    assert again.all() == [new]
    assert "a1" not in again
