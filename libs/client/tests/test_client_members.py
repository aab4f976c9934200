"""Pools of AHA: services that are called as one. AHA is real, the members are servers with identities of their own."""

from __future__ import annotations

import asyncio
import datetime
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import client_trial
from cellmesh.aha.cell import AhaCell
from cellmesh.aha.config import AhaConfig
from cellmesh.api.aha.v1 import (
    enrollment_pb2,
    enrollment_service_pb2_grpc,
    pool_pb2,
    pool_service_pb2_grpc,
    registry_pb2,
    registry_service_pb2_grpc,
)
from cellmesh.client import CellClient, open_cell, open_cell_aio
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.common.errors import CellUnreachable, NoSuchCell
from cellmesh.common.rpc import RpcServer, ServerTls, TcpListener
from cellmesh.common.tls import certs
from cellmesh.common.tls.enrollment import enroll
from cellmesh.common.tls.folder import IdentityFolder
from client_trial import CountServicer, CountStub
from google.protobuf.wrappers_pb2 import StringValue

client_trial.descriptor()


class Mesh:
    """An AHA, servers of several services, and a loop for them."""

    def __init__(self, aha: AhaCell, folder: Path) -> None:
        self.aha = aha
        self.folder = folder
        self.root = aha.root_folder.path
        self.admin = open_cell(f"unix://{aha.config.dir}")
        self.registry = self.admin.stub(registry_service_pb2_grpc.RegistryServiceStub)
        self.pools = self.admin.stub(pool_service_pb2_grpc.PoolServiceStub)
        self._loop = asyncio.new_event_loop()
        import threading

        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._servers: dict[str, RpcServer] = {}

    def run(self, work: object) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)  # type: ignore[arg-type]

    def enrolled(self, name: str, **subject: str) -> IdentityFolder:
        stub = self.admin.stub(enrollment_service_pb2_grpc.CertificateServiceStub)
        identity = IdentityFolder(self.folder / name)
        enroll(stub.CreateEnrollment(enrollment_pb2.CreateEnrollmentRequest(**subject)).url, identity)
        return identity

    def add(self, service: str, number: str = "00", *, leader: bool = True) -> None:
        """Serve as an instance of a service, and register."""
        name = f"{number}.{service}"
        identity = self.enrolled(name, instance=name)
        servicer = CountServicer(identity.path, name=name)
        server = client_trial.make_server(servicer, TcpListener("127.0.0.1:0", ServerTls(identity)))
        server._stop_grace_s = 0.2
        self.run(server.start())
        self._servers[name] = server
        told = registry_pb2.Instance(
            name=f"{name}.demo", kind="trial", address=server.addresses[0], ready=True, leader=leader
        )
        request = registry_pb2.RegisterInstanceRequest(instance=told)
        request.lease.FromSeconds(60)
        self.registry.RegisterInstance(request)

    def kill(self, name: str) -> None:
        """Stop serving; AHA is told nothing."""
        self.run(self._servers.pop(name).stop())

    def close(self) -> None:
        for name in list(self._servers):
            self.kill(name)
        self.admin.close()
        self._loop.call_soon_threadsafe(self._loop.stop)


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[Mesh]:
    flags = {"network": "demo", "stop_grace_s": 0.5}
    config = load_config(AhaConfig, dir=tmp_path / "aha", flags=flags, environ={})
    with running(AhaCell(config)) as aha:
        made = Mesh(aha, tmp_path)
        yield made
        made.close()


def who(client: CellClient) -> str:
    """Which instance answers."""
    answer: str = client.stub(CountStub).Read(StringValue(value="")).value
    return answer.partition(" ")[0]


def whos(client: CellClient, count: int = 12) -> set[str]:
    return {who(client) for _ in range(count)}


def until(check: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


def test_calls_go_to_the_members_in_turn_and_follow_changes(mesh: Mesh) -> None:
    for service in ("one", "two", "three"):
        mesh.add(service)
    mesh.pools.CreatePool(pool_pb2.CreatePoolRequest(name="many", members=["one", "two.demo"]))
    with open_cell("aha://many", identity=mesh.root) as client:
        found = [who(client) for _ in range(8)]
        assert found[:2] * 4 == found
        assert set(found) == {"00.one", "00.two"}
        mesh.pools.AddPoolMember(pool_pb2.AddPoolMemberRequest(name="many", member="three"))
        until(lambda: whos(client) == {"00.one", "00.two", "00.three"})
        mesh.pools.RemovePoolMember(pool_pb2.RemovePoolMemberRequest(name="many", member="one"))
        until(lambda: whos(client) == {"00.two", "00.three"})
        # A member that dies is passed over, and no call fails of it.
        mesh.kill("00.two")
        assert whos(client) == {"00.three"}
    with open_cell("aha://many.demo", identity=mesh.root) as client:
        assert who(client) in ("00.two", "00.three")


def test_of_each_service_the_leader_is_called(mesh: Mesh) -> None:
    mesh.add("one", leader=True)
    mesh.add("one", "01", leader=False)
    mesh.add("two")
    mesh.pools.CreatePool(pool_pb2.CreatePoolRequest(name="many", members=["one", "two"]))
    with open_cell("aha://many", identity=mesh.root) as client:
        assert whos(client) == {"00.one", "00.two"}
    with open_cell("aha://many", identity=mesh.root, prefer="any") as client:
        reads = client.stub(CountStub, read_only=True)
        answers = {reads.Read(StringValue(value="")).value.partition(" ")[0] for _ in range(12)}
        assert answers == {"00.one", "01.one", "00.two"}


def test_an_empty_pool_is_told(mesh: Mesh) -> None:
    mesh.pools.CreatePool(pool_pb2.CreatePoolRequest(name="many"))
    with open_cell("aha://many", identity=mesh.root) as client, pytest.raises((NoSuchCell, CellUnreachable)):
        who(client)


def test_the_asyncio_face_spreads_calls_too(mesh: Mesh) -> None:
    async def main() -> None:
        async with open_cell_aio("aha://many", identity=mesh.root) as client:
            stub = client.stub(CountStub)

            async def answers() -> set[str]:
                found = [await stub.Read(StringValue(value="")) for _ in range(8)]
                return {item.value.partition(" ")[0] for item in found}

            assert await answers() == {"00.one"}
            await asyncio.sleep(0.4)
            mesh.pools.AddPoolMember(pool_pb2.AddPoolMemberRequest(name="many", member="two"))
            for _ in range(100):
                if await answers() == {"00.one", "00.two"}:
                    return
                await asyncio.sleep(0.05)
            raise AssertionError("the new member was not called")

    mesh.add("one")
    mesh.add("two")
    mesh.pools.CreatePool(pool_pb2.CreatePoolRequest(name="many", members=["one"]))
    asyncio.run(main())


def test_a_client_calls_with_its_renewed_certificate(mesh: Mesh) -> None:
    """Over the end of the first certificate, on the same client, without a failed call."""
    mesh.add("one")
    identity = mesh.enrolled("alice", user="alice")

    def renew(lifetime_s: float) -> None:
        authority = mesh.aha.authority
        found = certs.identity_of_certificate(identity.certificate())
        mesh_info = identity.mesh()
        assert found is not None
        assert mesh_info is not None
        key = certs.make_key()
        certificate = certs.issue(
            authority.certificate,
            authority._key,
            key.public_key(),
            found,
            lifetime=datetime.timedelta(seconds=lifetime_s),
        )
        identity.store(certs.to_pem(certificate), certs.key_to_pem(key), authority.pem, mesh_info)

    renew(3.0)
    with open_cell("aha://one", identity=identity.path) as client:
        assert who(client) == "00.one"
        time.sleep(1.1)
        renew(60.0)
        end = time.monotonic() + 3.5
        while time.monotonic() < end:
            assert who(client) == "00.one"
            time.sleep(0.1)
