"""Pools: a service with several instances, as AHA tells of them, over TLS. The cells and AHA are real; who leads, and
whether an instance is ready, is said to AHA in its own name."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import client_trial
from cellmesh.aha.cell import AhaCell
from cellmesh.aha.config import AhaConfig
from cellmesh.api.aha.v1 import (
    enrollment_pb2,
    enrollment_service_pb2_grpc,
    registry_pb2,
    registry_service_pb2_grpc,
)
from cellmesh.client import CellClient, open_cell, open_cell_aio
from cellmesh.client.instances import InstanceTable, Prefer
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.common.errors import CellUnreachable
from cellmesh.common.rpc import RpcServer, ServerTls, TcpListener
from cellmesh.common.tls.enrollment import enroll
from cellmesh.common.tls.folder import IdentityFolder
from client_trial import CountServicer, CountStub
from google.protobuf.wrappers_pb2 import StringValue

client_trial.descriptor()


def value(text: str) -> StringValue:
    return StringValue(value=text)


class Instance:
    """One instance of the service "trial": a server with the certificate of its name."""

    def __init__(self, pool: Pool, number: str) -> None:
        self.pool = pool
        self.name = f"{number}.trial.demo"
        self.identity = IdentityFolder(pool.folder / number)
        self.identity.path.mkdir()
        enroll(pool.enrollment_url(instance=f"{number}.trial"), self.identity)
        self.servicer = CountServicer(self.identity.path, name=number)
        self.server: RpcServer | None = None
        self.start()

    def start(self) -> None:
        """Serve, at a port of its own."""
        listener = TcpListener("127.0.0.1:0", ServerTls(self.identity))
        self.server = client_trial.make_server(self.servicer, listener)
        self.server._stop_grace_s = 0.2
        self.pool.run(self.server.start())
        self.address = self.server.addresses[0]

    def stop(self) -> None:
        """Serve no more; AHA is told nothing."""
        server, self.server = self.server, None
        if server is not None:
            self.pool.run(server.stop())

    def register(self, *, leader: bool = False, ready: bool = True) -> None:
        """Tell AHA."""
        told = registry_pb2.Instance(
            name=self.name,
            service="trial",
            network="demo",
            kind="trial",
            cell_id="0" * 32,
            address=self.address,
            version="1",
            ready=ready,
            leader=leader,
        )
        self.pool.registry.RegisterInstance(registry_pb2.RegisterInstanceRequest(instance=told))

    def unregister(self) -> None:
        """Tell AHA that it is gone."""
        self.pool.registry.UnregisterInstance(registry_pb2.UnregisterInstanceRequest(name=self.name))


class Pool:
    """A running AHA, and an event loop for the servers."""

    def __init__(self, aha: AhaCell, folder: Path) -> None:
        self.folder = folder
        self.root = aha.root_folder.path
        self.admin = open_cell("aha://aha", identity=self.root)
        self.registry = self.admin.stub(registry_service_pb2_grpc.RegistryServiceStub)
        self.instances: list[Instance] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: object) -> None:
        """Run a coroutine in the servers' loop."""
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)  # type: ignore[arg-type]

    def enrollment_url(self, **subject: str) -> str:
        stub = self.admin.stub(enrollment_service_pb2_grpc.CertificateServiceStub)
        return str(stub.CreateEnrollment(enrollment_pb2.CreateEnrollmentRequest(**subject)).url)

    def add(self, *, leader: bool = False) -> Instance:
        made = Instance(self, f"{len(self.instances):02}")
        made.register(leader=leader)
        self.instances.append(made)
        return made

    def close(self) -> None:
        for instance in self.instances:
            instance.stop()
        self.admin.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    flags = {"network": "demo", "stop_grace_s": 0.5}
    with running(AhaCell(load_config(AhaConfig, dir=tmp_path / "aha", flags=flags, environ={}))) as aha:
        made = Pool(aha, tmp_path)
        with contextlib.closing(made):
            yield made


def eventually(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.02)


def names(client: CellClient, method: str = "Read", count: int = 12) -> set[str]:
    call = getattr(client.stub(CountStub), method)
    return {call(value("a")).value for _ in range(count)}


def test_calls_go_to_the_leader_and_reads_to_any_where_that_is_wanted(pool: Pool) -> None:
    pool.add()
    pool.add(leader=True)
    pool.add()
    with open_cell("aha://trial", identity=pool.root) as client:
        assert names(client) == names(client, "Set") == names(client, "Add") == {"01"}
    with open_cell("aha://trial", identity=pool.root, prefer="any") as client:
        assert names(client) == {"00", "01", "02"}
        assert names(client, "Set") == names(client, "Add") == {"01"}
        # The caller's word, where the proto does not say it.
        stub = client.stub(CountStub, read_only=True)
        assert {stub.Add(value("a")).value for _ in range(12)} == {"00", "01", "02"}
        with client.pipeline() as pipeline:
            futures = [pipeline.call(stub.Add, value("a")) for _ in range(3)]
        assert {future.result().value for future in futures} == {"01"}

    async def main() -> set[str]:
        async with open_cell_aio("aha://trial", identity=pool.root, prefer="any") as client:
            stub = client.stub(CountStub)
            answers = await asyncio.gather(*(stub.Read(value("a")) for _ in range(12)))
            return {answer.value for answer in answers}

    assert asyncio.run(main()) == {"00", "01", "02"}


def test_a_pool_follows_what_aha_tells(pool: Pool) -> None:
    first = pool.add(leader=True)
    with open_cell("aha://trial", identity=pool.root, prefer="any") as client:
        assert names(client) == {"00"}
        second = pool.add()
        eventually(lambda: names(client) == {"00", "01"})
        # Another leads.
        second.register(leader=True)
        first.register(leader=False)
        eventually(lambda: names(client, "Add", 1) == {"01"})
        # One is not ready.
        first.register(ready=False)
        eventually(lambda: names(client) == {"01"})
        first.register()
        eventually(lambda: names(client) == {"00", "01"})
        # One is gone, and no call ends in an error for it.
        first.unregister()
        first.stop()
        assert names(client) <= {"00", "01"}
        eventually(lambda: names(client) == {"01"})
        assert len(client.core._connections) == 1


def test_the_asyncio_face_follows_too(pool: Pool) -> None:
    first = pool.add(leader=True)

    async def main() -> None:
        async with open_cell_aio("aha://trial", identity=pool.root) as client:
            stub = client.stub(CountStub)
            assert (await stub.Add(value("a"))).value == "00"
            second = await asyncio.to_thread(pool.add, leader=True)
            await asyncio.to_thread(first.register, leader=False)
            until = time.monotonic() + 5
            while (await stub.Add(value("a"))).value != "01":
                assert time.monotonic() < until
                await asyncio.sleep(0.02)
            assert second.name == "01.trial.demo"

    asyncio.run(main())


def test_a_dead_instance_costs_no_read_and_a_dead_leader_no_read_either(pool: Pool) -> None:
    """They vanish without a word, so that AHA still names them."""
    leader = pool.add(leader=True)
    follower = pool.add()
    with (
        open_cell("aha://trial", identity=pool.root) as client,
        open_cell("aha://trial", identity=pool.root, prefer="any") as spread,
    ):
        assert names(client) == {"00"}
        assert names(spread) == {"00", "01"}
        leader.stop()
        assert names(client) == {"01"}
        assert names(spread) == {"01"}
        with pytest.raises(CellUnreachable):
            client.stub(CountStub).Add(value("a"), timeout=0.5)
        # It comes back elsewhere, and calls that were waiting for it go on.
        threading.Timer(0.4, lambda: (leader.start(), leader.register(leader=True))).start()
        assert client.stub(CountStub).Add(value("a")).value == "00"
    assert follower.server is not None


def test_a_call_goes_on_to_the_leader_that_a_deposed_one_names(pool: Pool) -> None:
    """AHA does not know yet; by name or by address, a write is carried out once, where it belongs."""
    old = pool.add(leader=True)
    new = pool.add()
    for leader in (new.name, new.address):
        old.servicer.leader = leader
        with open_cell("aha://trial", identity=pool.root) as client:
            assert client.stub(CountStub).Add(value(leader)).value == "01"
            assert names(client, "Add", 1) == {"01"}
            with client.pipeline() as pipeline:
                assert pipeline.call(client.stub(CountStub).Add, value("p")).result(10).value == "01"
    assert client_trial.calls_of(old.identity.path) == []

    async def main() -> None:
        async with open_cell_aio("aha://trial", identity=pool.root) as client:
            async with client.pipeline() as pipeline:
                futures = [pipeline.call(client.stub(CountStub).Add, value("p")) for _ in range(3)]
            assert [future.result().value for future in futures] == ["01"] * 3

    asyncio.run(main())


def test_what_was_written_is_read_by_the_same_client_wherever_it_reads(pool: Pool) -> None:
    """The offset of the write goes with each call to a follower, and with none to the leader."""
    leader = pool.add(leader=True)
    follower = pool.add()
    leader.servicer.offset = 41
    with open_cell("aha://trial", identity=pool.root, prefer="any") as client:
        names(client)
        assert follower.servicer.min_offsets in ([], ["41"] * len(follower.servicer.min_offsets))
        follower.servicer.min_offsets.clear()
        client.stub(CountStub).Add(value("a"))
        assert client.change_offset == 41
        leader.servicer.offset = 40  # an older answer does not set it back
        names(client)
        assert set(follower.servicer.min_offsets) == {"41"}
        assert leader.servicer.min_offsets == []
        follower.servicer.min_offsets.clear()
        leader.servicer.min_offsets.clear()
        for _ in range(2):  # one stream goes to each
            with client.pipeline(read_only=True) as pipeline:
                futures = [pipeline.call(client.stub(CountStub).Read, value("a")) for _ in range(4)]
            assert len({future.result().value for future in futures}) == 1
        assert follower.servicer.min_offsets == ["41"] * 4
        assert leader.servicer.min_offsets == []
        leader.servicer.offset = 77
        with client.pipeline() as pipeline:
            pipeline.call(client.stub(CountStub).Add, value("a"))
        assert client.change_offset == 77


def test_the_pool_lives_on_while_aha_is_away(pool: Pool) -> None:
    pool.add(leader=True)
    with open_cell("aha://trial", identity=pool.root) as client:
        assert names(client) == {"00"}
        watcher = client._watcher
        assert watcher is not None
        eventually(lambda: watcher._call is not None)
        watcher._call.cancel()
        assert names(client) == {"00"}
        second = pool.add(leader=True)
        pool.instances[0].register(leader=False)
        # It follows again by itself.
        eventually(lambda: names(client, "Add", 1) == {"01"})
        assert second.server is not None


def test_an_aha_that_says_nothing_is_passed_over(pool: Pool) -> None:
    """As one is whose cable was pulled: it takes connections here, and says nothing."""
    pool.add(leader=True)
    identity = IdentityFolder(pool.root)
    mesh = identity.mesh()
    assert mesh is not None
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        identity.store_mesh(replace(mesh, registry_addresses=(address, *mesh.registry_addresses)))
        with open_cell("aha://trial", identity=pool.root) as client:
            assert names(client, count=1) == {"00"}
            assert client.core.registry == mesh.registry_addresses[0]

        async def call() -> str:
            async with open_cell_aio("aha://trial", identity=pool.root) as client:
                return str((await client.stub(CountStub).Read(value("a"))).value)

        assert asyncio.run(call()) == "00"
        identity.store_mesh(replace(mesh, registry_addresses=(address,)))
        with (
            open_cell("aha://trial", identity=pool.root) as client,
            pytest.raises(CellUnreachable, match="AHA"),
        ):
            client.stub(CountStub).Read(value("a"), timeout=0.5)


def test_a_dropped_client_leaves_no_thread(pool: Pool) -> None:
    """Nobody closes it: the thread that follows AHA ends all the same."""
    import gc

    pool.add(leader=True)
    client = open_cell("aha://trial", identity=pool.root)
    assert names(client) == {"00"}
    assert [one for one in threading.enumerate() if one.name == "cell-watch-trial"]
    del client
    gc.collect()
    eventually(lambda: not [one for one in threading.enumerate() if one.name == "cell-watch-trial"])


@pytest.mark.parametrize("name", ["trial", "trial.demo", "00.trial", "00.trial.demo"])
def test_a_table_keeps_to_the_name_that_was_asked_for(name: str) -> None:
    table = InstanceTable(name)
    added = registry_pb2.InstanceChange.KIND_ADDED
    wanted = registry_pb2.Instance(
        name="00.trial.demo", service="trial", network="demo", address="a:1", ready=True
    )
    other = registry_pb2.Instance(
        name="00.other.demo", service="other", network="demo", address="b:1", ready=True
    )
    changes = [registry_pb2.InstanceChange(kind=added, instance=one) for one in (wanted, other)]
    table.watched(changes, whole=True)
    assert [instance.name for instance in table.all()] == ["00.trial.demo"]
    table.watched(
        [registry_pb2.InstanceChange(kind=registry_pb2.InstanceChange.KIND_REMOVED, instance=wanted)],
        whole=False,
    )
    assert table.stale
    with pytest.raises(CellUnreachable):
        table.pick(Prefer.LEADER, reads=True)
