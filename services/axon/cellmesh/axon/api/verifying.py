"""Contents read and compared with their names, with a word about once a second."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Final

from cellmesh.api.axon.v1 import blob_pb2
from cellmesh.axon.blobs import BlobInfo
from cellmesh.axon.blobs.interface import Blobs
from cellmesh.common.errors import NoSuchFile
from cellmesh.common.rpc.streams import CancelToken

VERIFY_COUNT_MAX: Final = 10_000
REPORT_S: Final = 1.0
DAMAGED_COUNT_MAX: Final = 1000
"""Damaged blobs told in one message."""


def verified(
    store: Blobs, wanted: Sequence[bytes], offset: int, token: CancelToken
) -> Iterator[blob_pb2.VerifyBlobsResponse]:
    """Read the blobs that are wanted, or all from an offset on; yields how far it has come.

    Raises:
        NoSuchFile: a wanted one is not there.
        Cancelled: nobody waits any more.
    """
    report = blob_pb2.VerifyBlobsResponse(next_offset=offset)
    end_s = time.monotonic() + REPORT_S
    for next_offset, sha256, size in _listed(store, wanted, offset):
        try:
            damage = store.verify(sha256, token)
        except NoSuchFile:
            if wanted:
                raise
            # Deleted since it was listed, or wanted from the leader.
            damage = None
        else:
            report.blob_count += 1
            report.size_bytes += size
        report.next_offset = next_offset
        if damage is not None:
            report.damaged.add(blob=blob_to_proto(damage.blob), problem=damage.problem)
        if time.monotonic() >= end_s or len(report.damaged) >= DAMAGED_COUNT_MAX:
            yield _copy(report)
            del report.damaged[:]
            end_s = time.monotonic() + REPORT_S
    yield report


def _listed(store: Blobs, wanted: Sequence[bytes], offset: int) -> Iterator[tuple[int, bytes, int]]:
    if wanted:
        for sha256 in wanted:
            yield 0, sha256, store.info(sha256).size
        return
    for arrival in store.arrivals(offset):
        if not arrival.deleted:
            yield arrival.offset + 1, arrival.blob.sha256, arrival.blob.size


def _copy(report: blob_pb2.VerifyBlobsResponse) -> blob_pb2.VerifyBlobsResponse:
    made = blob_pb2.VerifyBlobsResponse()
    made.CopyFrom(report)
    return made


def pack_verified(reports: list[blob_pb2.VerifyBlobsResponse]) -> blob_pb2.VerifyBlobsResponse:
    """One report as a message."""
    (report,) = reports
    return report


def blob_to_proto(info: BlobInfo) -> blob_pb2.Blob:
    """A blob as it travels."""
    return blob_pb2.Blob(sha256=info.sha256, size_bytes=info.size)
