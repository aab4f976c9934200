"""Contents to and from an Axon, for the commands of `cellmesh axon`: with progress, and gone on with after a break."""

from __future__ import annotations

import hashlib
import io
import os
import sys
import tarfile
import time
from collections.abc import Iterable, Iterator
from typing import IO, TYPE_CHECKING, cast

if TYPE_CHECKING:
    from cellmesh.api.axon.v1 import blob_pb2, blob_service_pb2_grpc

UPLOAD_SIZE = 512 * 1024
SHA256_SIZE = 32
SMALL_SIZE_MAX = 256 * 1024
"""Contents up to this size are sent together."""

ATTEMPT_COUNT_MAX = 5
"""How often an upload goes on after breaks that bring it no further."""

RETRY_S = 1.0
LIST_COUNT = 10_000
SHOW_S = 0.2


class Progress:
    """A line on the terminal that tells how far it has come; nothing where standard error is no terminal.

    Args:
        label: What it is about.
        size: How much there is, in bytes; None when that is not known.
    """

    def __init__(self, label: str, size: int | None = None) -> None:
        self._label = label
        self._size = size
        self._done = 0
        self._start_s = time.monotonic()
        self._next_s = self._start_s + SHOW_S
        self._shown = False
        self._is_terminal = sys.stderr.isatty()

    def add(self, size: int) -> None:
        """So many bytes more."""
        self._done += size
        if self._is_terminal and time.monotonic() >= self._next_s:
            self._show()

    def at(self, size: int) -> None:
        """So many bytes in all."""
        self.add(size - self._done)

    def end(self) -> None:
        """Take the line away."""
        if self._shown:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def _show(self) -> None:
        from cellmesh.cli.output import size_text

        now_s = time.monotonic()
        self._next_s = now_s + SHOW_S
        self._shown = True
        rate = self._done / max(now_s - self._start_s, 0.001)
        text = f"{self._label}  {size_text(self._done)}"
        if self._size:
            share = min(1.0, self._done / self._size)
            text += f" of {size_text(self._size)}  [{'#' * int(share * 20):<20}] {share:4.0%}"
        sys.stderr.write(f"\r\033[K{text}  {size_text(int(rate))}/s")
        sys.stderr.flush()


def upload_stream(
    stub: blob_service_pb2_grpc.BlobServiceStub, file: IO[bytes], progress: Progress
) -> blob_pb2.BlobHashes:
    """Store what a pipe gives: it cannot be read twice, so a break is an error."""
    from cellmesh.api.axon.v1 import blob_pb2

    def parts() -> Iterator[blob_pb2.UploadBlobRequest]:
        while data := file.read(UPLOAD_SIZE):
            progress.add(len(data))
            yield blob_pb2.UploadBlobRequest(data=data)
        yield blob_pb2.UploadBlobRequest(last=True)

    return stub.UploadBlob(parts()).hashes


def upload_file(
    stub: blob_service_pb2_grpc.BlobServiceStub,
    file: IO[bytes],
    progress: Progress,
    *,
    upload_id: bytes = b"",
    expected_sha256: bytes = b"",
) -> blob_pb2.BlobHashes:
    """Store a file, going on after breaks of the connection.

    Where the service has another leader since, which has nothing of the upload, it begins again.

    Args:
        stub: Of the Axon.
        file: Can be read anew from any offset.
        progress: Told of it.
        upload_id: Names the upload, so that another run may go on with it; a random one by default.
        expected_sha256: What it must hash to, or empty.

    Raises:
        CellError: as the call; a broken connection only when going on brings no more.
    """
    from cellmesh.common.errors import CellError, LinkErr, Retry, ShuttingDown, UploadMoved

    upload_id = upload_id or os.urandom(16)
    attempts = 0
    reached = 0
    while True:
        try:
            offset = _offset(stub, upload_id) if upload_id and (attempts or expected_sha256) else 0
            if offset > reached:
                attempts, reached = 0, offset
            elif offset < reached:
                print(
                    f"{reached - offset} bytes are sent again, as another instance leads now", file=sys.stderr
                )
                reached = offset
            file.seek(offset)
            progress.at(offset)
            return stub.UploadBlob(_parts(file, progress, upload_id, offset, expected_sha256)).hashes
        except (LinkErr, Retry, ShuttingDown, UploadMoved) as error:
            attempts += 1
            if attempts > ATTEMPT_COUNT_MAX:
                raise
            print(f"{CellError.__str__(error)}; going on", file=sys.stderr)
            time.sleep(RETRY_S * attempts)


def _offset(stub: blob_service_pb2_grpc.BlobServiceStub, upload_id: bytes) -> int:
    from cellmesh.api.axon.v1 import blob_pb2

    return stub.ResumeUpload(blob_pb2.ResumeUploadRequest(upload_id=upload_id)).offset_bytes


def _parts(
    file: IO[bytes], progress: Progress, upload_id: bytes, offset: int, expected_sha256: bytes
) -> Iterator[blob_pb2.UploadBlobRequest]:
    from cellmesh.api.axon.v1 import blob_pb2

    yield blob_pb2.UploadBlobRequest(
        upload_id=upload_id, offset_bytes=offset, expected_sha256=expected_sha256
    )
    while data := file.read(UPLOAD_SIZE):
        progress.add(len(data))
        yield blob_pb2.UploadBlobRequest(data=data)
    yield blob_pb2.UploadBlobRequest(last=True)


def read_blob(
    stub: blob_service_pb2_grpc.BlobServiceStub, sha256: bytes, offset: int = 0, size: int | None = None
) -> Iterator[bytes]:
    """The content of a blob, or a range of it."""
    from cellmesh.api.axon.v1 import blob_pb2

    request = blob_pb2.GetBlobRequest(sha256=sha256, offset_bytes=offset, size_bytes=size)
    for message in stub.GetBlob(request):
        yield message.data


def listed(
    stub: blob_service_pb2_grpc.BlobServiceStub, offset: int = 0
) -> Iterator[list[blob_pb2.ListedBlob]]:
    """The blobs that are there, in order of arrival, some at a time."""
    from cellmesh.api.axon.v1 import blob_pb2

    for message in stub.ListBlobs(blob_pb2.ListBlobsRequest(offset=offset, skip_deleted=True)):
        yield list(message.blobs)


def missing(
    stub: blob_service_pb2_grpc.BlobServiceStub, blobs: Iterable[blob_pb2.ListedBlob]
) -> list[blob_pb2.ListedBlob]:
    """Those of some blobs that an Axon does not have."""
    from cellmesh.api.axon.v1 import blob_pb2

    asked = list(blobs)
    request = blob_pb2.ListMissingBlobsRequest(sha256s=[item.blob.sha256 for item in asked])
    wanted = set(stub.ListMissingBlobs(request).sha256s)
    return [item for item in asked if item.blob.sha256 in wanted]


def copy_blob(
    source: blob_service_pb2_grpc.BlobServiceStub,
    target: blob_service_pb2_grpc.BlobServiceStub,
    blob: blob_pb2.Blob,
) -> None:
    """Copy one blob, going on where an earlier try ended. The target checks that it gets what the name says."""
    with Progress(blob.sha256.hex()[:12], blob.size_bytes) as progress:
        # Named after the content, so that a later run finds what this one sent.
        upload_id = hashlib.sha256(b"cellmesh axon copy" + blob.sha256).digest()[:16]
        file = _BlobFile(source, blob.sha256)
        upload_file(target, cast(IO[bytes], file), progress, upload_id=upload_id, expected_sha256=blob.sha256)


class _BlobFile(io.RawIOBase):
    """A blob as a file that is read in order, from any offset on."""

    def __init__(self, stub: blob_service_pb2_grpc.BlobServiceStub, sha256: bytes) -> None:
        self._stub = stub
        self._sha256 = sha256
        self._pieces: Iterator[bytes] = iter(())
        self._rest = b""

    def seek(self, offset: int, whence: int = 0) -> int:
        self._pieces = read_blob(self._stub, self._sha256, offset)
        self._rest = b""
        return offset

    def read(self, size: int = -1) -> bytes:
        """The next piece, of at most this size."""
        data = self._rest or next(self._pieces, b"")
        self._rest = data[size:]
        return data[:size]


def dump(stub: blob_service_pb2_grpc.BlobServiceStub, file: IO[bytes], offset: int = 0) -> tuple[int, int]:
    """Write all blobs as a tar archive, each as a file named by its SHA-256.

    Returns:
        How many those were, and the offset behind the last one.
    """
    count = 0
    with tarfile.open(fileobj=file, mode="w|") as archive, Progress("dump") as progress:
        for blobs in listed(stub, offset):
            for item in blobs:
                info = tarfile.TarInfo(item.blob.sha256.hex())
                info.size = item.blob.size_bytes
                info.mtime = item.time_us // 1_000_000
                archive.addfile(info, _Counted(read_blob(stub, item.blob.sha256), progress))
                count += 1
                offset = item.offset + 1
    return count, offset


class _Counted(io.RawIOBase):
    """Pieces as a file for tarfile, which reads as much as it asks for."""

    def __init__(self, pieces: Iterator[bytes], progress: Progress) -> None:
        self._pieces = pieces
        self._progress = progress
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        while len(self._rest) < size:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._progress.add(len(piece))
            self._rest += piece
        found, self._rest = self._rest[:size], self._rest[size:]
        return found


def load(stub: blob_service_pb2_grpc.BlobServiceStub, file: IO[bytes]) -> tuple[int, int]:
    """Store the files of a tar archive; those named by a SHA-256 must have it.

    Returns:
        How many were stored, and how many were there already.
    """
    from cellmesh.api.axon.v1 import blob_pb2

    stored = known = 0
    with tarfile.open(fileobj=file, mode="r|*") as archive, Progress("load") as progress:
        for info in archive:
            content = archive.extractfile(info) if info.isfile() else None
            if content is None:
                continue
            expected = name_of(info.name)
            if expected:
                present = stub.HasBlobs(blob_pb2.HasBlobsRequest(sha256s=[expected])).present[0]
                if present:
                    known += 1
                    continue

            def parts(content: object = content, expected: bytes = expected) -> Iterator[object]:
                yield blob_pb2.UploadBlobRequest(expected_sha256=expected)
                while data := content.read(UPLOAD_SIZE):  # type: ignore[attr-defined]
                    progress.add(len(data))
                    yield blob_pb2.UploadBlobRequest(data=data)
                yield blob_pb2.UploadBlobRequest(last=True)

            stub.UploadBlob(parts())  # type: ignore[arg-type]
            stored += 1
    return stored, known


def name_of(name: str) -> bytes:
    """The SHA-256 that a file is named by; empty when it is named otherwise."""
    try:
        found = bytes.fromhex(name.rpartition("/")[2])
    except ValueError:
        return b""
    return found if len(found) == SHA256_SIZE else b""


__all__ = [
    "Progress",
    "copy_blob",
    "dump",
    "listed",
    "load",
    "missing",
    "read_blob",
    "upload_file",
    "upload_stream",
]
