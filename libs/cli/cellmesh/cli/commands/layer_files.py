"""`cellmesh layer export` and `cellmesh layer import`: a layer as a file, and a new layer of one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import click
from cellmesh.cli.connect import cell_options, open_by_options

if TYPE_CHECKING:
    from cellmesh.api.cortex.v1 import layer_pb2
    from cellmesh.api.cortex.v1.layer_service_pb2_grpc import LayerServiceStub
    from cellmesh.cli.exchange.showing import Showing

PART_SIZE: Final = 256 << 10
"""Bytes of the file in one message."""

IMPORT_TIMEOUT_S: Final = 7 * 24 * 3600.0
"""An import takes as long as it takes: one that stands still for a minute is ended by the Cortex."""

ATTEMPTS_MAX: Final = 5
"""An export begins again so often when the database had to grow meanwhile."""


@click.command("export")
@click.argument("layer")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@cell_options
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
@click.option("--json", "as_json", is_flag=True, help="Tell what was done as JSON.")
def export_(
    layer: str,
    file: Path,
    url: str | None,
    folder: Path | None,
    identity: Path | None,
    force: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Write all that LAYER (its name or iden) holds, and hides of layers below it, to FILE.

    The file is of one state, whatever is edited meanwhile, and appears when it is whole. `cellmesh layer import` makes the same
    layer of it, in this Cortex or in another one.
    """
    from cellmesh.api.cortex.v1.layer_service_pb2_grpc import LayerServiceStub
    from cellmesh.cli.commands.exporting import written
    from cellmesh.cli.exchange.showing import Showing
    from cellmesh.cli.layers import layer_iden
    from cellmesh.cli.output import size_text, span_text
    from cellmesh.common.errors import Retry

    if file.exists() and not force:
        raise click.UsageError(f"{file} exists: --force writes over it")
    showing = Showing(str(file), 0, "nodes", is_quiet=quiet or as_json)
    try:
        with open_by_options("cortex", url, folder, identity) as client, written(file) as out:
            stub = client.stub(LayerServiceStub)
            iden = layer_iden(client, layer)
            for attempt in range(1, ATTEMPTS_MAX + 1):
                try:
                    count, dropped = _fetch(stub, iden, out, showing)
                    break
                except Retry:
                    if attempt == ATTEMPTS_MAX or not out.seekable():
                        raise
                    out.seek(0)
                    out.truncate()
            size = out.tell() if out.seekable() else 0
    finally:
        showing.close()
    if as_json:
        told = {"layer": iden, "nodes": count, "bytes": size, "dropped_edges": dropped}
        click.echo(json.dumps(told | {"seconds": round(showing.seconds, 3)}))
    else:
        click.echo(f"{count:,} nodes, {size_text(size)} in {span_text(showing.seconds)}")
        if dropped:
            click.echo(f"  {dropped:,} edges to nodes that are in no layer any more are left out")


def _fetch(stub: LayerServiceStub, layer: str, out: BinaryIO, showing: Showing) -> tuple[int, int]:
    from cellmesh.api.cortex.v1 import layer_pb2

    count = dropped = 0
    for message in stub.ExportLayer(layer_pb2.ExportLayerRequest(layer_id=layer)):
        out.write(message.data)
        if message.expected_count:
            showing.expect(message.expected_count)
        count, dropped = message.node_count, message.dropped_edge_count
        showing.at(count)
        showing.count(count)
    return count, dropped


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@cell_options
@click.option("--name", default=None, help="What to call the layer. [default: as the file says]")
@click.option("--add-model", is_flag=True,
              help="Add what users had added to the model where the file comes from, as far as it is not there.")  # fmt: skip
@click.option("--quiet", is_flag=True, help="Show no progress.")
@click.option("--json", "as_json", is_flag=True, help="Tell what was done as JSON.")
def import_(
    file: Path,
    url: str | None,
    folder: Path | None,
    identity: Path | None,
    name: str | None,
    add_model: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Make a new layer of FILE, which `cellmesh layer export` wrote.

    Nobody sees the layer before it is whole. It belongs to no view: `cellmesh storm 'view.add --layers LAYER'` makes one with it.
    """
    from cellmesh.api.cortex.v1.layer_service_pb2_grpc import LayerServiceStub
    from cellmesh.cli.exchange.showing import Showing
    from cellmesh.cli.output import span_text

    size = file.stat().st_size
    showing = Showing(str(file), size, "bytes", is_quiet=quiet or as_json)
    try:
        with open_by_options("cortex", url, folder, identity) as client, file.open("rb") as source:
            parts = _parts(source, name, add_model, showing)
            made = client.stub(LayerServiceStub).ImportLayer(parts, timeout=IMPORT_TIMEOUT_S)
    finally:
        showing.close()
    if as_json:
        told = {"layer": made.layer_id, "name": made.name, "nodes": made.node_count, "bytes": size}
        click.echo(json.dumps(told | {"seconds": round(showing.seconds, 3)}, ensure_ascii=False))
    else:
        click.echo(f"{made.layer_id}: {made.node_count:,} nodes in {span_text(showing.seconds)}")


def _parts(
    source: BinaryIO, name: str | None, add_model: bool, showing: Showing
) -> Iterator[layer_pb2.ImportLayerRequest]:
    from cellmesh.api.cortex.v1 import layer_pb2

    size = 0
    request = layer_pb2.ImportLayerRequest(name=name, add_model=add_model)
    while True:
        request.data = source.read(PART_SIZE)
        if not request.data and size:
            return
        yield request
        size += len(request.data)
        showing.at(size)
        showing.count(size)
        if not request.data:
            return
        request = layer_pb2.ImportLayerRequest()
