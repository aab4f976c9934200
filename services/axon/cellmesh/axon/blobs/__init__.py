"""Contents by hash.

store           BlobStore: put, has, read ranges, list in order of arrival, totals
hashing_writer  Upload: one content on its way in, hashed and stored as it comes
digests         MD5, SHA-1 and SHA-512 of contents, made when asked for
adding          Adding: blobs added in one transaction, with their change records
replay          AxonApplier: change records applied again, with the contents of a leader
fetching        Fetcher: contents on their way from a leader
tidying         BlobTidier: removes what uploads and fetches that ended half-way left behind
interface       what a store of blobs is, whatever keeps the contents
memory          MemoryBlobs: one in memory
growth          Growth: who waits for blobs to come
steps           the steps of storing a blob, each inside a write transaction
changes         the change records of the Axon
values          what is known about a blob
"""

from __future__ import annotations

from cellmesh.axon.blobs.fetching import Fetcher
from cellmesh.axon.blobs.hashing_writer import Upload
from cellmesh.axon.blobs.replay import AxonApplier
from cellmesh.axon.blobs.store import BlobStore
from cellmesh.axon.blobs.values import Arrival, BlobHashes, BlobInfo, Damage, Limits, Metrics

__all__ = [
    "Arrival",
    "AxonApplier",
    "BlobHashes",
    "BlobInfo",
    "BlobStore",
    "Damage",
    "Fetcher",
    "Limits",
    "Metrics",
    "Upload",
]
