"""AHA with mirrors, as processes: the mesh goes on when an AHA is lost, and so do those who joined it before."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from cellmesh.api.common.v1 import mirror_pb2
from cellmesh.api.cryotank.v1 import tank_pb2, tank_service_pb2_grpc
from cellmesh.cli.mesh import Mesh, processes
from cellmesh.client import CellClient, open_cell
from cellmesh.common.errors import PromotionUnsafe
from cellmesh.common.values import from_value, to_value
from cellmesh.testing.mirrors.asking import follower_count, known_registries, leads, promote, status_of, wait
from load_kit import Load

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


def kill(mesh: Mesh, cell: str) -> None:
    running = processes.find_running(mesh.folder(cell))
    assert running is not None
    os.kill(running.pid, signal.SIGKILL)


def follow(mesh: Mesh, leader: str, followers: int) -> None:
    def all_there() -> bool:
        found = status_of(mesh.folder(leader))
        return leads(found) and follower_count(found) == followers

    wait(f"{followers} follow {leader}", all_there, WAIT_S)


class TankLoad(Load):
    """Appends one record after the other to the tank `before`."""

    def write(self, client: CellClient, value: int) -> None:
        stub: Any = client.stub(tank_service_pb2_grpc.TankServiceStub)
        request = tank_pb2.AppendRecordsRequest(name="before", values=[to_value(value)])
        stub.AppendRecords(request, timeout=5.0)


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
    assert status_of(mesh.folder("aha")).synchronous_count == 1
    follow(mesh, "cryotank", 1)
    wait("root knows all", lambda: len(known_registries(mesh.identity)) == 3, WAIT_S)
    add_tank(mesh, "before")
    load = TankLoad(mesh, "cryotank")

    # Gracefully, and the mesh does not notice.
    assert promote(mesh.folder("01.aha")) < SERVING_AGAIN_S
    follow(mesh, "01.aha", 2)
    assert status_of(mesh.folder("aha")).role == mirror_pb2.MIRROR_ROLE_FOLLOWER
    add_tank(mesh, "with-another")

    # The leader is lost: two of three elect another. Cells renew with it, and a leader of theirs can be moved.
    kill(mesh, "01.aha")
    began_s = time.monotonic()
    promote(mesh.folder("aha"), force=True)
    follow(mesh, "aha", 1)
    assert time.monotonic() - began_s < SERVING_AGAIN_S
    add_tank(mesh, "after")
    promote(mesh.folder("01.cryotank"))
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
        promote(mesh.folder("02.aha"), force=True)
    mesh.up()
    ahas = [mesh.folder(cell) for cell in ("aha", "01.aha", "02.aha")]
    wait("an AHA leads", lambda: any(leads(status_of(folder)) for folder in ahas), WAIT_S)
    add_tank(mesh, "whole-again")
    with open_cell(mesh.url("cryotank"), identity=mesh.identity) as client:
        stub: Any = client.stub(tank_service_pb2_grpc.TankServiceStub)
        listed = {tank.name for tank in stub.ListTanks(tank_pb2.ListTanksRequest()).tanks}
    assert listed == {"before", "with-another", "after", "moved", "whole-again"}
