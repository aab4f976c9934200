"""`cellmesh cortex`."""

from __future__ import annotations

import click
from cellmesh.cli.commands.serve import serve_of
from cellmesh.cli.lazy import LazyGroup


@click.group(cls=LazyGroup, lazy=serve_of("cortex"))
def cortex() -> None:
    """The hypergraph. `cellmesh storm` asks it."""
