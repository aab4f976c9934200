"""Certificates and open enrolments are found by their subject, in a slab of an older layout too."""

from __future__ import annotations

import struct
from pathlib import Path

from cellmesh.aha import schema
from cellmesh.aha.ca.journal import issued_to, put_issued
from cellmesh.aha.provisioning.records import (
    Enrollment,
    invited,
    put_created,
    put_deleted,
    put_used,
    scan_open,
)
from cellmesh.api.aha.v1 import change_pb2
from cellmesh.common.storage import Slab, WriteTxn
from cellmesh.common.storage.layout import DEFAULT_LAYOUT

NOW_MS = 1_700_000_000_000
CORTEX, LONGER = "spiffe://demo/cell/00.cortex", "spiffe://demo/cell/00.cortex-two"


def issued(subject: str, number: int, expire_ms: int) -> change_pb2.CertificateIssued:
    made = change_pb2.CertificateIssued(subject=subject, serial=f"{number:x}")
    made.expire_time.FromMilliseconds(expire_ms)
    return made


def created(subject: str, token: bytes, expire_ms: int) -> change_pb2.EnrollmentCreated:
    made = change_pb2.EnrollmentCreated(subject=subject, token_sha256=token * 32, creator="root")
    made.expire_time.FromMilliseconds(expire_ms)
    return made


def used(token: bytes) -> change_pb2.EnrollmentUsed:
    made = change_pb2.EnrollmentUsed(token_sha256=token * 32, key_sha256=b"k" * 32, certificate_der=b"c")
    made.use_time.FromMilliseconds(NOW_MS)
    return made


def fill(txn: WriteTxn) -> None:
    put_issued(txn, issued(CORTEX, 2, NOW_MS + 5))
    put_issued(txn, issued(CORTEX, 1, NOW_MS + 9))
    put_issued(txn, issued(CORTEX, 3, NOW_MS))
    put_issued(txn, issued(LONGER, 4, NOW_MS + 5))
    for token, subject, expire_ms in (
        (b"a", CORTEX, 5),
        (b"b", CORTEX, 0),
        (b"c", LONGER, 5),
        (b"d", LONGER, 7),
    ):
        put_created(txn, created(subject, token, NOW_MS + expire_ms))
    assert put_used(txn, used(b"d"))
    assert put_deleted(txn, b"c" * 32)
    assert not put_deleted(txn, b"c" * 32)


def check(slab: Slab) -> None:
    with slab.view() as txn:
        assert [item.serial for item in issued_to(txn, CORTEX)] == ["3", "2", "1"]
        assert [item.serial for item in issued_to(txn, CORTEX, NOW_MS)] == ["2", "1"]
        assert [item.serial for item in issued_to(txn, LONGER)] == ["4"]
        assert len(list(invited(txn, CORTEX, NOW_MS))) == 1
        assert list(invited(txn, LONGER, NOW_MS)) == []
        assert [token for token, _ in scan_open(txn, NOW_MS)] == [b"a" * 32]


def test_what_belongs_to_a_subject_is_found_by_when_it_ends(tmp_path: Path) -> None:
    slab = Slab.open(tmp_path / "slab", schema.DATABASES, layout=schema.LAYOUT, sync=False)
    slab.write(fill)
    check(slab)
    slab.close()


def test_an_older_slab_gets_the_index(tmp_path: Path) -> None:
    """As the layout before had it: the same, without the two databases."""
    kept = tuple(db for db in schema.DATABASES if db not in (schema.SUBJECTS, schema.INVITATIONS))
    old = Slab.open(tmp_path / "slab", kept, layout=DEFAULT_LAYOUT, sync=False)

    def write(txn: WriteTxn) -> None:
        for subject, number, ends in ((CORTEX, 2, 5), (CORTEX, 1, 9), (CORTEX, 3, 0), (LONGER, 4, 5)):
            value = struct.pack(">Q", NOW_MS + ends) + subject.encode()
            txn.put(schema.CERTIFICATES, number.to_bytes(20, "big"), value)
        for token, subject, ends, use_ms in (
            (b"a", CORTEX, 5, 0),
            (b"b", CORTEX, 0, 0),
            (b"d", LONGER, 7, 1),
        ):
            enrollment = Enrollment(subject, NOW_MS + ends, use_ms, *((b"k" * 32, b"c") if use_ms else ()))
            txn.put(schema.ENROLLMENTS, token * 32, enrollment.encode())

    old.write(write)
    old.close()
    slab = Slab.open(tmp_path / "slab", schema.DATABASES, layout=schema.LAYOUT, sync=False)
    check(slab)
    slab.close()
