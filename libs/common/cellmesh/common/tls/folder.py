"""Where a cell or a user keeps its certificate.

    FOLDER/cell.crt    the certificate, PEM
    FOLDER/cell.key    its private key, PEM, mode 0600; made here and never sent anywhere
    FOLDER/ca.crt      the certificates of the network's authority, PEM
    FOLDER/mesh.json   what is known of the mesh: own name, network, addresses of the registry

A cell has it at DIR/certs, a user at ~/.cellmesh/identity.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cellmesh.common.errors import BadCertBytes, NoSuchCert
from cellmesh.common.files import write_atomically
from cellmesh.common.tls.identity import CellIdentity, Identity, parse_name

if TYPE_CHECKING:
    from cellmesh.common.tls.certs import Certificate

CERTIFICATE_FILE: Final = "cell.crt"
KEY_FILE: Final = "cell.key"
AUTHORITY_FILE: Final = "ca.crt"
MESH_FILE: Final = "mesh.json"
IDENTITY_VARIABLE: Final = "CELLMESH_IDENTITY"


@dataclass(frozen=True, slots=True)
class MeshInfo:
    """What the owner of a folder knows of its mesh.

    Attributes:
        name: Its own name, "00.cortex.demo" or "alice@demo".
        network: The network.
        registry_addresses: Where the registry is reached, host:port each.
    """

    name: str
    network: str
    registry_addresses: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class IdentityFiles:
    """The PEM texts of a folder, read at one time."""

    certificate_pem: bytes
    key_pem: bytes
    authority_pem: bytes


@dataclass(frozen=True, slots=True)
class IdentityFolder:
    """A folder with an identity in it, or where one will be."""

    path: Path

    @classmethod
    def default(cls) -> IdentityFolder:
        """The folder of the person at the keyboard: $CELLMESH_IDENTITY or ~/.cellmesh/identity."""
        named = os.environ.get(IDENTITY_VARIABLE)
        return cls(Path(named).expanduser() if named else Path.home() / ".cellmesh" / "identity")

    def exists(self) -> bool:
        """Whether an identity is here."""
        return all((self.path / name).is_file() for name in (CERTIFICATE_FILE, KEY_FILE, AUTHORITY_FILE))

    def store(self, certificate_pem: bytes, key_pem: bytes, authority_pem: bytes, mesh: MeshInfo) -> None:
        """Write the identity, the certificate last, so that a half-written folder has no identity.

        When a certificate is renewed with the same key, each file is replaced whole.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.chmod(0o700)
        self.store_mesh(mesh)
        write_atomically(self.path / AUTHORITY_FILE, authority_pem)
        write_atomically(self.path / KEY_FILE, key_pem, mode=0o600)
        write_atomically(self.path / CERTIFICATE_FILE, certificate_pem)

    def store_mesh(self, mesh: MeshInfo) -> None:
        """Write what is known of the mesh."""
        told = {
            "name": mesh.name,
            "network": mesh.network,
            "registry_addresses": list(mesh.registry_addresses),
        }
        write_atomically(self.path / MESH_FILE, (json.dumps(told, indent=2) + "\n").encode())

    def load(self) -> IdentityFiles:
        """Read the identity. Raises NoSuchCert when there is none."""
        try:
            return IdentityFiles(
                certificate_pem=(self.path / CERTIFICATE_FILE).read_bytes(),
                key_pem=(self.path / KEY_FILE).read_bytes(),
                authority_pem=(self.path / AUTHORITY_FILE).read_bytes(),
            )
        except OSError as error:
            raise NoSuchCert(
                f"there is no identity in {self.path}: {error.strerror}",
                name=str(self.path),
                hint="enroll with a URL from `cellmesh aha provision`, or name the folder that has cell.crt, "
                "cell.key and ca.crt",
            ) from error

    def stamp(self) -> tuple[int, int] | None:
        """What changes when the certificate is renewed; None when there is none. The certificate is written last."""
        try:
            found = os.stat(self.path / CERTIFICATE_FILE)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    def mesh(self) -> MeshInfo | None:
        """Read what is known of the mesh, None when nothing was stored."""
        try:
            told = json.loads((self.path / MESH_FILE).read_bytes())
            return MeshInfo(
                name=str(told["name"]),
                network=str(told["network"]),
                registry_addresses=tuple(str(address) for address in told.get("registry_addresses", ())),
            )
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadCertBytes(f"{self.path / MESH_FILE} cannot be read: {error}", name=MESH_FILE) from error

    def certificate(self) -> Certificate:
        """Read the certificate. Raises NoSuchCert, BadCertBytes."""
        from cellmesh.common.tls import certs

        return certs.from_pem(self.load().certificate_pem)

    def authority(self) -> Certificate:
        """Read the (first) authority's certificate. Raises NoSuchCert, BadCertBytes."""
        from cellmesh.common.tls import certs

        return certs.from_pem(self.load().authority_pem)

    def identity(self) -> Identity | None:
        """Whose identity this is, None when there is none here. Raises BadCertBytes."""
        if not self.exists():
            return None
        mesh = self.mesh()
        if mesh is not None:
            return parse_name(mesh.name)
        from cellmesh.common.tls import certs

        return certs.identity_of_certificate(self.certificate())

    def cell_identity(self) -> CellIdentity | None:
        """The same, if it is a cell's."""
        found = self.identity()
        return found if isinstance(found, CellIdentity) else None
