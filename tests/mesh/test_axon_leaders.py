"""An Axon with a mirror, as processes: uploads that go on while another instance comes to lead."""

from __future__ import annotations

import hashlib
import io
import os
import random
from collections.abc import Callable, Iterator
from typing import IO, cast

import pytest
from cellmesh.api.axon.v1 import blob_pb2
from cellmesh.api.axon.v1.blob_service_pb2_grpc import BlobServiceStub
from cellmesh.cli.blobs import Progress, upload_file
from cellmesh.client import open as open_cell
from cellmesh.common.errors import BadArg, UploadMoved
from cellmesh.testing.mirrors import Instances

MIB = 1024 * 1024
SETTINGS = {"leader_lease_s": "1.0", "synchronous_followers": "1", "synchronous_timeout_s": "3.0"}


@pytest.fixture(scope="module")
def axons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instances]:
    with Instances(tmp_path_factory.mktemp("axons"), "axon", 2, SETTINGS) as made:
        yield made


class Moving(io.BytesIO):
    """A file; when so much of it was read for the first time, something is done."""

    def __init__(self, content: bytes, at: int, move: Callable[[], None]) -> None:
        super().__init__(content)
        self._at = at
        self._move = move
        self.moved = False

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        if not self.moved and self.tell() >= self._at:
            self.moved = True
            self._move()
        return data


def test_an_upload_begins_again_at_a_new_leader(axons: Instances, capsys: pytest.CaptureFixture[str]) -> None:
    _, follower = axons.settle()
    content = random.Random(1).randbytes(20 * MIB)
    name = hashlib.sha256(content).digest()

    def promote() -> None:
        axons.promote(follower)

    with open_cell(axons.mesh.url("axon"), identity=axons.mesh.identity) as client:
        stub = client.stub(BlobServiceStub)
        file = Moving(content, 12 * MIB, promote)
        with Progress("file") as progress:
            hashes = upload_file(stub, cast(IO[bytes], file), progress)
        assert file.moved
        assert hashes.sha256 == name
        found = hashlib.sha256()
        for message in stub.GetBlob(blob_pb2.GetBlobRequest(sha256=name)):
            found.update(message.data)
        assert found.digest() == name
    assert "going on" in capsys.readouterr().err
    axons.wait_followers(follower)
    assert axons.check_equal(follower) == 2


def test_who_goes_on_at_another_leader_without_asking_is_told_to_begin_again(axons: Instances) -> None:
    leader, follower = axons.settle()
    upload_id = os.urandom(16)

    def parts(offset: int, *data: bytes, last: bool = False) -> Iterator[blob_pb2.UploadBlobRequest]:
        for number, piece in enumerate(data, 1):
            yield blob_pb2.UploadBlobRequest(
                upload_id=upload_id, offset_bytes=offset, data=piece, last=last and number == len(data)
            )

    with axons.client(leader) as client:
        stub = client.stub(BlobServiceStub)
        with pytest.raises(BadArg):
            stub.UploadBlob(parts(0, b"one "))
        assert stub.ResumeUpload(blob_pb2.ResumeUploadRequest(upload_id=upload_id)).offset_bytes == 4
    axons.promote(follower)
    with axons.client(follower) as client:
        stub = client.stub(BlobServiceStub)
        with pytest.raises(UploadMoved) as caught:
            stub.UploadBlob(parts(4, b"two", last=True))
        assert caught.value.get("offset") == 0
        assert not stub.ResumeUpload(blob_pb2.ResumeUploadRequest(upload_id=upload_id)).found
        hashes = stub.UploadBlob(parts(0, b"one ", b"two", last=True)).hashes
        assert hashes.sha256 == hashlib.sha256(b"one two").digest()
