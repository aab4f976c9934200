"""Whom a request trusts, and as whom it shows itself."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from cellmesh.common.errors import BadArg


@dataclass(frozen=True, slots=True)
class Trust:
    """What a request says about TLS.

    Attributes:
        verify: Whether the server's certificate is checked.
        ca_cert: Certificates trusted beside the others, PEM text, or empty.
        client_cert: Certificate shown to the server, PEM text, or empty.
        client_key: Its key, PEM text.
    """

    verify: bool = True
    ca_cert: str = ""
    client_cert: str = ""
    client_key: str = ""


def make_context(trust: Trust, ca_dir: Path | None) -> ssl.SSLContext:
    """What a TLS connection is made with. Reads files: not for an event loop.

    Args:
        trust: What the request says.
        ca_dir: Folder of PEM files that are trusted beside those of the system.

    Raises:
        BadArg: a certificate or key cannot be read, or one comes without the other.
    """
    if bool(trust.client_cert) != bool(trust.client_key):
        raise BadArg("a client certificate and its key come together", name="client_cert")
    context = ssl.create_default_context()
    if not trust.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        if ca_dir is not None:
            for path in sorted(ca_dir.iterdir()):
                if path.is_file():
                    context.load_verify_locations(cafile=path)
        if trust.ca_cert:
            context.load_verify_locations(cadata=trust.ca_cert)
        if trust.client_cert:
            _load_client(context, trust)
    except (OSError, ValueError) as error:
        # ssl.SSLError is an OSError.
        raise BadArg(f"a certificate or key cannot be read: {error}", name="tls") from None
    return context


def _load_client(context: ssl.SSLContext, trust: Trust) -> None:
    # OpenSSL's wrapper takes files only. The folder is open to its owner alone.
    with TemporaryDirectory(prefix="cellmesh-axon-") as folder:
        cert, key = Path(folder) / "cert.pem", Path(folder) / "key.pem"
        cert.write_text(trust.client_cert)
        key.write_text(trust.client_key)
        context.load_cert_chain(cert, key, password=lambda: "")


__all__ = ["Trust", "make_context"]
