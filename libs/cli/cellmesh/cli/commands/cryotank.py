"""`cellmesh cryotank`: tanks. What is about their records is in `cryotank_records`."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from cellmesh.cli.commands.serve import serve_of
from cellmesh.cli.connect import cell_options, open_by_options
from cellmesh.cli.lazy import Lazy, LazyGroup
from cellmesh.cli.records import echo_records, json_option

if TYPE_CHECKING:
    from cellmesh.api.cryotank.v1 import tank_pb2

    _AgeType = click.ParamType[timedelta]
    _SizeType = click.ParamType[int]
else:
    # Not generic in the oldest click that will do.
    _AgeType = _SizeType = click.ParamType

RECORDS: Final = "cellmesh.cli.commands.cryotank_records"
UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
SIZES: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


@click.group(
    cls=LazyGroup,
    lazy={
        **serve_of("cryotank"),
        "append": Lazy(f"{RECORDS}:append", "Append records, each a JSON value."),
        "read": Lazy(f"{RECORDS}:read", "Print records as JSON, one a line."),
        "cat": Lazy(f"{RECORDS}:read", "The same as read."),
        "tail": Lazy(f"{RECORDS}:tail", "Print the newest records, and those to come."),
        "import": Lazy(f"{RECORDS}:import_file", "Append what is in a file: JSON Lines or msgpack."),
        "export": Lazy(f"{RECORDS}:export_file", "Write records to a file: JSON Lines or msgpack."),
        "consumer": Lazy(f"{RECORDS}:consumer", "How far readers are: list, set, delete."),
    },
)
def cryotank() -> None:
    """Tanks: named, append-only sequences of records."""


class Age(_AgeType):
    """A length of time such as 90s, 15m, 12h or 30d."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Parse it."""
        found = re.fullmatch(r"(\d+)([smhd])", value) if isinstance(value, str) else None
        if found is None:
            self.fail(f"{value!r} is no length of time such as 90s, 15m, 12h or 30d", param, ctx)
        return timedelta(seconds=int(found[1]) * UNITS[found[2]])


class Size(_SizeType):
    """A number of bytes such as 5000, 64k, 10M or 2G."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse it."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+)([kmgt]?)", str(value).lower())
        if found is None:
            self.fail(f"{value!r} is no size such as 5000, 64k, 10M or 2G", param, ctx)
        return int(found[1]) * SIZES[found[2]]


def limit_options(command: Any) -> Any:
    """Decorate a command with the options that limit a tank."""
    for decorate in (
        click.option("--age-max", type=Age(), default=None, help="None older than this, such as 30d."),
        click.option("--size-max", type=Size(), default=0, help="At most so many bytes, such as 2G."),
        click.option("--count-max", type=click.IntRange(0), default=0, help="At most so many records."),
    ):
        command = decorate(command)
    return command


@cryotank.command("list")
@json_option
@cell_options
def list_tanks(url: str | None, folder: Path | None, identity: Path | None) -> None:
    """List the tanks with their counts."""
    from cellmesh.api.cryotank.v1 import tank_pb2, tank_service_pb2_grpc
    from cellmesh.cli.output import size_text, table

    infos: list[tank_pb2.TankInfo] = []
    with open_by_options("cryotank", url, folder, identity) as client:
        stub = client.stub(tank_service_pb2_grpc.TankServiceStub)
        token = ""
        while True:
            page = stub.ListTanks(tank_pb2.ListTanksRequest(page_token=token))
            infos += page.infos
            token = page.next_page_token
            if not token:
                break
    if echo_records(infos):
        return
    rows = []
    for info in infos:
        created = info.tank.create_time.ToDatetime().isoformat(" ", "seconds")
        size = size_text(info.size_bytes)
        rows.append((info.tank.name, str(info.record_count), size, created, _limits(info.tank)))
    click.echo(table(("TANK", "RECORDS", "SIZE", "CREATED (UTC)", "LIMITS"), rows))


@cryotank.command()
@click.argument("tank")
@limit_options
@cell_options
def create(
    tank: str,
    count_max: int,
    size_max: int,
    age_max: timedelta | None,
    url: str | None,
    folder: Path | None,
    identity: Path | None,
) -> None:
    """Make a tank."""
    from cellmesh.api.cryotank.v1 import tank_pb2, tank_service_pb2_grpc

    request = tank_pb2.CreateTankRequest(name=tank, config=_config(count_max, size_max, age_max))
    with open_by_options("cryotank", url, folder, identity) as client:
        created = client.stub(tank_service_pb2_grpc.TankServiceStub).CreateTank(request).created
    click.echo(f"{tank} created" if created else f"{tank} was there already")


@cryotank.command()
@click.argument("tank")
@json_option
@cell_options
def info(tank: str, url: str | None, folder: Path | None, identity: Path | None) -> None:
    """Tell all about one tank."""
    from cellmesh.api.cryotank.v1 import tank_pb2, tank_service_pb2_grpc
    from cellmesh.cli.output import size_text, table

    with open_by_options("cryotank", url, folder, identity) as client:
        stub = client.stub(tank_service_pb2_grpc.TankServiceStub)
        found = stub.GetTank(tank_pb2.GetTankRequest(name=tank)).info
    if echo_records([found]):
        return
    rows = (
        ("identifier and gate", found.tank.tank_id),
        ("created (UTC)", found.tank.create_time.ToDatetime().isoformat(" ", "seconds")),
        ("records", str(found.record_count)),
        ("size", size_text(found.size_bytes)),
        ("first offset", str(found.first_offset)),
        ("next offset", str(found.next_offset)),
        ("limits", _limits(found.tank)),
    )
    click.echo(table(("TANK", tank), rows))


@cryotank.command()
@click.argument("tank")
@limit_options
@cell_options
def limit(
    tank: str,
    count_max: int,
    size_max: int,
    age_max: timedelta | None,
    url: str | None,
    folder: Path | None,
    identity: Path | None,
) -> None:
    """Say anew how long the records of a tank stay. A limit that is left out is none any more."""
    from cellmesh.api.cryotank.v1 import tank_pb2, tank_service_pb2_grpc

    request = tank_pb2.UpdateTankRequest(name=tank, config=_config(count_max, size_max, age_max))
    with open_by_options("cryotank", url, folder, identity) as client:
        updated = client.stub(tank_service_pb2_grpc.TankServiceStub).UpdateTank(request).tank
    click.echo(f"{tank}: {_limits(updated)}")


@cryotank.command()
@click.argument("tank")
@click.argument("offset", type=click.IntRange(0))
@click.confirmation_option(prompt="Remove all records before this offset?")
@cell_options
def trim(tank: str, offset: int, url: str | None, folder: Path | None, identity: Path | None) -> None:
    """Remove the records before an offset."""
    from cellmesh.api.cryotank.v1 import tank_pb2, tank_service_pb2_grpc

    with open_by_options("cryotank", url, folder, identity) as client:
        stub = client.stub(tank_service_pb2_grpc.TankServiceStub)
        answer = stub.TrimTank(tank_pb2.TrimTankRequest(name=tank, offset=offset))
    click.echo(f"{answer.removed_count} records removed from {tank}, the first is {answer.first_offset}")


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


def _config(count_max: int, size_max: int, age_max: timedelta | None) -> tank_pb2.TankConfig:
    from cellmesh.api.cryotank.v1 import tank_pb2

    made = tank_pb2.TankConfig(count_max=count_max, size_bytes_max=size_max)
    if age_max is not None:
        made.age_max.FromTimedelta(age_max)
    return made


def _limits(tank: tank_pb2.Tank) -> str:
    from cellmesh.cli.output import size_text, span_text

    config = tank.config
    told = []
    if config.count_max:
        told.append(f"{config.count_max} records")
    if config.size_bytes_max:
        told.append(size_text(config.size_bytes_max))
    if config.HasField("age_max"):
        told.append(span_text(config.age_max.ToTimedelta().total_seconds()))
    return ", ".join(told) or "-"
