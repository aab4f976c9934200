"""What a failed call means, in our errors, and what to do about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import grpc
from cellmesh.client.resolve import Target
from cellmesh.client.urls import CellUrl, Scheme
from cellmesh.common.errors import CellError, CellUnreachable, LinkBadCert, from_rpc_error
from cellmesh.common.errors.status import DETAILS_KEY

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
    if not isinstance(made, CellUnreachable) or not is_transport_failure(error):
        return made
    if is_connection_failure(made):
        text = str(made.get("cause", ""))
        if any(sign in text for sign in _BAD_CERTIFICATE):
            return _bad_certificate(url, target, text)
        made.set("hint", _hint(url, hung_up=any(sign in text for sign in _HUNG_UP)))
    else:
        made.set(
            "hint",
            "the connection broke while the call ran: the cell has stopped, or a network is cut between",
        )
    return made


def is_transport_failure(error: grpc.RpcError) -> bool:
    """Whether the connection failed, rather than the cell answering with an error.

    A cell that could not reach a third one answers with the same error, but with its details.
    """
    code = getattr(error, "code", lambda: None)()
    if code is not grpc.StatusCode.UNAVAILABLE:
        return False
    return not any(key == DETAILS_KEY for key, _ in getattr(error, "trailing_metadata", tuple)() or ())


def unknown_outcome(error: CellUnreachable, path: str) -> CellUnreachable:
    """Say of a call that broke off that nobody knows what became of it, and that it was not made again."""
    method = path.rpartition("/")[2]
    error.set("method", method)
    error.set(
        "hint",
        f"the connection broke while {method} ran: it may have been carried out or not, so it was not sent again; "
        "look what is there before you do",
    )
    return error


def registry_failure(error: grpc.RpcError, url: CellUrl, target: Target) -> CellError:
    """Make our error of a failed look-up. An AHA that says nothing cannot be reached: another one may."""
    made = as_cell_error(error, url, target)
    if getattr(error, "code", lambda: None)() is grpc.StatusCode.DEADLINE_EXCEEDED:
        made = CellUnreachable(
            f"AHA at {target.address} does not answer",
            name=target.name,
            address=target.address,
            cause="no answer",
        )
    if isinstance(made, CellUnreachable):
        made.set(
            "hint", f"{url} is found through AHA, which does not answer there: start it, or check the address"
        )
    return made


def is_connection_failure(error: CellError) -> bool:
    """Whether no connection was made, so that nothing was sent."""
    return isinstance(error, CellUnreachable) and any(
        sign in str(error.get("cause", "")) for sign in _NO_CONNECTION
    )


def never_began(error: grpc.RpcError | None, made: CellError) -> bool:
    """Whether a call that failed so has certainly not begun.

    Args:
        error: What gRPC raised.
        made: Our error of it.
    """
    return is_connection_failure(made) or bool(getattr(error, "never_sent", False))


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
            return _folder_hint(Path(url.address).parent)
        case Scheme.CELL:
            return f"the cell that was started in this process for {url.address} has stopped"
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


def _folder_hint(folder: Path) -> str:
    """What is known of the cell whose socket does not answer."""
    if not folder.is_dir():
        return f"the folder {folder} does not exist: check the path"
    kind = str(_read_json(folder / "cell.json").get("kind") or "KIND")
    pid = _read_json(folder / "run.json").get("pid")
    start = f"start it with `cellmesh {kind} serve --dir {folder}`"
    if not isinstance(pid, int):
        return f"no cell serves the folder {folder}: {start}"
    if Path(f"/proc/{pid}").exists():
        return f"process {pid} has the folder {folder} and does not answer: look at its log"
    return f"the cell of the folder {folder} ended without saying so, it was process {pid}: {start}"


def _read_json(path: Path) -> dict[str, Any]:
    """What a small file of a cell says; empty when it does not."""
    try:
        told = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
