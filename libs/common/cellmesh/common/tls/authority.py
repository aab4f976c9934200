"""The certificate authority of a network, in a folder. Its key is made there and never leaves.

DIR/ca/ca.key   the private key, PEM, mode 0600
DIR/ca/ca.crt   the certificate, PEM; written last, so that a half-made folder has no authority
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cellmesh.common.errors import BadConfValu
from cellmesh.common.files import write_atomically
from cellmesh.common.time.clock import Clock
from cellmesh.common.tls import certs
from cellmesh.common.tls.identity import CellIdentity, Identity, registry_name

KEY_FILE: Final = "ca.key"
CERTIFICATE_FILE: Final = "ca.crt"


class Authority:
    """Issues certificates for the cells and users of one network. Made by `open`."""

    def __init__(
        self,
        certificate: certs.Certificate,
        key: certs.PrivateKey,
        clock: Clock,
        lifetime: datetime.timedelta,
        hosts: Iterable[str] = (),
    ) -> None:
        self.certificate = certificate
        self.network = certs.network_of_authority(certificate)
        self._key = key
        self._clock = clock
        self._lifetime = lifetime
        self._hosts = frozenset(hosts)

    @classmethod
    def open(
        cls,
        folder: Path,
        network: str,
        clock: Clock,
        *,
        lifetime: datetime.timedelta,
        authority_lifetime: datetime.timedelta = certs.AUTHORITY_LIFETIME,
        hosts: Iterable[str] = (),
    ) -> Authority:
        """Read the authority in a folder, or make it if there is none.

        Args:
            folder: DIR/ca.
            network: The network it must be for.
            clock: Where the time comes from.
            lifetime: Of the certificates it issues.
            authority_lifetime: Of its own certificate, when it is made now.
            hosts: DNS names and IP addresses that AHA's certificates hold for beside its names in the mesh: clients of
                the control plane check AHA against the host they dial.

        Raises:
            BadConfValu: the folder has the authority of another network.
            BadCertBytes: the files cannot be read.
        """
        certificate_path, key_path = folder / CERTIFICATE_FILE, folder / KEY_FILE
        if certificate_path.exists():
            certificate = certs.from_pem(certificate_path.read_bytes())
            key = certs.key_from_pem(key_path.read_bytes())
        else:
            now = _moment(clock)
            certificate, key = certs.make_authority(network, lifetime=authority_lifetime, now=now)
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
            write_atomically(key_path, certs.key_to_pem(key), mode=0o600)
            write_atomically(certificate_path, certs.to_pem(certificate))
        authority = cls(certificate, key, clock, lifetime, hosts)
        if authority.network != network:
            raise BadConfValu(
                f"{folder} is the authority of the network {authority.network!r}, not of {network!r}",
                name="network",
                valu=network,
                hint=f"set network to {authority.network!r}, or use another folder",
            )
        return authority

    @property
    def pem(self) -> bytes:
        """Its certificate, PEM: what members of the mesh trust."""
        return certs.to_pem(self.certificate)

    @property
    def der(self) -> bytes:
        """Its certificate, DER."""
        return certs.to_der(self.certificate)

    def hosts_of(self, identity: Identity) -> frozenset[str]:
        """The hosts that a certificate for an identity holds for: those of AHA, for AHA."""
        is_registry = isinstance(identity, CellIdentity) and identity.service_name == registry_name(
            self.network
        )
        return self._hosts if is_registry else frozenset()

    def issue(
        self,
        public_key: certs.PublicKey,
        identity: Identity,
        *,
        lifetime: datetime.timedelta | None = None,
    ) -> certs.Certificate:
        """Issue a certificate. The caller notes it before it is handed out."""
        assert identity.network == self.network, "an authority issues for its own network alone"
        return certs.issue(
            self.certificate,
            self._key,
            public_key,
            identity,
            lifetime=lifetime or self._lifetime,
            now=_moment(self._clock),
            hosts=sorted(self.hosts_of(identity)),
        )


def _moment(clock: Clock) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(clock.now() / 1000, datetime.UTC)
