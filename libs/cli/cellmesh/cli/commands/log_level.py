"""`cellmesh log-level`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click
from cellmesh.cli.connect import any_cell_options, open_any
from cellmesh.cli.records import echo_records, json_option

LEVELS = ("debug", "info", "warning", "error", "default")


@click.command("log-level")
@click.argument("level", type=click.Choice(LEVELS), required=False)
@click.option(
    "--logger", default="", help="A logger and those below it, such as cellmesh.common.rpc; else all of ours."
)
@click.option(
    "--minutes", type=click.FloatRange(min=0, min_open=True), default=None, help="Then it goes back."
)
@json_option
@any_cell_options
def log_level(
    level: str | None,
    logger: str,
    minutes: float | None,
    kind: str | None,
    url: str | None,
    folder: Path | None,
    identity: Path | None,
) -> None:
    """Show the levels of a running cell's log, or set one: default takes back what was set."""
    from cellmesh.api.common.v1 import cell_service_pb2 as pb
    from cellmesh.api.common.v1.cell_service_pb2_grpc import CellServiceStub
    from cellmesh.cli.output import table

    with open_any(kind, url, folder, identity) as client:
        stub = client.stub(CellServiceStub)
        if level is None:
            levels = stub.GetLogLevel(pb.GetLogLevelRequest()).levels
        else:
            name = "UNSPECIFIED" if level == "default" else level.upper()
            request = pb.SetLogLevelRequest(logger=logger, level=pb.LogLevel.Value(f"LOG_LEVEL_{name}"))
            if minutes is not None:
                request.duration.FromNanoseconds(int(minutes * 60e9))
            levels = stub.SetLogLevel(request).levels
    if echo_records(levels):
        return
    rows = []
    for found in levels:
        until = "-"
        if found.HasField("expire_time"):
            until = f"{datetime.fromtimestamp(found.expire_time.ToSeconds(), UTC):%Y-%m-%d %H:%M:%SZ}"
        rows.append((found.logger, pb.LogLevel.Name(found.level).removeprefix("LOG_LEVEL_").lower(), until))
    click.echo(table(("LOGGER", "LEVEL", "UNTIL"), rows))
