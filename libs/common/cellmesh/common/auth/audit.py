"""The audit log: what was done to users and rights, and what was refused, as a chain of hashes.

Each record is stored behind SHA-256(hash of the record before + the record's bytes). A change to a record, or one
taken out, put in or moved, breaks the chain there; a record taken off the end no longer fits the head that is
stored beside. Somebody who may write the file could make the whole chain anew: against that, note the head's hash
elsewhere now and then, and have the checker look for it.

The oldest records may be cut by policy. The hash of the last one cut is kept as the anchor, to which the first one left
is chained, and the cut has a record of its own at the end of the chain, with that hash: an anchor without it is a fault.

The log belongs to one instance and is not part of the change log: a mirror has its own.
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

ANCHOR_KEY: Final = b"anchor"
"""Offset of the first record there is, and the hash of the one before it, when records were cut."""

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
        first_offset: Offset of the first record there is; those before were cut.
        head_hash: Hash of the last one that is sound.
        bad_offset: Where the first fault is, None when all is sound.
        problem: What is wrong there.
    """

    record_count: int
    first_offset: int
    head_hash: bytes
    bad_offset: int | None = None
    problem: str = ""

    @property
    def sound(self) -> bool:
        """Whether every record is what was written."""
        return self.bad_offset is None


def append(txn: WriteTxn, entry: AuditEntry, time_us: int) -> int:
    """Add a record in the caller's transaction; returns its offset."""
    offset, previous = head(txn)
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
        BadArg: the hash known has not 32 bytes, or is of a record that was cut since.
    """
    if known is not None and len(known[1]) != HASH_SIZE:
        raise BadArg(f"a hash of the audit log has {HASH_SIZE} bytes", name="known_hash")
    while True:
        with slab.view() as txn:
            start = anchor(txn)
        report = _Check(start, known).run(slab)
        with slab.view() as txn:
            # Records may be cut while they are read; what is missing then is no fault.
            if report.sound or anchor(txn) == start:
                return report


class _Check:
    """One walk through the log.

    Args:
        start: The anchor.
        known: As for `check`.
    """

    def __init__(self, start: tuple[int, bytes], known: tuple[int, bytes] | None) -> None:
        self._first, self._previous = start
        self._offset = self._first
        self._known = known
        # Whether what must be found was: the record noted elsewhere, and that of the cut.
        self._known_found = known is None
        self._cut_found = self._first == 0
        self._cut_texts = _cut_texts(*start)

    def run(self, slab: Slab) -> AuditReport:
        """Check everything."""
        known = self._known
        if known is not None and known[0] < self._first:
            if known[0] < self._first - 1:
                raise BadArg(
                    f"record {known[0]} was cut from the audit log, which begins with {self._first}",
                    name="known_offset",
                )
            if known[1] != self._previous:
                return self._report("the record before it has not the hash that was noted elsewhere")
            self._known_found = True
        while True:
            with slab.view() as txn:
                start = UINT64.encode(self._offset)
                items = txn.scan(AUDIT, start, _OFFSETS_END, count_max=CHECK_COUNT).items
                before = txn.last(AUDIT, b"\x00", UINT64.encode(self._first)) if self._first else None
                # Of the same state as the end that was found.
                stored_head = txn.get(AUDIT, HEAD_KEY)
            if before is not None:
                return self._report("records before it were cut and are still there")
            if not items:
                return self._end(stored_head)
            for key, value in items:
                problem = self._step(key, value)
                if problem:
                    return self._report(problem)

    def _step(self, key: bytes, value: bytes) -> str:
        """Take one record; says what is wrong with it."""
        problem = _fault(key, value, self._offset, self._previous)
        if problem:
            return problem
        digest = value[:HASH_SIZE]
        if self._known is not None and self._known[0] == self._offset:
            if self._known[1] != digest:
                return "it has not the hash that was noted elsewhere"
            self._known_found = True
        if not self._cut_found:
            record = auth_pb2.AuditRecord.FromString(value[HASH_SIZE:])
            told = (record.target, record.detail)
            self._cut_found = record.kind == auth_pb2.AUDIT_KIND_CUT and told == self._cut_texts
        self._previous = digest
        self._offset += 1
        return ""

    def _end(self, stored_head: bytes | None) -> AuditReport:
        expected = UINT64.encode(self._offset - 1) + self._previous if self._offset else None
        if stored_head != expected:
            return self._report("the stored head is another: records are missing at the end")
        if not self._cut_found:
            self._offset = self._first
            return self._report("records before it are missing, and no record tells that they were cut")
        return self._report("" if self._known_found else "the record noted elsewhere is missing")

    def _report(self, problem: str) -> AuditReport:
        bad_offset = self._offset if problem else None
        return AuditReport(self._offset - self._first, self._first, self._previous, bad_offset, problem)


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


def head(txn: ReadTxn) -> tuple[int, bytes]:
    """The offset that the next record gets, and the hash it is chained to."""
    found = txn.get(AUDIT, HEAD_KEY)
    return (0, _SEED) if found is None else (UINT64.decode(found[:8]) + 1, found[8:])


def anchor(txn: ReadTxn) -> tuple[int, bytes]:
    """The offset of the first record there is, and the hash it is chained to."""
    found = txn.get(AUDIT, ANCHOR_KEY)
    return (0, _SEED) if found is None else (UINT64.decode(found[:8]), found[8:])


def cut(txn: WriteTxn, *, end: int, before_us: int, count_max: int, time_us: int) -> int:
    """Remove the oldest records in the caller's transaction, and put on record that they were.

    Args:
        txn: Where to write.
        end: Records before this offset go.
        before_us: And those that are older, in microseconds since 1970, up to the first that is not.
        count_max: Most records to remove now.
        time_us: The time now.

    Returns:
        How many were removed. The newest one always stays.

    Raises:
        StorageCorrupt: the chain is broken among those that would go.
    """
    first, previous = anchor(txn)
    newest = head(txn)[0] - 1
    offset = first
    for key, value in txn.scan(AUDIT, UINT64.encode(first), _OFFSETS_END, count_max=count_max).items:
        is_old = offset < end or _time_us(value) < before_us
        if offset >= newest or not is_old:
            break
        problem = _fault(key, value, offset, previous)
        if problem:
            # A cut would take away what shows that somebody was at it.
            raise StorageCorrupt(f"record {offset} of the audit log: {problem}; it is not cut", offset=offset)
        previous = value[:HASH_SIZE]
        txn.delete(AUDIT, key)
        offset += 1
    if offset == first:
        return 0
    txn.put(AUDIT, ANCHOR_KEY, UINT64.encode(offset) + previous)
    target, detail = _cut_texts(offset, previous)
    entry = AuditEntry(auth_pb2.AUDIT_KIND_CUT, "", "audit_cut", target, detail, count=offset - first)
    append(txn, entry, time_us)
    return offset - first


def _cut_texts(first: int, previous: bytes) -> tuple[str, str]:
    """Target and detail of the record of a cut: the last record that went, and its hash."""
    return f"audit/{first - 1}", f"its hash is {previous.hex()}"


def _time_us(value: bytes) -> int:
    """When a record was written; 0 for one that does not read back, which the checker has told."""
    try:
        return auth_pb2.AuditRecord.FromString(value[HASH_SIZE:]).time.ToMicroseconds()
    except DecodeError:
        return 0
