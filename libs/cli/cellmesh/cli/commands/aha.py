"""`cellmesh aha`."""

from __future__ import annotations

from pathlib import Path

import click
from cellmesh.cli.commands.serve import serve_of
from cellmesh.cli.connect import cell_options, open_by_options
from cellmesh.cli.lazy import Lazy, LazyGroup
from cellmesh.cli.records import echo_records, json_option

HOUR_S = 3600.0


_ADMIN = "cellmesh.cli.commands.aha_admin"
_COMMANDS = {
    **serve_of("aha"),
    "services": Lazy(f"{_ADMIN}:services", "List the services with their leaders."),
    "down": Lazy(f"{_ADMIN}:down", "Take an instance out of use."),
    "up": Lazy(f"{_ADMIN}:up", "Put it back into use."),
    "remove": Lazy(f"{_ADMIN}:remove", "Take an instance out of the registry."),
    "pool": Lazy(f"{_ADMIN}:pool", "Names for several services: create, add, remove, list, delete."),
    "certs": Lazy(f"{_ADMIN}:list_certificates", "List the certificates that were issued."),
    "revoke": Lazy(f"{_ADMIN}:revoke", "Have all cells refuse a certificate, within seconds."),
    "enrollments": Lazy(f"{_ADMIN}:enrollments", "One-time URLs that were made: list, delete."),
}


@click.group(cls=LazyGroup, lazy=_COMMANDS)
def aha() -> None:
    """The registry and certificate authority of a mesh."""


@aha.group()
def provision() -> None:
    """Make a one-time URL with which a cell or a user joins the mesh."""


_hours_option = click.option(
    "--hours",
    type=click.FloatRange(0, 168, min_open=True),
    default=1.0,
    show_default=True,
    help="For how long it is good.",
)


@provision.command("service")
@click.argument("name")
@_hours_option
@click.option("--again", is_flag=True, help="Even if a cell of that name is registered now.")
@cell_options
def provision_service(
    name: str, hours: float, again: bool, url: str | None, folder: Path | None, identity: Path | None
) -> None:
    """Make a URL for a cell, such as 01.axon; for `axon` it is the next free number. Start the cell with
    `serve --enroll URL`.
    """
    from cellmesh.cli.mesh.mesh import provision as make_url

    with open_by_options("aha", url, folder, identity) as client:
        click.echo(make_url(client, instance=name, lifetime_s=hours * HOUR_S, again=again))


@provision.command("user")
@click.argument("name")
@_hours_option
@cell_options
def provision_user(
    name: str, hours: float, url: str | None, folder: Path | None, identity: Path | None
) -> None:
    """Make a URL for a user, such as alice, who then runs `cellmesh enroll URL`."""
    from cellmesh.cli.mesh.mesh import provision as make_url

    with open_by_options("aha", url, folder, identity) as client:
        click.echo(make_url(client, user=name, lifetime_s=hours * HOUR_S))


@aha.command("list")
@click.option("--service", default="", help="Only this service.")
@click.option("--kind", default="", help="Only cells of this kind.")
@click.option("--ready/--not-ready", default=None, help="Only those that answer calls, or that do not.")
@click.option("--leaders/--followers", default=None, help="Only leaders, or followers.")
@json_option
@cell_options
def list_instances(
    service: str,
    kind: str,
    ready: bool | None,
    leaders: bool | None,
    url: str | None,
    folder: Path | None,
    identity: Path | None,
) -> None:
    """List the cells that are registered now."""
    from cellmesh.api.aha.v1 import registry_pb2, registry_service_pb2_grpc
    from cellmesh.cli.output import table

    found: list[registry_pb2.Instance] = []
    with open_by_options("aha", url, folder, identity) as client:
        stub = client.stub(registry_service_pb2_grpc.RegistryServiceStub)
        request = registry_pb2.ListInstancesRequest(service=service, kind=kind, ready=ready, leader=leaders)
        while True:
            page = stub.ListInstances(request)
            found += page.instances
            request.page_token = page.next_page_token
            if not request.page_token:
                break
    if echo_records(found):
        return
    rows = [
        (
            item.name,
            item.address,
            "down" if item.down else "ready" if item.ready else "not ready",
            "leader" if item.leader else "",
            item.version,
        )
        for item in found
    ]
    click.echo(table(("NAME", "ADDRESS", "STATE", "ROLE", "VERSION"), rows))


@aha.command("bootstrap")
@click.option(
    "--for",
    "client",
    type=click.Choice(("grpc", "envoy")),
    default="grpc",
    show_default=True,
    help="For a gRPC client, or for an Envoy.",
)
@click.option(
    "--server",
    "servers",
    multiple=True,
    help="Where AHA is, as host:port; again for each further one. [what the identity folder knows]",
)
@click.option(
    "--listen",
    "listens",
    multiple=True,
    help="Of an Envoy, where it takes calls to a service: cortex=127.0.0.1:9000. Again for each further one.",
)
@click.option("--node", "node_id", default=None, help="What the client calls itself. [the identity's name]")
@click.option(
    "--identity",
    type=click.Path(path_type=Path),
    default=None,
    help="Identity folder to call with. [CELLMESH_IDENTITY; default ~/.cellmesh/identity]",
)
@click.option(
    "--dir",
    "mesh_dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Folder of a mesh on this machine, to call with as its root.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="File to write, instead of printing.",
)
def bootstrap(
    client: str,
    servers: tuple[str, ...],
    listens: tuple[str, ...],
    node_id: str | None,
    identity: Path | None,
    mesh_dir: Path | None,
    out: Path | None,
) -> None:
    """Write the bootstrap with which a gRPC client finds xds:///NAME, or an Envoy its clusters.

    A gRPC client takes it from the file named in GRPC_XDS_BOOTSTRAP. It names the files of the identity folder, and has
    no secrets in it.
    """
    from cellmesh.cli.bootstrap import make_bootstrap, write_bootstrap
    from cellmesh.cli.mesh import Mesh
    from cellmesh.common.errors import BadArg

    if mesh_dir is not None:
        if identity is not None:
            raise BadArg("--identity and --dir both say who calls: give one", name="dir")
        mesh = Mesh(mesh_dir)
        mesh.require()
        identity = mesh.identity
    write_bootstrap(make_bootstrap(client, servers, listens, node_id, identity), client, out)
