"""Builds the Axon's parts and services."""

from __future__ import annotations

from collections.abc import Sequence

from cellmesh.axon import schema
from cellmesh.axon.api.blobs import BlobServicer
from cellmesh.axon.api.permissions import BLOB_SERVICE, PERMISSIONS
from cellmesh.axon.blobs import AxonApplier, BlobStore, Fetcher
from cellmesh.axon.blobs.changes import TYPE_NAME
from cellmesh.axon.blobs.tidying import BlobTidier
from cellmesh.axon.config import AxonConfig
from cellmesh.common.cell import Cell, Part
from cellmesh.common.changelog import Applier, ChangeWriter
from cellmesh.common.rpc import Service
from cellmesh.common.telemetry.logs import get_logger

_log = get_logger(__name__)


class AxonCell(Cell[AxonConfig]):
    """A store of blobs as a process of its own."""

    kind = "axon"
    databases = schema.DATABASES
    layout = schema.LAYOUT

    def parts(self) -> Sequence[Part]:
        """The store, tidied, and what gets contents from a leader."""
        writer = ChangeWriter(self.changes, TYPE_NAME)
        chunk_size = self.config.chunk_size_bytes
        self.store = BlobStore(self.slab, writer, chunk_size=chunk_size)
        removed = self.store.remove_broken_uploads()
        if removed:
            _log.info("broken_uploads_removed", count=removed)
        self.fetcher = Fetcher(self.slab, chunk_size=chunk_size)
        return (BlobTidier(self.fetcher, self.workers),)

    def appliers(self) -> Sequence[Applier]:
        """What applies the changes of blobs."""
        return (AxonApplier(self.store, self.fetcher),)

    def services(self) -> Sequence[Service]:
        """BlobService."""
        servicer = BlobServicer(self.store, self.workers)
        return (Service(BLOB_SERVICE, servicer, PERMISSIONS, raw_responses=("GetBlob",)),)
