"""The steps of storing a blob, each done inside a write transaction and waiting for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from cellmesh.axon import schema
from cellmesh.axon.blobs.values import BlobInfo, Piece
from cellmesh.common.storage import ReadTxn, WriteTxn

MARK: Final = b""
"""What stands in `uploads` for a number that no fetch has."""


SMALL_CHUNK_COUNT: Final = 4
"""Chunks that are removed with those of other contents, in one transaction."""


def split_chunks(data: bytes, chunk_size: int) -> list[Piece]:
    """Cut a content, or a part of it that begins at a chunk's edge."""
    if len(data) <= chunk_size:
        return [data] if data else []
    # Views: LMDB copies what it takes, and that once is enough.
    view = memoryview(data)
    return [view[start : start + chunk_size] for start in range(0, len(data), chunk_size)]


def take_numbers(txn: WriteTxn, count: int) -> int:
    """Give out blob numbers; returns the first of them."""
    found = txn.get(schema.COUNTERS, schema.NUMBER_KEY)
    first = 0 if found is None else schema.number_of(found)
    txn.put(schema.COUNTERS, schema.NUMBER_KEY, schema.number_key(first + count))
    return first


def begin_upload(txn: WriteTxn, mark: bytes = MARK) -> int:
    """Give out a blob number for content that is not visible yet, and note it with this mark."""
    number = take_numbers(txn, 1)
    txn.put(schema.UPLOADS, schema.number_key(number), mark)
    return number


def put_chunks(txn: WriteTxn, number: int, first: int, chunks: Sequence[Piece]) -> None:
    """Store chunks of a blob, the first of them at index `first`."""
    key = schema.chunk_key
    # LMDB takes any bytes, which the types of `put_many` do not say.
    items: list[Any] = [(key(number, first + index), chunk) for index, chunk in enumerate(chunks)]
    txn.put_many(schema.CHUNKS, items)


def place(txn: WriteTxn, arrival: int, number: int, chunk_size: int) -> None:
    """Make a content that is stored whole that of a blob."""
    txn.put(schema.PLACES, schema.number_key(arrival), schema.Place(number, chunk_size).encode())


def read_totals(txn: ReadTxn) -> schema.Totals:
    """The counts of the whole store."""
    return schema.Totals.decode(txn.get(schema.TOTALS, schema.TOTALS_KEY))


def last_time(txn: ReadTxn, totals: schema.Totals) -> int:
    """When the last blob came, in microseconds since 1970; 0 before the first."""
    if not totals.next_arrival:
        return 0
    found = txn.get(schema.ARRIVALS, schema.number_key(totals.next_arrival - 1))
    return 0 if found is None else schema.Arrived.decode(found).time_us


def add_blob(txn: WriteTxn, blob: BlobInfo, totals: schema.Totals, time_us: int) -> schema.Totals:
    """Add what replicas share about a blob, at the next place in the order of arrival.

    Args:
        txn: The write transaction.
        blob: Its name and size; there is none of this name yet.
        totals: As they are. Those returned are for the caller to write, after the last blob.
        time_us: When it comes; not before the blob before.
    """
    arrival = totals.next_arrival
    txn.put(schema.BLOBS, blob.sha256, schema.Record(arrival, blob.size).encode())
    arrived = schema.Arrived(blob.sha256, blob.size, time_us)
    txn.put(schema.ARRIVALS, schema.number_key(arrival), arrived.encode())
    return schema.Totals(totals.blob_count + 1, totals.size + blob.size, arrival + 1)


def delete_blob(txn: WriteTxn, sha256: bytes) -> tuple[int, int, int | None] | None:
    """Take away a blob. Its chunks are still to be removed: their number stands in `uploads` from here on.

    Returns:
        Its arrival, its size, and the number of its content if it has any here; None when there is no such blob.
    """
    found = txn.get(schema.BLOBS, sha256)
    if found is None:
        return None
    record = schema.Record.decode(found)
    key = schema.number_key(record.arrival)
    row = txn.get(schema.ARRIVALS, key)
    assert row is not None, "a blob has no place in the order of arrival"
    arrived = schema.Arrived.decode(row)
    gone = schema.Arrived(arrived.sha256, arrived.size, arrived.time_us, deleted=True)
    txn.delete(schema.BLOBS, sha256)
    txn.delete(schema.DIGESTS, key)
    txn.put(schema.ARRIVALS, key, gone.encode())
    found = txn.get(schema.PLACES, key)
    if found is None:
        txn.delete(schema.WANTED, key)
        return record.arrival, record.size, None
    number = schema.Place.decode(found).number
    txn.delete(schema.PLACES, key)
    txn.put(schema.UPLOADS, schema.number_key(number), MARK)
    return record.arrival, record.size, number


def write_totals(txn: WriteTxn, totals: schema.Totals) -> None:
    """Store the counts."""
    txn.put(schema.TOTALS, schema.TOTALS_KEY, totals.encode())


def wanted_arrival(txn: ReadTxn, sha256: bytes) -> int | None:
    """The arrival of a blob whose content is not here; None for blobs that have it, or are not there at all."""
    if not txn.entries(schema.WANTED):
        return None
    found = txn.get(schema.BLOBS, sha256)
    if found is None:
        return None
    arrival = schema.Record.decode(found).arrival
    return arrival if txn.has(schema.WANTED, schema.number_key(arrival)) else None


def fill(txn: WriteTxn, arrival: int, number: int, chunk_size: int) -> None:
    """Give a blob whose content was wanted the content that is stored whole under a number."""
    place(txn, arrival, number, chunk_size)
    txn.delete(schema.WANTED, schema.number_key(arrival))


def end_upload(txn: WriteTxn, number: int) -> None:
    """Forget that a number is not visible: it has become so."""
    txn.delete(schema.UPLOADS, schema.number_key(number))


def remove_upload_chunks(txn: WriteTxn, number: int, count_max: int) -> bool:
    """Remove some chunks of an upload, and its mark with the last ones; whether that was all.

    A number that is no upload's, or not any more, is left alone.
    """
    low, high = schema.number_key(number), schema.number_key(number + 1)
    if not txn.has(schema.UPLOADS, low):
        return True
    if txn.delete_range(schema.CHUNKS, low, high, count_max=count_max) == count_max:
        return False
    txn.delete(schema.UPLOADS, low)
    return True


def remove_small(txn: WriteTxn, numbers: Sequence[int]) -> list[int]:
    """Remove the chunks of contents that have few of them; returns the numbers of the others.

    A number that is visible again, or gone, is left alone.
    """
    large: list[int] = []
    for number in numbers:
        if not remove_upload_chunks(txn, number, SMALL_CHUNK_COUNT):
            large.append(number)
    return large
