"""Corners of blobs over real gRPC that no other test has: edges of what is sent, cut uploads, many at once."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from cellmesh.api.axon.v1 import blob_pb2, blob_service_pb2_grpc
from cellmesh.axon.cell import AxonCell
from cellmesh.axon.config import AxonConfig
from cellmesh.common.cell import running
from cellmesh.common.config import load_config

MIB = 1024 * 1024
CHUNK = 65536
PIECE = 500_000
EDGES = (0, 1, CHUNK - 17, CHUNK - 16, CHUNK - 15, CHUNK - 1, CHUNK, CHUNK + 1, MIB - 1, MIB, MIB + 1)


def sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


class Axon:
    def __init__(self, cell: AxonCell, channel: grpc.Channel) -> None:
        self.cell = cell
        self.stub: Any = blob_service_pb2_grpc.BlobServiceStub(channel)

    def put(self, *contents: bytes) -> list[bytes]:
        return [blob.sha256 for blob in self.stub.PutBlobs(blob_pb2.PutBlobsRequest(contents=contents)).blobs]

    def get(self, name: bytes, offset: int = 0, size: int | None = None) -> bytes:
        request = blob_pb2.GetBlobRequest(sha256=name, offset_bytes=offset, size_bytes=size)
        return b"".join(message.data for message in self.stub.GetBlob(request))

    def cut(self, content: bytes) -> None:
        """Send all of a content but its end, and cancel when the cell has begun to store it."""
        sent = threading.Event()

        def requests() -> Iterator[blob_pb2.UploadBlobRequest]:
            for start in range(0, len(content), PIECE):
                yield blob_pb2.UploadBlobRequest(data=content[start : start + PIECE])
            sent.set()
            time.sleep(30)

        call = self.stub.UploadBlob.future(requests())
        assert sent.wait(30)
        call.cancel()

    def wait_until_nothing_is_left(self) -> None:
        end_s = time.monotonic() + 30
        while time.monotonic() < end_s:
            entries = self.cell.slab.stats().entries
            if not entries["chunks"] and not entries["uploads"]:
                return
            time.sleep(0.05)
        raise AssertionError(f"a cut upload has left {entries}")


@pytest.fixture
def axon(tmp_path: Path) -> Iterator[Axon]:
    flags = {"insecure": True, "listen": "127.0.0.1:0"}
    config = load_config(AxonConfig, dir=tmp_path / "axon", flags=flags, environ={})
    with running(AxonCell(config)) as cell, grpc.insecure_channel(cell.tcp_address) as channel:
        yield Axon(cell, channel)


def test_contents_at_the_edges_come_back_by_each_way_in(axon: Axon) -> None:
    contents = {size: random.Random(size).randbytes(size) for size in EDGES}
    assert [axon.put(content)[0] for content in contents.values()] == list(map(sha256, contents.values()))
    for size, content in contents.items():
        assert axon.get(sha256(content)) == content
        for offset in {0, 1, size // 2, max(size - 1, 0), size, size + 1, 2**40, 2**63}:
            for wanted in (0, 1, size, 2**63, None):
                end = None if wanted is None else offset + wanted
                assert axon.get(sha256(content), offset, wanted) == content[offset:end], (
                    size,
                    offset,
                    wanted,
                )
    # The same contents by the other ways in: nothing is stored twice, and the answers are the same.
    metrics = axon.cell.store.metrics()
    for content in contents.values():
        pieces = [content[:1], b"", content[1:MIB], content[MIB:]]
        requests = [blob_pb2.UploadBlobRequest(data=piece) for piece in pieces]
        requests.append(blob_pb2.UploadBlobRequest(last=True))
        assert axon.stub.UploadBlob(iter(requests)).hashes.sha256 == sha256(content)
    parts = [
        blob_pb2.UploadBlobsRequest(parts=[blob_pb2.BlobPart(data=piece, last=is_last)])
        for content in contents.values()
        for piece, is_last in ((content[:1000], False), (content[1000:MIB], False), (content[MIB:], True))
    ]
    found = [item.sha256 for message in axon.stub.UploadBlobs(iter(parts)) for item in message.hashes]
    assert found == list(map(sha256, contents.values()))
    assert axon.cell.store.metrics() == metrics
    assert (metrics.blob_count, metrics.size) == (len(EDGES), sum(EDGES))


def test_the_room_of_cut_uploads_is_used_again(axon: Axon) -> None:
    content = random.Random(1).randbytes(24 * MIB)
    axon.cut(content)
    axon.wait_until_nothing_is_left()
    assert not axon.stub.HasBlobs(blob_pb2.HasBlobsRequest(sha256s=[sha256(content)])).present[0]
    used = axon.cell.slab.stats().used_bytes
    for _ in range(4):
        axon.cut(content)
        axon.wait_until_nothing_is_left()
    # Without that, the file would have five times the content in it.
    assert axon.cell.slab.stats().used_bytes < used + 2 * len(content)
    assert axon.cell.store.metrics().blob_count == 0


def test_who_waits_sees_all_that_many_put_and_delete_meanwhile_in_one_order(axon: Axon) -> None:
    rounds, writers = 40, 4

    def write(number: int) -> None:
        for step in range(rounds):
            (name,) = axon.put(b"%d %d" % (number, step))
            if step % 3 == 0:
                axon.stub.DeleteBlobs(blob_pb2.DeleteBlobsRequest(sha256s=[name]))

    def read(_: int) -> list[tuple[int, bytes]]:
        found: list[tuple[int, bytes]] = []
        call = axon.stub.ListBlobs(blob_pb2.ListBlobsRequest(wait=True), timeout=60)
        for message in call:
            found += [(item.offset, bytes(item.blob.sha256)) for item in message.blobs]
            if len(found) >= rounds * writers:
                call.cancel()
                break
        return found

    with ThreadPoolExecutor(writers + 4) as threads:
        readers = [threads.submit(read, number) for number in range(4)]
        list(threads.map(write, range(writers)))
        seen = [reader.result(60) for reader in readers]
    assert [offset for offset, _ in seen[0]] == list(range(rounds * writers))
    assert {name for _, name in seen[0]} == {
        sha256(b"%d %d" % (number, step)) for number in range(writers) for step in range(rounds)
    }
    assert seen[1:] == seen[:1] * 3


def test_readers_of_a_blob_that_goes_away_get_it_whole_or_an_error(axon: Axon) -> None:
    content = random.Random(2).randbytes(6 * MIB)
    outcomes: list[bool | grpc.StatusCode] = []

    def read(_: int) -> None:
        try:
            outcomes.append(axon.get(sha256(content)) == content)
        except grpc.RpcError as error:
            outcomes.append(error.code())

    with ThreadPoolExecutor(4) as threads:
        for _ in range(6):
            pieces = [content[start : start + MIB] for start in range(0, len(content), MIB)]
            axon.stub.UploadBlob(blob_pb2.UploadBlobRequest(data=piece) for piece in pieces)
            readers = list(map(threads.submit, [read] * 4, range(4)))
            axon.stub.DeleteBlobs(blob_pb2.DeleteBlobsRequest(sha256s=[sha256(content)]))
            for reader in readers:
                reader.result(30)
    assert len(outcomes) == 24
    assert set(outcomes) <= {True, grpc.StatusCode.NOT_FOUND}
    axon.wait_until_nothing_is_left()
