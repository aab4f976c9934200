"""Renews a certificate well before it ends.

The files in the folder are replaced; a server serves the new certificate to its next connection by itself,
and connections that exist go on. Clients make their channels anew.
"""

from __future__ import annotations

import datetime
from collections.abc import Awaitable, Callable
from typing import Final

from cellmesh.common.errors import BadCertVerify
from cellmesh.common.tls import certs
from cellmesh.common.tls.folder import IdentityFolder, MeshInfo

# Renewed when this part of its life is over, which leaves days to find out why renewing fails.
RENEWAL_POINT: Final = 2 / 3


def renewal_time(certificate: certs.Certificate) -> datetime.datetime:
    """When a certificate should be renewed."""
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return begin + (end - begin) * RENEWAL_POINT


def is_due(folder: IdentityFolder, *, now: datetime.datetime | None = None) -> bool:
    """Whether the certificate in a folder should be renewed now. Raises NoSuchCert, BadCertBytes."""
    return (now or datetime.datetime.now(datetime.UTC)) >= renewal_time(folder.certificate())


async def renew(folder: IdentityFolder, ask: Callable[[bytes], Awaitable[tuple[bytes, bytes]]]) -> None:
    """Renew the certificate in a folder, with a new key.

    Args:
        folder: The identity.
        ask: Sends a signing request (PEM) to the authority; answers certificate and authority, PEM.

    Raises:
        BadCertVerify: the answer is for another key or another name. The folder is left as it was.
    """
    mesh = folder.mesh()
    old = certs.identity_of_certificate(folder.certificate())
    assert old is not None, "a folder's certificate names its owner"
    key = certs.make_key()
    certificate_pem, authority_pem = await ask(certs.make_csr(key, old))
    certificate = certs.from_pem(certificate_pem)
    if certs.identity_of_certificate(certificate) != old or certificate.public_key() != key.public_key():
        raise BadCertVerify("the renewed certificate is not the one asked for", name=old.name)
    folder.store(
        certificate_pem, certs.key_to_pem(key), authority_pem, mesh or MeshInfo(old.name, old.network)
    )
