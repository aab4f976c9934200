"""An authority without an AHA: a folder with key and certificate, and what was issued and revoked as files beside them.

DIR/ca.key, ca.crt   see `authority`
DIR/issued.json      every certificate issued here
DIR/revoked.json     those revoked, in the form in which cells keep it in their certs folder: copy it there
"""

from __future__ import annotations

import datetime
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from cellmesh.common.errors import BadCertBytes, BadCertVerify, CertRevoked, FileExists, NoSuchCert
from cellmesh.common.files import write_atomically
from cellmesh.common.time.clock import SYSTEM_CLOCK, Clock
from cellmesh.common.tls import certs
from cellmesh.common.tls.authority import CERTIFICATE_FILE, Authority
from cellmesh.common.tls.folder import IdentityFolder, MeshInfo
from cellmesh.common.tls.identity import Identity, parse_name
from cellmesh.common.tls.revocation import Revocation, RevocationList

ISSUED_FILE: Final = "issued.json"
LOCK_FILE: Final = "lock"


@dataclass(frozen=True, slots=True)
class Issued:
    """One certificate that was issued here.

    Attributes:
        serial: Its serial number, hexadecimal.
        name: To whom: "00.cortex.demo" or "alice@demo".
        expire_ms: When it ends, in milliseconds since 1970.
    """

    serial: str
    name: str
    expire_ms: int


class OfflineAuthority:
    """Issues, renews and revokes in a folder. Blocking; several processes may use one folder.

    Args:
        folder: The authority's folder.
        clock: Where the time comes from.

    Raises:
        NoSuchCert: there is no authority in the folder.
    """

    def __init__(self, folder: Path, clock: Clock = SYSTEM_CLOCK) -> None:
        if not (folder / CERTIFICATE_FILE).exists():
            raise NoSuchCert(
                f"there is no authority in {folder}",
                name=str(folder),
                hint=f"make one with `cellmesh cert init NETWORK --ca {folder}`",
            )
        network = certs.network_of_authority(certs.from_pem((folder / CERTIFICATE_FILE).read_bytes()))
        self.folder = folder
        self.authority = Authority.open(folder, network, clock, lifetime=certs.CERTIFICATE_LIFETIME)
        self._clock = clock

    @classmethod
    def make(
        cls, folder: Path, network: str, *, lifetime: datetime.timedelta, clock: Clock = SYSTEM_CLOCK
    ) -> OfflineAuthority:
        """Make the authority of a network.

        Raises:
            BadName: the network is malformed.
            FileExists: there is an authority in the folder.
        """
        if (folder / CERTIFICATE_FILE).exists():
            raise FileExists(f"there is an authority in {folder} already", name=str(folder))
        Authority.open(
            folder, network, clock, lifetime=certs.CERTIFICATE_LIFETIME, authority_lifetime=lifetime
        )
        return cls(folder, clock)

    @property
    def network(self) -> str:
        """The network it is for."""
        return self.authority.network

    def subject(self, name: str) -> Identity:
        """Read a name, with the network or without: "00.cortex", "alice@demo". Raises BadName."""
        if "@" not in name and name.count(".") == 1:
            name = f"{name}.{self.network}"
        identity = parse_name(name)
        if identity.network != self.network:
            raise BadCertVerify(
                f"{identity.name} is not of the network {self.network}, whose authority this is",
                name=identity.name,
            )
        return identity

    def issue(
        self, identity: Identity, csr_pem: bytes, lifetime: datetime.timedelta | None = None
    ) -> certs.Certificate:
        """Issue a certificate for the key of a signing request, and note it. Raises BadCertBytes."""
        certificate = self.authority.issue(certs.csr_public_key(csr_pem), identity, lifetime=lifetime)
        self._note(certificate, identity)
        return certificate

    def issue_folder(
        self,
        identity: Identity,
        folder: IdentityFolder,
        *,
        lifetime: datetime.timedelta | None = None,
        registry_addresses: tuple[str, ...] = (),
    ) -> certs.Certificate:
        """Make a whole identity, with a key made here, or renew the one that is in the folder.

        Raises:
            FileExists: the identity of somebody else is in the folder.
        """
        known = folder.mesh() if folder.exists() else None
        if folder.exists() and folder.identity() != identity:
            raise FileExists(f"another identity is in {folder.path}", name=str(folder.path))
        key = certs.make_key()
        certificate = self.issue(identity, certs.make_csr(key, identity), lifetime)
        addresses = registry_addresses or (known.registry_addresses if known else ())
        folder.store(
            certs.to_pem(certificate),
            certs.key_to_pem(key),
            self.authority.pem,
            MeshInfo(identity.name, self.network, addresses),
        )
        return certificate

    def issued(self) -> list[Issued]:
        """Everything issued here, in order. Raises BadCertBytes."""
        path = self.folder / ISSUED_FILE
        try:
            return [
                Issued(str(item["serial"]), str(item["name"]), int(item["expire_ms"]))
                for item in json.loads(path.read_bytes())["issued"]
            ]
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError) as error:
            raise BadCertBytes(f"{path} cannot be read: {error}", name=ISSUED_FILE) from error

    def revoked(self) -> RevocationList:
        """What is revoked. Raises BadCertBytes."""
        return RevocationList.load(self.folder)

    def revoke(self, target: str, reason: str = "") -> list[Issued]:
        """Revoke a certificate by its serial number, or all of a name; returns those that were not before.

        Raises:
            NoSuchCert: nothing of that number or name was issued here.
        """
        with self._locked():
            wanted = target.lower().replace(":", "").lstrip("0")
            if "@" in target or "." in target:
                name = self.subject(target).name
                found = [item for item in self.issued() if item.name == name]
            else:
                found = [item for item in self.issued() if item.serial == wanted]
            if not found:
                raise NoSuchCert(f"no certificate of {target} was issued here", name=target)
            revoked = self.revoked()
            new = [item for item in found if item.serial not in revoked]
            now_ms = self._clock.now()
            revoked.add(
                Revocation(item.serial, parse_name(item.name).uri, now_ms, item.expire_ms, reason)
                for item in new
            )
            revoked.save(now_ms)
        return new

    def verify(self, certificate: certs.Certificate) -> Identity:
        """Whose certificate it is, if it holds now.

        Raises:
            BadCertVerify: it was not issued by this authority, does not hold now, or names nobody of the network.
            CertRevoked: it was revoked.
        """
        now = datetime.datetime.fromtimestamp(self._clock.now() / 1000, datetime.UTC)
        certs.check_issued(certificate, self.authority.certificate, now=now)
        identity = certs.identity_of_certificate(certificate)
        if identity is None or identity.network != self.network:
            raise BadCertVerify(f"the certificate names nobody of the network {self.network}")
        serial = certs.serial_text(certificate)
        if serial in self.revoked():
            raise CertRevoked(
                f"the certificate of {identity.name} was revoked", username=identity.name, serial=serial
            )
        return identity

    def _note(self, certificate: certs.Certificate, identity: Identity) -> None:
        expire_ms = int(certificate.not_valid_after_utc.timestamp() * 1000)
        with self._locked():
            noted = [*self.issued(), Issued(certs.serial_text(certificate), identity.name, expire_ms)]
            told = {"issued": [asdict(item) for item in noted]}
            write_atomically(self.folder / ISSUED_FILE, (json.dumps(told, indent=1) + "\n").encode())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        handle = os.open(self.folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)
