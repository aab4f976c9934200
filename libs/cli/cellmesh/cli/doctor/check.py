"""What is looked at for a mesh's folder, a cell's folder, or a mesh known by AHA."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from cellmesh.api.aha.v1 import registry_pb2, registry_service_pb2_grpc
from cellmesh.cli.doctor import cells, identities, machine
from cellmesh.cli.doctor.finding import Finding, ok, problem
from cellmesh.cli.mesh import Mesh, ports, processes
from cellmesh.cli.mesh.mesh import split_cell
from cellmesh.client import open_cell
from cellmesh.common.errors import BadConfValu, CellError, NoSuchDir
from cellmesh.common.tls.folder import IdentityFolder

MACHINE = "this machine"


def check_folder(folder: Path) -> Iterator[Finding]:
    """Look at a mesh's folder, or a cell's.

    Raises:
        NoSuchDir: it is neither.
    """
    folder = folder.expanduser().absolute()
    if (folder / "cell.json").exists():
        yield machine.check_own_limits()
        yield from machine.check_disk(MACHINE, folder)
        yield from _check_cell_folder(_kind_of(folder), folder, None)
        return
    mesh = Mesh(folder)
    if not mesh.exists:
        raise NoSuchDir(
            f"{folder} holds no mesh and no cell",
            name=str(folder),
            hint="give the folder of `cellmesh up`, or of one cell; without --dir, AHA is asked",
        )
    yield machine.check_own_limits()
    yield from machine.check_disk(MACHINE, folder)
    yield from identities.check_identity("root user", IdentityFolder(mesh.identity))
    for kind in mesh.kinds:
        yield from _check_cell_folder(kind, mesh.folder(kind), mesh)


def _check_cell_folder(subject: str, folder: Path, mesh: Mesh | None) -> Iterator[Finding]:
    if not folder.is_dir():
        # A mesh need not have every kind of cell.
        return
    yield machine.check_folder(subject, folder)
    certificates = IdentityFolder(folder / "certs")
    # A folder that holds a part of an identity is told too.
    if certificates.path.is_dir():
        yield from identities.check_identity(subject, certificates)
    running = processes.find_running(folder)
    if running is None:
        how = f"`cellmesh up --dir {mesh.dir}`" if mesh else f"`cellmesh {subject} serve --dir {folder}`"
        ended = processes.last_error(split_cell(subject)[1], mesh.log(subject)) if mesh else ""
        message = f"it does not run, and ended with: {ended}" if ended else "it does not run"
        advice = f"start it: {how}; its log says why it ended"
        yield problem("process", subject, message, f"mend that, then {advice}" if ended else advice)
        found = _check_wanted_port(subject, folder)
        if found is not None:
            yield found
        return
    yield ok("process", subject, f"process {running.pid}")
    limits = machine.check_process_limits(subject, running.pid)
    if limits is not None:
        yield limits
    for address in running.addresses:
        if not address.startswith(("unix:", "/")):
            yield machine.check_serving_port(subject, address)
    if mesh is not None:
        # As other cells reach it: through AHA, over mutual TLS.
        yield from cells.check_cell(subject, mesh.instance_url(subject), mesh.identity, is_local=True)
    else:
        yield from cells.check_cell(subject, f"unix://{folder}", None, is_local=True)


def _check_wanted_port(subject: str, folder: Path) -> Finding | None:
    try:
        listen = ports.read_settings(folder).get("listen")
    except BadConfValu as error:
        return problem("port", subject, error.message, "correct the file")
    return machine.check_free_port(subject, str(listen)) if listen else None


def _kind_of(folder: Path) -> str:
    try:
        return str(json.loads((folder / "cell.json").read_bytes())["kind"])
    except (OSError, ValueError, KeyError, TypeError):
        return "cell"


def check_mesh(registry_url: str, identity: Path | None) -> Iterator[Finding]:
    """Look at a mesh from outside: the identity here, then each cell that AHA knows."""
    yield machine.check_own_limits()
    own = IdentityFolder(identity) if identity else IdentityFolder.default()
    needs_identity = registry_url.startswith("aha://")
    if needs_identity or own.exists():
        yield from identities.check_identity("this user", own)
    if needs_identity and not own.exists():
        return
    try:
        with open_cell(registry_url, identity=identity, timeout_s=cells.ASK_S) as client:
            stub = client.stub(registry_service_pb2_grpc.RegistryServiceStub)
            instances: list[registry_pb2.Instance] = []
            token = ""
            while True:
                answer = stub.ListInstances(registry_pb2.ListInstancesRequest(page_token=token))
                instances += answer.instances
                token = answer.next_page_token
                if not token:
                    break
    except CellError as error:
        yield cells.not_reached("aha", error)
        return
    if not any(instance.kind == "aha" for instance in instances):
        yield from cells.check_cell("aha", registry_url, identity, is_local=False)
    for instance in sorted(instances, key=lambda one: (one.kind, one.name)):
        yield from _check_instance(instance, identity)


def _check_instance(instance: registry_pb2.Instance, identity: Path | None) -> Iterator[Finding]:
    name = instance.name
    if instance.down:
        yield problem("state", name, "AHA holds it for down", "start it; see its log")
        return
    yield from cells.check_cell(name, f"aha://{name}", identity, is_local=False)
