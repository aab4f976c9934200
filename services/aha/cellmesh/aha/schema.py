"""Every database of AHA's slab.

Leases are soft state and live in memory. `instances` is what a restarted AHA begins with: everything that
was registered, each with a fresh lease to prove that it is still there.

An enrolment's token is stored as its SHA-256 only, so that who reads the database cannot enrol.
"""

from __future__ import annotations

import struct
from typing import Final

from cellmesh.common.changelog import DATABASES as CHANGELOG_DATABASES
from cellmesh.common.storage import SubDb, WriteTxn
from cellmesh.common.storage.layout import Layout, Migration
from cellmesh.common.storage.walking import walk

INSTANCES: Final = SubDb("instances", "instance name -> cellmesh.api.aha.v1.Instance")
ENROLLMENTS: Final = SubDb("enrollments", "SHA-256 of the token -> Enrollment")
CERTIFICATES: Final = SubDb(
    "certificates", "serial (20 bytes) -> expiry in ms since 1970 (8 bytes), subject URI"
)
SUBJECTS: Final = SubDb(
    "certificate_subjects",
    "subject URI, a zero byte, expiry in ms since 1970 (8 bytes), serial (20 bytes) -> nothing",
)
INVITATIONS: Final = SubDb(
    "enrollment_subjects",
    "subject URI, a zero byte, expiry in ms since 1970 (8 bytes), SHA-256 of the token -> nothing; of those not used",
)
REVOCATIONS: Final = SubDb(
    "revocations", "serial (20 bytes) -> revision (8 bytes), cellmesh.api.aha.v1.Revocation"
)
POOLS: Final = SubDb("pools", "pool name -> cellmesh.api.aha.v1.Pool")
LEADERS: Final = SubDb("leaders", "service -> cellmesh.api.aha.v1.Leadership, with the length of its lease")

DATABASES: Final = (
    INSTANCES,
    ENROLLMENTS,
    CERTIFICATES,
    SUBJECTS,
    INVITATIONS,
    REVOCATIONS,
    POOLS,
    LEADERS,
    *CHANGELOG_DATABASES,
)


_EXPIRY = struct.Struct(">Q")


def subject_key(subject: str, expire_ms: int = 0, item: bytes = b"") -> bytes:
    """The key of something that belongs to a subject: those that end first come first."""
    return subject.encode() + b"\x00" + _EXPIRY.pack(expire_ms) + item


def behind_subject(subject: str) -> bytes:
    """The bound above all that belongs to a subject."""
    return subject.encode() + b"\x01"


def _index_subjects(txn: WriteTxn) -> None:
    # As layout 1 has them: expiry and subject of a certificate; expiry, use and subject of an enrolment.
    for source, begin, index in ((CERTIFICATES, 8, SUBJECTS), (ENROLLMENTS, 16, INVITATIONS)):
        for key, value in walk(txn, source):
            used = source is ENROLLMENTS and _EXPIRY.unpack_from(value, 8)[0]
            subject = value[begin:].partition(b"\x00")[0].decode()
            if not used:
                txn.put(index, subject_key(subject, _EXPIRY.unpack_from(value)[0], key), b"")


LAYOUT: Final = Layout(
    "slab", 2, (Migration(2, "certificates and open enrolments are found by their subject", _index_subjects),)
)
