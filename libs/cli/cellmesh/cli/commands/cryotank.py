"""`cellmesh cryotank`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
from cellmesh.cli.commands.serve import serve_of
from cellmesh.cli.connect import cell_options, open_by_options
from cellmesh.cli.lazy import LazyGroup

APPEND_COUNT = 1000
APPEND_SIZE = 1024 * 1024


@click.group(cls=LazyGroup, lazy=serve_of("cryotank"))
def cryotank() -> None:
    """Tanks: named, append-only sequences of records."""


@cryotank.command("list")
@cell_options
def list_tanks(url: str | None, folder: Path | None, identity: Path | None) -> None:
    """List the tanks with their counts."""
    from cellmesh.api.cryotank.v1 import tank_pb2, tank_service_pb2_grpc
    from cellmesh.cli.output import size_text, table

    rows = []
    with open_by_options("cryotank", url, folder, identity) as client:
        stub = client.stub(tank_service_pb2_grpc.TankServiceStub)
        token = ""
        while True:
            page = stub.ListTanks(tank_pb2.ListTanksRequest(page_token=token))
            for tank in page.tanks:
                totals = stub.GetTankMetrics(tank_pb2.GetTankMetricsRequest(name=tank.name))
                created = tank.create_time.ToDatetime().isoformat(" ", "seconds")
                rows.append((tank.name, str(totals.record_count), size_text(totals.size_bytes), created))
            token = page.next_page_token
            if not token:
                break
    click.echo(table(("TANK", "RECORDS", "SIZE", "CREATED (UTC)"), rows))


@cryotank.command()
@click.argument("tank")
@cell_options
def create(tank: str, url: str | None, folder: Path | None, identity: Path | None) -> None:
    """Make a tank."""
    from cellmesh.api.cryotank.v1 import tank_pb2, tank_service_pb2_grpc

    with open_by_options("cryotank", url, folder, identity) as client:
        stub = client.stub(tank_service_pb2_grpc.TankServiceStub)
        created = stub.CreateTank(tank_pb2.CreateTankRequest(name=tank)).created
    click.echo(f"{tank} created" if created else f"{tank} was there already")


@cryotank.command()
@click.argument("tank")
@click.argument("records", nargs=-1)
@cell_options
def append(
    tank: str, records: tuple[str, ...], url: str | None, folder: Path | None, identity: Path | None
) -> None:
    """Append records, each a JSON value; without any, one a line from standard input."""
    from cellmesh.api.cryotank.v1 import tank_pb2, tank_service_pb2_grpc

    count = 0
    with open_by_options("cryotank", url, folder, identity) as client:
        stub = client.stub(tank_service_pb2_grpc.TankServiceStub)
        for batch in _batches(records or sys.stdin):
            count += stub.AppendRecords(tank_pb2.AppendRecordsRequest(name=tank, values=batch)).count
    click.echo(f"{count} records appended to {tank}")


def _batches(lines: Iterable[str]) -> Iterator[list[Any]]:
    from cellmesh.common.values import to_value

    batch: list[Any] = []
    size = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            raise click.ClickException(f"record {number} is no JSON: {error}") from None
        batch.append(to_value(value))
        size += len(line)
        if len(batch) >= APPEND_COUNT or size >= APPEND_SIZE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


@cryotank.command()
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
    from cellmesh.api.cryotank.v1 import tank_pb2, tank_service_pb2_grpc
    from cellmesh.cli.output import plain
    from cellmesh.common.values import from_value

    request = tank_pb2.ReadRecordsRequest(name=tank, offset=offset, count=count)
    with open_by_options("cryotank", url, folder, identity) as client:
        for message in client.stub(tank_service_pb2_grpc.TankServiceStub).ReadRecords(request):
            for record in message.records:
                text = json.dumps(plain(from_value(record.value)), ensure_ascii=False)
                click.echo(f"{record.offset}  {text}" if offsets else text)


@cryotank.command()
@click.argument("tank")
@click.confirmation_option(prompt="Remove the tank with all its records?")
@cell_options
def delete(tank: str, url: str | None, folder: Path | None, identity: Path | None) -> None:
    """Remove a tank with all its records."""
    from cellmesh.api.cryotank.v1 import tank_pb2, tank_service_pb2_grpc

    with open_by_options("cryotank", url, folder, identity) as client:
        client.stub(tank_service_pb2_grpc.TankServiceStub).DeleteTank(tank_pb2.DeleteTankRequest(name=tank))
    click.echo(f"{tank} removed")
