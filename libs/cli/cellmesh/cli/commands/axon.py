"""`cellmesh axon`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click
from cellmesh.cli.commands.serve import serve_of
from cellmesh.cli.connect import cell_options, open_by_options
from cellmesh.cli.lazy import LazyGroup

if TYPE_CHECKING:
    from cellmesh.api.axon.v1 import blob_pb2

UPLOAD_SIZE = 512 * 1024
SHA256_SIZE = 32


@click.group(cls=LazyGroup, lazy=serve_of("axon"))
def axon() -> None:
    """The blob store: contents by their SHA-256."""


@axon.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))
@cell_options
def put(files: tuple[Path, ...], url: str | None, folder: Path | None, identity: Path | None) -> None:
    """Store files, of any size, and print the SHA-256 and size of each. `-` is standard input."""
    from cellmesh.api.axon.v1 import blob_service_pb2_grpc

    with open_by_options("axon", url, folder, identity) as client:
        stub = client.stub(blob_service_pb2_grpc.BlobServiceStub)
        for path in files:
            if str(path) == "-":
                response = stub.UploadBlob(_parts(sys.stdin.buffer))
            else:
                with path.open("rb") as file:
                    response = stub.UploadBlob(_parts(file))
            click.echo(f"{response.hashes.sha256.hex()}  {response.hashes.size_bytes}  {path}")


def _parts(file: BinaryIO) -> Iterator[blob_pb2.UploadBlobRequest]:
    from cellmesh.api.axon.v1 import blob_pb2

    while data := file.read(UPLOAD_SIZE):
        yield blob_pb2.UploadBlobRequest(data=data)
    yield blob_pb2.UploadBlobRequest(last=True)


@axon.command()
@click.argument("sha256")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=None,
    help="File to write; standard output otherwise.",
)
@click.option("--offset", type=click.IntRange(0), default=0, help="Where to begin, in bytes.")
@click.option("--size", type=click.IntRange(0), default=None, help="At most this many bytes.")
@cell_options
def get(
    sha256: str,
    output: Path | None,
    offset: int,
    size: int | None,
    url: str | None,
    folder: Path | None,
    identity: Path | None,
) -> None:
    """Write the content of a blob, or a part of it."""
    from cellmesh.api.axon.v1 import blob_pb2, blob_service_pb2_grpc

    request = blob_pb2.GetBlobRequest(sha256=read_sha256(sha256), offset_bytes=offset, size_bytes=size)
    with open_by_options("axon", url, folder, identity) as client:
        stub = client.stub(blob_service_pb2_grpc.BlobServiceStub)
        messages = stub.GetBlob(request)
        # Before the file is made: a blob that is not there makes none.
        first = next(iter(messages), None)
        with output.open("wb") if output else click.open_file("-", "wb") as file:
            if first is not None:
                file.write(first.data)
            for message in messages:
                file.write(message.data)


@axon.command()
@click.argument("sha256s", nargs=-1, required=True)
@cell_options
@click.pass_context
def has(
    ctx: click.Context, sha256s: tuple[str, ...], url: str | None, folder: Path | None, identity: Path | None
) -> None:
    """Tell whether blobs are there. Exit code: 0 all are, 1 some are not."""
    from cellmesh.api.axon.v1 import blob_pb2, blob_service_pb2_grpc

    request = blob_pb2.HasBlobsRequest(sha256s=map(read_sha256, sha256s))
    with open_by_options("axon", url, folder, identity) as client:
        present = client.stub(blob_service_pb2_grpc.BlobServiceStub).HasBlobs(request).present
    for sha256, is_there in zip(sha256s, present):
        click.echo(f"{sha256}  {'yes' if is_there else 'no'}")
    ctx.exit(0 if all(present) else 1)


@axon.command("list")
@click.option(
    "--offset", type=click.IntRange(0), default=0, help="Begin at this offset in the order of arrival."
)
@cell_options
def list_blobs(offset: int, url: str | None, folder: Path | None, identity: Path | None) -> None:
    """List the blobs in order of arrival: offset, SHA-256, size; then the totals."""
    from cellmesh.api.axon.v1 import blob_pb2, blob_service_pb2_grpc
    from cellmesh.cli.output import size_text

    with open_by_options("axon", url, folder, identity) as client:
        stub = client.stub(blob_service_pb2_grpc.BlobServiceStub)
        for message in stub.ListBlobs(blob_pb2.ListBlobsRequest(offset=offset)):
            for item in message.blobs:
                click.echo(f"{item.offset}  {item.blob.sha256.hex()}  {item.blob.size_bytes}")
        totals = stub.GetAxonMetrics(blob_pb2.GetAxonMetricsRequest())
    click.echo(f"{totals.blob_count} blobs, {size_text(totals.size_bytes)}", err=True)


def read_sha256(text: str) -> bytes:
    """Read a SHA-256 as people write it.

    Raises:
        click.BadParameter: it is not 64 hexadecimal digits.
    """
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != SHA256_SIZE:
        raise click.BadParameter(f"{text!r} is no SHA-256: 64 hexadecimal digits")
    return found
