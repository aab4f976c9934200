"""What is stored about enrolments, and how it is found: by the hash of the token, by id, by subject."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from cellmesh.aha import schema
from cellmesh.api.aha.v1 import change_pb2
from cellmesh.common.errors import NoSuchIden
from cellmesh.common.storage import ReadTxn, WriteTxn
from cellmesh.common.storage.walking import walk, walk_keys

KEY_HASH_SIZE: Final = 32
ID_SIZE: Final = 8
"""Bytes of a token's hash that name its enrolment in lists."""

_TIMES = struct.Struct(">QQ")


@dataclass(frozen=True, slots=True)
class Enrollment:
    """What is stored about one enrolment.

    Attributes:
        subject: Who may enrol, as a URI.
        expire_ms: Until when, in milliseconds since 1970.
        use_ms: When it was used up, or 0.
        key_sha256: SHA-256 of the public key that was certified; empty before.
        certificate_der: The certificate; empty before.
    """

    subject: str
    expire_ms: int
    use_ms: int = 0
    key_sha256: bytes = b""
    certificate_der: bytes = b""

    def encode(self) -> bytes:
        """As stored."""
        told = _TIMES.pack(self.expire_ms, self.use_ms) + self.subject.encode()
        return told + b"\x00" + self.key_sha256 + self.certificate_der if self.certificate_der else told

    @classmethod
    def decode(cls, data: bytes) -> Enrollment:
        """From what is stored."""
        expire_ms, use_ms = _TIMES.unpack_from(data)
        subject, _, answer = data[_TIMES.size :].partition(b"\x00")
        return cls(subject.decode(), expire_ms, use_ms, answer[:KEY_HASH_SIZE], answer[KEY_HASH_SIZE:])


def put_created(txn: WriteTxn, created: change_pb2.EnrollmentCreated) -> None:
    """Store what a change record tells of a new enrolment."""
    enrollment = Enrollment(created.subject, created.expire_time.ToMilliseconds())
    txn.put(schema.ENROLLMENTS, created.token_sha256, enrollment.encode())
    txn.put(schema.INVITATIONS, _invitation(enrollment, created.token_sha256), b"")


def put_deleted(txn: WriteTxn, token_sha256: bytes) -> bool:
    """Forget an enrolment; False when there is none."""
    found = txn.get(schema.ENROLLMENTS, token_sha256)
    if found is None:
        return False
    txn.delete(schema.INVITATIONS, _invitation(Enrollment.decode(found), token_sha256))
    return txn.delete(schema.ENROLLMENTS, token_sha256)


def put_used(txn: WriteTxn, used: change_pb2.EnrollmentUsed) -> bool:
    """Store what a change record tells of an enrolment that was used up; False when there is none."""
    found = txn.get(schema.ENROLLMENTS, used.token_sha256)
    if found is None:
        return False
    before = Enrollment.decode(found)
    txn.delete(schema.INVITATIONS, _invitation(before, used.token_sha256))
    enrollment = replace(
        before,
        use_ms=used.use_time.ToMilliseconds(),
        key_sha256=used.key_sha256,
        certificate_der=used.certificate_der,
    )
    txn.put(schema.ENROLLMENTS, used.token_sha256, enrollment.encode())
    return True


def scan_enrollments(txn: ReadTxn) -> Iterator[tuple[bytes, Enrollment]]:
    """Every enrolment, with the hash of its token."""
    for key, value in walk(txn, schema.ENROLLMENTS):
        yield key, Enrollment.decode(value)


def scan_open(txn: ReadTxn, now_ms: int) -> Iterator[tuple[bytes, Enrollment]]:
    """Every enrolment that can still be used, with the hash of its token."""
    for key in walk_keys(txn, schema.INVITATIONS):
        token_sha256 = key[-KEY_HASH_SIZE:]
        found = txn.get(schema.ENROLLMENTS, token_sha256)
        if found is not None and is_open(item := Enrollment.decode(found), now_ms):
            yield token_sha256, item


def invited(txn: ReadTxn, subject: str, now_ms: int) -> Iterator[bytes]:
    """The enrolments that a subject can still use."""
    low = schema.subject_key(subject, now_ms + 1)
    return walk_keys(txn, schema.INVITATIONS, low, schema.behind_subject(subject))


def _invitation(enrollment: Enrollment, token_sha256: bytes) -> bytes:
    return schema.subject_key(enrollment.subject, enrollment.expire_ms, token_sha256)


def find_by_id(txn: ReadTxn, enrollment_id: str) -> tuple[bytes, Enrollment]:
    """The enrolment of an id. Raises NoSuchIden."""
    try:
        begin = bytes.fromhex(enrollment_id)
    except ValueError:
        begin = b""
    found = txn.first(schema.ENROLLMENTS, begin) if len(begin) == ID_SIZE else None
    if found is None or not found[0].startswith(begin):
        raise NoSuchIden(f"there is no enrolment {enrollment_id[:64]}", iden=enrollment_id[:64])
    return found[0], Enrollment.decode(found[1])


def is_open(enrollment: Enrollment, now_ms: int) -> bool:
    return not enrollment.use_ms and enrollment.expire_ms > now_ms
