"""From a URL to an address, asking AHA where the URL names a service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cellmesh.api.aha.v1 import registry_pb2
from cellmesh.client.urls import CellUrl, Scheme
from cellmesh.common.addresses import split_host_port
from cellmesh.common.errors import NoSuchCert
from cellmesh.common.tls.folder import AUTHORITY_FILE, IdentityFolder
from cellmesh.common.tls.identity import any_cell_name, registry_name

LOOKUP_DEADLINE_S: Final = 5.0
"""How long an AHA may take for a look-up."""

LOOKUP_FIRST_S: Final = 1.0
"""How long each of several AHAs may take before the next one is asked: one that is cut off says nothing at all. When
none answers so soon, each is given the whole time."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect.

    Attributes:
        address: gRPC target text.
        name: What to call the cell in errors; empty when it has no name known.
        identity: The identity to connect with; None connects in plain text.
        server_name: The DNS name the certificate must carry; empty for the host dialled.
        authority_pem: The authority to trust, where TLS is spoken without an identity; else empty.
    """

    address: str
    name: str = ""
    identity: IdentityFolder | None = None
    server_name: str = ""
    authority_pem: bytes = b""


def identity_folder(identity: Path | str | None) -> IdentityFolder:
    """The identity to use: the folder given, or that of the person at the keyboard."""
    return IdentityFolder(Path(identity).expanduser()) if identity is not None else IdentityFolder.default()


def static_target(url: CellUrl, identity: IdentityFolder, *, logs_in: bool = False) -> Target | None:
    """Where a URL leads that needs no asking; None for aha and cell.

    Args:
        url: The URL.
        identity: The identity to connect with.
        logs_in: Whether credentials are shown: then TLS needs no identity but only the authority's certificate.

    Raises:
        NoSuchCert: TLS has no identity, or knows no authority.
    """
    match url.scheme:
        case Scheme.UNIX:
            return Target(f"unix:{url.address}")
        case Scheme.GRPC:
            return Target(url.address)
        case Scheme.GRPCS if logs_in and not identity.exists():
            return _login_target(url, identity)
        case Scheme.GRPCS:
            require_identity(identity)
            name = url.name
            if not name:
                mesh = identity.mesh()
                name = any_cell_name(mesh.network) if mesh else ""
            return Target(url.address, url.name, identity, name)
        case Scheme.AHA | Scheme.CELL:
            return None


def _login_target(url: CellUrl, folder: IdentityFolder) -> Target:
    try:
        authority_pem = (folder.path / AUTHORITY_FILE).read_bytes()
    except OSError as error:
        raise NoSuchCert(
            f"there is no {AUTHORITY_FILE} in {folder.path}: {error.strerror}",
            name=str(folder.path),
            hint=f"copy {AUTHORITY_FILE}, the certificate of the network's authority, from the folder certs of any "
            "of its cells, and name its folder as identity or in CELLMESH_IDENTITY",
        ) from error
    from cellmesh.common.tls import certs

    name = url.name or any_cell_name(certs.network_of_authority(certs.from_pem(authority_pem)))
    return Target(url.address, url.name, None, name, authority_pem)


def registry_targets(identity: IdentityFolder) -> tuple[Target, ...]:
    """Where the registry of the identity's network is.

    Raises:
        NoSuchCert: there is no identity, or it does not tell where its registry is.
    """
    require_identity(identity)
    mesh = identity.mesh()
    if mesh is None or not mesh.registry_addresses:
        raise NoSuchCert(
            f"the identity in {identity.path} does not tell where AHA is",
            name=str(identity.path),
            hint="enroll again, or use a grpcs:// URL with the cell's address",
        )
    name = registry_name(mesh.network)
    return tuple(Target(address, name, identity, name) for address in mesh.registry_addresses)


def lookup_order(targets: Sequence[Target], first: str = "") -> list[tuple[Target, float]]:
    """Whom to ask, in this order until one answers, and for how long each, in seconds.

    Args:
        targets: The AHAs there are.
        first: The address of the one that answered last.
    """
    if len(targets) == 1:
        return [(targets[0], LOOKUP_DEADLINE_S)]
    ordered = sorted(targets, key=lambda target: target.address != first)
    return [(target, wait_s) for wait_s in (LOOKUP_FIRST_S, LOOKUP_DEADLINE_S) for target in ordered]


def require_identity(identity: IdentityFolder) -> None:
    """Raise NoSuchCert, with what to do, when there is no identity."""
    if not identity.exists():
        raise NoSuchCert(
            f"there is no identity in {identity.path}",
            name=str(identity.path),
            hint="get one with `cellmesh enroll URL`, or name its folder in CELLMESH_IDENTITY",
        )


def instance_target(instance: registry_pb2.Instance, identity: IdentityFolder) -> Target:
    """Where an instance is that AHA told of."""
    if instance.address.startswith("unix:"):
        return Target(instance.address, instance.name)
    return Target(instance.address, instance.name, identity, instance.name)


def led_target(leader: str, url: CellUrl, identity: IdentityFolder, *, logs_in: bool) -> Target | None:
    """Where a leader is that a follower told of and AHA was not asked about; None when it is told by name only.

    Args:
        leader: The leader's name or address, as the follower tells it.
        url: The URL that led to the follower: the leader is called in the same way.
        identity: The identity to connect with.
        logs_in: Whether credentials are shown.
    """
    if leader.startswith("unix:"):
        return Target(leader)
    try:
        split_host_port(leader)
    except ValueError:
        return None
    scheme = url.scheme if url.scheme in (Scheme.GRPC, Scheme.GRPCS) else None
    if scheme is None:
        scheme = Scheme.GRPCS if identity.exists() else Scheme.GRPC
    return static_target(CellUrl(scheme, leader), identity, logs_in=logs_in)
