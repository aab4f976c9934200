"""`cellmesh KIND serve`: its options are the settings of that kind of cell."""

from __future__ import annotations

import gc
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from cellmesh.cli.lazy import Lazy
from cellmesh.common.rpc.engine import choose_engine

EXIT_CANNOT_START = 2
EPILOG = """
\b
Exit codes:
  0    stopped by SIGTERM or SIGINT, calls drained
  1    failed
  2    could not start: settings, folder, port, lock, storage version; standard error says why
  130  a second signal came while it stopped: ended at once, nothing acknowledged is lost
"""


def serve_of(kind: str) -> dict[str, Lazy]:
    """The lazy commands of a cell's group: `serve`."""
    return {"serve": Lazy(lambda: make_serve(kind), "Run the cell until it is told to stop.")}


def make_serve(kind: str) -> click.Command:
    """Make the command.

    Raises:
        click.ClickException: the packages that the cell needs are not installed.
    """
    choose_engine()
    try:
        with _collector_paused():
            module: Any = importlib.import_module(f"cellmesh.{kind}.main")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("cellmesh"):
            # Ours is always there; this is a mistake of the program.
            raise
        raise click.ClickException(
            f"the {kind} needs the module {error.name}, which is not installed: pip install 'cellmesh[{kind}]'"
        ) from error
    from cellmesh.common.config.click_options import config_options, settings_command

    @click.command("serve", cls=settings_command(module.CONFIG), epilog=EPILOG)
    @config_options(module.CONFIG)
    @click.pass_context
    def serve(ctx: click.Context, /, **flags: Any) -> None:
        from cellmesh.common.config import load_config
        from cellmesh.common.errors import CellError

        try:
            config = load_config(module.CONFIG, flags=flags)
        except CellError as error:
            click.echo(f"{kind}: {error}", err=True)
            ctx.exit(EXIT_CANNOT_START)
        ctx.exit(module.serve(config))

    serve.help = (
        f"Run the {kind} until it gets SIGTERM or SIGINT.\n\n"
        "Settings come from defaults, DIR/cell.toml, the environment and these options; the last one wins."
    )
    return serve


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Imports make hundreds of thousands of objects that stay: looking at them over and over only takes time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
