"""`cellmesh demo`: sets up a mesh, loads the CTI pack, asks five questions, stops cleanly."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
from cellmesh.cli.demo.load import Report, fill_tank, load_cortex, store_files, write_rejects
from cellmesh.cli.demo.questions import QUESTIONS, ask, show
from cellmesh.cli.demo.records import SourceFile
from cellmesh.cli.demo.sources import Manifest, fetch
from cellmesh.cli.mesh import Mesh
from cellmesh.client import CellClient, open_cell
from rich.console import Console

DEFAULT_DIR = Path(".demo")


@click.command("demo")
@click.option(
    "--dir", "folder", type=click.Path(path_type=Path), default=DEFAULT_DIR, show_default=True,
    help="Folder for downloads, the mesh and its data. A load that was broken off goes on there.",
)  # fmt: skip
@click.option("--keep/--stop", default=False, help="Leave the four cells running at the end.")
@click.option("--questions-only", is_flag=True, help="Ask the questions of what is loaded already.")
def demo(folder: Path, keep: bool, questions_only: bool) -> None:
    """Do the main job on real data.

    Starts AHA, Axon, Cryotank and Cortex, loads threat actors, software, techniques and their relations from the
    MISP galaxy and MITRE ATT&CK (45 thousand clusters, 24 thousand ATT&CK objects), and asks five questions.
    Cells that ran before are left running.
    """
    console = Console()
    begin = time.monotonic()
    mesh = Mesh(folder / "mesh")
    manifest = Manifest.shipped()
    say = partial(console.print, highlight=False, soft_wrap=True)
    if questions_only:
        mesh.require()
    files = [] if questions_only else fetch(manifest, folder / "downloads", say)
    keep = keep or bool(mesh.running())
    is_done = False
    try:
        mesh.up(progress=say)
        run(mesh, manifest, files, folder, console)
        is_done = True
    finally:
        if not keep and mesh.exists:
            say("\nstopping the cells")
            mesh.down(progress=say)
        if not is_done and files:
            say("\nbroken off; what was loaded is kept, and the same command goes on from there")
    say(f"\ndone in {time.monotonic() - begin:.0f} s")
    _how_to_go_on(say, folder, keep)


def run(
    mesh: Mesh, manifest: Manifest, files: list[SourceFile], folder: Path, console: Console
) -> Report | None:
    """Load what `files` names, when it names anything, and ask the questions."""
    report: Report | None = None
    with open_of(mesh, "axon") as axon, open_of(mesh, "cryotank") as tanks, open_of(mesh, "cortex") as cortex:
        if files:
            report = load(axon, tanks, cortex, manifest, files, folder, console)
        for number, question in enumerate(QUESTIONS, 1):
            rows, seconds = ask(cortex, question)
            show(console, number, question, rows, seconds)
    if files:
        for package in manifest.packages:
            console.print(f"\n{package.name} {package.version}: {package.credit}", highlight=False)
    return report


def open_of(mesh: Mesh, service: str) -> CellClient:
    """A client of one of the mesh's services, found through AHA."""
    return open_cell(mesh.url(service), identity=mesh.identity)


def load(
    axon: CellClient,
    tanks: CellClient,
    cortex: CellClient,
    manifest: Manifest,
    files: list[SourceFile],
    folder: Path,
    console: Console,
) -> Report:
    """Load the files and say what came of it."""
    begin = time.monotonic()
    store_files(axon, files, console)
    tank = f"cti-{manifest.digest}"
    total, new = fill_tank(tanks, tank, files, console)
    report = load_cortex(cortex, tanks, tank, console)
    report.files, report.records, report.records_new = len(files), total, new
    rejects = folder / "rejects.jsonl"
    write_rejects(report.rejects, rejects)
    _say_what_came(
        partial(console.print, highlight=False, soft_wrap=True), report, rejects, time.monotonic() - begin
    )
    return report


def _say_what_came(say: Callable[[str], None], report: Report, rejects: Path, seconds: float) -> None:
    say(
        f"\n{report.files:,} files, {report.records:,} records ({report.records_new:,} new) in {seconds:.0f} s:"
    )
    say(f"  {report.nodes_made:,} nodes and {report.edges_made:,} edges made, {report.edits:,} edits")
    say(f"  {report.shared_uuids:,} uuids stand in two records: the first one's node is meant")
    say(f"  {len(report.rejects):,} rejects, each with its reason in {rejects}:")
    for reason, count in report.reasons().most_common():
        say(f"    {count:>7,}  {reason}")


def _how_to_go_on(say: Callable[[str], None], folder: Path, keep: bool) -> None:
    """Commands to copy: the program as this shell finds it, the folder quoted where it must be."""
    mesh = shlex.quote(str(folder / "mesh"))
    program = "cellmesh" if shutil.which("cellmesh") else shlex.quote(os.path.relpath(sys.argv[0]))
    say("\nGo on by hand:")
    if not keep:
        say(f"  {program} up --dir {mesh}")
    say(f"  {program} storm --dir {mesh} 'risk:threat:org:name=apt28 -(uses)> risk:tool:software'")
    say(f"  {program} status --dir {mesh}")
    say(f"  {program} down --dir {mesh}")
