"""A leader that is told to stop has a follower lead first: three Cortexes and three AHAs as processes, under load."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from cellmesh.api.common.v1 import (
    key_value_service_pb2,
    key_value_service_pb2_grpc,
)
from cellmesh.cli.mesh import Mesh, processes
from cellmesh.client import CellClient, open_cell
from cellmesh.common.values import from_value, to_value
from cellmesh.testing.mirrors import Instances
from cellmesh.testing.mirrors.asking import known_registries, leads, status_of, wait
from load_kit import Load

SETTINGS = {"synchronous_followers": "1", "synchronous_timeout_s": "10.0", "stop_grace_s": "2.0"}
SERVING_AGAIN_S = 10.0
"""Far more than it takes: on a busy machine a process may stand still for seconds."""


class KeyValueLoad(Load):
    """Sets one key-value after the other."""

    def write(self, client: CellClient, value: int) -> None:
        stub: Any = client.stub(key_value_service_pb2_grpc.KeyValueServiceStub)
        request = key_value_service_pb2.SetKeyValueRequest(path=["load", str(value)], value=to_value(value))
        stub.SetKeyValue(request, timeout=10.0)


def stored(client: CellClient) -> set[int]:
    """All values that were set, as one instance has them."""
    stub: Any = client.stub(key_value_service_pb2_grpc.KeyValueServiceStub)
    request = key_value_service_pb2.ListKeyValuesRequest(path=["load"])
    return {
        int(from_value(found.value))
        for response in stub.ListKeyValues(request, timeout=30.0)
        for found in response.key_values
    }


@pytest.fixture(scope="module")
def cortexes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instances]:
    with Instances(tmp_path_factory.mktemp("handover"), "cortex", 3, SETTINGS) as made:
        yield made


def terminate(folder: Path) -> None:
    """What systemd and kubelet do."""
    running = processes.find_running(folder)
    assert running is not None
    os.kill(running.pid, signal.SIGTERM)


def events_of(log: Path, event: str) -> list[str]:
    """The lines of a log that tell of an event."""
    return [line for line in log.read_text().splitlines() if f'"event": "{event}"' in line]


def has_ended(instances: Instances, number: str) -> bool:
    return not instances.is_running(number)


def test_a_leader_that_is_told_to_stop_has_a_follower_lead_first(cortexes: Instances) -> None:
    """The old leader comes back as a follower: what a rolling restart does."""
    leader, *others = cortexes.settle()
    load = KeyValueLoad(cortexes.mesh, "cortex")
    load.wait_more()
    terminate(cortexes.dir(leader))
    cortexes.wait("it ends", partial(has_ended, cortexes, leader))
    successor = cortexes.leader()
    assert successor in others
    # It led before the old one ended, which says so.
    assert cortexes.name(successor) in events_of(cortexes.log(leader), "handed_over")[-1]
    load.wait_more()
    cortexes.start(leader)
    cortexes.wait_followers(successor)
    load.stop()
    assert load.gap_s < SERVING_AGAIN_S
    assert set(load.acknowledged) <= stored(cortexes.client(successor))
    assert cortexes.check_equal(successor) == 3


def test_without_a_follower_it_stops_as_it_is_and_leads_when_it_is_back(cortexes: Instances) -> None:
    leader, *others = cortexes.settle()
    for number in others:
        terminate(cortexes.dir(number))
    for number in others:
        cortexes.wait(f"{number} ends", partial(has_ended, cortexes, number))
    terminate(cortexes.dir(leader))
    cortexes.wait("the leader ends", partial(has_ended, cortexes, leader))
    assert "no follower is there" in events_of(cortexes.log(leader), "not_handed_over")[-1]
    cortexes.start(leader)
    assert cortexes.leader() == leader


def test_the_leader_of_aha_has_another_one_lead_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELLMESH_AHA_STOP_GRACE_S", "2.0")
    mesh = Mesh(tmp_path / "mesh", cells=("aha", "01.aha", "02.aha", "axon"))
    mesh.up()
    try:
        wait("two follow", lambda: sum(one.connected for one in status_of(mesh.folder("aha")).followers) == 2)
        wait("root knows all", lambda: len(known_registries(mesh.identity)) == 3)
        load = KeyValueLoad(mesh, "axon")
        load.wait_more()
        running = processes.find_running(mesh.folder("aha"))
        assert running is not None
        terminate(mesh.folder("aha"))
        wait("it ends", lambda: not processes.is_alive(running.pid))
        assert any(leads(status_of(mesh.folder(cell))) for cell in ("01.aha", "02.aha"))
        assert events_of(mesh.log("aha"), "handed_over")
        # The registry goes on: a new client finds the Axon by its name, and a user can be enrolled.
        with open_cell(mesh.url("axon"), identity=mesh.identity) as client:
            assert stored(client)
        mesh.up()
        wait("it follows", lambda: status_of(mesh.folder("aha")).connected)
        load.wait_more()
        load.stop()
        assert load.gap_s < SERVING_AGAIN_S
        # All at once, as when a machine goes down: each ends by itself, whoever asks whom to lead meanwhile.
        pids = [found.pid for cell in mesh.kinds if (found := processes.find_running(mesh.folder(cell)))]
        assert len(pids) == len(mesh.kinds)
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        wait("all end", lambda: not any(map(processes.is_alive, pids)))
    finally:
        mesh.down()
