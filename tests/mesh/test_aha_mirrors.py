"""AHA with mirrors, as processes: the mesh goes on when an AHA is lost, and so do those who joined it before."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cellmesh.api.common.v1 import mirror_pb2, mirror_service_pb2_grpc
from cellmesh.api.cryotank.v1 import tank_pb2, tank_service_pb2_grpc
from cellmesh.cli.mesh import Mesh, processes
from cellmesh.client import open_cell
from cellmesh.common.errors import CellError, PromotionUnsafe
from cellmesh.common.values import from_value, to_value

LEASE_S = "1.0"
WAIT_S = 40.0
SERVING_AGAIN_S = 5.0


@pytest.fixture
def mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mesh]:
    for kind in ("AHA", "CRYOTANK"):
        monkeypatch.setenv(f"CELLMESH_{kind}_LEADER_LEASE_S", LEASE_S)
        monkeypatch.setenv(f"CELLMESH_{kind}_LEASE_S", "3.0")
    made = Mesh(tmp_path / "mesh", cells=("aha", "01.aha", "02.aha", "cryotank", "01.cryotank"))
    made.up()
    try:
        yield made
    finally:
        made.down()


def status(mesh: Mesh, cell: str) -> mirror_pb2.MirrorStatus:
    with open_cell(f"unix://{mesh.folder(cell)}") as client:
        stub: Any = client.stub(mirror_service_pb2_grpc.MirrorServiceStub)
        found: mirror_pb2.MirrorStatus = stub.GetMirrorStatus(
            mirror_pb2.GetMirrorStatusRequest(), timeout=5.0
        ).status
        return found


def promote(mesh: Mesh, cell: str, **how: bool) -> float:
    began_s = time.monotonic()
    with open_cell(f"unix://{mesh.folder(cell)}") as client:
        stub: Any = client.stub(mirror_service_pb2_grpc.MirrorServiceStub)
        stub.Promote(mirror_pb2.PromoteRequest(**how), timeout=30.0)
    return time.monotonic() - began_s


def kill(mesh: Mesh, cell: str) -> None:
    running = processes.find_running(mesh.folder(cell))
    assert running is not None
    os.kill(running.pid, signal.SIGKILL)


def wait(what: str, test: Callable[[], bool], timeout_s: float = WAIT_S) -> None:
    end_s = time.monotonic() + timeout_s
    last: CellError | None = None
    while time.monotonic() < end_s:
        try:
            if test():
                return
        except CellError as error:
            last = error
        time.sleep(0.05)
    raise AssertionError(f"{what}: not in {timeout_s:g} s: {last}")


def follow(mesh: Mesh, leader: str, followers: int) -> None:
    def all_there() -> bool:
        found = status(mesh, leader)
        return (
            found.role == mirror_pb2.MIRROR_ROLE_LEADER
            and found.writable
            and sum(one.connected and not one.lag for one in found.followers) == followers
        )

    wait(f"{followers} follow {leader}", all_there)


class Load:
    """One client by the name of the service, never opened anew, that appends records one after the other."""

    def __init__(self, mesh: Mesh, tank: str) -> None:
        self.acknowledged: list[int] = []
        self.gap_s = 0.0
        self._mesh = mesh
        self._tank = tank
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30.0)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        value, last_s = 0, time.monotonic()
        with open_cell(self._mesh.url("cryotank"), identity=self._mesh.identity) as client:
            stub: Any = client.stub(tank_service_pb2_grpc.TankServiceStub)
            while not self._stop.is_set():
                request = tank_pb2.AppendRecordsRequest(name=self._tank, values=[to_value(value)])
                try:
                    stub.AppendRecords(request, timeout=5.0)
                except CellError:
                    time.sleep(0.05)
                else:
                    self.acknowledged.append(value)
                    self.gap_s = max(self.gap_s, time.monotonic() - last_s)
                    last_s = time.monotonic()
                    time.sleep(0.01)
                value += 1


def records(mesh: Mesh, tank: str) -> list[int]:
    with open_cell(mesh.url("cryotank"), identity=mesh.identity) as client:
        stub: Any = client.stub(tank_service_pb2_grpc.TankServiceStub)
        request = tank_pb2.ReadRecordsRequest(name=tank)
        found: list[int] = []
        for response in stub.ReadRecords(request):
            found += [from_value(record.value) for record in response.records]
        return found


def add_tank(mesh: Mesh, name: str) -> None:
    with open_cell(mesh.url("cryotank"), identity=mesh.identity) as client:
        stub: Any = client.stub(tank_service_pb2_grpc.TankServiceStub)
        stub.CreateTank(tank_pb2.CreateTankRequest(name=name))


def test_the_mesh_goes_on_with_another_aha(mesh: Mesh) -> None:
    follow(mesh, "aha", 2)
    assert status(mesh, "aha").synchronous_count == 1
    follow(mesh, "cryotank", 1)
    wait("root knows all", lambda: len(root_addresses(mesh)) == 3)
    add_tank(mesh, "before")
    load = Load(mesh, "before")

    # Gracefully, and the mesh does not notice.
    assert promote(mesh, "01.aha") < SERVING_AGAIN_S
    follow(mesh, "01.aha", 2)
    assert status(mesh, "aha").role == mirror_pb2.MIRROR_ROLE_FOLLOWER
    add_tank(mesh, "with-another")

    # The leader is lost: two of three elect another. Cells renew with it, and a leader of theirs can be moved.
    kill(mesh, "01.aha")
    began_s = time.monotonic()
    promote(mesh, "aha", force=True)
    follow(mesh, "aha", 1)
    assert time.monotonic() - began_s < SERVING_AGAIN_S
    add_tank(mesh, "after")
    promote(mesh, "01.cryotank")
    add_tank(mesh, "moved")
    load.stop()
    # Its cell led all the time, or handed over: whoever leads AHA, calls by name go on.
    assert load.gap_s < SERVING_AGAIN_S
    assert len(load.acknowledged) > 10
    found = records(mesh, "before")
    assert set(load.acknowledged) <= set(found)
    assert len(found) == len(set(found)), "a record was appended twice"

    # Alone, one of three is no majority: it does not lead, and says who is missing.
    kill(mesh, "aha")
    with pytest.raises(PromotionUnsafe, match=r"01\.aha\.mesh"):
        promote(mesh, "02.aha", force=True)
    mesh.up()
    wait("an AHA leads", lambda: any(leads(mesh, cell) for cell in ("aha", "01.aha", "02.aha")))
    add_tank(mesh, "whole-again")
    with open_cell(mesh.url("cryotank"), identity=mesh.identity) as client:
        stub: Any = client.stub(tank_service_pb2_grpc.TankServiceStub)
        listed = {tank.name for tank in stub.ListTanks(tank_pb2.ListTanksRequest()).tanks}
    assert listed == {"before", "with-another", "after", "moved", "whole-again"}


def leads(mesh: Mesh, cell: str) -> bool:
    found = status(mesh, cell)
    return found.role == mirror_pb2.MIRROR_ROLE_LEADER and found.writable


def root_addresses(mesh: Mesh) -> tuple[str, ...]:
    from cellmesh.common.tls.folder import IdentityFolder

    found = IdentityFolder(mesh.identity).mesh()
    return found.registry_addresses if found is not None else ()
