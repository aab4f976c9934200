"""`cellmesh axon`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO, cast

import click
from cellmesh.cli.commands.serve import serve_of
from cellmesh.cli.connect import cell_options, open_by_options
from cellmesh.cli.lazy import LazyGroup
from cellmesh.cli.records import echo_records, json_option

SHA256_SIZE = 32


@click.group(cls=LazyGroup, lazy=serve_of("axon"))
def axon() -> None:
    """The blob store: contents by their SHA-256."""


@axon.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))
@cell_options
def put(files: tuple[Path, ...], url: str | None, folder: Path | None, identity: Path | None) -> None:
    """Store files, of any size, and print the SHA-256 and size of each. `-` is standard input.

    A file is gone on with when the connection breaks.
    """
    from cellmesh.api.axon.v1 import blob_service_pb2_grpc
    from cellmesh.cli.blobs import Progress, upload_file, upload_stream

    with open_by_options("axon", url, folder, identity) as client:
        stub = client.stub(blob_service_pb2_grpc.BlobServiceStub)
        for path in files:
            if str(path) == "-":
                with Progress("-") as progress:
                    hashes = upload_stream(stub, sys.stdin.buffer, progress)
            else:
                with path.open("rb") as file, Progress(path.name, path.stat().st_size) as progress:
                    send = upload_file if file.seekable() else upload_stream
                    hashes = send(stub, file, progress)
            click.echo(f"{hashes.sha256.hex()}  {hashes.size_bytes}  {path}")


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
@click.option(
    "--continue", "go_on", is_flag=True, help="Go on with the file that --output names, after what is in it."
)
@cell_options
def get(
    sha256: str,
    output: Path | None,
    offset: int,
    size: int | None,
    go_on: bool,
    url: str | None,
    folder: Path | None,
    identity: Path | None,
) -> None:
    """Write the content of a blob, or a part of it."""
    from cellmesh.api.axon.v1 import blob_pb2, blob_service_pb2_grpc
    from cellmesh.cli.blobs import Progress, read_blob

    name = read_sha256(sha256)
    if go_on and (output is None or offset or size is not None):
        raise click.UsageError("--continue needs --output, and neither --offset nor --size")
    if go_on and output is not None and output.exists():
        offset = output.stat().st_size
    with open_by_options("axon", url, folder, identity) as client:
        stub = client.stub(blob_service_pb2_grpc.BlobServiceStub)
        # Before the file is made: a blob that is not there makes none.
        found = stub.GetBlobInfo(blob_pb2.GetBlobInfoRequest(sha256=name)).blob
        mode = "ab" if go_on else "wb"
        with (
            output.open(mode) if output else click.open_file("-", "wb") as file,
            Progress(sha256[:12], max(0, found.size_bytes - offset)) as progress,
        ):
            for data in read_blob(stub, name, offset, size):
                file.write(data)
                progress.add(len(data))


@axon.command()
@click.argument("sha256s", nargs=-1, required=True)
@json_option
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
    is_json = echo_records({"sha256": one, "present": there} for one, there in zip(sha256s, present))
    for sha256, is_there in zip(sha256s, () if is_json else present):
        click.echo(f"{sha256}  {'yes' if is_there else 'no'}")
    ctx.exit(0 if all(present) else 1)


@click.command("list")
@click.option(
    "--offset", type=click.IntRange(0), default=0, help="Begin at this offset in the order of arrival."
)
@click.option("--all", "show_all", is_flag=True, help="Also those that were deleted since, marked so.")
@click.option("--wait", is_flag=True, help="Go on with what comes, until interrupted.")
@json_option
@cell_options
def list_blobs(
    offset: int, show_all: bool, wait: bool, url: str | None, folder: Path | None, identity: Path | None
) -> None:
    """List the blobs in order of arrival: offset, SHA-256, size; then the totals."""
    from cellmesh.api.axon.v1 import blob_pb2, blob_service_pb2_grpc
    from cellmesh.cli.output import size_text

    request = blob_pb2.ListBlobsRequest(offset=offset, wait=wait, skip_deleted=not show_all)
    with open_by_options("axon", url, folder, identity) as client:
        stub = client.stub(blob_service_pb2_grpc.BlobServiceStub)
        for message in stub.ListBlobs(request):
            if echo_records(message.blobs):
                continue
            for item in message.blobs:
                mark = "  deleted" if item.deleted else ""
                click.echo(f"{item.offset}  {item.blob.sha256.hex()}  {item.blob.size_bytes}{mark}")
        totals = stub.GetAxonMetrics(blob_pb2.GetAxonMetricsRequest())
    click.echo(f"{totals.blob_count} blobs, {size_text(totals.size_bytes)}", err=True)


axon.add_command(list_blobs, "list")
axon.add_command(list_blobs, "ls")


@axon.command()
@click.argument("sha256s", nargs=-1, required=True)
@cell_options
@click.pass_context
def rm(
    ctx: click.Context, sha256s: tuple[str, ...], url: str | None, folder: Path | None, identity: Path | None
) -> None:
    """Delete blobs. Exit code: 0 all were there, 1 some were not."""
    from cellmesh.api.axon.v1 import blob_pb2, blob_service_pb2_grpc

    request = blob_pb2.DeleteBlobsRequest(sha256s=map(read_sha256, sha256s))
    with open_by_options("axon", url, folder, identity) as client:
        deleted = client.stub(blob_service_pb2_grpc.BlobServiceStub).DeleteBlobs(request).deleted
    for sha256, was_there in zip(sha256s, deleted):
        click.echo(f"{sha256}  {'deleted' if was_there else 'not there'}")
    ctx.exit(0 if all(deleted) else 1)


@axon.command()
@click.argument("sha256", required=False)
@json_option
@cell_options
def stat(sha256: str | None, url: str | None, folder: Path | None, identity: Path | None) -> None:
    """Print size and digests of a blob; without one, the totals of the Axon."""
    from cellmesh.api.axon.v1 import blob_pb2, blob_service_pb2_grpc
    from cellmesh.cli.output import size_text

    with open_by_options("axon", url, folder, identity) as client:
        stub = client.stub(blob_service_pb2_grpc.BlobServiceStub)
        if sha256 is None:
            totals = stub.GetAxonMetrics(blob_pb2.GetAxonMetricsRequest())
            if echo_records([totals]):
                return
            click.echo(f"blobs  {totals.blob_count}")
            click.echo(f"size   {totals.size_bytes} ({size_text(totals.size_bytes)})")
            return
        request = blob_pb2.GetBlobHashesRequest(sha256=read_sha256(sha256))
        hashes = stub.GetBlobHashes(request).hashes
    if echo_records([hashes]):
        return
    click.echo(f"size    {hashes.size_bytes} ({size_text(hashes.size_bytes)})")
    for name in ("md5", "sha1", "sha256", "sha512"):
        click.echo(f"{name:<6}  {getattr(hashes, name).hex()}")


@axon.command()
@click.argument("sha256s", nargs=-1)
@click.option("--offset", type=click.IntRange(0), default=0, help="For all: begin at this offset.")
@cell_options
@click.pass_context
def verify(
    ctx: click.Context,
    sha256s: tuple[str, ...],
    offset: int,
    url: str | None,
    folder: Path | None,
    identity: Path | None,
) -> None:
    """Read blobs, all by default, and name those that are damaged. Exit code: 0 none is, 1 some are."""
    from cellmesh.api.axon.v1 import blob_pb2, blob_service_pb2_grpc
    from cellmesh.cli.blobs import Progress
    from cellmesh.cli.output import size_text

    request = blob_pb2.VerifyBlobsRequest(sha256s=map(read_sha256, sha256s), offset=offset)
    damaged = 0
    count = size = 0
    with open_by_options("axon", url, folder, identity) as client, Progress("verify") as progress:
        stub = client.stub(blob_service_pb2_grpc.BlobServiceStub)
        for message in stub.VerifyBlobs(request):
            count, size = message.blob_count, message.size_bytes
            progress.at(size)
            for item in message.damaged:
                damaged += 1
                click.echo(f"{item.blob.sha256.hex()}  {item.problem}")
    click.echo(f"{count} blobs, {size_text(size)} read; {damaged} damaged", err=True)
    ctx.exit(1 if damaged else 0)


@axon.command()
@click.argument("target")
@click.option(
    "--offset", type=click.IntRange(0), default=0, help="Begin at this offset in the order of arrival."
)
@cell_options
def copy(target: str, offset: int, url: str | None, folder: Path | None, identity: Path | None) -> None:
    """Copy to another Axon what it does not have. Run again after a break, it goes on.

    TARGET is the URL of the other Axon.
    """
    from cellmesh.api.axon.v1 import blob_service_pb2_grpc
    from cellmesh.cli.blobs import copy_blob, listed, missing

    count = known = 0
    with (
        open_by_options("axon", url, folder, identity) as client,
        open_by_options("axon", target, None, identity) as other,
    ):
        source = client.stub(blob_service_pb2_grpc.BlobServiceStub)
        sink = other.stub(blob_service_pb2_grpc.BlobServiceStub)
        for blobs in listed(source, offset):
            wanted = missing(sink, blobs)
            known += len(blobs) - len(wanted)
            for item in wanted:
                copy_blob(source, sink, item.blob)
                count += 1
            offset = blobs[-1].offset + 1 if blobs else offset
    click.echo(f"{count} copied, {known} were there; next offset {offset}")


@axon.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=None,
    help="File to write; else standard output.",
)
@click.option(
    "--offset", type=click.IntRange(0), default=0, help="Begin at this offset in the order of arrival."
)
@cell_options
def dump(
    output: Path | None, offset: int, url: str | None, folder: Path | None, identity: Path | None
) -> None:
    """Write all blobs as a tar archive, each as a file named by its SHA-256."""
    from cellmesh.api.axon.v1 import blob_service_pb2_grpc
    from cellmesh.cli import blobs

    with (
        open_by_options("axon", url, folder, identity) as client,
        output.open("wb") if output else click.open_file("-", "wb") as file,
    ):
        stub = client.stub(blob_service_pb2_grpc.BlobServiceStub)
        count, next_offset = blobs.dump(stub, cast(IO[bytes], file), offset)
    click.echo(f"{count} blobs; next offset {next_offset}", err=True)


@axon.command()
@click.argument("archive", type=click.Path(path_type=Path, allow_dash=True))
@cell_options
def load(archive: Path, url: str | None, folder: Path | None, identity: Path | None) -> None:
    """Store the files of a tar archive. Those named by a SHA-256 must have it. `-` is standard input."""
    from cellmesh.api.axon.v1 import blob_service_pb2_grpc
    from cellmesh.cli import blobs

    with (
        open_by_options("axon", url, folder, identity) as client,
        click.open_file(str(archive), "rb") as file,
    ):
        stored, known = blobs.load(client.stub(blob_service_pb2_grpc.BlobServiceStub), file)
    click.echo(f"{stored} stored, {known} were there")


@axon.command()
@click.argument("target")
@click.option("-H", "--header", "headers", multiple=True, help="NAME: VALUE, sent with the request.")
@click.option("-X", "--method", default="", help="The method; GET by default.")
@click.option(
    "--timeout", type=click.FloatRange(0, min_open=True), default=None, help="For all of it, in seconds."
)
@click.option(
    "--proxy", default=None, help="URL of a proxy; empty for none, whatever the Axon's settings say."
)
@click.option("--insecure", is_flag=True, help="Do not check the certificate of the server.")
@cell_options
@click.pass_context
def wget(
    ctx: click.Context,
    target: str,
    headers: tuple[str, ...],
    method: str,
    timeout: float | None,
    proxy: str | None,
    insecure: bool,
    url: str | None,
    folder: Path | None,
    identity: Path | None,
) -> None:
    """Have the Axon request the URL TARGET and store what is answered; prints what came of it as JSON.

    Exit code: 0 there was an answer, whatever its status; 1 there was none.
    """
    import json

    from cellmesh.api.axon.v1 import web_pb2, web_service_pb2_grpc
    from cellmesh.cli.output import plain
    from cellmesh.common.values import from_value

    options = web_pb2.WebOptions(method=method, proxy=proxy, verify_tls=not insecure)
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon:
            raise click.BadParameter(f"{header!r} is no NAME: VALUE")
        options.headers.add(name=name.strip(), value=value.strip())
    if timeout is not None:
        options.timeout.FromNanoseconds(int(timeout * 1e9))
    request = web_pb2.FetchUrlRequest(url=target, options=options)
    with open_by_options("axon", url, folder, identity) as client:
        result = client.stub(web_service_pb2_grpc.WebServiceStub).FetchUrl(request).result
    click.echo(json.dumps(plain(from_value(result.info)), indent=2))
    ctx.exit(0 if result.ok else 1)


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
