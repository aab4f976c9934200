"""Enrolment and registration against a registry made here, which can forget, go away and come back."""

from __future__ import annotations

import asyncio
import datetime
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cellmesh.api.aha.v1 import (
    enrollment_pb2,
    enrollment_service_pb2,
    registry_pb2,
    registry_service_pb2,
)
from cellmesh.common.auth.context import current_caller
from cellmesh.common.cell import Cell
from cellmesh.common.config import CellConfig, load_config
from cellmesh.common.errors import AuthDeny, BadCertVerify, CellUnreachable, FeatureNotSupported, NoSuchName
from cellmesh.common.rpc import Level, Permission, RpcServer, ServerTls, Service, TcpListener
from cellmesh.common.tls import certs
from cellmesh.common.tls.enrollment_url import EnrollmentUrl
from cellmesh.common.tls.folder import IdentityFolder, MeshInfo
from cellmesh.common.tls.identity import CellIdentity, Identity

TOKEN = "one-time-token"
REGISTRY = registry_service_pb2.DESCRIPTOR.services_by_name["RegistryService"]
CERTIFICATES = enrollment_service_pb2.DESCRIPTOR.services_by_name["CertificateService"]
ENROLLMENT = enrollment_service_pb2.DESCRIPTOR.services_by_name["EnrollmentService"]


def rows(descriptor: Any, level: Level) -> dict[str, Permission]:
    return {f"/{descriptor.full_name}/{method.name}": Permission(level) for method in descriptor.methods}


class TrialAha:
    """A registry and authority in memory: as much of AHA as a cell meets."""

    def __init__(self, folder: Path) -> None:
        self.authority, self.key = certs.make_authority("demo")
        self.identity = IdentityFolder(folder)
        own = certs.make_key()
        certificate = self.issue(own.public_key(), CellIdentity("00", "aha", "demo"))
        self.identity.store(
            certs.to_pem(certificate),
            certs.key_to_pem(own),
            certs.to_pem(self.authority),
            MeshInfo("00.aha.demo", "demo"),
        )
        self.instances: dict[str, registry_pb2.Instance] = {}
        self.calls: list[str] = []
        self.answered_name = CellIdentity("00", "axon", "demo")
        self.lifetime = datetime.timedelta(days=90)
        self.server: RpcServer | None = None
        self.enrollment: RpcServer | None = None
        self.address = "127.0.0.1:0"

    def issue(self, key: Any, identity: Identity, **options: Any) -> certs.Certificate:
        return certs.issue(self.authority, self.key, key, identity, **options)

    async def start(self) -> None:
        tls = ServerTls(self.identity)
        services = (
            Service(REGISTRY, self, rows(REGISTRY, Level.MEMBER)),
            Service(CERTIFICATES, self, rows(CERTIFICATES, Level.MEMBER)),
        )
        self.server = RpcServer("aha", services, (TcpListener(self.address, tls),), stop_grace_s=0)
        await self.server.start()
        self.address = self.server.addresses[0]
        enrolling = Service(ENROLLMENT, self, rows(ENROLLMENT, Level.ANYONE))
        open_tls = ServerTls(self.identity, require_client=False)
        self.enrollment = RpcServer(
            "enrol", (enrolling,), (TcpListener("127.0.0.1:0", open_tls),), stop_grace_s=0
        )
        await self.enrollment.start()

    async def stop(self) -> None:
        assert self.server is not None
        assert self.enrollment is not None
        await self.server.stop()
        await self.enrollment.stop()

    def url(self, token: str = TOKEN) -> str:
        assert self.enrollment is not None
        host, port = self.enrollment.addresses[0].split(":")
        return EnrollmentUrl(host, int(port), token, certs.to_der(self.authority)).format()

    async def Enroll(self, request: Any, context: Any) -> Any:
        if request.token != TOKEN:
            raise AuthDeny("the token is unknown, used or expired")
        key = certs.csr_public_key(request.csr_pem.encode())
        certificate = self.issue(key, self.answered_name, lifetime=self.lifetime)
        return enrollment_pb2.EnrollResponse(
            certificate_pem=certs.to_pem(certificate),
            ca_pem=certs.to_pem(self.authority),
            name=self.answered_name.name,
            network="demo",
            registry_addresses=[self.address],
        )

    async def RenewCertificate(self, request: Any, context: Any) -> Any:
        self.calls.append("renew-certificate")
        identity = current_caller().identity
        assert identity is not None
        certificate = self.issue(certs.csr_public_key(request.csr_pem.encode()), identity)
        return enrollment_pb2.RenewCertificateResponse(
            certificate_pem=certs.to_pem(certificate), ca_pem=certs.to_pem(self.authority)
        )

    async def CreateEnrollment(self, request: Any, context: Any) -> Any:
        raise AuthDeny("not here")

    async def RegisterInstance(self, request: Any, context: Any) -> Any:
        self.calls.append("register")
        if request.instance.name != current_caller().name:
            raise AuthDeny("not your name")
        self.instances[request.instance.name] = request.instance
        return registry_pb2.RegisterInstanceResponse(instance=request.instance)

    async def RenewInstance(self, request: Any, context: Any) -> Any:
        self.calls.append("renew")
        if request.name not in self.instances:
            raise NoSuchName("nobody registered", name=request.name)
        self.instances[request.name].ready = request.ready
        return registry_pb2.RenewInstanceResponse(instance=self.instances[request.name])

    async def UnregisterInstance(self, request: Any, context: Any) -> Any:
        self.calls.append("unregister")
        self.instances.pop(request.name, None)
        return registry_pb2.UnregisterInstanceResponse()

    async def GetService(self, request: Any, context: Any) -> Any:
        raise NoSuchName("not here")

    async def ListInstances(self, request: Any, context: Any) -> Any:
        raise NoSuchName("not here")

    async def WatchInstances(self, request: Any, context: Any) -> AsyncIterator[Any]:
        raise NoSuchName("not here")
        yield


def _not_here(method: Any) -> Any:
    """What an AHA that is older than a method answers."""

    async def single(self: TrialAha, request: Any, context: Any) -> Any:
        raise FeatureNotSupported("not here")

    async def stream(self: TrialAha, request: Any, context: Any) -> AsyncIterator[Any]:
        raise FeatureNotSupported("not here")
        yield

    return stream if method.server_streaming else single


for _service in (REGISTRY, CERTIFICATES, ENROLLMENT):
    for _method in _service.methods:
        if not hasattr(TrialAha, _method.name):
            setattr(TrialAha, _method.name, _not_here(_method))


class TrialConfig(CellConfig):
    kind: ClassVar[str] = "axon"


class TrialCell(Cell[TrialConfig]):
    kind = "axon"


def make_cell(tmp_path: Path, **flags: Any) -> TrialCell:
    return TrialCell(load_config(TrialConfig, dir=tmp_path / "axon", flags=flags, environ={}))


@asynccontextmanager
async def serving(tmp_path: Path) -> AsyncIterator[TrialAha]:
    aha = TrialAha(tmp_path / "aha")
    await aha.start()
    try:
        yield aha
    finally:
        await aha.stop()


async def until(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "the condition did not come true"
        await asyncio.sleep(0.005)


def test_a_cell_with_a_url_enrolls_registers_and_leaves(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path) as aha:
            async with make_cell(tmp_path, enroll=aha.url()) as cell:
                assert cell.name == "00.axon.demo"
                found = aha.instances["00.axon.demo"]
                assert (found.kind, found.service, found.network) == ("axon", "axon", "demo")
                assert (found.address, found.cell_id, found.ready) == (cell.tcp_address, cell.cell_id, True)
            assert aha.instances == {}
            assert aha.calls == ["register", "unregister"]

    asyncio.run(main())


def test_an_enrolled_cell_comes_back_with_its_identity_and_uses_no_second_token(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path) as aha:
            async with make_cell(tmp_path, enroll=aha.url()) as cell:
                first = cell.folder.identity.load()
            async with make_cell(tmp_path, enroll=aha.url("already-used")) as cell:
                assert cell.name == "00.axon.demo"
                assert cell.folder.identity.load() == first
                assert list(aha.instances) == ["00.axon.demo"]

    asyncio.run(main())


def test_a_refused_token_ends_the_start_and_stores_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path) as aha:
            cell = make_cell(tmp_path, enroll=aha.url("unknown-token"))
            with pytest.raises(AuthDeny, match="the token is unknown"):
                await cell.start()
            assert not cell.folder.identity.exists()

    asyncio.run(main())


def test_the_enrolment_port_of_another_authority_gets_no_token(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path / "a") as right, serving(tmp_path / "b") as wrong:
            assert wrong.enrollment is not None
            host, port = wrong.enrollment.addresses[0].split(":")
            url = EnrollmentUrl(host, int(port), TOKEN, certs.to_der(right.authority)).format()
            with pytest.raises(CellUnreachable):
                await make_cell(tmp_path, enroll=url).start()

    asyncio.run(main())


def test_a_certificate_for_another_network_is_not_stored(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path) as aha:
            aha.answered_name = CellIdentity("00", "axon", "other")
            cell = make_cell(tmp_path, enroll=aha.url())
            with pytest.raises(BadCertVerify, match="nobody of this network"):
                await cell.start()
            assert not cell.folder.identity.exists()

    asyncio.run(main())


def test_the_lease_is_renewed_and_a_forgotten_cell_registers_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path) as aha, make_cell(tmp_path, enroll=aha.url(), lease_s=1.0):
            await until(lambda: aha.calls.count("renew") >= 1)
            aha.instances.clear()
            await until(lambda: "00.axon.demo" in aha.instances)
            assert aha.calls.count("register") == 2

    asyncio.run(main())


def test_a_cell_outlives_its_registry_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def main() -> None:
        async with serving(tmp_path) as aha:
            async with make_cell(tmp_path, enroll=aha.url(), lease_s=1.0) as cell:
                await aha.stop()
                aha.instances.clear()
                await until(lambda: "registry_away" in caplog.messages)
                await asyncio.sleep(0.5)
                assert cell.state.value == "ready"
                await aha.start()
                await until(lambda: "00.axon.demo" in aha.instances, 10)
                await until(lambda: "registry_back" in caplog.messages)
            assert caplog.messages.count("registry_away") == 1

    asyncio.run(main())


def test_a_cell_starts_while_its_registry_is_away(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path) as aha:
            async with make_cell(tmp_path, enroll=aha.url()):
                pass
            await aha.stop()
            began = time.monotonic()
            async with make_cell(tmp_path):
                assert time.monotonic() - began < 3.5
                await aha.start()
                await until(lambda: "00.axon.demo" in aha.instances, 10)

    asyncio.run(main())


def test_a_certificate_is_renewed_in_time_with_a_new_key(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path) as aha:
            # Two thirds of it are over at once, as certificates begin a little in the past.
            aha.lifetime = datetime.timedelta(minutes=2)
            async with make_cell(tmp_path, enroll=aha.url(), lease_s=1.0) as cell:
                folder = cell.folder.identity
                await until(lambda: folder.certificate().not_valid_after_utc > soon())
                assert aha.calls.count("renew-certificate") == 1
                mesh = folder.mesh()
                assert mesh is not None
                assert mesh.registry_addresses == (aha.address,)
                await until(lambda: aha.calls.count("renew") >= 1)

    def soon() -> datetime.datetime:
        return datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)

    asyncio.run(main())
