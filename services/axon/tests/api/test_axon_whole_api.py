"""Deletion, uploads that go on, streams of many contents, waiting, history, limits and verification over real gRPC."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from cellmesh.api.axon.v1 import blob_pb2, blob_service_pb2_grpc
from cellmesh.axon import schema
from cellmesh.axon.api import uploads
from cellmesh.axon.cell import AxonCell
from cellmesh.axon.config import AxonConfig
from cellmesh.common.cell import running
from cellmesh.common.config import load_config
from cellmesh.common.errors import BadArg, CellError, HitLimit, NoSuchFile, UploadMoved, from_rpc_error
from google.protobuf.duration_pb2 import Duration

MIB = 1024 * 1024
STEP = 500_000


def run_axon(folder: Path, **more: Any) -> Any:
    flags = {"insecure": True, "listen": "127.0.0.1:0", **more}
    return running(AxonCell(load_config(AxonConfig, dir=folder, flags=flags, environ={})))


class Axon:
    def __init__(self, cell: AxonCell, channel: grpc.Channel) -> None:
        self.cell = cell
        self.stub = blob_service_pb2_grpc.BlobServiceStub(channel)

    def put(self, *contents: bytes) -> list[bytes]:
        return [blob.sha256 for blob in self.stub.PutBlobs(blob_pb2.PutBlobsRequest(contents=contents)).blobs]

    def delete(self, *sha256s: bytes) -> list[bool]:
        return list(self.stub.DeleteBlobs(blob_pb2.DeleteBlobsRequest(sha256s=sha256s)).deleted)

    def get(self, sha256: bytes) -> bytes:
        return b"".join(m.data for m in self.stub.GetBlob(blob_pb2.GetBlobRequest(sha256=sha256)))

    def listed(self, **more: Any) -> list[blob_pb2.ListedBlob]:
        return [blob for m in self.stub.ListBlobs(blob_pb2.ListBlobsRequest(**more)) for blob in m.blobs]

    def metrics(self) -> tuple[int, int]:
        found = self.stub.GetAxonMetrics(blob_pb2.GetAxonMetricsRequest())
        return found.blob_count, found.size_bytes

    def offset(self, upload_id: bytes) -> int | None:
        found = self.stub.ResumeUpload(blob_pb2.ResumeUploadRequest(upload_id=upload_id))
        return found.offset_bytes if found.found else None

    def go_on(self, upload_id: bytes, content: bytes, offset: int, expected: bytes = b"") -> bytes:
        def requests() -> Iterator[blob_pb2.UploadBlobRequest]:
            for start in range(offset, len(content) + 1, STEP):
                yield blob_pb2.UploadBlobRequest(
                    data=content[start : start + STEP],
                    upload_id=upload_id,
                    offset_bytes=offset,
                    expected_sha256=expected,
                    last=start + STEP >= len(content),
                )

        return self.stub.UploadBlob(requests()).hashes.sha256

    def break_off(self, upload_id: bytes, content: bytes, offset: int = 0) -> None:
        """Send some of a content, and cancel."""
        sent = threading.Event()

        def requests() -> Iterator[blob_pb2.UploadBlobRequest]:
            for start in range(offset, len(content), STEP):
                yield blob_pb2.UploadBlobRequest(
                    data=content[start : start + STEP], upload_id=upload_id, offset_bytes=offset
                )
            sent.set()
            time.sleep(60)

        call = self.stub.UploadBlob.future(requests())
        assert sent.wait(10)
        time.sleep(0.1)
        call.cancel()

    def entries(self, db: Any) -> int:
        return self.cell.slab.stats().entries[db.name]


def error_of(caught: Any) -> CellError:
    return from_rpc_error(caught.value)


@pytest.fixture
def axon(tmp_path: Path) -> Iterator[Axon]:
    with run_axon(tmp_path / "axon") as cell, grpc.insecure_channel(cell.tcp_address) as channel:
        yield Axon(cell, channel)


def sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def content_of(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def test_a_deleted_blob_is_gone_with_all_that_it_took(axon: Axon) -> None:
    large = content_of(20 * MIB)
    small, big = axon.put(b"small")[0], axon.go_on(os.urandom(16), large, 0)
    assert axon.delete(small, sha256(b"no"), big, small) == [True, False, True, False]
    assert axon.metrics() == (0, 0)
    for name in (small, big):
        with pytest.raises(grpc.RpcError) as caught:
            axon.get(name)
        assert isinstance(error_of(caught), NoSuchFile)
    assert axon.entries(schema.CHUNKS) == axon.entries(schema.UPLOADS) == axon.entries(schema.PLACES) == 0


def test_what_is_deleted_and_stored_again_arrives_twice(axon: Axon) -> None:
    (name,) = axon.put(b"twice")
    axon.delete(name)
    axon.put(b"other")
    axon.put(b"twice")
    listed = axon.listed()
    assert [(item.offset, item.blob.sha256, item.deleted) for item in listed] == [
        (0, name, True),
        (1, sha256(b"other"), False),
        (2, name, False),
    ]
    assert [item.blob.size_bytes for item in listed] == [5, 5, 5]
    assert [item.offset for item in axon.listed(skip_deleted=True)] == [1, 2]
    assert axon.get(name) == b"twice"
    assert axon.metrics() == (2, 10)


def test_too_many_deletions_in_one_call_are_refused(axon: Axon) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        axon.delete(*[bytes(32)] * 10_001)
    assert isinstance(error_of(caught), BadArg)


def test_a_blob_deleted_while_it_is_read_ends_the_read_with_its_cause(axon: Axon) -> None:
    name = axon.go_on(os.urandom(16), content_of(64 * MIB), 0)
    messages = axon.stub.GetBlob(blob_pb2.GetBlobRequest(sha256=name))
    next(messages)
    axon.delete(name)
    with pytest.raises(grpc.RpcError) as caught:
        list(messages)
    assert isinstance(error_of(caught), NoSuchFile)


def test_messages_written_by_hand_are_those_of_the_proto(axon: Axon) -> None:
    sizes = (0, 1, 127, 128, 16383, 16384, 3_000_000)
    names = [axon.put(content_of(size, size))[0] for size in sizes]
    listed = axon.listed()
    assert [(item.blob.sha256, item.blob.size_bytes) for item in listed] == list(zip(names, sizes))
    now_us = time.time_ns() // 1000
    assert all(now_us - 60_000_000 < item.time_us <= now_us for item in listed)


# Waiting.


def test_blobs_put_while_somebody_waits_are_told_at_once(axon: Axon) -> None:
    axon.put(b"before")
    call = axon.stub.ListBlobs(blob_pb2.ListBlobsRequest(wait=True))
    assert next(call).blobs[0].blob.sha256 == sha256(b"before")
    for number in range(20):
        (name,) = axon.put(b"%d" % number)
        assert [item.blob.sha256 for item in next(call).blobs] == [name]
    call.cancel()


def test_waiting_ends_after_its_time(axon: Axon) -> None:
    axon.put(b"one")
    start_s = time.monotonic()
    listed = axon.listed(wait=True, wait_timeout=Duration(nanos=300_000_000))
    assert len(listed) == 1
    assert 0.25 < time.monotonic() - start_s < 5


WAITING_CLIENT = """
import asyncio, sys, grpc
from cellmesh.api.axon.v1 import blob_pb2, blob_service_pb2_grpc

async def main():
    async with grpc.aio.insecure_channel(sys.argv[1]) as channel:
        stub = blob_service_pb2_grpc.BlobServiceStub(channel)
        calls, reads = [], []
        # gRPC itself refuses calls when a thousand of them wait to be begun.
        for _ in range(int(sys.argv[2]) // 100):
            fresh = [stub.ListBlobs(blob_pb2.ListBlobsRequest(wait=True)) for _ in range(100)]
            calls += fresh
            reads += [asyncio.ensure_future(call.read()) for call in fresh]
            await asyncio.sleep(0.15)
        await asyncio.sleep(1)
        # Others are served while they wait.
        await stub.PutBlobs(blob_pb2.PutBlobsRequest(contents=[b"for all"]), timeout=20)
        found = await asyncio.wait_for(asyncio.gather(*reads), 30)
        print(len([message for message in found if message.blobs]))

asyncio.run(main())
"""


def test_thousands_wait_without_a_thread_each(axon: Axon) -> None:
    """The client has a process of its own."""
    command = [sys.executable, "-c", WAITING_CLIENT, axon.cell.tcp_address, "2000"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=60)
    assert done.stdout.split() == ["2000"]


def test_who_waits_does_not_hold_up_the_stop_of_the_cell(tmp_path: Path) -> None:
    with run_axon(tmp_path / "axon") as cell, grpc.insecure_channel(cell.tcp_address) as channel:
        axon = Axon(cell, channel)
        axon.put(b"x")
        call = axon.stub.ListBlobs(blob_pb2.ListBlobsRequest(wait=True))
        next(call)
        start_s = time.monotonic()
    assert time.monotonic() - start_s < 4
    with pytest.raises(grpc.RpcError):
        next(call)


# History.


def test_history_is_what_came_in_a_stretch_of_time(axon: Axon) -> None:
    times = []
    for number in range(5):
        axon.put(b"%d" % number)
        time.sleep(0.002)
        times.append(time.time_ns() // 1000)
    axon.delete(sha256(b"2"))

    def history(**more: Any) -> list[bytes]:
        request = blob_pb2.ListBlobHistoryRequest(**more)
        return [item.blob.sha256 for m in axon.stub.ListBlobHistory(request) for item in m.blobs]

    names = [sha256(b"%d" % number) for number in range(5)]
    assert history() == names
    assert history(tick_us=times[1]) == names[2:]
    assert history(tick_us=times[0], tock_us=times[2]) == names[1:3]
    assert history(tick_us=times[4]) == []
    assert history(tick_us=times[3], tock_us=times[0]) == []


# Uploads that go on.


def test_an_upload_goes_on_where_it_broke(axon: Axon) -> None:
    content = content_of(12 * MIB)
    upload_id = os.urandom(16)
    assert axon.offset(upload_id) is None
    axon.break_off(upload_id, content[: 7 * MIB])
    offset = axon.offset(upload_id)
    assert offset == 7 * MIB
    assert axon.metrics() == (0, 0)
    axon.break_off(upload_id, content[: 9 * MIB], offset)
    offset = axon.offset(upload_id)
    assert offset == 9 * MIB
    assert axon.go_on(upload_id, content, offset, sha256(content)) == sha256(content)
    assert axon.get(sha256(content)) == content
    assert axon.offset(upload_id) is None
    assert axon.entries(schema.UPLOADS) == 0


def test_an_upload_goes_on_after_a_restart(tmp_path: Path) -> None:
    content = content_of(12 * MIB)
    upload_id = os.urandom(16)
    with run_axon(tmp_path / "axon") as cell, grpc.insecure_channel(cell.tcp_address) as channel:
        Axon(cell, channel).break_off(upload_id, content[: 10 * MIB])
        time.sleep(0.5)
    # Chunks of another size from now on: what is there keeps its own.
    with (
        run_axon(tmp_path / "axon", chunk_size_bytes=8192) as cell,
        grpc.insecure_channel(cell.tcp_address) as channel,
    ):
        axon = Axon(cell, channel)
        offset = axon.offset(upload_id)
        assert offset is not None
        assert 9 * MIB < offset <= 10 * MIB
        assert axon.go_on(upload_id, content, offset) == sha256(content)
        assert axon.get(sha256(content)) == content


def test_an_upload_that_goes_on_elsewhere_is_refused_and_kept(axon: Axon) -> None:
    content = content_of(3 * MIB)
    upload_id = os.urandom(16)
    axon.break_off(upload_id, content)
    assert axon.offset(upload_id) == len(content)
    with pytest.raises(grpc.RpcError) as caught:
        axon.go_on(upload_id, content, 5)
    error = error_of(caught)
    assert isinstance(error, UploadMoved)
    assert (error.get("offset"), error.get("name")) == (len(content), upload_id.hex())
    # Of one that nobody knows, as after the leader has moved, it is told that it begins again.
    other = os.urandom(16)
    with pytest.raises(grpc.RpcError) as caught:
        axon.go_on(other, content, 5)
    error = error_of(caught)
    assert isinstance(error, UploadMoved)
    assert error.get("offset") == 0
    assert axon.offset(other) is None
    assert axon.go_on(other, content, 0) == sha256(content)
    assert axon.offset(upload_id) == len(content)
    with pytest.raises(grpc.RpcError) as caught:
        axon.offset(b"short")
    assert isinstance(error_of(caught), BadArg)


def test_a_second_stream_takes_an_upload_over_from_one_that_hangs(axon: Axon) -> None:
    content = content_of(4 * MIB)
    upload_id = os.urandom(16)
    sent = threading.Event()

    def hang() -> Iterator[blob_pb2.UploadBlobRequest]:
        for start in range(0, len(content), STEP):
            yield blob_pb2.UploadBlobRequest(data=content[start : start + STEP], upload_id=upload_id)
        sent.set()
        time.sleep(60)

    hanging = axon.stub.UploadBlob.future(hang())
    assert sent.wait(10)
    time.sleep(0.2)
    offset = axon.offset(upload_id)
    assert offset == len(content)
    assert hanging.exception(timeout=10) is not None
    assert axon.go_on(upload_id, content, offset) == sha256(content)


def test_an_upload_that_is_given_up_leaves_nothing(axon: Axon) -> None:
    upload_id = os.urandom(16)
    axon.break_off(upload_id, content_of(10 * MIB))
    assert axon.offset(upload_id)
    request = blob_pb2.DeleteUploadRequest(upload_id=upload_id)
    assert axon.stub.DeleteUpload(request).found
    assert not axon.stub.DeleteUpload(request).found
    assert axon.entries(schema.UPLOADS) == axon.entries(schema.CHUNKS) == 0


def test_uploads_that_nobody_goes_on_with_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "SWEEP_S", 0.2)
    with (
        run_axon(tmp_path / "axon", upload_keep_s=1) as cell,
        grpc.insecure_channel(cell.tcp_address) as channel,
    ):
        axon = Axon(cell, channel)
        axon.break_off(os.urandom(16), content_of(6 * MIB))
        time.sleep(0.3)
        assert axon.entries(schema.CHUNKS) > 0
        for _ in range(100):
            if not axon.entries(schema.CHUNKS):
                break
            time.sleep(0.1)
        assert axon.entries(schema.UPLOADS) == axon.entries(schema.CHUNKS) == 0


# Many in one stream.


def test_many_contents_of_all_sizes_pass_in_one_stream(axon: Axon) -> None:
    contents = [content_of(size, size) for size in (0, 1, 500, 65520, 65521, 5 * MIB, 3, 2 * MIB + 1, 7)]

    def requests() -> Iterator[blob_pb2.UploadBlobsRequest]:
        for content in contents:
            for start in range(0, max(1, len(content)), 400_000):
                piece = content[start : start + 400_000]
                last = start + 400_000 >= len(content)
                yield blob_pb2.UploadBlobsRequest(parts=[blob_pb2.BlobPart(data=piece, last=last)])
        yield blob_pb2.UploadBlobsRequest(
            parts=[blob_pb2.BlobPart(data=b"%d" % number, last=True) for number in range(1000)]
        )

    found = [item.sha256 for m in axon.stub.UploadBlobs(requests()) for item in m.hashes]
    assert found == [*map(sha256, contents), *(sha256(b"%d" % number) for number in range(1000))]
    assert all(axon.get(name) == content for name, content in zip(found, contents))


def test_a_stream_that_ends_within_a_content_keeps_those_before(axon: Axon) -> None:
    parts = [
        blob_pb2.BlobPart(data=b"whole", last=True),
        blob_pb2.BlobPart(data=bytes(MIB - 100)),
    ]
    with pytest.raises(grpc.RpcError) as caught:
        list(axon.stub.UploadBlobs(iter((blob_pb2.UploadBlobsRequest(parts=parts),))))
    assert isinstance(error_of(caught), BadArg)
    assert axon.metrics() == (1, 5)
    assert axon.entries(schema.UPLOADS) == 0


def test_the_same_content_uploaded_by_many_at_once_is_stored_once(axon: Axon) -> None:
    content = content_of(9 * MIB)
    threads = [threading.Thread(target=axon.go_on, args=(os.urandom(16), content, 0)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert axon.metrics() == (1, len(content))
    assert axon.entries(schema.CHUNKS) == -(-len(content) // 65520)
    assert axon.get(sha256(content)) == content


# Limits.


def test_limits_refuse_what_would_be_too_much_and_nothing_else(tmp_path: Path) -> None:
    with (
        run_axon(tmp_path / "axon", blob_count_max=3, size_max_bytes=5 * MIB) as cell,
        grpc.insecure_channel(cell.tcp_address) as channel,
    ):
        axon = Axon(cell, channel)
        axon.put(b"a", b"b")
        with pytest.raises(grpc.RpcError) as caught:
            axon.put(b"c", b"d")
        assert isinstance(error_of(caught), HitLimit)
        assert error_of(caught).get("name") == "blob_count_max"
        assert axon.metrics() == (2, 2)
        # What is there already is no more.
        axon.put(b"a", b"b", b"c")
        axon.delete(sha256(b"a"), sha256(b"b"))
        with pytest.raises(grpc.RpcError) as caught:
            axon.go_on(os.urandom(16), content_of(20 * MIB), 0)
        assert error_of(caught).get("name") == "size_max_bytes"
        axon.go_on(os.urandom(16), content_of(5 * MIB - 1), 0)
        assert axon.metrics() == (2, 5 * MIB)
        with pytest.raises(grpc.RpcError):
            axon.put(b"z")


# Verification.


def verify(axon: Axon, **more: Any) -> tuple[int, dict[bytes, str]]:
    messages = list(axon.stub.VerifyBlobs(blob_pb2.VerifyBlobsRequest(**more)))
    damaged = {item.blob.sha256: item.problem for message in messages for item in message.damaged}
    return messages[-1].blob_count, damaged


def test_damaged_blobs_are_found_and_named(axon: Axon) -> None:
    axon.put(*(content_of(1000, seed) for seed in range(50)))
    large = axon.go_on(os.urandom(16), content_of(3 * MIB, 77), 0)
    assert verify(axon) == (51, {})
    slab = axon.cell.slab
    with slab.view() as txn:
        keys = txn.scan_keys(schema.CHUNKS, count_max=1000).items
        value = txn.get(schema.CHUNKS, keys[7]) or b""
    slab.write(lambda txn: txn.put(schema.CHUNKS, keys[7], value[:-1] + bytes([value[-1] ^ 1])))
    slab.write(lambda txn: txn.delete(schema.CHUNKS, keys[-1]))
    count, damaged = verify(axon)
    assert count == 51
    assert set(damaged) == {sha256(content_of(1000, 7)), large}
    assert "SHA-256" in damaged[sha256(content_of(1000, 7))]
    assert "missing" in damaged[large]
    assert verify(axon, sha256s=[sha256(content_of(1000, 7))])[1]
    assert verify(axon, offset=8)[0] == 43
    # Stored again once it is deleted, it is whole.
    axon.delete(sha256(content_of(1000, 7)))
    axon.put(content_of(1000, 7))
    assert set(verify(axon)[1]) == {large}
    with pytest.raises(grpc.RpcError) as caught:
        verify(axon, sha256s=[bytes(32)])
    assert isinstance(error_of(caught), NoSuchFile)


def test_all_digests_are_told(axon: Axon) -> None:
    (name,) = axon.put(b"abc")
    hashes = axon.stub.GetBlobHashes(blob_pb2.GetBlobHashesRequest(sha256=name)).hashes
    assert (hashes.md5, hashes.sha1) == (hashlib.md5(b"abc").digest(), hashlib.sha1(b"abc").digest())
    assert (hashes.sha512, hashes.size_bytes) == (hashlib.sha512(b"abc").digest(), 3)
