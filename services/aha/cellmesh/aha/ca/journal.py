"""What was issued: every certificate is noted, durably, before it is handed out."""

from __future__ import annotations

import struct

from cellmesh.aha import schema
from cellmesh.api.aha.v1 import change_pb2
from cellmesh.common.changelog import AppendChange, ChangeWriter
from cellmesh.common.storage import Slab, WriteTxn
from cellmesh.common.tls import certs
from cellmesh.common.tls.identity import Identity

_EXPIRY = struct.Struct(">Q")


class Journal:
    """The issued certificates. Blocking: called from worker threads.

    Args:
        slab: Open, with the databases of `schema`.
        changes: Writes the change log.
    """

    def __init__(self, slab: Slab, changes: ChangeWriter) -> None:
        self._slab = slab
        self._changes = changes

    def note(self, certificate: certs.Certificate, identity: Identity) -> None:
        """Note a certificate; durable when this returns."""
        append_change = self._changes.begin()
        self._slab.write(lambda txn: note_issued(txn, append_change, certificate, identity))


def note_issued(
    txn: WriteTxn, append_change: AppendChange, certificate: certs.Certificate, identity: Identity
) -> None:
    """Note a certificate in a transaction that does more."""
    issued = change_pb2.CertificateIssued(subject=identity.uri, serial=f"{certificate.serial_number:x}")
    issued.expire_time.FromMilliseconds(expiry_ms(certificate))
    put_issued(txn, issued)
    append_change(txn, change_pb2.AhaChange(certificate_issued=issued))


def put_issued(txn: WriteTxn, issued: change_pb2.CertificateIssued) -> None:
    """Store what a change record tells of a certificate."""
    serial = int(issued.serial, 16).to_bytes(20, "big")
    expiry = _EXPIRY.pack(issued.expire_time.ToMilliseconds())
    txn.put(schema.CERTIFICATES, serial, expiry + issued.subject.encode())


def expiry_ms(certificate: certs.Certificate) -> int:
    """When a certificate ends, in milliseconds since 1970."""
    return int(certificate.not_valid_after_utc.timestamp() * 1000)
