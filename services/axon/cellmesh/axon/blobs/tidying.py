"""What uploads and fetches that ended half-way left behind is removed."""

from __future__ import annotations

from cellmesh.axon.blobs.fetching import Fetcher
from cellmesh.common.cell import PartHealth
from cellmesh.common.rpc.workers import Workers
from cellmesh.common.telemetry.logs import get_logger

_log = get_logger(__name__)


class BlobTidier:
    """A Part: a leader needs nothing of what it began to fetch as a follower.

    All that it removes is local to the replica.

    Args:
        fetcher: What was fetched.
        workers: Where it is done.
    """

    name = "blob-tidier"

    def __init__(self, fetcher: Fetcher, workers: Workers) -> None:
        self._fetcher = fetcher
        self._workers = workers
        self._leads = True

    async def start(self) -> None:
        """Remove it where the cell leads already."""
        await self._tidy()

    async def stop(self) -> None:
        """Nothing runs."""

    async def role_changed(self, leads: bool) -> None:
        """See RolePart. The mirror applies nothing any more when it leads."""
        self._leads = leads
        await self._tidy()

    def health(self) -> PartHealth:
        """Always well."""
        return PartHealth()

    async def _tidy(self) -> None:
        if not self._leads:
            return
        count = await self._workers.run(self._fetcher.drop)
        if count:
            _log.info("fetched_contents_removed", count=count)


__all__ = ["BlobTidier"]
