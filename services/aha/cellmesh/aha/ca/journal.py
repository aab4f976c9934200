"""What was issued: every certificate is noted, durably, before it is handed out."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cellmesh.aha import schema
from cellmesh.api.aha.v1 import change_pb2
from cellmesh.common.changelog import AppendChange, ChangeWriter
from cellmesh.common.storage import ReadTxn, Slab, WriteTxn
from cellmesh.common.storage.walking import walk, walk_keys
from cellmesh.common.tls import certs
from cellmesh.common.tls.identity import Identity

SERIAL_SIZE: Final = 20

_EXPIRY = struct.Struct(">Q")


@dataclass(frozen=True, slots=True)
class Issued:
    """One certificate as it was noted.

    Attributes:
        serial: Its serial number, hexadecimal.
        subject: To whom it was issued, as a URI.
        expire_ms: When it ends, in milliseconds since 1970.
    """

    serial: str
    subject: str
    expire_ms: int


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

    def has(self, certificate: certs.Certificate) -> bool:
        """Whether a certificate has been noted."""
        with self._slab.view() as txn:
            return txn.get(schema.CERTIFICATES, certificate.serial_number.to_bytes(20, "big")) is not None


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
    expire_ms = issued.expire_time.ToMilliseconds()
    txn.put(schema.CERTIFICATES, serial, _EXPIRY.pack(expire_ms) + issued.subject.encode())
    txn.put(schema.SUBJECTS, schema.subject_key(issued.subject, expire_ms, serial), b"")


def find_issued(txn: ReadTxn, key: bytes) -> Issued | None:
    """The certificate with a serial number, as 20 bytes; None when it was not issued here."""
    found = txn.get(schema.CERTIFICATES, key)
    return None if found is None else _issued(key, found)


def issued_to(txn: ReadTxn, subject: str, after_ms: int = -1) -> Iterator[Issued]:
    """What was issued to a subject and ends after a time, in milliseconds since 1970; what ends first comes first."""
    low, high = schema.subject_key(subject, after_ms + 1), schema.behind_subject(subject)
    for key in walk_keys(txn, schema.SUBJECTS, low, high):
        (expire_ms,) = _EXPIRY.unpack_from(key, len(key) - SERIAL_SIZE - _EXPIRY.size)
        yield Issued(f"{int.from_bytes(key[-SERIAL_SIZE:], 'big'):x}", subject, expire_ms)


def scan_issued(txn: ReadTxn, after: bytes = b"") -> Iterator[Issued]:
    """Everything that was issued, by serial number, behind one (20 bytes)."""
    low = after + b"\x00" if after else b""
    for key, value in walk(txn, schema.CERTIFICATES, low):
        yield _issued(key, value)


def _issued(key: bytes, value: bytes) -> Issued:
    (expire_ms,) = _EXPIRY.unpack_from(value)
    return Issued(f"{int.from_bytes(key, 'big'):x}", value[_EXPIRY.size :].decode(), expire_ms)


def expiry_ms(certificate: certs.Certificate) -> int:
    """When a certificate ends, in milliseconds since 1970."""
    return int(certificate.not_valid_after_utc.timestamp() * 1000)
