"""The audit log: what was done to users and rights, and what was refused, as a chain of hashes.

Each record is stored behind SHA-256(hash of the record before + the record's bytes). A change to a record, or one
taken out, put in or moved, breaks the chain there; a record taken off the end no longer fits the head that is
stored beside. Somebody who may write the file could make the whole chain anew: against that, note the head's hash
elsewhere now and then, and have the checker look for it.

The log belongs to one cell and is not part of its change log: a mirror has its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cellmesh.api.common.v1 import auth_pb2
from cellmesh.common.auth.schema import AUDIT
from cellmesh.common.errors import BadArg, StorageCorrupt
from cellmesh.common.storage import ReadTxn, Slab, WriteTxn
from cellmesh.common.storage.codecs import UINT64
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

HASH_SIZE: Final = 32
HEAD_KEY: Final = b"head"
"""Sorts apart from offsets, which have eight bytes and begin with a zero byte for the next 10^16 records."""

TEXT_SIZE_MAX: Final = 512
CHECK_COUNT: Final = 1000

_OFFSETS_END: Final = b"\x01"
_SEED: Final = hashlib.sha256(b"cellmesh audit log").digest()


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """What a record tells; time and offset come when it is stored.

    Attributes:
        kind: A change, a denial, or a sum of denials.
        actor: Who did it.
        action: What was done or tried.
        target: To what.
        detail: More, for people.
        peer: Where the call came from.
        request_id: Of the request.
        count: How often.
    """

    kind: auth_pb2.AuditKind.ValueType
    actor: str
    action: str
    target: str = ""
    detail: str = ""
    peer: str = ""
    request_id: str = ""
    count: int = 1


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What the checker found.

    Attributes:
        record_count: Records read.
        head_hash: Hash of the last one that is sound.
        bad_offset: Where the first fault is, None when all is sound.
        problem: What is wrong there.
    """

    record_count: int
    head_hash: bytes
    bad_offset: int | None = None
    problem: str = ""

    @property
    def sound(self) -> bool:
        """Whether every record is what was written."""
        return self.bad_offset is None


def append(txn: WriteTxn, entry: AuditEntry, time_us: int) -> int:
    """Add a record in the caller's transaction; returns its offset."""
    offset, previous = _head(txn)
    time = Timestamp()
    time.FromMicroseconds(time_us)
    record = auth_pb2.AuditRecord(
        offset=offset,
        time=time,
        kind=entry.kind,
        actor=entry.actor[:TEXT_SIZE_MAX],
        action=entry.action[:TEXT_SIZE_MAX],
        target=entry.target[:TEXT_SIZE_MAX],
        detail=entry.detail[:TEXT_SIZE_MAX],
        peer=entry.peer[:TEXT_SIZE_MAX],
        request_id=entry.request_id[:TEXT_SIZE_MAX],
        count=entry.count,
    ).SerializeToString()
    digest = hashlib.sha256(previous + record).digest()
    txn.put(AUDIT, UINT64.encode(offset), digest + record)
    txn.put(AUDIT, HEAD_KEY, UINT64.encode(offset) + digest)
    return offset


def append_all(slab: Slab, entries: Sequence[AuditEntry], time_us: int) -> None:
    """Add records durably, in one transaction of their own."""

    def op(txn: WriteTxn) -> None:
        for entry in entries:
            append(txn, entry, time_us)

    # A follower, whose gate is closed to changes, has an audit log of its own.
    slab.write(op, privileged=True)


def read(slab: Slab, offset: int, count_max: int) -> tuple[list[auth_pb2.AuditRecord], int]:
    """The records from an offset on, and where to go on. Raises StorageCorrupt."""
    with slab.view() as txn:
        items = txn.scan(AUDIT, UINT64.encode(offset), _OFFSETS_END, count_max=count_max).items
    records = []
    for key, value in items:
        try:
            records.append(auth_pb2.AuditRecord.FromString(value[HASH_SIZE:]))
        except DecodeError as error:
            raise StorageCorrupt(
                f"record {UINT64.decode(key)} of the audit log does not read back"
            ) from error
    return records, (UINT64.decode(items[-1][0]) + 1 if items else offset)


def check(slab: Slab, known: tuple[int, bytes] | None = None) -> AuditReport:
    """Read the whole log and check its chain.

    Args:
        slab: The cell's storage.
        known: Offset and hash of a record, as noted earlier and elsewhere.

    Raises:
        BadArg: the hash known has not 32 bytes.
    """
    if known is not None and len(known[1]) != HASH_SIZE:
        raise BadArg(f"a hash of the audit log has {HASH_SIZE} bytes", name="known_hash")
    previous, count = _SEED, 0
    known_found = known is None
    while True:
        with slab.view() as txn:
            items = txn.scan(AUDIT, UINT64.encode(count), _OFFSETS_END, count_max=CHECK_COUNT).items
            # Of the same state as the end that was found.
            head = txn.get(AUDIT, HEAD_KEY)
        if not items:
            break
        for key, value in items:
            problem = _fault(key, value, count, previous)
            if problem:
                return AuditReport(count, previous, count, problem)
            previous = value[:HASH_SIZE]
            if known is not None and known[0] == count:
                if known[1] != previous:
                    return AuditReport(count, previous, count, "it has not the hash that was noted elsewhere")
                known_found = True
            count += 1
    if head != (UINT64.encode(count - 1) + previous if count else None):
        return AuditReport(
            count, previous, count, "the stored head is another: records are missing at the end"
        )
    if not known_found:
        return AuditReport(count, previous, count, "the record noted elsewhere is missing")
    return AuditReport(count, previous)


def _fault(key: bytes, value: bytes, expected: int, previous: bytes) -> str:
    if UINT64.decode(key) != expected:
        return f"record {expected} is missing"
    if hashlib.sha256(previous + value[HASH_SIZE:]).digest() != value[:HASH_SIZE]:
        return "its hash does not fit it and the record before"
    try:
        told = auth_pb2.AuditRecord.FromString(value[HASH_SIZE:]).offset
    except DecodeError:
        return "it does not read back"
    return "" if told == expected else f"it says of itself that it is record {told}"


def _head(txn: ReadTxn) -> tuple[int, bytes]:
    """The offset that the next record gets, and the hash it is chained to."""
    found = txn.get(AUDIT, HEAD_KEY)
    return (0, _SEED) if found is None else (UINT64.decode(found[:8]) + 1, found[8:])
