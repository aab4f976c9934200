"""The steps of storing a blob, each done inside a write transaction and waiting for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cellmesh.axon import schema
from cellmesh.axon.blobs.changes import blob_added
from cellmesh.axon.blobs.values import BlobHashes
from cellmesh.common.changelog import AppendChange
from cellmesh.common.storage import WriteTxn


def split_chunks(data: bytes, chunk_size: int) -> list[bytes]:
    """Cut a content, or a part of it that begins at a chunk's edge."""
    if len(data) <= chunk_size:
        return [data] if data else []
    return [data[start : start + chunk_size] for start in range(0, len(data), chunk_size)]


def take_number(txn: WriteTxn) -> int:
    """Give out a blob number and note it as an upload."""
    totals = schema.Totals.decode(txn.get(schema.TOTALS, schema.TOTALS_KEY))
    number = totals.next_number
    txn.put(schema.TOTALS, schema.TOTALS_KEY, replace(totals, next_number=number + 1).encode())
    txn.put(schema.UPLOADS, schema.number_key(number), b"")
    return number


def put_chunks(txn: WriteTxn, number: int, first: int, chunks: Sequence[bytes]) -> None:
    """Store chunks of a blob, the first of them at index `first`."""
    key = schema.chunk_key
    txn.put_many(schema.CHUNKS, [(key(number, first + index), chunk) for index, chunk in enumerate(chunks)])


def make_visible(
    txn: WriteTxn,
    append_change: AppendChange,
    hashes: BlobHashes,
    *,
    number: int | None,
    chunk_size: int,
    first: int,
    chunks: Sequence[bytes],
) -> bool:
    """Store the last chunks of a content and make it a blob, unless there is a blob of that content.

    Args:
        txn: The write transaction.
        append_change: See `AppendChange`.
        hashes: Of the whole content.
        number: The upload's number, or None when nothing of it is stored yet.
        chunk_size: Of the chunks, in bytes.
        first: The index of the first of `chunks`.
        chunks: What is not stored yet.

    Returns:
        Whether the blob is new. If not, nothing was changed, and the chunks of the upload remain.
    """
    if txn.has(schema.BLOBS, hashes.sha256):
        return False
    totals = schema.Totals.decode(txn.get(schema.TOTALS, schema.TOTALS_KEY))
    next_number = totals.next_number
    if number is None:
        number, next_number = next_number, next_number + 1
    else:
        txn.delete(schema.UPLOADS, schema.number_key(number))
    put_chunks(txn, number, first, chunks)
    record = schema.Record(number, hashes.size, chunk_size, hashes.md5, hashes.sha1, hashes.sha512)
    txn.put(schema.BLOBS, hashes.sha256, record.encode())
    offset = totals.next_arrival
    arrival = schema.encode_arrival(hashes.sha256, hashes.size)
    txn.put(schema.ARRIVALS, schema.number_key(offset), arrival)
    updated = schema.Totals(totals.blob_count + 1, totals.size + hashes.size, next_number, offset + 1)
    txn.put(schema.TOTALS, schema.TOTALS_KEY, updated.encode())
    append_change(txn, blob_added(hashes, offset))
    return True


def remove_upload_chunks(txn: WriteTxn, number: int, count_max: int) -> bool:
    """Remove some chunks of an upload, and its mark with the last ones; whether that was all."""
    low, high = schema.chunk_key(number, 0), schema.number_key(number + 1)
    if txn.delete_range(schema.CHUNKS, low, high, count_max=count_max) == count_max:
        return False
    txn.delete(schema.UPLOADS, schema.number_key(number))
    return True
