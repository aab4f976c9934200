"""AxonApplier: the Axon's change records, applied by a mirror or by the replay of a log.

What replicas share about a blob is in its record. Its content is not: it is fetched from the leader before the record
is applied, so a follower that has a record on disk has the content too. Where the leader has it no more, as
with a blob that was deleted later on, the record is applied all the same, and the blob noted as wanted: what replicas
share is equal, and the record of the deletion finds what it takes away. What is wanted is asked for again now
and then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import Final

from cellmesh.api.axon.v1 import change_pb2
from cellmesh.axon import schema
from cellmesh.axon.blobs import steps
from cellmesh.axon.blobs.changes import TYPE_NAME, name_from_proto
from cellmesh.axon.blobs.fetching import Fetcher, WantedContent
from cellmesh.axon.blobs.store import BlobStore
from cellmesh.common.changelog import ChangeRecord, ContentSource
from cellmesh.common.errors import StorageCorrupt
from cellmesh.common.storage import WriteTxn
from cellmesh.common.telemetry.logs import get_logger
from google.protobuf.message import DecodeError

WANTED_INTERVAL_S: Final = 60.0
WANTED_COUNT_MAX: Final = 1000
"""Wanted contents asked for again at a time, and how often."""

_log = get_logger(__name__)


class AxonApplier:
    """Applies AxonChange records; an Applier of the change log.

    Args:
        store: The blobs.
        fetcher: Gets and keeps the contents.
        clock: In seconds.
    """

    def __init__(
        self, store: BlobStore, fetcher: Fetcher, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._fetcher = fetcher
        self._clock = clock
        self._asked_s = float("-inf")
        self._next_wanted = 0
        self._next_offset = 0
        self._reclaimed: list[int] = []

    @property
    def type_names(self) -> Collection[str]:
        """See Applier."""
        return (TYPE_NAME,)

    def prepare(self, records: Sequence[ChangeRecord], source: ContentSource | None) -> None:
        """Fetch the contents of blobs that were added.

        Raises:
            HashMismatch, CellError: as `Fetcher.fetch`.
        """
        if source is None:
            return
        wanted: list[WantedContent] = []
        for record in records:
            change = _read(record)
            if change.WhichOneof("change") == "blob_added":
                hashes = change.blob_added.hashes
                wanted.append(WantedContent(hashes.sha256, hashes.size_bytes, record.offset))
        if self._clock() >= self._asked_s + WANTED_INTERVAL_S:
            self._asked_s = self._clock()
            self._ask_again(source, records[0].offset)
        self._fetcher.fetch(wanted, source)

    def apply(self, txn: WriteTxn, record: ChangeRecord) -> None:
        """See Applier. Raises StorageCorrupt."""
        change = _read(record)
        match change.WhichOneof("change"):
            case "blob_added":
                self._add(txn, record, change.blob_added)
            case "blob_deleted":
                self._delete(txn, record, change.blob_deleted)
            case _:
                raise StorageCorrupt(
                    f"record {record.offset} of the change log tells of a change of blobs that this version does "
                    "not know",
                    offset=record.offset,
                    hint="a follower must not run an older version than its leader",
                )
        self._next_offset = record.offset + 1

    def _add(self, txn: WriteTxn, record: ChangeRecord, added: change_pb2.BlobAdded) -> None:
        blob = name_from_proto(added.hashes)
        totals = steps.read_totals(txn)
        if added.offset != totals.next_arrival or txn.has(schema.BLOBS, blob.sha256):
            raise StorageCorrupt(
                f"record {record.offset} of the change log adds a blob at {added.offset}, and the next one here is "
                f"{totals.next_arrival}, or it is there already",
                offset=record.offset,
                sha256=blob.sha256.hex(),
            )
        steps.write_totals(txn, steps.add_blob(txn, blob, totals, added.time_us))
        self._fetcher.use(txn, blob.sha256, added.offset)

    def _delete(self, txn: WriteTxn, record: ChangeRecord, deleted: change_pb2.BlobDeleted) -> None:
        found = txn.get(schema.BLOBS, deleted.sha256)
        if found is None or schema.Record.decode(found).arrival != deleted.offset:
            raise StorageCorrupt(
                f"record {record.offset} of the change log deletes a blob at {deleted.offset} that is not there",
                offset=record.offset,
                sha256=deleted.sha256.hex(),
            )
        totals = steps.read_totals(txn)
        gone = steps.delete_blob(txn, deleted.sha256)
        assert gone is not None, "a blob has gone while it was deleted"
        _, size, number = gone
        steps.write_totals(txn, schema.Totals(totals.blob_count - 1, totals.size - size, totals.next_arrival))
        if number is not None:
            self._reclaimed.append(number)

    def committed(self) -> None:
        """See Applier."""
        self._fetcher.committed(self._next_offset)
        numbers, self._reclaimed = self._reclaimed, []
        self._store.reclaim(numbers)
        self._store.growth.notify()

    def rolled_back(self) -> None:
        """See Applier."""
        self._fetcher.rolled_back()
        self._reclaimed.clear()

    def _ask_again(self, source: ContentSource, offset: int) -> None:
        """Try to get contents that the leader did not have before."""
        found = self._store.wanted(self._next_wanted, WANTED_COUNT_MAX)
        self._next_wanted = found[-1][0] + 1 if len(found) == WANTED_COUNT_MAX else 0
        if not found:
            return
        self._fetcher.fetch([WantedContent(blob.sha256, blob.size, offset) for _, blob in found], source)
        count = self._fetcher.fill([(arrival, blob.sha256) for arrival, blob in found])
        _log.info("wanted_contents_fetched", count=count, asked=len(found))


def _read(record: ChangeRecord) -> change_pb2.AxonChange:
    try:
        return change_pb2.AxonChange.FromString(record.payload)
    except DecodeError as error:
        raise StorageCorrupt("a change of blobs does not read back", offset=record.offset) from error


__all__ = ["AxonApplier"]
