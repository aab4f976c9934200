"""`cellmesh storage`, `cellmesh compact` and `cellmesh trim`."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from cellmesh.cli.connect import any_cell_options, open_any
from cellmesh.cli.records import echo_records, json_option


@click.command()
@json_option
@any_cell_options
def storage(kind: str | None, url: str | None, folder: Path | None, identity: Path | None) -> None:
    """Show what a cell's database file holds, and who needs which records of its change log."""
    from cellmesh.api.common.v1 import (
        change_log_service_pb2,
        change_log_service_pb2_grpc,
        storage_service_pb2,
        storage_service_pb2_grpc,
    )
    from cellmesh.cli.output import size_text, table

    with open_any(kind, url, folder, identity) as client:
        stats = client.stub(storage_service_pb2_grpc.StorageServiceStub).GetStorageStats(
            storage_service_pb2.GetStorageStatsRequest()
        )
        log = client.stub(change_log_service_pb2_grpc.ChangeLogServiceStub).GetLogStatus(
            change_log_service_pb2.GetLogStatusRequest()
        )
        if echo_records([{"storage": stats, "change_log": log}]):
            return
        rows = [(db.name, f"{db.items:,}", size_text(db.size_bytes)) for db in stats.databases if db.items]
        click.echo(table(("DATABASE", "ITEMS", "SIZE"), rows))
        click.echo(
            f"file {size_text(stats.file_size_bytes)}: {size_text(stats.used_bytes)} of data, "
            f"{size_text(stats.free_bytes)} free; {size_text(stats.disk_free_bytes)} left on the disk"
        )
    click.echo(f"change log: records {log.first_offset} to {log.next_offset}, {size_text(log.size_bytes)}")
    for hold in log.holds:
        until = (
            f" until {hold.expire_time.ToDatetime().isoformat(' ', 'seconds')} UTC"
            if hold.HasField("expire_time")
            else ""
        )
        click.echo(f"  kept from {hold.offset} on for {hold.name}{until}")


@click.command()
@click.option("--online", is_flag=True, help="Of a cell that runs, while it serves.")
@any_cell_options
def compact(
    online: bool, kind: str | None, url: str | None, folder: Path | None, identity: Path | None
) -> None:
    """Give back the disk that a cell's deleted data took.

    A stopped cell is named by its folder, with --dir; one that runs is compacted with --online.
    """
    from cellmesh.cli.output import size_text

    if online:
        _compact_online(kind, url, folder, identity)
        return
    from cellmesh.common.errors import BadArg, NoSuchPath
    from cellmesh.common.storage import compact as compact_storage

    if folder is None:
        raise BadArg("which cell?", name="dir", hint="give a stopped cell's folder with --dir, or --online")
    done = compact_storage(folder / "slab")
    if done is None:
        raise NoSuchPath(f"{folder} holds no cell's storage", path=str(folder / "slab"))
    click.echo(f"compacted from {size_text(done.before_bytes)} to {size_text(done.after_bytes)}")


def _compact_online(kind: str | None, url: str | None, folder: Path | None, identity: Path | None) -> None:
    from cellmesh.api.common.v1 import storage_service_pb2, storage_service_pb2_grpc
    from cellmesh.cli.output import size_text

    is_terminal = sys.stderr.isatty()
    with open_any(kind, url, folder, identity) as client:
        stub = client.stub(storage_service_pb2_grpc.StorageServiceStub)
        for message in stub.Compact(storage_service_pb2.CompactRequest()):
            if message.WhichOneof("step") == "result":
                done = message.result
                if is_terminal:
                    click.echo("\r\x1b[K", nl=False, err=True)
                click.echo(
                    f"compacted from {size_text(done.before_bytes)} to {size_text(done.after_bytes)}; calls waited "
                    f"{done.pause_us / 1000:.1f} ms"
                )
            elif is_terminal:
                progress = message.progress
                click.echo(
                    f"\r{size_text(progress.written_bytes)} of {size_text(progress.size_bytes)}\x1b[K",
                    nl=False,
                    err=True,
                )


@click.command()
@click.option(
    "--offset", type=click.IntRange(0), default=None, help="Where to stop; else what the settings let go."
)
@any_cell_options
def trim(
    offset: int | None, kind: str | None, url: str | None, folder: Path | None, identity: Path | None
) -> None:
    """Remove the oldest records of a cell's change log; never those that mirrors and backups need."""
    from cellmesh.api.common.v1 import change_log_service_pb2, change_log_service_pb2_grpc

    with open_any(kind, url, folder, identity) as client:
        done = client.stub(change_log_service_pb2_grpc.ChangeLogServiceStub).TrimChanges(
            change_log_service_pb2.TrimChangesRequest(offset=offset)
        )
    held = f"; the rest is kept for {done.held_by}" if done.held_by else ""
    click.echo(f"{done.count} records removed, the log begins at {done.first_offset}{held}")
