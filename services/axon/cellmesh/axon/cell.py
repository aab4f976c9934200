"""Builds the Axon's parts and services."""

from __future__ import annotations

from collections.abc import Sequence

from cellmesh.axon import schema
from cellmesh.axon.api.blobs import BlobServicer
from cellmesh.axon.api.permissions import BLOB_SERVICE, PERMISSIONS
from cellmesh.axon.blobs import BlobStore
from cellmesh.axon.blobs.changes import TYPE_NAME
from cellmesh.axon.config import AxonConfig
from cellmesh.common.cell import Cell, Part
from cellmesh.common.changelog import ChangeWriter
from cellmesh.common.rpc import Service
from cellmesh.common.telemetry.logs import get_logger

_log = get_logger(__name__)


class AxonCell(Cell[AxonConfig]):
    """A store of blobs as a process of its own."""

    kind = "axon"
    databases = schema.DATABASES

    def parts(self) -> Sequence[Part]:
        """Nothing runs by itself; the store is opened and tidied."""
        writer = ChangeWriter(self.changes, TYPE_NAME)
        self.store = BlobStore(self.slab, writer, chunk_size=self.config.chunk_size_bytes)
        removed = self.store.remove_broken_uploads()
        if removed:
            _log.info("broken_uploads_removed", count=removed)
        return ()

    def services(self) -> Sequence[Service]:
        """BlobService."""
        servicer = BlobServicer(self.store, self.workers)
        return (Service(BLOB_SERVICE, servicer, PERMISSIONS, raw_responses=("GetBlob",)),)
