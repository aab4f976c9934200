"""`cellmesh cryotank`: records in and out, and how far readers are."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click
from cellmesh.cli.connect import cell_options, open_by_options
from cellmesh.cli.records import echo_records, json_option

if TYPE_CHECKING:
    from cellmesh.api.cryotank.v1 import tank_pb2
    from cellmesh.client import CellClient

TAIL_COUNT = 10
APPEND_COUNT = 1000
APPEND_SIZE = 1024 * 1024
RECORD_SIZE_MAX = 3 * 1024 * 1024
READ_SIZE = 256 * 1024
"""What a file is read by, in bytes."""

FORMATS = ("jsonl", "msgpack")
MSGPACK_ENDINGS = (".mpk", ".msgpack", ".mp")

Piece = tuple[int, bytes]
"""A record in msgpack, with how many bytes of its source it took."""


@click.command()
@click.argument("tank")
@click.argument("records", nargs=-1)
@cell_options
def append(
    tank: str, records: tuple[str, ...], url: str | None, folder: Path | None, identity: Path | None
) -> None:
    """Append records, each a JSON value; without any, one a line from standard input."""
    with open_by_options("cryotank", url, folder, identity) as client:
        count = _append(client, tank, _of_json(records or sys.stdin), lambda size: None)
    click.echo(f"{count} records appended to {tank}")


@click.command("import")
@click.argument("tank")
@click.argument("source", type=click.Path(path_type=Path, allow_dash=True, exists=True, dir_okay=False))
@click.option("--format", "form", type=click.Choice(FORMATS), help="Of the file. [by its name, else jsonl]")
@cell_options
def import_file(
    tank: str, source: Path, form: str | None, url: str | None, folder: Path | None, identity: Path | None
) -> None:
    """Append what is in a file, or - for standard input: a JSON value a line, or msgpack items one after the other.

    When it breaks off, the records before the first that was not acknowledged are in the tank, and perhaps some more.
    """
    is_standard = str(source) == "-"
    with open_by_options("cryotank", url, folder, identity) as client:
        stream: IO[bytes] = sys.stdin.buffer if is_standard else source.open("rb")
        with stream, _progress(None if is_standard else source.stat().st_size) as advance:
            is_msgpack = _format_of(form, source) == "msgpack"
            pieces = _of_msgpack(stream) if is_msgpack else _of_json_lines(stream)
            count = _append(client, tank, pieces, advance)
    click.echo(f"{count} records appended to {tank}")


@click.command()
@click.argument("tank")
@click.option("--offset", type=click.IntRange(0), default=0, help="Offset of the first record.")
@click.option("--count", type=click.IntRange(0), default=None, help="At most this many.")
@click.option("--offsets", is_flag=True, help="Print each record's offset before it.")
@cell_options
def read(
    tank: str,
    offset: int,
    count: int | None,
    offsets: bool,
    url: str | None,
    folder: Path | None,
    identity: Path | None,
) -> None:
    """Print records as JSON, one a line."""
    from cellmesh.api.cryotank.v1 import tank_pb2

    request = tank_pb2.ReadRowsRequest(name=tank, offset=offset, count=count)
    with open_by_options("cryotank", url, folder, identity) as client:
        _print(_rows(client, request), offsets)


@click.command()
@click.argument("tank")
@click.option("-n", "--count", type=click.IntRange(0), default=None, help="So many records before. [10]")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is added, until interrupted.")
@click.option(
    "--timeout", type=click.FloatRange(0), default=None, help="With -f: end after so many quiet seconds."
)
@click.option("--consumer", default="", help="Begin where this consumer is, and keep how far it has come.")
@click.option("--offsets", is_flag=True, help="Print each record's offset before it.")
@cell_options
def tail(
    tank: str,
    count: int | None,
    follow: bool,
    timeout: float | None,
    consumer: str,
    offsets: bool,
    url: str | None,
    folder: Path | None,
    identity: Path | None,
) -> None:
    """Print the newest records as JSON, and with -f those to come."""
    from cellmesh.api.cryotank.v1 import tank_pb2, tank_service_pb2_grpc

    if consumer and count is not None:
        raise click.UsageError("-n does not go with --consumer, which begins where the consumer is")
    if timeout is not None and not follow:
        raise click.UsageError("--timeout is for -f")
    with open_by_options("cryotank", url, folder, identity) as client:
        stub = client.stub(tank_service_pb2_grpc.TankServiceStub)
        request = tank_pb2.ReadRowsRequest(name=tank, wait=follow, consumer=consumer)
        if not consumer:
            totals = stub.GetTankMetrics(tank_pb2.GetTankMetricsRequest(name=tank))
            before = TAIL_COUNT if count is None else count
            request.offset = max(totals.next_offset - before, totals.first_offset)
        if timeout is not None:
            request.timeout.FromMicroseconds(int(timeout * 1e6))

        def keep(offset: int) -> None:
            # What was printed is done with.
            stub.SetConsumer(
                tank_pb2.SetConsumerRequest(name=tank, consumer=consumer, offset=offset, forward_only=True)
            )

        _print(_rows(client, request), offsets, keep if consumer else None)


@click.command("export")
@click.argument("tank")
@click.argument("target", type=click.Path(path_type=Path, allow_dash=True, dir_okay=False))
@click.option("--format", "form", type=click.Choice(FORMATS), help="Of the file. [by its name, else jsonl]")
@click.option("--offset", type=click.IntRange(0), default=0, help="Offset of the first record.")
@click.option("--count", type=click.IntRange(0), default=None, help="At most this many.")
@cell_options
def export_file(
    tank: str,
    target: Path,
    form: str | None,
    offset: int,
    count: int | None,
    url: str | None,
    folder: Path | None,
    identity: Path | None,
) -> None:
    """Write records to a file, or - for standard output: a JSON value a line, or msgpack items one after the other.

    What came in as msgpack goes out as msgpack byte by byte. JSON has bytes as hexadecimal.
    """
    from cellmesh.api.cryotank.v1 import tank_pb2, tank_service_pb2_grpc

    encode = _as_msgpack if _format_of(form, target) == "msgpack" else _as_json
    is_standard = str(target) == "-"
    written = 0
    with open_by_options("cryotank", url, folder, identity) as client:
        stub = client.stub(tank_service_pb2_grpc.TankServiceStub)
        totals = stub.GetTankMetrics(tank_pb2.GetTankMetricsRequest(name=tank))
        # Up to where the tank is now: an export of a tank that grows has an end.
        begin = max(offset, totals.first_offset)
        total = max(totals.next_offset - begin, 0)
        total = total if count is None else min(total, count)
        request = tank_pb2.ReadRowsRequest(name=tank, offset=begin, count=total)
        stream: IO[bytes] = sys.stdout.buffer if is_standard else target.open("wb")
        with stream, _progress(None if is_standard else total) as advance:
            for run in _rows(client, request):
                stream.writelines(encode(item, run.form) for item in run.items)
                written += len(run.items)
                advance(len(run.items))
    click.echo(f"{written} records of {tank} written", err=is_standard)


@click.group()
def consumer() -> None:
    """How far readers of a tank are, kept by the cell."""


@consumer.command("list")
@click.argument("tank")
@json_option
@cell_options
def list_consumers(tank: str, url: str | None, folder: Path | None, identity: Path | None) -> None:
    """List the consumers of a tank."""
    from cellmesh.api.cryotank.v1 import tank_pb2, tank_service_pb2_grpc
    from cellmesh.cli.output import table

    with open_by_options("cryotank", url, folder, identity) as client:
        stub = client.stub(tank_service_pb2_grpc.TankServiceStub)
        end = stub.GetTankMetrics(tank_pb2.GetTankMetricsRequest(name=tank)).next_offset
        found = stub.ListConsumers(tank_pb2.ListConsumersRequest(name=tank)).consumers
    if echo_records(found):
        return
    rows = [
        (
            item.consumer,
            str(item.offset),
            str(max(end - item.offset, 0)),
            item.update_time.ToDatetime().isoformat(" ", "seconds"),
        )
        for item in found
    ]
    click.echo(table(("CONSUMER", "OFFSET", "BEHIND", "SET (UTC)"), rows))


@consumer.command("set")
@click.argument("tank")
@click.argument("name")
@click.argument("offset", type=click.IntRange(0))
@cell_options
def set_consumer(
    tank: str, name: str, offset: int, url: str | None, folder: Path | None, identity: Path | None
) -> None:
    """Set the offset that a consumer wants next."""
    from cellmesh.api.cryotank.v1 import tank_pb2, tank_service_pb2_grpc

    request = tank_pb2.SetConsumerRequest(name=tank, consumer=name, offset=offset)
    with open_by_options("cryotank", url, folder, identity) as client:
        client.stub(tank_service_pb2_grpc.TankServiceStub).SetConsumer(request)
    click.echo(f"{name} goes on at {offset}")


@consumer.command("delete")
@click.argument("tank")
@click.argument("name")
@cell_options
def delete_consumer(
    tank: str, name: str, url: str | None, folder: Path | None, identity: Path | None
) -> None:
    """Forget a consumer."""
    from cellmesh.api.cryotank.v1 import tank_pb2, tank_service_pb2_grpc

    request = tank_pb2.DeleteConsumerRequest(name=tank, consumer=name)
    with open_by_options("cryotank", url, folder, identity) as client:
        deleted = client.stub(tank_service_pb2_grpc.TankServiceStub).DeleteConsumer(request).deleted
    click.echo(f"{name} deleted" if deleted else f"{tank} has no consumer {name}")


def _format_of(form: str | None, path: Path) -> str:
    return form or ("msgpack" if path.suffix.lower() in MSGPACK_ENDINGS else "jsonl")


@contextmanager
def _progress(total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, where somebody sees it and there is a whole to measure by."""
    if not total or not sys.stderr.isatty():
        yield lambda step: None
        return
    with click.progressbar(length=total, file=sys.stderr) as bar:
        yield bar.update


def _append(client: CellClient, tank: str, pieces: Iterable[Piece], advance: Callable[[int], None]) -> int:
    """Append records in one stream; how many were acknowledged."""
    from cellmesh.api.cryotank.v1 import tank_pb2, tank_service_pb2_grpc

    sizes: list[int] = []
    failure: list[click.ClickException] = []

    def requests() -> Iterator[tank_pb2.AppendStreamRequest]:
        try:
            for size, batch in _batches(pieces):
                sizes.append(size)
                yield tank_pb2.AppendStreamRequest(name=tank, packed_items=b"".join(batch))
        except click.ClickException as error:
            # What came before it is appended; gRPC would only say that something was wrong.
            failure.append(error)

    count = done = 0
    for answer in client.stub(tank_service_pb2_grpc.TankServiceStub).AppendStream(requests()):
        count += answer.count
        advance(sum(sizes[done : done + answer.request_count]))
        done += answer.request_count
    if failure:
        if count:
            click.echo(f"{count} records before it were appended to {tank}", err=True)
        raise failure[0]
    return count


def _batches(pieces: Iterable[Piece]) -> Iterator[tuple[int, list[bytes]]]:
    """Records as they are sent, with the bytes of the source that they took."""
    batch: list[bytes] = []
    size = taken = 0
    failure: click.ClickException | None = None
    try:
        for number, (source_size, data) in enumerate(pieces, 1):
            if len(data) > RECORD_SIZE_MAX:
                raise click.ClickException(f"record {number} is larger than {RECORD_SIZE_MAX} bytes")
            if batch and (len(batch) >= APPEND_COUNT or size + len(data) > APPEND_SIZE):
                yield taken, batch
                batch, size, taken = [], 0, 0
            batch.append(data)
            size += len(data)
            taken += source_size
    except click.ClickException as error:
        failure = error
    if batch:
        yield taken, batch
    if failure is not None:
        raise failure


def _of_json(lines: Iterable[str | bytes]) -> Iterator[Piece]:
    from cellmesh.common import msgpack

    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise click.ClickException(f"record {number} is no JSON: {error}") from None
        yield len(line), msgpack.encode(value)


def _of_json_lines(stream: IO[bytes]) -> Iterator[Piece]:
    return _of_json(iter(lambda: stream.readline(), b""))


def _of_msgpack(stream: IO[bytes]) -> Iterator[Piece]:
    """The items of a file, byte by byte as they are there."""
    from cellmesh.common import msgpack
    from cellmesh.common.errors import CellError

    unpacker = msgpack.Unpacker(size_max=2 * RECORD_SIZE_MAX)
    left = bytearray()
    count = 0
    while piece := stream.read(READ_SIZE):
        left += piece
        try:
            found = unpacker.feed(piece)
        except CellError as error:
            raise click.ClickException(
                f"what follows record {count} is no msgpack: {error.message}"
            ) from None
        start = 0
        for size, _ in found:
            yield size, bytes(left[start : start + size])
            start += size
            count += 1
        del left[:start]
    if left:
        raise click.ClickException(f"the file ends within record {count + 1}")


def _rows(client: CellClient, request: tank_pb2.ReadRowsRequest) -> Iterator[tank_pb2.RowRun]:
    from cellmesh.api.cryotank.v1 import tank_service_pb2_grpc

    for message in client.stub(tank_service_pb2_grpc.TankServiceStub).ReadRows(request):
        yield from message.runs


def _print(runs: Iterable[tank_pb2.RowRun], offsets: bool, keep: Callable[[int], None] | None = None) -> None:
    for run in runs:
        lines = (_as_json(item, run.form).decode() for item in run.items)
        if offsets:
            lines = (f"{offset}  {line}" for offset, line in enumerate(lines, run.offset))
        # At once, as each echo is a write.
        click.echo("".join(lines), nl=False)
        if keep is not None:
            keep(run.offset + len(run.items))


def _decode(item: bytes, form: int) -> Any:
    from cellmesh.api.common.v1 import value_pb2
    from cellmesh.api.cryotank.v1 import tank_pb2
    from cellmesh.common import msgpack
    from cellmesh.common.values import from_value

    if form == tank_pb2.RECORD_FORM_MSGPACK:
        return msgpack.decode(item)
    return from_value(value_pb2.Value.FromString(item))


def _as_json(item: bytes, form: int) -> bytes:
    from cellmesh.cli.output import plain

    text = json.dumps(plain(_decode(item, form)), ensure_ascii=False)
    return f"{text}\n".encode(errors="backslashreplace")


def _as_msgpack(item: bytes, form: int) -> bytes:
    from cellmesh.api.cryotank.v1 import tank_pb2
    from cellmesh.common import msgpack

    if form == tank_pb2.RECORD_FORM_MSGPACK:
        return item
    return msgpack.encode(_decode(item, form))
