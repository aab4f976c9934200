"""From the options of `cellmesh aha bootstrap` to a bootstrap file."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click
from cellmesh.common.addresses import split_host_port
from cellmesh.common.errors import BadArg, NoSuchCert
from cellmesh.common.files import write_atomically
from cellmesh.common.tls.folder import IdentityFolder
from cellmesh.common.tls.xds_bootstrap import Json, envoy_bootstrap, grpc_bootstrap

BOOTSTRAP_VARIABLE: Final = "GRPC_XDS_BOOTSTRAP"
FALLBACK_VARIABLE: Final = "GRPC_EXPERIMENTAL_XDS_ENDPOINT_FALLBACK"
"""Has gRPC go to the next registry whenever the first one is away, as the bootstrap says."""


def make_bootstrap(
    client: str, servers: Sequence[str], listens: Sequence[str], node_id: str | None, identity: Path | None
) -> Json:
    """Make a bootstrap.

    Args:
        client: "grpc" or "envoy".
        servers: Where AHA is, as host:port; empty for what the identity folder knows.
        listens: For Envoy, "SERVICE=HOST:PORT" each.
        node_id: What the client calls itself; the identity's name if left out.
        identity: The identity folder; the default one if left out.

    Raises:
        NoSuchCert: there is no identity, or it knows no AHA and none is named.
        BadArg: an address is malformed, or Envoy is to listen nowhere.
    """
    folder = IdentityFolder(identity.expanduser().absolute()) if identity else IdentityFolder.default()
    folder.load()
    mesh = folder.mesh()
    addresses = tuple(servers) or (mesh.registry_addresses if mesh else ())
    if mesh is None or not addresses:
        raise NoSuchCert(
            f"the identity in {folder.path} does not tell where AHA is",
            name=str(folder.path),
            hint="enroll again, or name it with --server HOST:PORT",
        )
    for address in addresses:
        _check_address(address, "server")
    named = node_id or mesh.name
    if client == "grpc":
        if listens:
            raise BadArg("a gRPC client listens nowhere: --listen is for Envoy", name="listen")
        return grpc_bootstrap(folder, mesh.network, addresses, named)
    if not listens:
        raise BadArg(
            "where does Envoy take calls?",
            name="listen",
            hint="--listen SERVICE=HOST:PORT, such as cortex=127.0.0.1:9000",
        )
    return envoy_bootstrap(folder, mesh.network, addresses, named, [_read_listen(text) for text in listens])


def write_bootstrap(bootstrap: Json, client: str, out: Path | None) -> None:
    """Write it into a file and tell how it is used, or print it."""
    text = json.dumps(bootstrap, indent=2)
    if out is None:
        click.echo(text)
        return
    write_atomically(out, (text + "\n").encode())
    click.echo(f"written to {out}")
    if client == "grpc":
        click.echo(f"export {BOOTSTRAP_VARIABLE}={shlex.quote(str(out.absolute()))}", err=True)
        if len(bootstrap["xds_servers"]) > 1:
            click.echo(f"export {FALLBACK_VARIABLE}=true", err=True)


def _read_listen(text: str) -> tuple[str, str]:
    service, equals, address = text.partition("=")
    if not service or not equals:
        raise BadArg(f"{text!r} is not SERVICE=HOST:PORT", name="listen")
    _check_address(address, "listen")
    return service, address


def _check_address(text: str, name: str) -> None:
    try:
        split_host_port(text)
    except ValueError as error:
        raise BadArg(str(error), name=name, valu=text) from error
