"""`cellmesh up`, `down`, `status`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from cellmesh.cli.connect import MESH_VARIABLE
from cellmesh.cli.records import echo_records, json_option

if TYPE_CHECKING:
    from cellmesh.cli.mesh import CellStatus

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

EXIT_NOT_ALL_READY = 1
EXIT_KILLED = 1
EXIT_NONE_RUNS = 3


def _folder_option(command: CommandT) -> CommandT:
    return click.option(
        "--dir",
        "folder",
        type=click.Path(path_type=Path),
        default=None,
        envvar=MESH_VARIABLE,
        callback=_required,
        help=f"The mesh's folder. [{MESH_VARIABLE}]",
    )(command)


def _required(_ctx: click.Context, _option: click.Parameter, folder: Path | None) -> Path:
    if folder is None:
        raise click.UsageError(f"which mesh? Give its folder with --dir, or in {MESH_VARIABLE}.")
    return folder


@click.command()
@_folder_option
@click.option("--network", default="mesh", show_default=True, help="Name of the network of a new mesh.")
@click.option(
    "--mirror",
    "mirrors",
    multiple=True,
    metavar="KIND",
    help="Add an instance that follows the cell of this kind, in DIR/01.KIND. May be given several times.",
)
def up(folder: Path, network: str, mirrors: tuple[str, ...]) -> None:
    """Start AHA, Axon, Cryotank and Cortex under a folder, and leave them running.

    The first time, each cell gets its identity from AHA. What runs already is left alone. Logs are in DIR/logs.
    """
    from cellmesh.cli.mesh import KINDS, Mesh

    mesh = Mesh(folder, network=network)
    for kind in mirrors:
        mesh = Mesh(folder, cells=(*KINDS, *mesh.kinds, mesh.next_mirror(kind)), network=network)
    cells = mesh.up(progress=click.echo)
    click.echo(_table(cells))


@click.command()
@_folder_option
@click.pass_context
def down(ctx: click.Context, folder: Path) -> None:
    """Stop the cells of a mesh. Each finishes what it does first.

    Exit code: 0 all are stopped, 1 one had to be killed.
    """
    from cellmesh.cli.mesh import Mesh

    stopped = Mesh(folder).down(progress=click.echo)
    ctx.exit(EXIT_KILLED if any(cell.killed for cell in stopped) else 0)


@click.command()
@_folder_option
@json_option
@click.pass_context
def status(ctx: click.Context, folder: Path) -> None:
    """Ask each cell of a mesh how it does: through AHA, with the root user's certificate.

    Exit code: 0 all are ready, 1 some are not, 3 none runs.
    """
    from cellmesh.cli.mesh import Mesh

    cells = Mesh(folder).status()
    is_json = echo_records(cells)
    if not is_json:
        click.echo(_table(cells))
    for cell in cells:
        if cell.problem and not is_json:
            click.echo(f"{cell.kind}: {cell.problem}", err=True)
    if all(cell.pid is None for cell in cells):
        ctx.exit(EXIT_NONE_RUNS)
    ctx.exit(0 if all(cell.is_ready for cell in cells) else EXIT_NOT_ALL_READY)


def _table(cells: list[CellStatus]) -> str:
    from cellmesh.cli.output import size_text, span_text, table

    rows = [
        (
            cell.kind,
            cell.name or "-",
            cell.state,
            cell.address or "-",
            str(cell.pid or "-"),
            span_text(cell.uptime_s) if cell.uptime_s else "-",
            size_text(cell.memory_bytes),
            cell.version or "-",
        )
        for cell in cells
    ]
    return table(("CELL", "NAME", "STATE", "ADDRESS", "PID", "UPTIME", "MEMORY", "VERSION"), rows)
