"""Contents of any size pass through a real Axon in constant memory, however slowly the caller reads."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator

import pytest
from cellmesh.api.axon.v1 import blob_pb2, blob_service_pb2_grpc
from cellmesh.cli.mesh import Mesh, processes
from cellmesh.client import CellClient, open_cell

MIB = 1024 * 1024
CONTENT_MIB = 448
GROWTH_MAX = 288 * MIB
"""How much more memory a second large content may leave: less than it, so that keeping it would be seen.
The first one also fills what the allocator of each thread keeps, which on a busy machine goes on growing for a while.
"""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    made = Mesh(tmp_path_factory.mktemp("m"), cells=("axon",))
    try:
        made.up()
        yield made
    finally:
        made.down()


@pytest.fixture
def axon(mesh: Mesh) -> Iterator[CellClient]:
    with open_cell(mesh.url("axon"), identity=mesh.identity) as client:
        yield client


def memory(mesh: Mesh) -> int:
    running = processes.find_running(mesh.folder("axon"))
    assert running is not None
    found = processes.memory_bytes(running.pid)
    if found is None:
        pytest.skip("this system does not tell the memory of a process")
    return found


def part(number: int) -> bytes:
    return number.to_bytes(4, "big") * (MIB // 4)


def parts(first: int = 0) -> Iterator[blob_pb2.UploadBlobRequest]:
    for number in range(first, first + CONTENT_MIB):
        yield blob_pb2.UploadBlobRequest(data=part(number))
    yield blob_pb2.UploadBlobRequest(last=True)


def test_a_large_content_passes_in_constant_memory(mesh: Mesh, axon: CellClient) -> None:
    stub = axon.stub(blob_service_pb2_grpc.BlobServiceStub)
    stub.UploadBlob(parts())
    before = memory(mesh)
    hashes = stub.UploadBlob(parts(1)).hashes
    assert hashes.size_bytes == CONTENT_MIB * MIB
    assert memory(mesh) - before < GROWTH_MAX
    digest = hashlib.sha256()
    for message in stub.GetBlob(blob_pb2.GetBlobRequest(sha256=hashes.sha256)):
        digest.update(message.data)
    assert digest.digest() == hashes.sha256
    assert memory(mesh) - before < GROWTH_MAX


def test_a_caller_that_reads_slowly_does_not_fill_the_server(mesh: Mesh, axon: CellClient) -> None:
    stub = axon.stub(blob_service_pb2_grpc.BlobServiceStub)
    sha256 = stub.UploadBlob(parts()).hashes.sha256
    before = memory(mesh)
    readings = [stub.GetBlob(blob_pb2.GetBlobRequest(sha256=sha256)) for _ in range(4)]
    for reading in readings:
        next(reading)
    time.sleep(1.0)
    assert memory(mesh) - before < GROWTH_MAX
    # Others are served meanwhile.
    assert stub.GetAxonMetrics(blob_pb2.GetAxonMetricsRequest()).blob_count >= 1
    for reading in readings:
        reading.cancel()
