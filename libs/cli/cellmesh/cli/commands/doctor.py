"""`cellmesh doctor`."""

from __future__ import annotations

import json
from pathlib import Path

import click
from cellmesh.cli.connect import MESH_VARIABLE

EXIT_PROBLEM = 1


@click.command()
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    default=None,
    envvar=MESH_VARIABLE,
    help=f"Folder of a mesh that runs here, or of one cell. [{MESH_VARIABLE}]",
)
@click.option("--url", default="aha://aha", show_default=True, help="Without --dir: where AHA is.")
@click.option(
    "--identity",
    type=click.Path(path_type=Path),
    default=None,
    help="Without --dir: identity folder to call with. [CELLMESH_IDENTITY; default ~/.cellmesh/identity]",
)
@click.option("--all", "show_all", is_flag=True, help="Print also what is well.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object with everything that was looked at."
)
@click.pass_context
def doctor(
    ctx: click.Context, folder: Path | None, url: str, identity: Path | None, show_all: bool, as_json: bool
) -> None:
    """Look at what commonly goes wrong, and say what to do about it. Changes nothing.

    With --dir: the processes, ports, folders, open files, disk and certificates of the cells there, and how the running
    ones do. Without: each cell that AHA knows is called, its state, version and storage looked at, and its clock
    compared with the one here.

    Exit code: 0 no problem (there may be warnings), 1 a problem.
    """
    from cellmesh.cli.doctor.check import check_folder, check_mesh
    from cellmesh.cli.doctor.finding import Finding, Level

    shown: list[Finding] = []
    colours = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "red"}
    for finding in check_folder(folder) if folder is not None else check_mesh(url, identity):
        shown.append(finding)
        if as_json or (finding.level is Level.OK and not show_all):
            continue
        level = click.style(f"{finding.level:<8}", fg=colours[finding.level])
        click.echo(f"{level} {finding.subject}: {finding.check}: {finding.message}")
        if finding.advice:
            click.echo(f"         {finding.advice}")
    counts = {level: sum(finding.level is level for finding in shown) for level in Level}
    if as_json:
        told = {
            "findings": [finding.plain() for finding in shown],
            "counts": {str(level): count for level, count in counts.items()},
        }
        click.echo(json.dumps(told, ensure_ascii=False))
    else:
        click.echo(
            f"{len(shown)} checks: {counts[Level.OK]} well, {counts[Level.WARNING]} warnings, "
            f"{counts[Level.PROBLEM]} problems"
        )
    ctx.exit(EXIT_PROBLEM if counts[Level.PROBLEM] else 0)
