"""A content of more than 4 GiB, and all edges of it, with memory flat; 160 MiB in the quick form."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cellmesh.api.axon.v1 import blob_pb2, blob_service_pb2_grpc
from cellmesh.common.rpc.channel import open_channel
from cellmesh.testing.robustness.cells import CellProcess

MIB = 1024 * 1024
MEMORY_GROWTH_MAX = 192 * MIB
"""Of what the process itself holds; the pages of the file that it maps are not its own."""


def anonymous_bytes(process_id: int) -> int:
    for line in Path(f"/proc/{process_id}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("Linux tells no RssAnon")


class Peak:
    """The most that a process holds while this runs."""

    def __init__(self, process_id: int) -> None:
        self._process_id = process_id
        self._over = threading.Event()
        self.most = anonymous_bytes(process_id)
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            self.most = max(self.most, anonymous_bytes(self._process_id))


def piece_of(number: int) -> bytes:
    return number.to_bytes(8, "big") * (MIB // 8)


def test_a_very_large_content_passes_in_constant_memory(tmp_path: Path, plan: Any) -> None:
    piece_count = plan.count(160, 4096)
    size = piece_count * MIB + 1
    cell = CellProcess("axon", tmp_path / "axon")
    cell.start()
    try:
        with open_channel(f"unix:{cell.folder / 'cell.sock'}") as channel:
            stub = blob_service_pb2_grpc.BlobServiceStub(channel)
            stub.PutBlobs(blob_pb2.PutBlobsRequest(contents=[b"first"]))
            digest = hashlib.sha256()

            def requests() -> Iterator[blob_pb2.UploadBlobRequest]:
                for number in range(piece_count):
                    digest.update(piece_of(number))
                    yield blob_pb2.UploadBlobRequest(data=piece_of(number))
                digest.update(b"\x00")
                yield blob_pb2.UploadBlobRequest(data=b"\x00", last=True)

            before = anonymous_bytes(cell.pid)
            with Peak(cell.pid) as peak:
                hashes = stub.UploadBlob(requests()).hashes
                assert (hashes.sha256, hashes.size_bytes) == (digest.digest(), size)
                found = hashlib.sha256()
                for message in stub.GetBlob(blob_pb2.GetBlobRequest(sha256=hashes.sha256)):
                    found.update(message.data)
                assert found.digest() == hashes.sha256
                request = blob_pb2.GetBlobRequest(sha256=hashes.sha256, offset_bytes=size - MIB - 1)
                end = b"".join(message.data for message in stub.GetBlob(request))
                assert end == piece_of(piece_count - 1) + b"\x00"
                request = blob_pb2.GetBlobRequest(sha256=hashes.sha256, offset_bytes=size)
                assert list(stub.GetBlob(request)) == []
                assert stub.DeleteBlobs(blob_pb2.DeleteBlobsRequest(sha256s=[hashes.sha256])).deleted == [
                    True
                ]
            totals = stub.GetAxonMetrics(blob_pb2.GetAxonMetricsRequest())
            assert (totals.blob_count, totals.size_bytes) == (1, 5)
            # What it took is free: the same again makes the file no larger.
            (file,) = cell.folder.glob("**/data.mdb")
            taken = file.stat().st_blocks
            stub.UploadBlob(requests())
            assert file.stat().st_blocks <= taken * 1.1
        print(f"{size:,} bytes: memory of its own {before:,} to {peak.most:,}")
        assert peak.most - before < MEMORY_GROWTH_MAX
    finally:
        cell.stop()
