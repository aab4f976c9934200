"""The change log in the cell's slab: offsets without gaps, an effect and its record in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic

from cellmesh.common.changelog.record import ChangeRecord
from cellmesh.common.errors import BadArg, LogTrimmed
from cellmesh.common.failpoints import failpoint
from cellmesh.common.storage import ReadTxn, Slab, SubDb, WriteTxn
from cellmesh.common.storage.codecs import UINT64

RECORDS = SubDb(
    "changelog", "offset (8 bytes, big-endian) -> cellmesh.api.common.v1.ChangeRecord", local=True
)
FACTS = SubDb("changelog_facts", "name of a fact about the log -> 8 bytes", local=True)

DATABASES = (RECORDS, FACTS)
"""What a cell's schema lists for its change log."""

START_KEY = b"start"
"""The offset the next record gets while the log has none."""

READ_COUNT_MAX = 1000
READ_SIZE_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class ChangeChunk:
    """Records in order of their offsets.

    Attributes:
        records: None at the end of the log.
        next_offset: Where to read on.
    """

    records: list[ChangeRecord]
    next_offset: int


class ChangeLog:
    """The log of one slab, which was opened with `DATABASES` among its databases."""

    def __init__(self, slab: Slab) -> None:
        self._slab = slab

    def append(self, txn: WriteTxn, *, time_us: int, actor: str, type_name: str, payload: bytes) -> int:
        """Add a record in the caller's transaction, next to the change it tells of; returns its offset."""
        offset = self.next_offset(txn)
        self._put(txn, ChangeRecord(offset, time_us, actor, type_name, payload))
        return offset

    def append_record(self, txn: WriteTxn, record: ChangeRecord) -> None:
        """Add a record that has its offset already: a follower's way.

        Raises:
            BadArg: it is not the next one. Nothing was written.
        """
        expected = self.next_offset(txn)
        if record.offset != expected:
            raise BadArg(
                f"the next record of the log has offset {expected}, not {record.offset}", name="offset"
            )
        self._put(txn, record)

    def next_offset(self, txn: ReadTxn) -> int:
        """The offset the next record gets."""
        return next_offset(txn)

    def first_offset(self, txn: ReadTxn) -> int:
        """The offset of the oldest record still there; `next_offset` if there is none."""
        return first_offset(txn)

    def read(
        self, offset: int, *, count_max: int = READ_COUNT_MAX, size_max_bytes: int = READ_SIZE_BYTES
    ) -> ChangeChunk:
        """The durable records from an offset on.

        Args:
            offset: Where to start; at the end of the log the chunk is empty.
            count_max: Most records, at least 1.
            size_max_bytes: No further record once those read have this many bytes; at least one is read.

        Raises:
            LogTrimmed: the record was trimmed.
            BadArg: the log doesn't reach so far yet.
        """
        with self._slab.view() as txn:
            chunk = self._read(txn, offset, count_max, size_max_bytes)
            txn_id = txn.raw.id()
        # LMDB shows a commit to readers just before its sync has ended. A follower must not have what the
        # leader might still lose.
        self._slab.wait_durable(txn_id)
        return chunk

    def wait(self, offset: int, timeout_s: float) -> bool:
        """Return True as soon as the record of this offset is committed, False if it isn't in time."""
        end_s = monotonic() + timeout_s
        while True:
            seen_count = self._slab.commit_count
            with self._slab.view() as txn:
                if self.next_offset(txn) > offset:
                    return True
            left_s = end_s - monotonic()
            if left_s <= 0:
                return False
            self._slab.wait_for_commit(seen_count, left_s)

    def trim(self, txn: WriteTxn, offset: int, *, count_max: int = READ_COUNT_MAX) -> int:
        """Delete the oldest records, those before the offset.

        Returns:
            How many; less than `count_max` means that none before the offset is left.
        """
        next_offset = self.next_offset(txn)
        failpoint("changelog_before_trim")
        count = txn.delete_range(RECORDS, b"", UINT64.encode(min(offset, next_offset)), count_max=count_max)
        if count:
            # Needed when the log is empty now, harmless when it isn't.
            txn.put(FACTS, START_KEY, UINT64.encode(next_offset))
        failpoint("changelog_after_trim")
        return count

    def start_at(self, txn: WriteTxn, offset: int) -> None:
        """Have an empty log begin at an offset: a mirror's, seeded without the records before.

        Raises:
            BadArg: the log has records.
        """
        if txn.entries(RECORDS):
            raise BadArg("only an empty log can be told where to begin", name="offset")
        txn.put(FACTS, START_KEY, UINT64.encode(offset))

    def _put(self, txn: WriteTxn, record: ChangeRecord) -> None:
        key, value = UINT64.encode(record.offset), record.to_bytes()
        failpoint("changelog_before_append")
        txn.touched = True
        # `append` fills pages to the brim, as offsets only grow.
        written = txn.raw.put(key, value, append=True, db=txn.handle(RECORDS))
        assert written, "a record of the change log would replace another one"
        failpoint("changelog_after_append")

    def _read(self, txn: ReadTxn, offset: int, count_max: int, size_max_bytes: int) -> ChangeChunk:
        first, end = self.first_offset(txn), self.next_offset(txn)
        if offset < first:
            raise LogTrimmed(
                f"the log begins at offset {first}, {offset} was trimmed", offset=offset, first=first
            )
        if offset > end:
            raise BadArg(f"the log ends before offset {end}, {offset} is not there yet", name="offset")
        records: list[ChangeRecord] = []
        size_bytes = 0
        count_max = min(count_max, end - offset)
        while len(records) < count_max and (not records or size_bytes < size_max_bytes):
            key = UINT64.encode(offset + len(records))
            # Small steps, as a record may be large.
            step = min(count_max - len(records), 64)
            for _, data in txn.scan(RECORDS, key, count_max=step).items:
                records.append(ChangeRecord.from_bytes(data))
                size_bytes += len(data)
                if size_bytes >= size_max_bytes:
                    break
        return ChangeChunk(records, offset + len(records))


def next_offset(txn: ReadTxn) -> int:
    """The offset the next record of the log gets, in any transaction that has `DATABASES`."""
    last = txn.last(RECORDS)
    return _start(txn) if last is None else UINT64.decode(last[0]) + 1


def first_offset(txn: ReadTxn) -> int:
    """The offset of the oldest record of the log still there; `next_offset` if there is none."""
    first = txn.first(RECORDS)
    return _start(txn) if first is None else UINT64.decode(first[0])


def _start(txn: ReadTxn) -> int:
    found = txn.get(FACTS, START_KEY)
    return 0 if found is None else UINT64.decode(found)
