"""Where a cell listens, and the address that others are told."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

from cellmesh.common.addresses import join_host_port, split_host_port
from cellmesh.common.errors import NeedConfValu
from cellmesh.common.rpc.server import Listener, ServerTls, TcpListener, UnixListener
from cellmesh.common.telemetry.logs import get_logger

if TYPE_CHECKING:
    from cellmesh.common.cell.folder import CellFolder
    from cellmesh.common.config.spec import CellConfig
    from cellmesh.common.tls.folder import IdentityFolder

WILDCARD_HOSTS: Final = frozenset({"0.0.0.0", "::"})

_log = get_logger(__name__)


def listeners_of(kind: str, config: CellConfig, folder: CellFolder) -> tuple[Listener, ...]:
    """Where a cell of these settings listens: TCP for peers, TCP for logins, its unix socket.

    Raises:
        NeedConfValu: an address is asked for that needs an identity, and the cell has none.
    """
    found: list[Listener] = []
    if config.listen and config.insecure:
        _log.warning("serving_without_tls", listen=config.listen, caller="root")
        found.append(TcpListener(config.listen))
    elif config.listen and folder.identity.exists():
        found.append(TcpListener(config.listen, ServerTls(folder.identity)))
    elif config.listen and config.origin("listen") != "default":
        raise NeedConfValu(
            f"the {kind} has no identity, so it cannot serve TLS at {config.listen}",
            name="enroll",
            hint="enroll it with --enroll URL (from `cellmesh aha provision`), or try it with --insecure",
        )
    if config.login_listen:
        if config.insecure or not folder.identity.exists():
            raise NeedConfValu(
                f"the {kind} has no identity, so nobody can log in with TLS at {config.login_listen}",
                name="login_listen",
                hint="enroll it with --enroll URL (from `cellmesh aha provision`); it cannot be insecure",
            )
        found.append(TcpListener(config.login_listen, ServerTls(folder.identity, require_client=False)))
    found.append(UnixListener(folder.socket_path))
    return tuple(found)


def is_insecure(config: CellConfig) -> bool:
    """Whether it serves TCP without TLS, every caller being root."""
    return bool(config.listen) and config.insecure


def listens_to_peers(config: CellConfig, identity: IdentityFolder) -> bool:
    """Whether it serves cells and users with certificates, or whoever comes if insecure, on TCP."""
    return bool(config.listen) and (config.insecure or identity.exists())


def advertised(bound: str, told: str) -> str:
    """The address that others are told to use.

    Args:
        bound: Where the cell serves TCP, as host:port; empty when it does not.
        told: What the settings say, as host:port or host; empty for the bound one.
    """
    if not bound:
        return ""
    host, port = split_host_port(bound)
    if told:
        return told if _has_port(told) else join_host_port(told, port)
    if host in WILDCARD_HOSTS:
        return join_host_port(socket.gethostname(), port)
    return bound


def _has_port(text: str) -> bool:
    try:
        split_host_port(text)
    except ValueError:
        return False
    return True
