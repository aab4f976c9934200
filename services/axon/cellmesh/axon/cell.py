"""Builds the Axon's parts and services."""

from __future__ import annotations

from collections.abc import Sequence

from cellmesh.axon import schema
from cellmesh.axon.api.blobs import BlobServicer
from cellmesh.axon.api.content import ContentServicer
from cellmesh.axon.api.permissions import BLOB_SERVICE, CONTENT_SERVICE, PERMISSIONS, WEB_SERVICE
from cellmesh.axon.api.uploads import Uploads
from cellmesh.axon.api.web import WebServicer
from cellmesh.axon.blobs import AxonApplier, BlobStore, Fetcher, Limits
from cellmesh.axon.blobs.changes import TYPE_NAME
from cellmesh.axon.blobs.tidying import BlobTidier
from cellmesh.axon.config import AxonConfig
from cellmesh.axon.web.requests import WebClient
from cellmesh.common.cell import Cell, Part
from cellmesh.common.changelog import Applier, ChangeWriter
from cellmesh.common.errors import BadState
from cellmesh.common.rpc import Service
from cellmesh.common.telemetry.logs import get_logger

_log = get_logger(__name__)


class AxonCell(Cell[AxonConfig]):
    """A store of blobs as a process of its own."""

    kind = "axon"
    databases = schema.DATABASES
    layout = schema.LAYOUT

    def __init__(self, config: AxonConfig) -> None:
        super().__init__(config)
        self._store: BlobStore | None = None

    @property
    def store(self) -> BlobStore:
        """The blobs. Raises BadState before the cell has started."""
        if self._store is None:
            raise BadState("the axon has not started", name=self.kind)
        return self._store

    def parts(self) -> Sequence[Part]:
        """The store, tidied, and what gets contents from a leader."""
        writer = ChangeWriter(self.changes, TYPE_NAME)
        chunk_size = self.config.chunk_size_bytes
        limits = Limits(self.config.blob_count_max, self.config.size_max_bytes)
        self._store = BlobStore(self.slab, writer, chunk_size=chunk_size, limits=limits)
        removed = self.store.remove_broken_uploads()
        if removed:
            _log.info("broken_uploads_removed", count=removed)
        self.fetcher = Fetcher(self.slab, chunk_size=chunk_size)
        self.uploads = Uploads(self.store, self.workers, self.config.upload_keep_s)
        return (BlobTidier(self.fetcher, self.workers), self.uploads)

    def appliers(self) -> Sequence[Applier]:
        """What applies the changes of blobs."""
        return (AxonApplier(self.store, self.fetcher),)

    def services(self) -> Sequence[Service]:
        """BlobService, and those that read contents and speak to the web."""
        config, workers = self.config, self.workers
        web = WebClient(
            self.store,
            workers,
            proxy=config.web_proxy,
            ca_dir=config.web_ca_dir,
            size_max_bytes=config.web_size_max_bytes,
        )
        return (
            Service(
                BLOB_SERVICE,
                BlobServicer(self.store, workers, self.uploads),
                PERMISSIONS,
                raw_responses=("GetBlob", "ListBlobs", "ListBlobHistory"),
                raw_requests=("UploadBlob",),
            ),
            Service(CONTENT_SERVICE, ContentServicer(self.store, workers), PERMISSIONS),
            Service(WEB_SERVICE, WebServicer(web), PERMISSIONS),
        )

    async def stop(self) -> None:
        """As every cell. Who waits for blobs to come is told first, or would hold it up."""
        if self._store is not None:
            self._store.growth.close()
        await super().stop()
