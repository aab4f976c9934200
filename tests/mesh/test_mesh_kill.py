"""Cells killed with SIGKILL in the middle of their work: nothing half-done shows, nothing acknowledged is lost."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cellmesh.api.aha.v1 import registry_pb2, registry_service_pb2_grpc
from cellmesh.api.axon.v1 import blob_pb2, blob_service_pb2_grpc
from cellmesh.api.cryotank.v1 import tank_pb2, tank_service_pb2_grpc
from cellmesh.axon import schema as axon_schema
from cellmesh.cli.mesh import Mesh, processes
from cellmesh.client import open_cell
from cellmesh.common.errors import CellError, NoSuchCell, NoSuchTank
from cellmesh.common.storage import Layout, Slab, SubDb
from cellmesh.common.values import to_value
from cellmesh.cryotank import schema as cryotank_schema

MIB = 1024 * 1024


@pytest.fixture
def mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mesh]:
    """A mesh whose cells die when the third part of an upload, or of a deletion, is stored."""
    made = Mesh(tmp_path / "m", cells=("axon", "cryotank"))
    try:
        with monkeypatch.context() as context:
            context.setenv(
                "CELLMESH_FAILPOINTS", "axon_upload_part_stored=2>kill;cryotank_records_removed=kill"
            )
            made.up()
        yield made
    finally:
        made.down()


def stored_count(
    mesh: Mesh, kind: str, databases: tuple[SubDb, ...], db: SubDb, layout: Layout | None = None
) -> int:
    with Slab.open(mesh.folder(kind) / "slab", databases, layout=layout) as slab:
        return slab.stats().entries[db.name]


def test_an_axon_killed_during_an_upload_keeps_what_it_acknowledged_and_no_more(mesh: Mesh) -> None:
    def parts() -> Iterator[blob_pb2.UploadBlobRequest]:
        for number in range(64):
            yield blob_pb2.UploadBlobRequest(data=bytes([number]) * MIB)
        yield blob_pb2.UploadBlobRequest(last=True)

    with open_cell(mesh.url("axon"), identity=mesh.identity) as client:
        stub = client.stub(blob_service_pb2_grpc.BlobServiceStub)
        kept = stub.PutBlobs(blob_pb2.PutBlobsRequest(contents=[b"kept"])).blobs[0]
        with pytest.raises(CellError):
            stub.UploadBlob(parts())
    assert {cell.kind: cell.state for cell in mesh.status()}["axon"] == "stopped"
    mesh.up()
    with open_cell(mesh.url("axon"), identity=mesh.identity) as client:
        stub = client.stub(blob_service_pb2_grpc.BlobServiceStub)
        listed = [
            item.blob for message in stub.ListBlobs(blob_pb2.ListBlobsRequest()) for item in message.blobs
        ]
        totals = stub.GetAxonMetrics(blob_pb2.GetAxonMetricsRequest())
    assert listed == [kept]
    assert (totals.blob_count, totals.size_bytes) == (1, 4)
    mesh.down()
    assert stored_count(mesh, "axon", axon_schema.DATABASES, axon_schema.CHUNKS, axon_schema.LAYOUT) == 1
    assert stored_count(mesh, "axon", axon_schema.DATABASES, axon_schema.UPLOADS, axon_schema.LAYOUT) == 0


def test_a_cryotank_killed_during_a_deletion_ends_it_at_the_next_start(mesh: Mesh) -> None:
    with open_cell(mesh.url("cryotank"), identity=mesh.identity) as client:
        stub = client.stub(tank_service_pb2_grpc.TankServiceStub)
        for name in ("gone", "kept"):
            stub.CreateTank(tank_pb2.CreateTankRequest(name=name))
            requests = (
                tank_pb2.AppendStreamRequest(name=name, values=[to_value(number)] * 10)
                for number in range(500)
            )
            assert sum(response.count for response in stub.AppendStream(requests)) == 5000
        with pytest.raises(CellError):
            stub.DeleteTank(tank_pb2.DeleteTankRequest(name="gone"))
    mesh.up()
    with open_cell(mesh.url("cryotank"), identity=mesh.identity) as client:
        stub = client.stub(tank_service_pb2_grpc.TankServiceStub)
        with pytest.raises(NoSuchTank):
            stub.GetTankMetrics(tank_pb2.GetTankMetricsRequest(name="gone"))
        assert stub.GetTankMetrics(tank_pb2.GetTankMetricsRequest(name="kept")).record_count == 5000
    mesh.down()
    # A block for each append.
    databases, layout = cryotank_schema.DATABASES, cryotank_schema.LAYOUT
    assert stored_count(mesh, "cryotank", databases, cryotank_schema.RECORDS, layout) == 500


def test_a_killed_cell_leaves_the_registry_when_its_lease_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELLMESH_AXON_LEASE_S", "1")
    mesh = Mesh(tmp_path / "m", cells=("axon",))
    try:
        mesh.up()
        running = processes.find_running(mesh.folder("axon"))
        assert running is not None
        with open_cell(mesh.url("aha"), identity=mesh.identity) as client:
            registry = client.stub(registry_service_pb2_grpc.RegistryServiceStub)
            watch = registry.WatchInstances(registry_pb2.WatchInstancesRequest(service="axon"))
            assert [change.instance.name for change in next(watch).changes] == ["00.axon.mesh"]
            os.kill(running.pid, signal.SIGKILL)
            killed_s = time.monotonic()
            (change,) = next(watch).changes
            assert change.kind == registry_pb2.InstanceChange.KIND_REMOVED
            assert time.monotonic() - killed_s < 3.0
            with pytest.raises(NoSuchCell):
                registry.GetService(registry_pb2.GetServiceRequest(name="axon"))
    finally:
        mesh.down()
