"""BlobService over real gRPC, called with the generated stub and nothing else."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from cellmesh.api.axon.v1 import blob_pb2, blob_service_pb2_grpc
from cellmesh.api.common.v1 import cell_service_pb2, cell_service_pb2_grpc
from cellmesh.axon import schema
from cellmesh.axon.api.blobs import encode_get_response
from cellmesh.axon.cell import AxonCell
from cellmesh.axon.config import AxonConfig
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.common.errors import BadArg, HashMismatch, NoSuchFile, from_rpc_error

MIB = 1024 * 1024


class Axon:
    """A running Axon and a stub of it."""

    def __init__(self, cell: AxonCell, channel: grpc.Channel) -> None:
        self.cell = cell
        self.channel = channel
        self.stub = blob_service_pb2_grpc.BlobServiceStub(channel)

    def upload(self, content: bytes, step: int = 100_000, expected: bytes = b"", last: bool = True) -> bytes:
        def requests() -> Iterator[blob_pb2.UploadBlobRequest]:
            for start in range(0, max(1, len(content)), step):
                yield blob_pb2.UploadBlobRequest(
                    data=content[start : start + step],
                    expected_sha256=expected,
                    last=last and start + step >= len(content),
                )

        return self.stub.UploadBlob(requests()).hashes.sha256

    def get(self, sha256: bytes, offset: int = 0, size: int | None = None) -> bytes:
        request = blob_pb2.GetBlobRequest(sha256=sha256, offset_bytes=offset, size_bytes=size)
        return b"".join(message.data for message in self.stub.GetBlob(request))

    def entries(self) -> dict[str, int]:
        return self.cell.slab.stats().entries


@pytest.fixture
def axon(tmp_path: Path) -> Iterator[Axon]:
    flags = {"insecure": True, "listen": "127.0.0.1:0"}
    config = load_config(AxonConfig, dir=tmp_path / "axon", flags=flags, environ={})
    with running(AxonCell(config)) as cell, grpc.insecure_channel(cell.tcp_address) as channel:
        yield Axon(cell, channel)


def sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def test_small_contents_are_put_and_found(axon: Axon) -> None:
    blobs = axon.stub.PutBlobs(blob_pb2.PutBlobsRequest(contents=[b"", b"abc"])).blobs
    assert [(blob.sha256, blob.size_bytes) for blob in blobs] == [(sha256(b""), 0), (sha256(b"abc"), 3)]
    assert axon.get(sha256(b"abc")) == b"abc"
    assert axon.get(sha256(b"")) == b""
    asked = [sha256(b"abc"), sha256(b"no")]
    assert list(axon.stub.HasBlobs(blob_pb2.HasBlobsRequest(sha256s=asked)).present) == [True, False]
    wanted = axon.stub.ListMissingBlobs(blob_pb2.ListMissingBlobsRequest(sha256s=asked)).sha256s
    assert list(wanted) == [sha256(b"no")]
    info = axon.stub.GetBlobInfo(blob_pb2.GetBlobInfoRequest(sha256=asked[0]))
    assert info.blob.size_bytes == 3
    metrics = axon.stub.GetAxonMetrics(blob_pb2.GetAxonMetricsRequest())
    assert (metrics.blob_count, metrics.size_bytes) == (2, 3)


@pytest.mark.parametrize("size", [0, 1, 65536, 300_000, 20 * MIB + 1])
@pytest.mark.parametrize("last", [True, False])
def test_an_upload_comes_back_in_ranges(axon: Axon, size: int, last: bool) -> None:
    content = random.Random(size).randbytes(size)
    name = axon.upload(content, last=last)
    assert name == sha256(content)
    assert axon.get(name) == content
    assert axon.get(name, size // 2, 70_000) == content[size // 2 : size // 2 + 70_000]
    assert axon.get(name, size + 5) == b""


def test_all_digests_of_an_upload_are_told_when_asked_for(axon: Axon) -> None:
    content = b"text" * 1000
    request = blob_pb2.UploadBlobRequest(data=content, last=True)
    name = axon.stub.UploadBlob(iter((request,))).hashes
    assert (name.sha256, name.size_bytes, name.md5) == (sha256(content), len(content), b"")
    hashes = axon.stub.GetBlobHashes(blob_pb2.GetBlobHashesRequest(sha256=name.sha256)).hashes
    assert hashes.md5 == hashlib.md5(content).digest()
    assert hashes.sha1 == hashlib.sha1(content).digest()
    assert hashes.sha512 == hashlib.sha512(content).digest()
    assert hashes.size_bytes == len(content)


def test_an_upload_of_another_content_than_announced_is_refused(axon: Axon) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        axon.upload(bytes(10 * MIB), expected=sha256(b"other"))
    assert isinstance(from_rpc_error(caught.value), HashMismatch)
    assert axon.entries()[schema.CHUNKS.name] == 0
    assert axon.upload(b"x" * MIB, expected=sha256(b"x" * MIB)) == sha256(b"x" * MIB)


@pytest.mark.parametrize("count", [0, 1, 3, 40])
def test_a_cancelled_upload_leaves_nothing(axon: Axon, count: int) -> None:
    def requests() -> Iterator[blob_pb2.UploadBlobRequest]:
        for number in range(count):
            yield blob_pb2.UploadBlobRequest(data=random.Random(number).randbytes(MIB))
        time.sleep(0.2)
        call.cancel()

    call = axon.stub.UploadBlob.future(requests())
    with pytest.raises(grpc.FutureCancelledError):
        call.result()
    time.sleep(0.3)
    _assert_nothing_is_left(axon)


KILLED_CLIENT = """
import os, sys, grpc
from cellmesh.api.axon.v1 import blob_pb2, blob_service_pb2_grpc

def requests():
    for _ in range(int(sys.argv[2])):
        yield blob_pb2.UploadBlobRequest(data=os.urandom(500_000))
    os.kill(os.getpid(), 9)

blob_service_pb2_grpc.BlobServiceStub(grpc.insecure_channel(sys.argv[1])).UploadBlob(requests())
"""


def test_an_upload_whose_caller_is_killed_leaves_nothing(axon: Axon) -> None:
    """The stream of a caller that dies looks at first as if it had ended well."""
    for count in (1, 2, 13):
        command = [sys.executable, "-c", KILLED_CLIENT, axon.cell.tcp_address, str(count)]
        assert subprocess.run(command, check=False).returncode == -9
    time.sleep(0.5)
    _assert_nothing_is_left(axon)


def _assert_nothing_is_left(axon: Axon) -> None:
    assert axon.cell.store.metrics().blob_count == 0
    assert axon.entries()[schema.CHUNKS.name] == 0
    assert axon.entries()[schema.UPLOADS.name] == 0


def test_blobs_are_listed_from_an_offset(axon: Axon) -> None:
    contents = [b"%d" % number for number in range(3000)]
    axon.stub.PutBlobs(blob_pb2.PutBlobsRequest(contents=contents))
    messages = list(axon.stub.ListBlobs(blob_pb2.ListBlobsRequest(offset=5)))
    listed = [blob for message in messages for blob in message.blobs]
    assert [item.blob.sha256 for item in listed] == [sha256(content) for content in contents[5:]]
    assert [item.offset for item in listed] == list(range(5, 3000))
    assert len(messages) < 100


def test_errors_arrive_as_what_they_are(axon: Axon) -> None:
    cases = (
        (lambda: axon.get(sha256(b"no")), NoSuchFile),
        (lambda: axon.get(b"short"), BadArg),
        (lambda: axon.stub.HasBlobs(blob_pb2.HasBlobsRequest(sha256s=[b"short"])), BadArg),
        (lambda: axon.upload(bytes(3 * MIB), step=3 * MIB), BadArg),
        (lambda: axon.upload(b"x", expected=b"short"), BadArg),
        (lambda: axon.stub.PutBlobs(blob_pb2.PutBlobsRequest(contents=[bytes(4 * MIB)])), BadArg),
    )
    for call, expected in cases:
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert type(from_rpc_error(caught.value)) is expected


def test_the_cell_tells_its_change_offset(axon: Axon) -> None:
    axon.stub.PutBlobs(blob_pb2.PutBlobsRequest(contents=[b"a", b"b"]))
    stub = cell_service_pb2_grpc.CellServiceStub(axon.channel)
    cell = stub.GetCellInfo(cell_service_pb2.GetCellInfoRequest()).cell
    assert (cell.kind, cell.change_offset) == ("axon", 2)
    assert cell.state == cell_service_pb2.CELL_STATE_READY


def test_a_joined_response_is_what_protobuf_writes() -> None:
    for sizes in ((), (0,), (1, 126), (128,), (16384, 3), (70_000, 70_000)):
        pieces = [bytes([index]) * size for index, size in enumerate(sizes)]
        message = blob_pb2.GetBlobResponse.FromString(encode_get_response(pieces))
        assert message.data == b"".join(pieces)
