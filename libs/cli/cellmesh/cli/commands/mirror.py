"""`cellmesh mirror`: the instances of a service, who leads, and who shall."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from cellmesh.cli.connect import any_cell_options, open_any
from cellmesh.cli.records import echo_records, json_option

if TYPE_CHECKING:
    from cellmesh.api.common.v1 import mirror_pb2
    from cellmesh.client import CellClient

PROMOTE_TIMEOUT_S = 60.0
HASH_TIMEOUT_S = 3600.0


@click.group()
def mirror() -> None:
    """The instances of a service: status, promote, remove, check."""


def _stub(client: CellClient) -> Any:
    from cellmesh.api.common.v1 import mirror_service_pb2_grpc

    return client.stub(mirror_service_pb2_grpc.MirrorServiceStub)


@mirror.command()
@json_option
@any_cell_options
def status(kind: str | None, url: str | None, folder: Path | None, identity: Path | None) -> None:
    """Show what an instance is, where its log ends, and of a leader how far its followers are."""
    from cellmesh.api.common.v1 import mirror_pb2

    with open_any(kind, url, folder, identity) as client:
        response = _stub(client).GetMirrorStatus(mirror_pb2.GetMirrorStatusRequest())
    if echo_records([response.status]):
        return
    _show(response.status)


@mirror.command()
@click.option("--force", is_flag=True, help="Go without the leader there is: it does not answer.")
@click.option(
    "--accept-loss",
    is_flag=True,
    help="With --force: even if acknowledged changes may be on instances that do not answer.",
)
@any_cell_options
def promote(
    force: bool,
    accept_loss: bool,
    kind: str | None,
    url: str | None,
    folder: Path | None,
    identity: Path | None,
) -> None:
    """Make an instance the leader: the old one hands over, with nothing lost.

    With --force the old leader is not asked; its lease is waited for, some seconds.
    """
    from cellmesh.api.common.v1 import mirror_pb2

    request = mirror_pb2.PromoteRequest(force=force, accept_loss=accept_loss)
    with open_any(kind, url, folder, identity) as client:
        response = _stub(client).Promote(request, timeout=PROMOTE_TIMEOUT_S)
    _show(response.status)


@mirror.command()
@click.argument("name")
@any_cell_options
def remove(name: str, kind: str | None, url: str | None, folder: Path | None, identity: Path | None) -> None:
    """Have the leader forget a follower that will not come back, such as 01.cortex.demo."""
    from cellmesh.api.common.v1 import mirror_pb2

    with open_any(kind, url, folder, identity) as client:
        _stub(client).RemoveFollower(mirror_pb2.RemoveFollowerRequest(name=name))
    click.echo(f"{name} is no follower any more")


@mirror.command()
@click.option("--offset", type=int, help="Of a checkpoint made before; left out, the leader makes one.")
@any_cell_options
def check(
    offset: int | None, kind: str | None, url: str | None, folder: Path | None, identity: Path | None
) -> None:
    """Hash an instance's state at a checkpoint. Ask the leader first, then followers with its --offset.

    Replicas are equal when the hashes at the same offset are.
    """
    from cellmesh.api.common.v1 import mirror_pb2

    with open_any(kind, url, folder, identity) as client:
        stub = _stub(client)
        if offset is None:
            offset = stub.CreateCheckpoint(mirror_pb2.CreateCheckpointRequest()).offset
        response = stub.GetStateHash(mirror_pb2.GetStateHashRequest(offset=offset), timeout=HASH_TIMEOUT_S)
    click.echo(f"offset {response.offset} sha256 {response.sha256.hex()}")
    if sys.stdout.isatty():
        for name, digest in sorted(response.databases.items()):
            click.echo(f"  {name:24} {digest.hex()[:16]}")


def _show(status: mirror_pb2.MirrorStatus) -> None:
    from cellmesh.api.common.v1 import mirror_pb2
    from cellmesh.cli.output import table

    role = mirror_pb2.MirrorRole.Name(status.role).removeprefix("MIRROR_ROLE_").lower()
    click.echo(f"{status.name}: {role} in term {status.term}, log ends at offset {status.next_offset}")
    if status.trouble:
        click.echo(f"trouble: {status.trouble}")
    if role == "follower":
        link = "connected" if status.connected else "not connected"
        lag = max(status.leader_offset - status.next_offset, 0)
        click.echo(f"leader: {status.leader} at {status.leader_address or '?'}, {link}, {lag} records behind")
    elif role == "leader":
        click.echo(
            f"{'takes writes' if status.writable else 'takes no writes now'}; "
            f"{status.synchronous_count} synchronous followers"
        )
        rows = [
            (
                follower.name,
                "yes" if follower.connected else "no",
                str(follower.next_offset),
                str(follower.lag),
                f"{follower.silence.ToNanoseconds() / 1e9:.1f}",
            )
            for follower in status.followers
        ]
        if rows:
            click.echo(table(("FOLLOWER", "CONNECTED", "OFFSET", "BEHIND", "SILENT (s)"), rows))


__all__ = ["mirror"]
