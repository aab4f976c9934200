"""What Storm tells of a real AHA and asks of cells by name: `$lib.aha`, `$lib.telepath`, aha.* commands."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from cellmesh.aha.cell import AhaCell
from cellmesh.aha.config import AhaConfig
from cellmesh.api.aha.v1 import (
    enrollment_pb2,
    enrollment_service_pb2_grpc,
    pool_pb2,
    pool_service_pb2_grpc,
)
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.common.errors import AuthDeny
from cellmesh.common.rpc.channel import open_channel
from cellmesh.cortex.cell import CortexCell
from cellmesh.cortex.config import CortexConfig
from cellmesh.cortex.storm.runtime.messages import Error, Print

REGISTERED_S = 30.0


@pytest.fixture(scope="module", name="cortex")
def _cortex(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CortexCell]:
    folder = tmp_path_factory.mktemp("mesh")
    flags = {"network": "demo", "stop_grace_s": 0.5}
    with running(AhaCell(load_config(AhaConfig, dir=folder / "aha", flags=flags, environ={}))) as aha:
        with open_channel(f"unix:{aha.config.dir}/cell.sock") as channel:
            stub = enrollment_service_pb2_grpc.CertificateServiceStub(channel)
            made = stub.CreateEnrollment(enrollment_pb2.CreateEnrollmentRequest(instance="00.cortex"))
            pools = pool_service_pb2_grpc.PoolServiceStub(channel)
            pools.CreatePool(pool_pb2.CreatePoolRequest(name="readers", members=["cortex"]))
        flags = {"enroll": made.url, "lease_s": 5.0, "stop_grace_s": 0.5}
        with running(
            CortexCell(load_config(CortexConfig, dir=folder / "cortex", flags=flags, environ={}))
        ) as cell:
            deadline = time.monotonic() + REGISTERED_S
            while call(cell, "return($lib.aha.get(cortex))") is None:
                assert time.monotonic() < deadline, "AHA does not know the Cortex"
                time.sleep(0.05)
            yield cell


def call(cell: CortexCell, text: str) -> Any:
    return cell.engine.call(text)


def printed(cell: CortexCell, text: str) -> list[str]:
    found = []
    for message in cell.engine.storm(text):
        assert not isinstance(message, Error), message.error
        if isinstance(message, Print):
            found.append(message.text)
    return found


def test_instances_and_their_calls(cortex: CortexCell) -> None:
    told = call(cortex, "return($lib.aha.get(cortex))")
    assert (told["name"], told["svcname"], told["svcnetw"]) == ("00.cortex.demo", "00.cortex", "demo")
    assert told["svcinfo"]["iden"] == cortex.cell_id
    assert told["svcinfo"]["urlinfo"]["port"] == int(cortex.tcp_address.rpartition(":")[2])
    assert call(cortex, "return($lib.aha.get(nosuch))") is None
    names = call(cortex, "$o=([]) for $s in $lib.aha.list() { $o.append($s.name) } return($o)")
    assert "00.cortex.demo" in names
    query = (
        "for ($name, $answer) in $lib.aha.callPeerApi(cortex, (getCellInfo, ([]), ({})))"
        " { return(($name, $answer.0, $answer.1.cell.cell_id)) }"
    )
    assert list(call(cortex, query)) == ["00.cortex.demo", True, cortex.cell_id]
    query = "for $x in $lib.aha.callPeerApi(cortex, (zork, ([]), ({}))) { return($x) }"
    name, (is_well, (error, _)) = call(cortex, query)
    assert (name, is_well, error) == ("00.cortex.demo", False, "NoSuchMeth")
    query = (
        "for ($name, $answer) in $lib.aha.callPeerGenr(cortex, (storm, ([]), ({'text': '[inet:asn=7]'})))"
        " { $last=$answer } return($last.0)"
    )
    assert call(cortex, query) is True
    assert cortex.engine.count("inet:asn=7") == 1
    told = call(cortex, "return($lib.telepath.open('aha://cortex').getCellInfo().cell.cell_id)")
    assert told == cortex.cell_id
    assert call(cortex, "return($lib.cell.getMirrorUrls())") == []
    assert call(cortex, "return($lib.cell.getCellInfo().cell.aha)") == {
        "name": "00.cortex.demo",
        "leader": "cortex",
        "network": "demo",
    }


def test_pools(cortex: CortexCell) -> None:
    assert call(cortex, "return($lib.aha.pool.get(nosuch))") is None
    assert call(cortex, "return($lib.dict.has($lib.aha.pool.get(readers).services, cortex))") is True
    assert call(cortex, "for $p in $lib.aha.pool.list() { return($p.name) }") == "readers"
    assert printed(cortex, "aha.pool.list") == ["Pool: readers", "    cortex", "1 pools."]
    # To AHA a Cortex is a cell, which may look. Pools and what is registered are changed by administrators.
    for query in (
        "aha.pool.add writers",
        "aha.pool.del readers",
        "aha.pool.svc.add readers axon",
        "aha.pool.svc.del readers cortex",
        "$lib.aha.pool.add(writers)",
        "$lib.aha.pool.del(readers)",
        "$lib.aha.pool.get(readers).add(axon)",
        "$lib.aha.pool.get(readers).del(cortex)",
    ):
        with pytest.raises(AuthDeny):
            call(cortex, query)


def test_what_commands_print(cortex: CortexCell) -> None:
    lines = printed(cortex, "aha.svc.list --nexus")
    assert any(line.startswith("00.cortex.demo ") and " leader " in line for line in lines)
    lines = printed(cortex, "aha.svc.stat cortex")
    assert lines[0] == "Service: cortex (cortex)"
    assert printed(cortex, "aha.svc.mirror") == []
