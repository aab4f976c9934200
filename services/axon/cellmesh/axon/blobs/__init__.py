"""Contents by hash.

store           BlobStore: put, has, read ranges, list in order of arrival, totals
hashing_writer  Upload: one content on its way in, hashed and stored as it comes
steps           the steps of storing a blob, each inside a write transaction
changes         the change records of the Axon
values          what is known about a blob
"""

from __future__ import annotations

from cellmesh.axon.blobs.hashing_writer import Upload
from cellmesh.axon.blobs.store import BlobStore
from cellmesh.axon.blobs.values import Arrival, BlobHashes, BlobInfo, Metrics

__all__ = ["Arrival", "BlobHashes", "BlobInfo", "BlobStore", "Metrics", "Upload"]
