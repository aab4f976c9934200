"""Who may be enrolled."""

from __future__ import annotations

from typing import Final

from cellmesh.common.errors import BadName
from cellmesh.common.tls.identity import CellIdentity, Identity, UserIdentity

REGISTRY_SERVICE: Final = "aha"


def cell_subject(instance: str, network: str) -> CellIdentity:
    """Read the name of a cell to be, "00.cortex" or "00.cortex.demo".

    Raises:
        BadName: it is malformed, of another network, or that of the first AHA.
    """
    parts = instance.split(".")
    if len(parts) == 2:
        parts.append(network)
    if len(parts) != 3:
        raise BadName(f"{instance[:128]!r} is no instance name such as 00.cortex", name=instance[:128])
    identity = CellIdentity(*parts)
    _check_network(identity, network)
    if identity.service == REGISTRY_SERVICE and int(identity.number) == 0:
        raise BadName(
            f"{identity.name} makes its own identity; its mirrors are 01.{REGISTRY_SERVICE} and so on",
            name=instance,
        )
    return identity


def subject_of(name: str, network: str) -> Identity:
    """Read the name of a cell or user that there is: "00.cortex", "00.cortex.demo" or "alice@demo".

    Raises:
        BadName: it is malformed or of another network.
    """
    if "@" in name:
        return user_subject(name, network)
    parts = name.split(".")
    if len(parts) == 2:
        parts.append(network)
    if len(parts) != 3:
        raise BadName(
            f"{name[:128]!r} is neither a cell such as 00.cortex nor a user such as alice@{network}",
            name=name[:128],
        )
    identity = CellIdentity(*parts)
    _check_network(identity, network)
    return identity


def user_subject(user: str, network: str) -> UserIdentity:
    """Read the name of a user to be, "alice" or "alice@demo".

    Raises:
        BadName: it is malformed or of another network.
    """
    name, at, of = user.rpartition("@")
    identity = UserIdentity(name, of) if at else UserIdentity(user, network)
    _check_network(identity, network)
    return identity


def _check_network(identity: Identity, network: str) -> None:
    if identity.network != network:
        raise BadName(f"{identity.name} is not of the network {network}", name=identity.name, network=network)
