"""`cellmesh layer`: the layers of a Cortex, whether each agrees with itself, and layers as files."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Final

import click
from cellmesh.cli.commands import layer_files
from cellmesh.cli.connect import cell_options, open_by_options

FAULTS_SHOWN: Final = 20


@click.group()
def layer() -> None:
    """The layers of a Cortex: list, verify, repair, export, import."""


layer.add_command(layer_files.export_)
layer.add_command(layer_files.import_)


@layer.command("list")
@cell_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(url: str | None, folder: Path | None, identity: Path | None, as_json: bool) -> None:
    """List the layers, and about how much room each takes. Storm says more: `layer.list`, `$lib.layer`."""
    from cellmesh.cli.layers import list_layers
    from cellmesh.cli.output import size_text, table

    with open_by_options("cortex", url, folder, identity) as client:
        found = list_layers(client)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
    else:
        rows = [(one["iden"], size_text(one["bytes"] or 0), one["name"] or "-") for one in found]
        click.echo(table(("LAYER", "SIZE", "NAME"), rows))


@layer.command("verify")
@click.argument("layers", nargs=-1)
@cell_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON, a line for each layer.")
@click.pass_context
def verify(
    ctx: click.Context,
    layers: tuple[str, ...],
    url: str | None,
    folder: Path | None,
    identity: Path | None,
    as_json: bool,
) -> None:
    """Compare the records of LAYERS (or of all) with their indexes and counts, on the instance that is called.

    Changes nothing. Exit code: 0 all agree, 1 something does not.
    """
    ctx.exit(_check(layers, url, folder, identity, as_json=as_json, is_repair=False))


@layer.command("repair")
@click.argument("layers", nargs=-1, required=True)
@cell_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON, a line for each layer.")
@click.pass_context
def repair(
    ctx: click.Context,
    layers: tuple[str, ...],
    url: str | None,
    folder: Path | None,
    identity: Path | None,
    as_json: bool,
) -> None:
    """As verify, and put right what does not agree: indexes and counts are made from the records again.

    Exit code: 0 all agrees now.
    """
    ctx.exit(_check(layers, url, folder, identity, as_json=as_json, is_repair=True))


def _check(
    layers: tuple[str, ...],
    url: str | None,
    folder: Path | None,
    identity: Path | None,
    *,
    as_json: bool,
    is_repair: bool,
) -> int:
    from cellmesh.api.cortex.v1 import layer_pb2
    from cellmesh.api.cortex.v1.layer_service_pb2_grpc import LayerServiceStub
    from cellmesh.cli.layers import layer_iden, list_layers

    is_faulty = False
    with open_by_options("cortex", url, folder, identity) as client:
        stub = client.stub(LayerServiceStub)
        given = [layer_iden(client, text) for text in layers]
        for iden in given or [one["iden"] for one in list_layers(client)]:
            kinds: Counter[str] = Counter()
            shown: list[dict[str, str]] = []
            repaired = 0
            request = layer_pb2.VerifyLayerRequest(layer_id=iden, repair=is_repair)
            for response in stub.VerifyLayer(request):
                repaired += response.repaired_count
                for fault in response.faults:
                    kinds[fault.kind] += 1
                    if len(shown) < FAULTS_SHOWN:
                        shown.append({"kind": fault.kind, "database": fault.database, "key": fault.key.hex()})
            is_faulty = is_faulty or bool(kinds)
            if as_json:
                told = {"layer": iden, "faults": dict(kinds), "repaired": repaired, "first": shown}
                click.echo(json.dumps(told))
            else:
                click.echo(_text(iden, kinds, shown, repaired, is_repair=is_repair))
    return 1 if is_faulty and not is_repair else 0


def _text(
    iden: str, kinds: Counter[str], shown: list[dict[str, str]], repaired: int, *, is_repair: bool
) -> str:
    if not kinds:
        return f"{iden}: records, indexes and counts agree"
    count = sum(kinds.values())
    lines = [f"{iden}: {count:,} faults: " + ", ".join(f"{kind} {n:,}" for kind, n in kinds.most_common())]
    lines += [f"  {one['kind']} in {one['database']}: {one['key']}" for one in shown]
    if count > len(shown):
        lines.append(f"  and {count - len(shown):,} more")
    if is_repair:
        lines.append(f"  {repaired:,} rows were put right")
    else:
        lines.append(f"  `cellmesh layer repair {iden}` puts them right")
    return "\n".join(lines)
