"""`cellmesh version`."""

from __future__ import annotations

import platform

import click
from cellmesh.cli.records import echo_records, json_option


@click.command()
@json_option
def version() -> None:
    """Print the version of Cellmesh, of Python and of gRPC."""
    from importlib import metadata

    from cellmesh.common.cell.version import cellmesh_version

    versions = {
        "cellmesh": cellmesh_version(),
        "python": platform.python_version(),
        "grpcio": metadata.version("grpcio"),
    }
    if echo_records([versions]):
        return
    click.echo(
        f"cellmesh {cellmesh_version()}, Python {platform.python_version()}, grpcio {metadata.version('grpcio')}"
    )
