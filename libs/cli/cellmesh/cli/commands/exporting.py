"""`cellmesh export`: the nodes of a query into a file."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click
from cellmesh.cli.connect import cell_options, open_by_options

if TYPE_CHECKING:
    from cellmesh.cli.exchange.writers import Writer

FORMATS = ("nodes", "jsonl", "csv", "stix", "graphml", "dot")
SUFFIXES = {".gv": "dot", ".json": "stix", ".ndjson": "jsonl"}


@click.command("export")
@click.argument("query")
@cell_options
@click.option("--format", "kind", type=click.Choice(FORMATS), default=None,
              help="What to write. [default: by the file's name, else jsonl]")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), default=None,
              help="The file; standard output if not given.")  # fmt: skip
@click.option("--embed/--no-embed", default=True, show_default=True,
              help="Tell the light edges between exported nodes.")  # fmt: skip
@click.option("--data/--no-data", "with_data", default=True, show_default=True, help="Tell node data.")
@click.option("--column", "columns", multiple=True, help="Of CSV: a property as a column of its own.")
@click.option("--view", default="", help="The view to run in: its name or iden.")
@click.option("--limit", type=click.IntRange(1), default=None, help="Stop after this many nodes.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
@click.option("--json", "as_json", is_flag=True, help="Tell what was done as JSON, on standard error.")
def export(
    query: str,
    url: str | None,
    folder: Path | None,
    identity: Path | None,
    kind: str | None,
    output: Path | None,
    embed: bool,
    with_data: bool,
    columns: tuple[str, ...],
    view: str,
    limit: int | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Export the nodes of QUERY, each once. The query `-` is read from standard input; it may not edit.

    nodes and jsonl have everything (properties, tags, tag properties, edges between exported nodes, node data):
    `cellmesh import` makes the same graph of them. A file is there whole, or not at all.

    \b
    cellmesh export '#case.phish' -o case.nodes
    cellmesh export 'risk:threat -(uses)> *' --format dot | dot -Tsvg > uses.svg
    """
    from cellmesh.api.cortex.v1 import export_pb2, storm_pb2
    from cellmesh.api.cortex.v1.export_service_pb2_grpc import ExportServiceStub
    from cellmesh.cli.exchange.showing import Showing
    from cellmesh.cli.views import view_iden
    from cellmesh.common.errors import CellError

    text = sys.stdin.read() if query == "-" else query
    kind = kind or _kind_of(output)
    writer = writer_of(kind, columns)
    request = export_pb2.ExportNodesRequest(
        text=text,
        options=storm_pb2.StormOptions(limit=limit or 0, repr=kind in ("csv", "stix", "graphml", "dot")),
        without_edges=not embed,
        without_node_data=not with_data or kind not in ("nodes", "jsonl"),
    )
    count = runtime_count = 0
    size = 0
    showing = Showing(str(output or "export"), 0, "nodes", is_quiet=quiet or as_json)
    try:
        with open_by_options("cortex", url, folder, identity) as client, written(output) as out:
            request.options.view_id = view_iden(client, view)
            size += out.write(writer.begin())
            for message in client.stub(ExportServiceStub).ExportNodes(request):
                if message.total_count:
                    showing.expect(message.total_count)
                runtime_count += message.runtime_count
                for exported in message.nodes:
                    size += out.write(writer.node(exported))
                count += sum(not exported.continues for exported in message.nodes)
                showing.at(count)
                showing.count(count)
            for part in writer.end():
                size += out.write(part)
    except CellError as error:
        from cellmesh.cli.commands.storm import excerpt

        showing.close()
        for line in excerpt(error, text):
            click.echo(line, err=True)
        raise
    finally:
        showing.close()
    left_out = getattr(writer, "left_out", 0)
    if as_json:
        told = {"nodes": count, "bytes": size, "seconds": round(showing.seconds, 3), "format": kind}
        told |= {"left_out": left_out + runtime_count}
        click.echo(json.dumps(told), err=True)
    elif not quiet:
        _say(count, size, showing.seconds, left_out, runtime_count, kind)


def _say(count: int, size: int, seconds: float, left_out: int, runtime_count: int, kind: str) -> None:
    from cellmesh.cli.output import size_text, span_text

    click.echo(f"{count:,} nodes, {size_text(size)} in {span_text(seconds)}", err=True)
    if left_out:
        click.echo(f"  {left_out:,} of them have no type in {kind} and are left out", err=True)
    if runtime_count:
        click.echo(f"  {runtime_count:,} more exist only in the running Cortex and are left out", err=True)


def _kind_of(output: Path | None) -> str:
    suffix = output.suffix if output is not None else ""
    found = SUFFIXES.get(suffix, suffix[1:])
    return found if found in FORMATS else "jsonl"


def writer_of(kind: str, columns: tuple[str, ...] = ()) -> Writer:
    """Return what writes a format."""
    from cellmesh.cli.exchange import graphs, writers

    match kind:
        case "nodes":
            return writers.PackedWriter()
        case "csv":
            return writers.CsvWriter(columns)
        case "stix":
            return writers.StixWriter()
        case "graphml":
            return graphs.GraphmlWriter()
        case "dot":
            return graphs.DotWriter()
        case _:
            return writers.JsonlWriter()


@contextmanager
def written(path: Path | None) -> Iterator[BinaryIO]:
    """Give where to write: standard output, or a file that appears under its name when it is whole."""
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if path.exists() and not path.is_file():
        # Such as /dev/null, or a pipe with a name.
        with path.open("wb") as stream:
            yield stream
        return
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        # Told of the file that was asked for, not of the one beside it.
        raise OSError(error.errno, error.strerror, str(path)) from None
    try:
        with open(descriptor, "wb") as stream:
            yield stream
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(name, 0o666 & ~mask)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
