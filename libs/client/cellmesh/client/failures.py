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
_BAD_CERTIFICATE: Final = (
    "CERTIFICATE_VERIFY_FAILED",
    "Verification Check failed",
    "verification check failed",
)
# The other side took the connection and closed it again: it speaks TLS and we do not, or it refused our
# certificate, which TLS 1.3 tells a client in no better way.
_HUNG_UP: Final = ("Socket closed", "Connection reset", "Endpoint closing")


def as_cell_error(error: grpc.RpcError, url: CellUrl, target: Target) -> CellError:
    """Make our error of gRPC's. Connection failures name the cell, its address and what to do."""
    made = from_rpc_error(error, cell=target.name or url.name, address=target.address)
    if not isinstance(made, CellUnreachable):
        return made
    if is_connection_failure(made):
        text = str(made.get("cause", ""))
        if any(sign in text for sign in _BAD_CERTIFICATE):
            return _bad_certificate(url, target, text)
        made.set("hint", _hint(url, hung_up=any(sign in text for sign in _HUNG_UP)))
    return made


def is_connection_failure(error: CellError) -> bool:
    """Whether no connection was made, so that nothing was sent."""
    return isinstance(error, CellUnreachable) and any(
        sign in str(error.get("cause", "")) for sign in _NO_CONNECTION
    )


def _bad_certificate(url: CellUrl, target: Target, text: str) -> LinkBadCert:
    name = target.name or url.name
    who = f"cell {name} at {target.address}" if name else f"the cell at {target.address}"
    made = LinkBadCert(f"the certificate of {who} is not the right one", address=target.address, cause=text)
    if name:
        made.set("name", name)
    made.set("hint", "another cell serves there, or one of another network: check the name and the address")
    return made


def _hint(url: CellUrl, *, hung_up: bool) -> str:
    match url.scheme:
        case Scheme.UNIX:
            folder = Path(url.address).parent
            if not folder.is_dir():
                return f"the folder {folder} does not exist: check the path"
            return f"no cell serves the folder {folder}: start it with `cellmesh KIND serve --dir {folder}`"
        case Scheme.GRPC if hung_up:
            return "something is there and hung up: a cell of a mesh wants TLS, so try grpcs://"
        case Scheme.GRPCS | Scheme.AHA if hung_up:
            return "the cell is there and hung up: it does not accept this identity, or it serves without TLS"
        case Scheme.AHA:
            return (
                "AHA knows it there and it does not answer: it has just stopped, or a network is cut between"
            )
        case Scheme.GRPC | Scheme.GRPCS:
            return (
                "check that the cell runs and that this is its address: it prints it when it starts, and "
                "run.json in its folder names it"
            )
