"""The digests of contents beside the SHA-256: made when somebody asks for them, all in one pass, and kept.

They take eight times as long as the SHA-256, so nobody waits for them who stores a content.
"""

from __future__ import annotations

from collections.abc import Iterable

from cellmesh.axon import schema
from cellmesh.axon.blobs.values import BlobHashes
from cellmesh.common.errors import LowSpace, StorageCorrupt, StorageFull
from cellmesh.common.hashing import HashSet
from cellmesh.common.rpc.streams import CancelToken
from cellmesh.common.storage import ReadTxn, Slab, WriteTxn
from cellmesh.common.telemetry.logs import get_logger

_log = get_logger(__name__)


def kept(txn: ReadTxn, sha256: bytes, record: schema.Record) -> BlobHashes | None:
    """What is kept of a blob's digests; None when nobody has asked for them yet."""
    found = txn.get(schema.DIGESTS, schema.number_key(record.arrival))
    if found is None:
        return None
    digests = schema.Digests.decode(found)
    return BlobHashes(digests.md5, digests.sha1, sha256, digests.sha512, record.size)


def make(content: Iterable[bytes], sha256: bytes, token: CancelToken | None = None) -> BlobHashes:
    """Hash a content.

    Args:
        content: All of it, in pieces.
        sha256: Its name.
        token: Asked before each piece.

    Raises:
        StorageCorrupt: the content is not what its name says.
        Cancelled: whatever the token raises.
    """
    made = HashSet()
    for piece in content:
        if token is not None:
            token.check()
        made.update(piece)
    hashes = BlobHashes.of(made)
    if hashes.sha256 != sha256:
        raise StorageCorrupt(
            "the content of a blob is damaged, so it has no digests",
            name=schema.CHUNKS.name,
            sha256=sha256.hex(),
            found=hashes.sha256.hex(),
            hint="delete the blob and store it again",
        )
    return hashes


def keep(slab: Slab, arrival: int, hashes: BlobHashes) -> None:
    """Keep the digests of the blob of an arrival, unless it was deleted meanwhile, or there is no room for them."""

    def op(txn: WriteTxn) -> None:
        found = txn.get(schema.BLOBS, hashes.sha256)
        if found is not None and schema.Record.decode(found).arrival == arrival:
            digests = schema.Digests(hashes.md5, hashes.sha1, hashes.sha512)
            txn.put(schema.DIGESTS, schema.number_key(arrival), digests.encode())

    try:
        # They are this replica's own, so a follower keeps them too.
        slab.write(op, privileged=True)
    except (LowSpace, StorageFull) as error:
        _log.debug("digests_not_kept", error=str(error))


__all__ = ["keep", "kept", "make"]
