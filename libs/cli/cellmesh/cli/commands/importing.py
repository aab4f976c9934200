"""`cellmesh import`: files of other tools into the graph."""

from __future__ import annotations

import json
from pathlib import Path

import click
from cellmesh.cli.connect import cell_options, open_by_options

FORMATS = ("nodes", "stix", "misp-event", "misp-galaxy", "misp-warninglist", "csv", "jsonl", "json")


@click.command("import")
@click.argument("files", nargs=-1, required=True)
@cell_options
@click.option("--dry-run", is_flag=True, help="Show what would come of the files, and change nothing.")
@click.option(
    "--map", "maps", multiple=True, metavar="COLUMN=FORM[:PROP]",
    help="What a column of CSV, or a field of JSON objects, is. `COLUMN=#TAG` makes tags below TAG of it.",
)  # fmt: skip
@click.option("--format", "kind", type=click.Choice(FORMATS), default=None, help="What the files are.")
@click.option("--delimiter", default="", help="Between the cells of CSV; found out if not given.")
@click.option("--view", default="", help="The view to write to: its name or iden.")
@click.option("--tag", "tags", multiple=True, help="A tag for every node of the files.")
@click.option(
    "--batch", type=click.IntRange(1, 10_000), default=2000, show_default=True, help="Nodes of a transaction."
)
@click.option("--resume", is_flag=True, help="Go on where an import of the same file ended.")
@click.option(
    "--rejects", type=click.Path(path_type=Path, dir_okay=False), default=Path("rejects.jsonl"),
    show_default=True, help="Where to note what could not be used; made when there is something.",
)  # fmt: skip
@click.option(
    "--state", type=click.Path(path_type=Path, file_okay=False), default=None,
    help="Folder of the notes for --resume. [default: ~/.local/state/cellmesh/import]",
)  # fmt: skip
@click.option("--strict", is_flag=True, help="Exit with 1 also if there are rejects.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON, a line for each file.")
@click.pass_context
def import_files(
    ctx: click.Context,
    files: tuple[str, ...],
    url: str | None,
    folder: Path | None,
    identity: Path | None,
    dry_run: bool,
    maps: tuple[str, ...],
    kind: str | None,
    delimiter: str,
    view: str,
    tags: tuple[str, ...],
    batch: int,
    resume: bool,
    rejects: Path,
    state: Path | None,
    strict: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Import FILES into the graph: STIX 2.1 bundles, MISP events, galaxies and warning lists, CSV, JSON Lines, and
    .nodes of a Cortex. What a file is, is found out from its content. `-` is standard input; gzip is unpacked.

    To import the same file twice changes nothing. Exit code: 0 all files were read to the end, 1 not.

    \b
    cellmesh import --dry-run bundle.json
    cellmesh import addresses.csv --map address=inet:ipv4 --map as=inet:ipv4:asn
    """
    from cellmesh.cli.exchange.reports import Sum, report_text
    from cellmesh.cli.exchange.running import Import, Options
    from cellmesh.cli.views import view_iden

    if len(delimiter) > 1 and delimiter != "\\t":
        raise click.BadParameter("a delimiter is one character, or \\t", param_hint="--delimiter")
    target = str(url or (folder and folder.absolute()) or "")
    total, is_whole = Sum(), True
    with open_by_options("cortex", url, folder, identity) as client:
        options = Options(
            format=kind or "",
            maps=maps,
            delimiter="\t" if delimiter == "\\t" else delimiter,
            view=view_iden(client, view),
            tags=tags,
            batch_count=batch,
            is_dry=dry_run,
            resumes=resume,
            rejects=rejects,
            state_folder=state,
            is_quiet=quiet or as_json,
        )
        work = Import(client, target, options, lambda text: click.echo(text, err=True))
        for report in work.run(files):
            click.echo(json.dumps(report.fields(), ensure_ascii=False) if as_json else report_text(report))
            total.add(report)
            is_whole = is_whole and not report.fault
    if not as_json and (text := total.text(is_dry=dry_run)):
        click.echo(text)
    if work.rejects.count and not as_json:
        click.echo(f"what was rejected, and why, stands in {work.rejects.path}")
    if not is_whole or (strict and work.rejects.count):
        ctx.exit(1)
