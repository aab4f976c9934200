"""`cellmesh version`."""

from __future__ import annotations

import platform

import click


@click.command()
def version() -> None:
    """Print the version of Cellmesh, of Python and of gRPC."""
    from importlib import metadata

    from cellmesh.common.cell.version import cellmesh_version

    click.echo(
        f"cellmesh {cellmesh_version()}, Python {platform.python_version()}, grpcio {metadata.version('grpcio')}"
    )
