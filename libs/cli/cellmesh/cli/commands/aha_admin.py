"""`cellmesh aha`: pools, certificates, enrolments, and instances marked down or removed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from cellmesh.cli.connect import cell_options, open_by_options
from cellmesh.cli.records import echo_records, json_option

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

PAGE_SIZE = 1000


@click.group()
def pool() -> None:
    """Names under which several services are called in turn: aha://POOL."""


@pool.command("create")
@click.argument("name")
@click.argument("members", nargs=-1)
@cell_options
def create_pool(
    name: str, members: tuple[str, ...], url: str | None, folder: Path | None, identity: Path | None
) -> None:
    """Make a pool of services (axon) and instances (01.cortex)."""
    from cellmesh.api.aha.v1 import pool_pb2, pool_service_pb2_grpc

    with open_by_options("aha", url, folder, identity) as client:
        stub = client.stub(pool_service_pb2_grpc.PoolServiceStub)
        stub.CreatePool(pool_pb2.CreatePoolRequest(name=name, members=members))
    click.echo(f"callers reach the pool as aha://{name}")


@pool.command("delete")
@click.argument("name")
@cell_options
def delete_pool(name: str, url: str | None, folder: Path | None, identity: Path | None) -> None:
    """Delete a pool. Its members go on."""
    from cellmesh.api.aha.v1 import pool_pb2, pool_service_pb2_grpc

    with open_by_options("aha", url, folder, identity) as client:
        stub = client.stub(pool_service_pb2_grpc.PoolServiceStub)
        stub.DeletePool(pool_pb2.DeletePoolRequest(name=name))


@pool.command("add")
@click.argument("name")
@click.argument("members", nargs=-1, required=True)
@cell_options
def add_members(
    name: str, members: tuple[str, ...], url: str | None, folder: Path | None, identity: Path | None
) -> None:
    """Add services or instances to a pool."""
    from cellmesh.api.aha.v1 import pool_pb2, pool_service_pb2_grpc

    with open_by_options("aha", url, folder, identity) as client:
        stub = client.stub(pool_service_pb2_grpc.PoolServiceStub)
        for member in members:
            stub.AddPoolMember(pool_pb2.AddPoolMemberRequest(name=name, member=member))


@pool.command("remove")
@click.argument("name")
@click.argument("members", nargs=-1, required=True)
@cell_options
def remove_members(
    name: str, members: tuple[str, ...], url: str | None, folder: Path | None, identity: Path | None
) -> None:
    """Take services or instances out of a pool."""
    from cellmesh.api.aha.v1 import pool_pb2, pool_service_pb2_grpc

    with open_by_options("aha", url, folder, identity) as client:
        stub = client.stub(pool_service_pb2_grpc.PoolServiceStub)
        for member in members:
            stub.RemovePoolMember(pool_pb2.RemovePoolMemberRequest(name=name, member=member))


@pool.command("list")
@json_option
@cell_options
def list_pools(url: str | None, folder: Path | None, identity: Path | None) -> None:
    """List the pools with their members."""
    from cellmesh.api.aha.v1 import pool_pb2, pool_service_pb2_grpc
    from cellmesh.cli.output import table

    with open_by_options("aha", url, folder, identity) as client:
        stub = client.stub(pool_service_pb2_grpc.PoolServiceStub)
        found = stub.ListPools(pool_pb2.ListPoolsRequest()).pools
    if echo_records(found):
        return
    rows = [(item.name, " ".join(member.name for member in item.members) or "-") for item in found]
    click.echo(table(("POOL", "MEMBERS"), rows))


@click.command()
@click.argument("target")
@click.option("--reason", default="", help="Why, for the record.")
@cell_options
def revoke(target: str, reason: str, url: str | None, folder: Path | None, identity: Path | None) -> None:
    """Have all cells refuse a certificate, within seconds, and end its calls.

    TARGET is a serial number, or a name, such as 00.axon or alice@mesh: then it is every certificate of that name. Who
    was revoked comes back with a new enrolment only.
    """
    from cellmesh.api.aha.v1 import enrollment_service_pb2_grpc, revocation_pb2

    request = revocation_pb2.RevokeCertificatesRequest(reason=reason)
    if "." in target or "@" in target:
        request.name = target
    else:
        request.serial = target
    with open_by_options("aha", url, folder, identity) as client:
        stub = client.stub(enrollment_service_pb2_grpc.CertificateServiceStub)
        done = stub.RevokeCertificates(request).revocations
    for item in done:
        click.echo(f"revoked {item.serial} of {item.subject}")
    if not done:
        click.echo("revoked already")


@click.command("certs")
@click.argument("name", default="")
@click.option("--valid", is_flag=True, help="Only those that are neither over nor revoked.")
@json_option
@cell_options
def list_certificates(
    name: str, valid: bool, url: str | None, folder: Path | None, identity: Path | None
) -> None:
    """List the certificates that were issued, to all or to NAME, such as 00.axon or alice@mesh."""
    import time

    from cellmesh.api.aha.v1 import enrollment_service_pb2_grpc, revocation_pb2
    from cellmesh.cli.output import table

    found: list[Any] = []
    with open_by_options("aha", url, folder, identity) as client:
        stub = client.stub(enrollment_service_pb2_grpc.CertificateServiceStub)
        request = revocation_pb2.ListCertificatesRequest(name=name, valid_only=valid, page_size=PAGE_SIZE)
        while True:
            page = stub.ListCertificates(request)
            found += page.certificates
            request.page_token = page.next_page_token
            if not request.page_token:
                break
    if echo_records(found):
        return
    rows = []
    for item in found:
        over = item.expire_time.ToMilliseconds() <= time.time() * 1000
        state = "revoked" if item.HasField("revoke_time") else "over" if over else "valid"
        rows.append((item.name, item.serial, _time(item.expire_time), state))
    click.echo(table(("NAME", "SERIAL", "ENDS", "STATE"), sorted(rows)))


@click.group()
def enrollments() -> None:
    """One-time URLs that were made: list, delete."""


@enrollments.command("list")
@click.option("--open", "open_only", is_flag=True, help="Only those that can still be used.")
@json_option
@cell_options
def list_enrollments(open_only: bool, url: str | None, folder: Path | None, identity: Path | None) -> None:
    """List the one-time URLs by id; the URLs themselves are kept nowhere."""
    from cellmesh.api.aha.v1 import enrollment_pb2, enrollment_service_pb2_grpc
    from cellmesh.cli.output import table

    with open_by_options("aha", url, folder, identity) as client:
        stub = client.stub(enrollment_service_pb2_grpc.CertificateServiceStub)
        found = stub.ListEnrollments(enrollment_pb2.ListEnrollmentsRequest(open_only=open_only)).enrollments
    if echo_records(found):
        return
    rows = [
        (
            item.enrollment_id,
            item.name,
            _time(item.expire_time),
            _time(item.use_time) if item.HasField("use_time") else "-",
        )
        for item in found
    ]
    click.echo(table(("ID", "FOR", "ENDS", "USED"), rows))


@enrollments.command("delete")
@click.argument("ids", nargs=-1)
@click.option("--all", "every", is_flag=True, help="All that can still be used.")
@cell_options
def delete_enrollments(
    ids: tuple[str, ...], every: bool, url: str | None, folder: Path | None, identity: Path | None
) -> None:
    """Make one-time URLs worthless."""
    from cellmesh.api.aha.v1 import enrollment_pb2, enrollment_service_pb2_grpc

    if not ids and not every:
        raise click.UsageError("give ids, or --all")
    with open_by_options("aha", url, folder, identity) as client:
        stub = client.stub(enrollment_service_pb2_grpc.CertificateServiceStub)
        request = enrollment_pb2.DeleteEnrollmentsRequest(enrollment_ids=ids, all=every)
        click.echo(f"{stub.DeleteEnrollments(request).count} deleted")


@click.command()
@click.argument("name")
@cell_options
def down(name: str, url: str | None, folder: Path | None, identity: Path | None) -> None:
    """Take an instance, such as 01.axon, out of use: callers go to others until `up`, or until it leaves."""
    _mark(name, True, url, folder, identity)


@click.command()
@click.argument("name")
@cell_options
def up(name: str, url: str | None, folder: Path | None, identity: Path | None) -> None:
    """Put an instance back into use."""
    _mark(name, False, url, folder, identity)


def _mark(name: str, is_down: bool, url: str | None, folder: Path | None, identity: Path | None) -> None:
    from cellmesh.api.aha.v1 import registry_pb2

    with open_by_options("aha", url, folder, identity) as client:
        stub = _registry(client)
        request = registry_pb2.SetInstanceDownRequest(name=_whole(stub, name), down=is_down)
        stub.SetInstanceDown(request)


@click.command()
@click.argument("name")
@cell_options
def remove(name: str, url: str | None, folder: Path | None, identity: Path | None) -> None:
    """Take an instance out of the registry at once. One that lives registers again."""
    from cellmesh.api.aha.v1 import registry_pb2

    with open_by_options("aha", url, folder, identity) as client:
        stub = _registry(client)
        stub.UnregisterInstance(registry_pb2.UnregisterInstanceRequest(name=_whole(stub, name)))


@click.command()
@json_option
@cell_options
def services(url: str | None, folder: Path | None, identity: Path | None) -> None:
    """List the services with their leaders, instances, and how many are ready."""
    from cellmesh.api.aha.v1 import registry_pb2
    from cellmesh.cli.output import table

    with open_by_options("aha", url, folder, identity) as client:
        found = _registry(client).ListServices(registry_pb2.ListServicesRequest()).services
    if echo_records(found):
        return
    rows = [
        (
            item.service,
            item.kind,
            item.leader or "-",
            str(item.instance_count),
            str(item.ready_count),
        )
        for item in found
    ]
    click.echo(table(("SERVICE", "KIND", "LEADER", "INSTANCES", "READY"), rows))


def _registry(client: Any) -> Any:
    from cellmesh.api.aha.v1 import registry_service_pb2_grpc

    return client.stub(registry_service_pb2_grpc.RegistryServiceStub)


def _whole(registry: Any, name: str) -> str:
    """An instance's name with the network."""
    from cellmesh.api.aha.v1 import registry_pb2

    if name.count(".") != 1:
        return name
    return f"{name}.{registry.GetNetwork(registry_pb2.GetNetworkRequest()).network}"


def _time(time: Timestamp) -> str:
    return f"{time.ToDatetime():%Y-%m-%d %H:%M}"
