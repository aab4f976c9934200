"""The control plane of an AHA with mirrors, as processes: stock gRPC clients of a Cortex with a mirror, pools, and an AHA that
is lost."""

from __future__ import annotations

import datetime
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from cellmesh.api.aha.v1 import pool_pb2, pool_service_pb2_grpc, revocation_pb2
from cellmesh.api.aha.v1.enrollment_service_pb2_grpc import CertificateServiceStub
from cellmesh.api.common.v1 import (
    auth_service_pb2,
    cell_service_pb2,
    cell_service_pb2_grpc,
    mirror_pb2,
    task_service_pb2,
)
from cellmesh.api.common.v1.auth_service_pb2_grpc import AuthServiceStub
from cellmesh.api.common.v1.task_service_pb2_grpc import TaskServiceStub
from cellmesh.cli.mesh import Mesh, ports, processes
from cellmesh.client import open_cell
from cellmesh.common.errors import CertRevoked, from_rpc_error
from cellmesh.common.rpc.channel import open_channel
from cellmesh.common.tls.enrollment import enroll
from cellmesh.common.tls.folder import IdentityFolder
from cellmesh.testing.mirrors.asking import follower_count, leads, promote, status_of, wait
from xds_process import Client, write_bootstrap

WAIT_S = 30.0
MOVE_S = 0.1
MOVE_COUNT_MAX = 8
FACES = ("sync", "aio")
CELLS = ("aha", "01.aha", "02.aha", "axon", "cortex", "01.cortex")
CORTEXES = ("00.cortex.mesh", "01.cortex.mesh")


class MirroredMesh:
    """Such a mesh, and what a test does to it."""

    def __init__(self, folder: Path) -> None:
        self.mesh = Mesh(folder / "mesh", cells=CELLS)
        self.bootstrap = folder / "xds.json"

    def call(self, cell: str, stub: Any, method: str, request: Any) -> Any:
        with open_cell(f"unix://{self.mesh.folder(cell)}") as client:
            return getattr(client.stub(stub), method)(request, timeout=30.0)

    def status(self, cell: str) -> mirror_pb2.MirrorStatus:
        return status_of(self.mesh.folder(cell), timeout_s=WAIT_S)

    def promote(self, cell: str, **how: bool) -> None:
        promote(self.mesh.folder(cell), timeout_s=WAIT_S, **how)

    def try_to_promote(self, cell: str) -> bool:
        """Once more, unless it leads; raises what is in the way."""
        if not self.leads(cell):
            self.promote(cell)
        return self.leads(cell)

    def pool(self, method: str, **fields: Any) -> None:
        request = getattr(pool_pb2, f"{method}Request")(**fields)
        self.call("aha", pool_service_pb2_grpc.PoolServiceStub, method, request)

    def send(self, cell: str, number: signal.Signals) -> None:
        running = processes.find_running(self.mesh.folder(cell))
        assert running is not None
        os.kill(running.pid, number)

    def leads(self, cell: str) -> bool:
        return leads(self.status(cell))

    def followed(self, cell: str, count: int) -> bool:
        found = self.status(cell)
        return leads(found) and follower_count(found) >= count

    def is_known(self) -> bool:
        """Whether each cell, and root, know where all instances of AHA are: they hear of new ones when they renew."""
        folders = [self.mesh.identity, *(self.mesh.folder(cell) / "certs" for cell in CELLS)]
        found = [IdentityFolder(folder).mesh() for folder in folders]
        return all(known is not None and len(known.registry_addresses) == 3 for known in found)

    def cortexes(self) -> tuple[str, str]:
        """The one that leads and the other one, once they are equal."""
        found: list[str] = []

        def settled() -> bool:
            found[:] = [cell for cell in ("cortex", "01.cortex") if self.followed(cell, 1)]
            return bool(found)

        wait("one Cortex follows the other", settled)
        return found[0], "01.cortex" if found[0] == "cortex" else "cortex"

    def moved_s(self, aha: str, name: str) -> float:
        """When an AHA last made an instance leader, in seconds since 1970."""
        for line in reversed(self.mesh.log(aha).read_text().splitlines()):
            if '"leader_changed"' in line and json.loads(line)["leader"] == name:
                return datetime.datetime.fromisoformat(json.loads(line)["time"]).timestamp()
        raise AssertionError(f"{name} was never made leader")


def full(cell: str) -> str:
    return f"{cell if cell[0].isdigit() else '00.' + cell}.mesh"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MirroredMesh]:
    made = MirroredMesh(tmp_path_factory.mktemp("xds"))
    with pytest.MonkeyPatch.context() as patch:
        for kind in ("AHA", "CORTEX"):
            patch.setenv(f"CELLMESH_{kind}_LEADER_LEASE_S", "1.0")
        made.mesh.up()
    try:
        wait("two follow AHA", lambda: made.followed("aha", 2))
        made.cortexes()
        wait("root knows all", lambda: len(write_bootstrap(made.mesh.identity, made.bootstrap)) == 3)
        yield made
    finally:
        made.mesh.down()


def seen_by(client: Client, name: str, names: set[str], **options: Any) -> None:
    """Call until just these have answered in a row."""

    def all_seen() -> bool:
        return client.ask(name, count=12, wait=True, timeout=10.0, **options).keys() == names

    wait(f"{sorted(names)} answer {name}", all_seen)


@pytest.mark.parametrize("face", FACES)
def test_a_pool_is_called_like_a_service_and_followed(world: MirroredMesh, face: str) -> None:
    leader, _ = world.cortexes()
    name = f"pool-{face}"
    world.pool("CreatePool", name=name, members=["axon"])
    with Client(face, world.bootstrap) as client:
        assert client.ask(name, count=5, wait=True) == {"00.axon.mesh": 5}
        client.begin(name, seconds=1.5)
        time.sleep(0.3)
        world.pool("AddPoolMember", name=name, member="cortex")
        found = client.end()["found"]
        assert found.keys() == {"00.axon.mesh", *CORTEXES}, "no call may fail"
        seen_by(client, name, {"00.axon.mesh", *CORTEXES})
        # What is not a read goes to the leader of each member.
        seen_by(client, name, {"00.axon.mesh", full(leader)}, read="leader")
        assert client.ask(name, "set", count=10) == {"done": 10}
        client.begin(name, seconds=1.0)
        world.pool("RemovePoolMember", name=name, member="axon")
        assert client.end()["found"].keys() <= {"00.axon.mesh", *CORTEXES}
        seen_by(client, name, set(CORTEXES))
        world.pool("DeletePool", name=name)
        wait("nobody answers for it", lambda: client.ask(name, timeout=1.0).keys() & set(CORTEXES) == set())


@pytest.mark.parametrize("face", FACES)
def test_a_cortex_is_read_at_its_mirror_and_written_at_its_leader(world: MirroredMesh, face: str) -> None:
    leader, follower = world.cortexes()
    took: list[float] = []
    with Client(face, world.bootstrap) as client:
        seen_by(client, "cortex", set(CORTEXES))
        found = client.ask("cortex", count=40)
        assert found.keys() == set(CORTEXES)
        assert min(found.values()) >= 10
        # With the mirror standing still a write that went there would hang.
        client.ask("cortex", "storm", wait=True)
        world.send(follower, signal.SIGSTOP)
        try:
            assert client.ask("cortex", "storm", count=10, timeout=5.0) == {"done": 10}
        finally:
            world.send(follower, signal.SIGCONT)
        for to in (follower, leader) * (MOVE_COUNT_MAX // 2):
            world.cortexes()
            client.begin("cortex", read="leader", seconds=1.0)
            time.sleep(0.3)
            world.promote(to)
            seen = client.end()["seen"]
            assert [name for _, name in seen] == [seen[0][1], full(to)], "no call may fail"
            took.append(seen[-1][0] - world.moved_s("aha", full(to)))
            assert client.ask("cortex", "storm", timeout=10.0) == {"done": 1}
            if len(took) > 1 and min(took) < MOVE_S:
                break
    print(f"from the move at AHA to the first answer: {[f'{one * 1000:.0f} ms' for one in took]}")
    assert min(took) < MOVE_S


def refused(world: MirroredMesh, cell: str, identity: Path) -> bool:
    """Whether a cell refuses who shows a certificate because it was revoked."""
    address = str(ports.read_settings(world.mesh.folder(cell)).get("listen", ""))
    if not address:
        running = processes.find_running(world.mesh.folder(cell))
        assert running is not None
        address = next(found for found in running.addresses if not found.startswith("unix:"))
    with open_channel(address, identity=IdentityFolder(identity), server_name=full(cell)) as channel:
        stub = cell_service_pb2_grpc.CellServiceStub(channel)
        try:
            stub.GetCellInfo(cell_service_pb2.GetCellInfoRequest(), timeout=5.0)
        except grpc.RpcError as error:
            return isinstance(from_rpc_error(error), CertRevoked)
    return False


def enrolled(world: MirroredMesh, user: str) -> Path:
    folder = world.mesh.dir / "users" / user
    enroll(world.mesh.provision(user=user), IdentityFolder(folder))
    return folder


def revoke(world: MirroredMesh, aha: str, name: str) -> None:
    request = revocation_pb2.RevokeCertificatesRequest(name=name, reason="test")
    world.call(aha, CertificateServiceStub, "RevokeCertificates", request)


def audit(world: MirroredMesh, cell: str) -> list[str]:
    """What a cell has refused."""
    request = auth_service_pb2.ListAuditRecordsRequest()
    found = world.call(cell, AuthServiceStub, "ListAuditRecords", request).records
    return [f"{record.actor} {record.action} {record.detail}" for record in found]


def test_a_revocation_counts_where_another_aha_is_followed(world: MirroredMesh) -> None:
    """The Axon follows the third AHA, the Cortexes the first one, which leads."""
    wait("everybody knows all AHAs", world.is_known)
    alice = enrolled(world, "alice")
    third = str(ports.read_settings(world.mesh.folder("02.aha"))["listen"])
    certs = IdentityFolder(world.mesh.folder("axon") / "certs")
    known = certs.mesh()
    assert known is not None
    running = processes.find_running(world.mesh.folder("axon"))
    assert running is not None
    processes.stop(running.pid)
    others = [address for address in known.registry_addresses if address != third]
    certs.store_mesh(replace(known, registry_addresses=(third, *others)))
    world.mesh.up()

    def follows_third() -> bool:
        found = world.call("02.aha", TaskServiceStub, "ListTasks", task_service_pb2.ListTasksRequest()).tasks
        return any("WatchRevocations" in str(task) and "00.axon.mesh" in str(task) for task in found)

    wait("the Axon asks the third AHA", follows_third)
    cells = ("axon", "cortex", "01.cortex", "aha", "01.aha", "02.aha")
    assert not any(refused(world, cell, alice) for cell in cells)
    revoke(world, "aha", "alice@mesh")
    for cell in cells:
        wait(f"{cell} refuses who was revoked", partial(refused, world, cell, alice), 10.0)
    wait("it is in the audit log", lambda: any("alice@mesh" in line for line in audit(world, "axon")))


@pytest.mark.slow
@pytest.mark.parametrize("face", FACES[:1])
def test_an_aha_that_is_lost_is_replaced_by_the_next(world: MirroredMesh, face: str) -> None:
    """The client is told of changes by the next one, and what is revoked there is revoked."""
    wait("everybody knows all AHAs", world.is_known)
    wait("the first AHA leads two", lambda: world.try_to_promote("aha") and world.followed("aha", 2))
    leader, follower = world.cortexes()
    user = enrolled(world, f"bob-{face}")
    with Client(face, world.bootstrap) as client:
        seen_by(client, "cortex", set(CORTEXES))
        assert client.ask("cortex", read="leader") == {full(leader): 1}
        client.begin("cortex", seconds=2.0)
        world.send("aha", signal.SIGKILL)
        world.promote("02.aha", force=True)
        assert client.end()["found"].keys() == set(CORTEXES), "the data path goes on"
        wait("another AHA leads", lambda: world.followed("02.aha", 1))
        client.begin("cortex", read="leader", seconds=4.0)
        wait("the Cortex asks the AHA that leads now", lambda: world.try_to_promote(follower))
        assert client.end()["found"].keys() <= set(CORTEXES), "no call may fail"
        seen_by(client, "cortex", {full(follower)}, read="leader")
    revoke(world, "02.aha", f"bob-{face}@mesh")
    for cell in ("02.aha", "01.aha", "cortex", "01.cortex", "axon"):
        wait(f"{cell} refuses who was revoked", partial(refused, world, cell, user))
    world.mesh.up()
