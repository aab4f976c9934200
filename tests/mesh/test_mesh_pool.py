"""The client as a pool over a real service with mirrors: it reads what it wrote, and follows a promotion and a kill."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from cellmesh.api.common.v1 import key_value_service_pb2, key_value_service_pb2_grpc
from cellmesh.client import CellClient, open_cell
from cellmesh.common.errors import CellError
from cellmesh.common.values import from_value, to_value
from cellmesh.testing.mirrors import Instances

SETTINGS = {"leader_lease_s": "1.0", "synchronous_followers": "1", "synchronous_timeout_s": "3.0"}


def add_one(client: CellClient, path: str) -> int:
    stub = client.stub(key_value_service_pb2_grpc.KeyValueServiceStub)
    request = key_value_service_pb2.AddKeyValueRequest(path=[path], amount=1)
    return int(from_value(stub.AddKeyValue(request, timeout=8).key_value.value))


def put(client: CellClient, path: str, value: int) -> None:
    stub = client.stub(key_value_service_pb2_grpc.KeyValueServiceStub)
    stub.SetKeyValue(key_value_service_pb2.SetKeyValueRequest(path=[path], value=to_value(value)), timeout=8)


def get(client: CellClient, path: str) -> int:
    stub = client.stub(key_value_service_pb2_grpc.KeyValueServiceStub)
    found = stub.GetKeyValue(key_value_service_pb2.GetKeyValueRequest(path=[path]), timeout=8)
    return int(from_value(found.key_value.value))


@pytest.mark.slow
def test_a_pool_reads_what_it_wrote_and_follows_its_leader(tmp_path: Path) -> None:
    with Instances(tmp_path, "axon", 3, SETTINGS) as instances:
        leader, follower, other = instances.settle()
        with open_cell("aha://axon", identity=instances.mesh.identity, prefer="any") as client:
            for value in range(40):
                put(client, "seen", value)
                assert [get(client, "seen") for _ in range(3)] == [value] * 3
            # Every instance was read from.
            assert len(client.core._connections) == 3
            assert client.change_offset >= 40

            # Counted while another is made leader: nothing is added twice, and what was acknowledged is there.
            acknowledged, unknown = [0], [0]
            ending = threading.Event()

            def count() -> None:
                while not ending.is_set():
                    try:
                        add_one(client, "count")
                        acknowledged[0] += 1
                    except CellError:
                        unknown[0] += 1
                    time.sleep(0.005)

            counting = threading.Thread(target=count)
            counting.start()
            time.sleep(0.3)
            instances.promote(follower)
            before = acknowledged[0]
            instances.wait("writes at the new leader", lambda: acknowledged[0] > before + 20, 10.0)
            # The new leader is killed; another is made leader by force.
            instances.kill(follower)
            time.sleep(0.2)
            instances.promote(leader, force=True)
            before = acknowledged[0]
            instances.wait("writes at the next leader", lambda: acknowledged[0] > before + 20, 10.0)
            ending.set()
            counting.join()
            found = get(client, "count")
            assert acknowledged[0] <= found <= acknowledged[0] + unknown[0]
            assert get(client, "seen") == 39
            assert other
