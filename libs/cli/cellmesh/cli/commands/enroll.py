"""`cellmesh enroll`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("url")
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    default=None,
    help="Folder for the identity. [CELLMESH_IDENTITY; default ~/.cellmesh/identity]",
)
@click.option("--force", is_flag=True, help="Replace the identity that is there.")
def enroll(url: str, folder: Path | None, force: bool) -> None:
    """Use the one-time URL of `cellmesh aha provision`: make a key and get a certificate for it.

    The key never leaves this machine. A cell enrols by itself when it is started with `serve --enroll URL`.
    """
    from cellmesh.common.errors import FileExists
    from cellmesh.common.tls.enrollment import enroll as use_url
    from cellmesh.common.tls.folder import IdentityFolder

    identity = IdentityFolder(folder.expanduser().absolute()) if folder else IdentityFolder.default()
    if identity.exists() and not force:
        raise FileExists(
            f"there is an identity in {identity.path} already",
            name=str(identity.path),
            hint="use --force or --dir",
        )
    mesh = use_url(url, identity)
    click.echo(f"enrolled as {mesh.name}; the identity is in {identity.path}")
