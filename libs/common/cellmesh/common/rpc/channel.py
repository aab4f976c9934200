"""Channels to other cells: the options every channel has, and the credentials and names TLS checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio
from cellmesh.common import limits

if TYPE_CHECKING:
    from cellmesh.common.tls.folder import IdentityFolder

UNARY_DEADLINE_S: Final = 30.0
KEEPALIVE_TIME_S: Final = 30
KEEPALIVE_TIMEOUT_S: Final = 3
"""How long what was sent may stay unconfirmed by the other machine, and a ping without answer, until the connection counts
as broken. A cable that is pulled shows in no other way, and calls that run then should end, or go elsewhere, in seconds."""

CONNECT_TIMEOUT_MS: Final = 3000
"""How long an attempt to connect may take. By gRPC's default of 20 s, TCP would try so seldom in the end that a network
which was mended is noticed many seconds later."""

RECONNECT_MIN_MS: Final = 100
RECONNECT_MAX_MS: Final = 500

CHANNEL_OPTIONS: Final[tuple[tuple[str, Any], ...]] = (
    ("grpc.max_receive_message_length", limits.MESSAGE_SIZE_MAX),
    ("grpc.max_send_message_length", limits.MESSAGE_SIZE_MAX),
    ("grpc.keepalive_time_ms", KEEPALIVE_TIME_S * 1000),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_S * 1000),
    ("grpc.min_reconnect_backoff_ms", CONNECT_TIMEOUT_MS),
    ("grpc.initial_reconnect_backoff_ms", RECONNECT_MIN_MS),
    ("grpc.max_reconnect_backoff_ms", RECONNECT_MAX_MS),
    # A proxy named in the environment is for the web, not for the mesh.
    ("grpc.enable_http_proxy", 0),
    # A new channel to an address that just failed connects at once: it shares no other's back-off.
    ("grpc.use_local_subchannel_pool", 1),
)


def channel_options(
    server_name: str = "", extra: Sequence[tuple[str, Any]] = ()
) -> tuple[tuple[str, Any], ...]:
    """The options of a channel.

    Args:
        server_name: The DNS name that the server's certificate must carry, where it is not the host dialled.
        extra: More options.
    """
    from cellmesh.common.tls.contexts import TARGET_NAME_OPTION

    named = ((TARGET_NAME_OPTION, server_name),) if server_name else ()
    return (*CHANNEL_OPTIONS, *named, *extra)


def open_channel(
    target: str,
    *,
    identity: IdentityFolder | None = None,
    server_name: str = "",
    authority_pem: bytes = b"",
) -> grpc.Channel:
    """Open a blocking channel: with an identity over mutual TLS, with an authority alone over TLS, else in plain text.

    Raises:
        NoSuchCert: the identity folder has no identity.
    """
    credentials = _credentials(identity, authority_pem)
    if credentials is None:
        return grpc.insecure_channel(target, options=channel_options())
    return grpc.secure_channel(target, credentials, options=channel_options(server_name))


def open_aio_channel(
    target: str,
    *,
    identity: IdentityFolder | None = None,
    server_name: str = "",
    authority_pem: bytes = b"",
) -> grpc.aio.Channel:
    """The same for asyncio; belongs to the running event loop."""
    credentials = _credentials(identity, authority_pem)
    if credentials is None:
        return grpc.aio.insecure_channel(target, options=channel_options())
    return grpc.aio.secure_channel(target, credentials, options=channel_options(server_name))


def _credentials(identity: IdentityFolder | None, authority_pem: bytes) -> grpc.ChannelCredentials | None:
    if identity is None and not authority_pem:
        return None
    from cellmesh.common.tls.contexts import channel_credentials, trusting_credentials

    return trusting_credentials(authority_pem) if identity is None else channel_credentials(identity)
