"""gRPC credentials out of an identity folder: the one place where TLS is set up.

gRPC speaks TLS 1.2 and 1.3 only, with BoringSSL's modern suites; nothing here widens that. Servers read
their files anew for new connections once they change, so a renewed certificate is served without a restart.
A channel's credentials are fixed when it is made; channels are made anew after a renewal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

import grpc
from cellmesh.common.errors import CellError, NoSuchCert
from cellmesh.common.telemetry.logs import get_logger
from cellmesh.common.tls.folder import IdentityFiles, IdentityFolder

TARGET_NAME_OPTION: Final = "grpc.ssl_target_name_override"

_log = get_logger(__name__)


def server_credentials(folder: IdentityFolder, *, require_client: bool = True) -> grpc.ServerCredentials:
    """Make server credentials that follow the folder.

    Args:
        folder: The cell's identity.
        require_client: Whether callers must show a certificate of the same authority.

    Raises:
        NoSuchCert: there is no identity in the folder.
    """
    fetcher = _Fetcher(folder)
    return grpc.dynamic_ssl_server_credentials(
        fetcher.configuration(folder.load()),
        # None means "keep the one in use", which the published types do not know.
        cast("Callable[[], grpc.ServerCertificateConfiguration]", fetcher),
        require_client_authentication=require_client,
    )


def channel_credentials(folder: IdentityFolder) -> grpc.ChannelCredentials:
    """Make client credentials of the identity as it is now. Raises NoSuchCert."""
    files = folder.load()
    return grpc.ssl_channel_credentials(
        root_certificates=files.authority_pem,
        private_key=files.key_pem,
        certificate_chain=files.certificate_pem,
    )


def trusting_credentials(authority_pem: bytes) -> grpc.ChannelCredentials:
    """Make client credentials with no identity, for a caller who knows but the authority: enrolment."""
    return grpc.ssl_channel_credentials(root_certificates=authority_pem)


class _Fetcher:
    """Called by gRPC for each new connection, on a thread of its own choosing."""

    def __init__(self, folder: IdentityFolder) -> None:
        self._folder = folder
        self._stamp = self._read_stamp()

    def __call__(self) -> grpc.ServerCertificateConfiguration | None:
        """Return the new configuration, or None to keep the one in use."""
        stamp = self._read_stamp()
        if stamp is None or stamp == self._stamp:
            return None
        try:
            found = self.configuration(self._folder.load())
        except (CellError, NoSuchCert, OSError) as error:
            _log.warning("certificate_reload_failed", folder=str(self._folder.path), error=str(error))
            return None
        self._stamp = stamp
        _log.info("certificate_reloaded", folder=str(self._folder.path))
        return found

    def configuration(self, files: IdentityFiles) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration(
            [(files.key_pem, files.certificate_pem)], root_certificates=files.authority_pem
        )

    def _read_stamp(self) -> tuple[int, int] | None:
        return self._folder.stamp()
