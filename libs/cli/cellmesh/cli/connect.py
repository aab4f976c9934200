"""From --url, --dir and --identity to a client of a cell."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from cellmesh.cli.mesh import Mesh
    from cellmesh.client import CellClient

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

MESH_VARIABLE = "CELLMESH_DIR"


def cell_options(command: CommandT) -> CommandT:
    """Decorate a command with the options that say which cell to call: url, folder, identity."""
    for decorate in (
        click.option(
            "--identity",
            type=click.Path(path_type=Path),
            default=None,
            help="Identity folder to call with. [CELLMESH_IDENTITY; default ~/.cellmesh/identity, or the "
            "mesh's root user]",
        ),
        click.option(
            "--dir",
            "folder",
            type=click.Path(path_type=Path),
            default=None,
            envvar=MESH_VARIABLE,
            help=f"Folder of a mesh that runs here, or of the cell itself. [{MESH_VARIABLE}]",
        ),
        click.option(
            "--url",
            default=None,
            help="URL of the cell: aha://NAME, grpcs://HOST:PORT, grpc://HOST:PORT, unix://PATH or cell://DIR?KIND, or "
            "an alias of one. Without URL and folder, AHA is asked.",
        ),
    ):
        command = decorate(command)
    return command


def open_by_options(kind: str, url: str | None, folder: Path | None, identity: Path | None) -> CellClient:
    """Open the cell that the options name: the URL, or in the folder, or the one that AHA knows.

    Raises:
        NoSuchDir: the folder is neither a mesh's nor a cell's.
        NoSuchCert: neither URL, folder nor identity was given, and this user has none.
        BadUrl, NoSuchCert: as `open_cell`.
    """
    from cellmesh.client import open_cell

    if url is None and folder is not None:
        url, of_folder = find_in_folder(kind, folder)
        identity = identity or of_folder
    if url is None and identity is None:
        _require_own_identity()
    return open_cell(url or f"aha://{kind}", identity=identity)


def _require_own_identity() -> None:
    """Raise NoSuchCert when AHA would be asked and this user has no identity: most often --dir was forgotten."""
    from cellmesh.common.errors import NoSuchCert
    from cellmesh.common.tls.folder import IdentityFolder

    own = IdentityFolder.default()
    if not own.exists():
        raise NoSuchCert(
            f"which mesh? There is no --dir, {MESH_VARIABLE} or --url, and no identity in {own.path}",
            name=str(own.path),
            hint="name the folder of `cellmesh up` with --dir, or join a mesh with `cellmesh enroll URL`",
        )


def any_cell_options(command: CommandT) -> CommandT:
    """The same for commands that work with every kind of cell: `--cell` names the kind where needed."""
    decorate = click.option(
        "--cell", "kind", default=None, help="Which cell of a mesh: aha, axon, cryotank, cortex."
    )
    return decorate(cell_options(command))


def open_any(kind: str | None, url: str | None, folder: Path | None, identity: Path | None) -> CellClient:
    """Open the cell that the options name, whatever its kind.

    Raises:
        BadArg: they name no cell.
        NoSuchDir: the folder is neither a mesh's nor a cell's.
        BadUrl, NoSuchCert: as `open_cell`.
    """
    from cellmesh.common.errors import BadArg

    if kind is None and url is None and (folder is None or not (folder.expanduser() / "cell.json").exists()):
        raise BadArg(
            "which cell?", name="cell", hint="give its folder with --dir, its --url, or --cell KIND of a mesh"
        )
    return open_by_options(kind or "cell", url, folder, identity)


def find_in_folder(kind: str, folder: Path) -> tuple[str, Path | None]:
    """The URL of a cell of some kind in a folder, and the identity to call it with if it needs one.

    Args:
        kind: The kind of cell.
        folder: A mesh's, or the cell's own.

    Raises:
        NoSuchDir: it is neither.
        BadArg: it is the folder of a cell of another kind.
        CellUnreachable: the mesh is there, but the cell, or AHA that knows where it is, does not run.
    """
    from cellmesh.cli.mesh import KINDS, Mesh
    from cellmesh.common.errors import BadArg, NoSuchDir

    folder = folder.expanduser().absolute()
    if (folder / "cell.json").exists():
        found = _kind_of(folder)
        if kind in KINDS and found in KINDS and found != kind:
            raise BadArg(
                f"{folder} is the folder of a cell of kind {found}, and this command calls a {kind}",
                hint="give the folder of the mesh, or of the right cell, with --dir",
            )
        return f"unix://{folder}", None
    mesh = Mesh(folder)
    if mesh.exists:
        _require_running(mesh, kind)
        # AHA itself is asked where it is without asking AHA.
        return (f"unix://{mesh.folder(kind)}", None) if kind == "aha" else (mesh.url(kind), mesh.identity)
    raise NoSuchDir(
        f"{folder} holds no mesh and no {kind}",
        name=str(folder),
        hint=f"start a mesh with `cellmesh up --dir {folder}`, or name the cell with --url",
    )


def _kind_of(folder: Path) -> str:
    """The kind of cell whose folder it is; empty when cell.json does not tell."""
    try:
        return str(json.loads((folder / "cell.json").read_bytes()).get("kind", ""))
    except (OSError, ValueError, AttributeError):
        return ""


def _require_running(mesh: Mesh, kind: str) -> None:
    """Raise CellUnreachable, before anything is tried, when a cell that is needed has no process."""
    from cellmesh.cli.mesh import REGISTRY, processes
    from cellmesh.common.errors import CellUnreachable

    running = mesh.running()
    for needed in (REGISTRY, kind):
        if needed in mesh.kinds and needed not in running:
            raise CellUnreachable(
                f"the {needed} of the mesh under {mesh.dir} does not run{processes.last_address_text(mesh.folder(needed))}",
                name=needed,
                hint=f"start what is not running with `cellmesh up --dir {mesh.dir}`",
            )
