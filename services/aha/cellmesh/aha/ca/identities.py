"""The identities that AHA makes without being asked: its own, and that of the root user."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Container
from dataclasses import replace
from typing import Final

from cellmesh.aha.ca.journal import Journal
from cellmesh.common.errors import CellError
from cellmesh.common.tls import certs
from cellmesh.common.tls.authority import Authority
from cellmesh.common.tls.folder import IdentityFolder, MeshInfo
from cellmesh.common.tls.identity import Identity

RENEW_PART: Final = 3
"""A certificate is renewed when a third of its life is left."""


def ensure_identity(
    folder: IdentityFolder,
    identity: Identity,
    authority: Authority,
    journal: Journal,
    now: datetime.datetime,
    revoked: Container[str] = frozenset(),
) -> bool:
    """Make sure that a folder has a certificate of ours that still lasts a good while and is not among those revoked.

    Returns:
        Whether a new one was issued.
    """
    if _is_good(folder, identity, authority, now, revoked):
        return False
    _make(folder, identity, authority, lambda certificate: journal.note(certificate, identity))
    return True


def make_identity(folder: IdentityFolder, identity: Identity, authority: Authority) -> None:
    """Make the identity of the first AHA, before there is a journal: `note_identity` notes it when there is."""
    _make(folder, identity, authority, lambda certificate: None)


def note_identity(folder: IdentityFolder, journal: Journal) -> None:
    """Note the certificate of a folder, if it is not noted yet."""
    certificate = folder.certificate()
    identity = certs.identity_of_certificate(certificate)
    if identity is not None and not journal.has(certificate):
        journal.note(certificate, identity)


def _make(
    folder: IdentityFolder,
    identity: Identity,
    authority: Authority,
    note: Callable[[certs.Certificate], None],
) -> None:
    key = certs.make_key()
    certificate = authority.issue(key.public_key(), identity)
    note(certificate)
    known = folder.mesh() if folder.exists() else None
    mesh = MeshInfo(identity.name, authority.network, known.registry_addresses if known else ())
    folder.store(certs.to_pem(certificate), certs.key_to_pem(key), authority.pem, mesh)


def tell_registry(folder: IdentityFolder, addresses: tuple[str, ...]) -> None:
    """Note in an identity folder where the registry is."""
    mesh = folder.mesh()
    if mesh is not None and mesh.registry_addresses != addresses:
        folder.store_mesh(replace(mesh, registry_addresses=addresses))


def _is_good(
    folder: IdentityFolder,
    identity: Identity,
    authority: Authority,
    now: datetime.datetime,
    revoked: Container[str],
) -> bool:
    if not folder.exists():
        return False
    try:
        certificate = folder.certificate()
        certs.check_issued(certificate, authority.certificate, now=now)
    except CellError:
        return False
    if certs.identity_of_certificate(certificate) != identity:
        return False
    if certs.serial_text(certificate) in revoked:
        return False
    if not authority.hosts_of(identity) <= certs.hosts_of_certificate(certificate):
        return False
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return certificate.not_valid_after_utc - now > life / RENEW_PART
