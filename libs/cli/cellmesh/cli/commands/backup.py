"""`cellmesh backup` and `cellmesh restore`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from cellmesh.cli.connect import any_cell_options, open_any
from cellmesh.cli.records import echo_records, json_option

if TYPE_CHECKING:
    from cellmesh.api.common.v1 import backup_service_pb2
    from cellmesh.client import CellClient

PROGRESS_S = 0.5


@click.group()
def backup() -> None:
    """Copies of a cell's data, made while it serves: create, list, delete, fetch."""


def _stub(client: CellClient) -> Any:
    from cellmesh.api.common.v1 import backup_service_pb2_grpc

    return client.stub(backup_service_pb2_grpc.BackupServiceStub)


@backup.command()
@click.argument("name", default="")
@click.option(
    "--keep", type=click.IntRange(1), default=None, help="Then remove the oldest ones until so many are left."
)
@any_cell_options
def create(
    name: str,
    keep: int | None,
    kind: str | None,
    url: str | None,
    folder: Path | None,
    identity: Path | None,
) -> None:
    """Make a backup in the cell's own folder, DIR/backups/NAME; without a name it is called by the time."""
    from cellmesh.api.common.v1 import backup_service_pb2

    with open_any(kind, url, folder, identity) as client:
        request = backup_service_pb2.CreateBackupRequest(name=name, keep_count=keep or 0)
        for message in _stub(client).CreateBackup(request):
            if message.WhichOneof("step") == "progress":
                _show(message.progress.written_bytes, message.progress.size_bytes)
            else:
                _clear()
                click.echo(_told(message.backup, "made"))
                for old in message.removed:
                    click.echo(f"backup {old} removed")


@backup.command("list")
@json_option
@any_cell_options
def list_backups(kind: str | None, url: str | None, folder: Path | None, identity: Path | None) -> None:
    """List the backups in the cell's folder, oldest first."""
    from cellmesh.api.common.v1 import backup_service_pb2
    from cellmesh.cli.output import size_text, table

    with open_any(kind, url, folder, identity) as client:
        response = _stub(client).ListBackups(backup_service_pb2.ListBackupsRequest())
    if echo_records(response.backups):
        return
    rows = [
        (
            made.name,
            made.create_time.ToDatetime().isoformat(" ", "seconds"),
            size_text(made.size_bytes),
            str(made.change_offset),
            made.version,
        )
        for made in response.backups
    ]
    click.echo(table(("BACKUP", "CREATED (UTC)", "SIZE", "CHANGES", "VERSION"), rows))


@backup.command()
@click.argument("name")
@any_cell_options
def delete(name: str, kind: str | None, url: str | None, folder: Path | None, identity: Path | None) -> None:
    """Remove a backup from the cell's folder."""
    from cellmesh.api.common.v1 import backup_service_pb2

    with open_any(kind, url, folder, identity) as client:
        _stub(client).DeleteBackup(backup_service_pb2.DeleteBackupRequest(name=name))
    click.echo(f"backup {name} removed")


@backup.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@any_cell_options
def fetch(file: Path, kind: str | None, url: str | None, folder: Path | None, identity: Path | None) -> None:
    """Make a backup and write it to FILE here, a .tar archive; needs no room on the cell's disk.

    The archive holds the cell's private key: keep it where only you can read it.
    """
    from cellmesh.api.common.v1 import backup_service_pb2
    from cellmesh.common.backup import ArchiveWriter

    made: backup_service_pb2.Backup | None = None
    told_s = 0.0
    with open_any(kind, url, folder, identity) as client, ArchiveWriter(file) as archive:
        for message in _stub(client).StreamBackup(backup_service_pb2.StreamBackupRequest()):
            made = archive.take(message) or made
            if time.monotonic() - told_s >= PROGRESS_S:
                told_s = time.monotonic()
                _show(archive.size_bytes, None)
    _clear()
    if made is None:
        raise click.ClickException("the cell ended the backup before it was whole; nothing was kept")
    click.echo(_told(made, f"written to {file}, every hash checked"))


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    required=True,
    help="The folder to make the cell in: an empty one, or none yet.",
)
def restore(source: Path, folder: Path) -> None:
    """Make a cell's folder out of a backup: a fetched archive, or a folder under DIR/backups.

    Every file is checked before the folder is there. The cell that is started on it is the one that was
    backed up, with its id, name and certificate: do not run both.
    """
    from cellmesh.common.backup import restore_backup

    made = restore_backup(source, folder)
    click.echo(_told(made, f"restored to {folder}, every hash checked"))
    click.echo(f"start it with `cellmesh {made.kind} serve --dir {folder}`")


def _told(made: backup_service_pb2.Backup, done: str) -> str:
    from cellmesh.cli.output import size_text

    who = f"{made.kind} {made.cell_name}" if made.cell_name else made.kind
    when = made.create_time.ToDatetime().isoformat(" ", "seconds")
    return (
        f"backup {made.name} {done}: {who}, id {made.cell_id}, as of {when} UTC, with the changes before offset "
        f"{made.change_offset}; {len(made.files)} files, {size_text(made.size_bytes)}"
    )


def _show(written: int, size: int | None) -> None:
    from cellmesh.cli.output import size_text

    if sys.stderr.isatty():
        of = f" of {size_text(size)}" if size else ""
        click.echo(f"\r{size_text(written)}{of}\x1b[K", nl=False, err=True)


def _clear() -> None:
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", nl=False, err=True)
