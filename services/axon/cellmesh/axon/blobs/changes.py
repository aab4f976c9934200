"""The change records of the Axon: what a follower needs to end with the same blobs in the same order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cellmesh.api.axon.v1 import blob_pb2, change_pb2
from cellmesh.axon.blobs.values import BlobHashes
from cellmesh.common.auth.context import find_current_call
from cellmesh.common.changelog import ChangeLog
from cellmesh.common.storage import WriteTxn

TYPE_NAME: Final = change_pb2.AxonChange.DESCRIPTOR.full_name


AppendChange = Callable[[WriteTxn, bytes], object]
"""Adds an entry with this payload to the change log, in the transaction given."""


class ChangeWriter:
    """Adds entries to the change log. Time and caller are settled before the transaction, as the op may
    run on another caller's thread.

    Args:
        log: The cell's change log.
        now_us: The time, in microseconds since 1970.
    """

    def __init__(self, log: ChangeLog, now_us: Callable[[], int]) -> None:
        self._log = log
        self._now_us = now_us

    def begin(self) -> AppendChange:
        """What one op appends with: everything under the present time and caller."""
        call = find_current_call()
        actor = call.caller.name if call else ""
        time_us = self._now_us()

        def append(txn: WriteTxn, payload: bytes) -> None:
            self._log.append(txn, time_us=time_us, actor=actor, type_name=TYPE_NAME, payload=payload)

        return append


def blob_added(hashes: BlobHashes, offset: int) -> bytes:
    """The payload that tells that a blob became visible at this offset in the order of arrival."""
    return change_pb2.AxonChange(
        blob_added=change_pb2.BlobAdded(hashes=hashes_to_proto(hashes), offset=offset)
    ).SerializeToString()


def hashes_to_proto(hashes: BlobHashes) -> blob_pb2.BlobHashes:
    """Digests and size as they travel."""
    return blob_pb2.BlobHashes(
        md5=hashes.md5,
        sha1=hashes.sha1,
        sha256=hashes.sha256,
        sha512=hashes.sha512,
        size_bytes=hashes.size,
    )
