"""What a failed call means, in our errors, and what to do about it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import grpc
from cellmesh.client.resolve import Target
from cellmesh.client.urls import CellUrl, Scheme
from cellmesh.common.errors import CellError, CellUnreachable, LinkBadCert, from_rpc_error

# How gRPC says that it never had a connection. Then nothing was sent, so the call may be made again.
_NO_CONNECTION: Final = (
    "failed to connect to all addresses",
    "DNS resolution failed",
    "Name resolution failure",
    "Endpoint list is empty",
)
_BAD_CERTIFICATE: Final = ("CERTIFICATE_VERIFY_FAILED", "handshake failed", "Handshake failed", "Peer name")


def as_cell_error(error: grpc.RpcError, url: CellUrl, target: Target) -> CellError:
    """Make our error of gRPC's. Connection failures name the cell, its address and what to do."""
    made = from_rpc_error(error, cell=target.name or url.name, address=target.address)
    if not isinstance(made, CellUnreachable):
        return made
    if is_connection_failure(made):
        text = str(made.get("cause", ""))
        if any(sign in text for sign in _BAD_CERTIFICATE):
            return LinkBadCert(
                f"no TLS connection with {_who(url, target)}",
                name=target.name or url.name,
                address=target.address,
                cause=text,
                hint="the cell there is of another network, or not the one named, or does not know this identity",
            )
        made.set("hint", _hint(url))
    return made


def is_connection_failure(error: CellError) -> bool:
    """Whether no connection was made, so that nothing was sent."""
    return isinstance(error, CellUnreachable) and any(
        sign in str(error.get("cause", "")) for sign in _NO_CONNECTION
    )


def _who(url: CellUrl, target: Target) -> str:
    name = target.name or url.name
    return f"cell {name} at {target.address}" if name else f"the cell at {target.address}"


def _hint(url: CellUrl) -> str:
    match url.scheme:
        case Scheme.UNIX:
            folder = Path(url.address).parent
            if not folder.is_dir():
                return f"the folder {folder} does not exist: check the path"
            return f"no cell serves the folder {folder}: start it with `cellmesh KIND serve --dir {folder}`"
        case Scheme.AHA:
            return (
                "AHA knows it there and it does not answer: it has just stopped, or a network is cut between"
            )
        case Scheme.GRPC | Scheme.GRPCS:
            return (
                "check that the cell runs and that this is its address: it prints it when it starts, and "
                "run.json in its folder names it"
            )
